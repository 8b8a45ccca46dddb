/**
 * A log in memory, for tests. Like Kafka it leaves gaps between positions, and it can misbehave on request: lose a reply, lose
 * a record, let it arrive late, or twice. Replicas of one process share it by name (`memory:NAME`).
 */
import { randomUUID } from 'node:crypto'
import { type Clock, machine } from '../clock.ts'
import type { AppendOptions, Appended, Chunk, Log, Logs, NewRecord, Position, ReadOptions, Stored } from '../log.ts'
import { MemoryRoster, type Roster } from '../roster.ts'

/** What happens to one append, as a whole. */
export type Fault =
  | 'none'
  /** Written, but the writer hears `unknown`. */
  | 'lost-reply'
  /** Not written, and the writer hears `unknown`. */
  | 'lost'
  /** The writer hears `unknown`; it is written behind somebody's later append. */
  | 'late'
  /** Written twice; the writer hears of the first. */
  | 'doubled'

export interface MemoryOptions {
  /** Called once per append. */
  readonly fault?: () => Fault
  /** Whether `after` is honoured. Default true. */
  readonly conditional?: boolean
  /** Whether `head` may be trusted. False: as on Kafka, where only a barrier tells. Default true. */
  readonly freshHead?: boolean
  /** Where it may not: of how many of the last entries `head` and reads know nothing yet. Asked anew each time. Default none. */
  readonly lag?: () => number
  /** What it says of itself, as logs do that must be scanned for one tenant. Default true. */
  readonly selective?: boolean
  /** Default false. */
  readonly tails?: boolean
  readonly clock?: Clock
}

/** ms */
const LAG = 5

interface Entry extends Stored {
  readonly barrier: boolean
}

/** What the logs of one name share. */
export class MemoryFile {
  readonly place: string = randomUUID()
  readonly entries: Entry[] = []
  readonly late: NewRecord[] = []
  readonly waiting: Set<() => void> = new Set()

  last(): Position {
    return this.entries.at(-1)?.position ?? 0
  }

  write(record: NewRecord): Position {
    // A gap of up to two after each record, the same in every run.
    const position = this.last() + 1 + (this.entries.length % 3)
    this.entries.push({ position, value: record.value, tenant: record.tenant, barrier: record.barrier ?? false })
    return position
  }
}

export class MemoryLog implements Log {
  readonly description: string
  readonly conditional: boolean
  readonly freshHead: boolean
  readonly selective: boolean
  readonly tails: boolean
  readonly #file: MemoryFile
  readonly #fault: () => Fault
  readonly #lag: (() => number) | undefined
  readonly #clock: Clock
  #closed = false

  constructor(name = '', file: MemoryFile = new MemoryFile(), options: MemoryOptions = {}) {
    this.description = `memory:${name}`
    this.#file = file
    this.#fault = options.fault ?? (() => 'none')
    this.conditional = options.conditional ?? true
    this.freshHead = options.freshHead ?? true
    this.selective = options.selective ?? true
    this.tails = options.tails ?? false
    this.#clock = options.clock ?? machine
    this.#lag = this.freshHead ? undefined : options.lag
  }

  get place(): string {
    return this.#file.place
  }

  async head(): Promise<Position> {
    return this.#known()
  }

  async read(from: Position | (() => Position), options: ReadOptions = {}): Promise<Chunk> {
    for (;;) {
      const after = typeof from === 'number' ? from : from()
      if (this.#closed || options.signal?.aborted) return { records: [], reached: after }
      const chunk = this.#readNow(after, options)
      if (chunk.reached > after || !options.wait) return chunk
      await this.#change(options.signal)
    }
  }

  async append(records: readonly NewRecord[], { after }: AppendOptions = {}): Promise<readonly Appended[]> {
    if (this.#closed) return records.map(() => ({ status: 'not-written', fatal: true }))
    const fault = this.#fault()
    const file = this.#file
    if (fault === 'lost') return records.map(() => ({ status: 'unknown' }))
    if (fault === 'late') {
      file.late.push(...records)
      return records.map(() => ({ status: 'unknown' }))
    }
    const answers = records.map((record): Appended => {
      if (after !== undefined && this.#behind(after, record.tenant)) return { status: 'conflict' }
      const previous = file.last()
      const position = file.write(record)
      if (fault === 'doubled') file.write(record)
      return fault === 'lost-reply' ? { status: 'unknown' } : { status: 'written', position, previous }
    })
    for (const record of file.late.splice(0)) file.write(record)
    for (const wake of file.waiting) wake()
    return answers
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const wake of this.#file.waiting) wake()
  }

  #known(): Position {
    const { entries } = this.#file
    return entries[entries.length - 1 - (this.#lag?.() ?? 0)]?.position ?? 0
  }

  #behind(after: Position, tenant: string | null): boolean {
    return this.#file.entries.some(
      entry => entry.position > after && (entry.tenant === tenant || (entry.tenant === null && !entry.barrier)),
    )
  }

  #readNow(after: Position, { tenant, upTo: wanted = Number.MAX_SAFE_INTEGER }: ReadOptions): Chunk {
    const { entries } = this.#file
    const upTo = this.#lag ? Math.min(wanted, this.#known()) : wanted
    let first = entries.length
    while (first > 0 && entries[first - 1]!.position > after) first--
    const chunk = entries.slice(first, first + 512).filter(entry => entry.position <= upTo)
    const records = tenant === undefined ? chunk : chunk.filter(entry => entry.tenant === null || entry.tenant === tenant)
    return { records, reached: chunk.at(-1)?.position ?? after }
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise(resolve => {
      const { waiting } = this.#file
      const done = () => {
        waiting.delete(done)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      waiting.add(done)
      signal?.addEventListener('abort', done)
      // What it knows nothing of now it will know of soon.
      if (this.#lag) this.#clock.after(LAG, done)
    })
  }
}

/** Several shards in memory, for replicas of one process: each has its own `MemoryLogs` on the same files. */
export class MemoryLogs implements Logs {
  readonly description: string
  readonly shards: readonly MemoryLog[]
  readonly roster: Roster
  readonly spans = 'process'

  constructor(name: string, files: readonly MemoryFile[], options: MemoryOptions = {}) {
    this.description = `memory:${name}`
    this.shards = files.map((file, partition) => new MemoryLog(`${name}/${partition}`, file, options))
    this.roster = new MemoryRoster(files[0]!.place)
  }

  async close(): Promise<void> {
    for (const shard of this.shards) await shard.close()
  }
}
