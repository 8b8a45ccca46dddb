/**
 * The log in one file, as processes of a machine share it (`log/sqlite.ts`): one writer at a time holds its lock, `after` is checked under it,
 * a commit is on the disk when it is answered. Who is killed may have committed without hearing so; who is stopped with the lock in hand makes
 * all others wait; a disk that fails or is full ends the writer.
 */
import { EngineError } from '../../errors.ts'
import type { AppendOptions, Appended, Chunk, Log, NewRecord, Position, ReadOptions, Stored } from '../../log.ts'
import type { Process } from './scheduler.ts'

/** How long the lock is waited for, ms, and how often others' writes are looked for. As in `log/sqlite.ts`. */
const LOCK_PATIENCE = 5_000
const POLL = 10
/** What a commit with its wait for the disk takes at most, ms. */
const FSYNC = 4

export type DiskFault =
  /** The wait for the disk fails, though what was written may be there. */
  | { readonly kind: 'fsync-error' }
  /** Nothing fits any more. */
  | { readonly kind: 'disk-full' }
  /** The disk takes so much longer, ms. */
  | { readonly kind: 'slow-disk'; readonly by: number }

interface Entry extends Stored {
  readonly barrier: boolean
}

/** What the processes share. */
export class EmbeddedFile {
  readonly place = 'simulated-file'
  readonly entries: Entry[] = []
  #holder: Process | undefined
  #queue: { readonly process: Process; readonly grant: () => void }[] = []

  get head(): Position {
    return this.entries.length
  }

  write({ value, tenant, barrier = false }: NewRecord): Position {
    const position = this.head + 1
    this.entries.push({ position, value, tenant, barrier })
    return position
  }

  behind(after: Position, tenant: string | null): boolean {
    return this.entries.some(entry => entry.position > after && (entry.tenant === null ? !entry.barrier : entry.tenant === tenant))
  }

  lock(process: Process, grant: () => void): void {
    this.#queue.push({ process, grant })
    this.#next()
  }

  unlock(process: Process): void {
    if (this.#holder === process) this.#holder = undefined
    this.#next()
  }

  /** The process is gone, and its lock with it. */
  forget(process: Process): void {
    this.#queue = this.#queue.filter(each => each.process !== process)
    this.unlock(process)
  }

  #next(): void {
    if (this.#holder) return
    const next = this.#queue.shift()
    if (!next) return
    this.#holder = next.process
    next.process.after(next.process.random() * 0.2, next.grant)
  }
}

export class EmbeddedLog implements Log {
  readonly description = 'file:simulated.log'
  readonly place: string
  readonly conditional = true
  readonly freshHead = true
  readonly selective = true
  readonly tails = false
  readonly #file: EmbeddedFile
  readonly #process: Process
  readonly #fault: () => DiskFault | undefined
  #failure: EngineError | undefined

  /** @param fault asked once per append */
  constructor(file: EmbeddedFile, process: Process, fault: () => DiskFault | undefined) {
    this.place = file.place
    this.#file = file
    this.#process = process
    this.#fault = fault
  }

  async head(): Promise<Position> {
    return this.#file.head
  }

  async read(
    from: Position | (() => Position),
    { tenant, upTo = Number.MAX_SAFE_INTEGER, wait, signal }: ReadOptions = {},
  ): Promise<Chunk> {
    for (;;) {
      const after = typeof from === 'number' ? from : from()
      if (signal?.aborted) return { records: [], reached: after }
      const entries = this.#file.entries.slice(after, Math.min(upTo, after + 64))
      if (entries.length > 0) {
        const records = tenant === undefined ? entries : entries.filter(entry => entry.tenant === null || entry.tenant === tenant)
        return { records, reached: entries.at(-1)!.position }
      }
      if (!wait) return { records: [], reached: after }
      await new Promise<void>(resolve => this.#process.after(this.#process.random() * POLL, resolve))
    }
  }

  append(records: readonly NewRecord[], { after, signal }: AppendOptions = {}): Promise<readonly Appended[]> {
    const all = (answer: Appended) => records.map(() => answer)
    if (this.#failure) return Promise.resolve(all({ status: 'not-written', cause: this.#failure, fatal: true }))
    const process = this.#process
    const file = this.#file
    return new Promise(resolve => {
      let waiting = true
      process.after(LOCK_PATIENCE, () => {
        if (!waiting) return
        waiting = false
        resolve(all({ status: 'not-written', cause: new Error('another process holds the log') }))
      })
      file.lock(process, () => {
        if (!waiting || signal?.aborted) {
          if (waiting) resolve(all({ status: 'not-written' }))
          waiting = false
          return file.unlock(process)
        }
        waiting = false
        const fault = this.#fault()
        const slow = fault?.kind === 'slow-disk' ? fault.by : 0
        process.after(process.random() * FSYNC + slow, () => {
          if (fault?.kind === 'disk-full') {
            this.#fail('the disk is full')
            file.unlock(process)
            return resolve(all({ status: 'not-written', cause: this.#failure, fatal: true }))
          }
          const there = fault?.kind !== 'fsync-error' || process.random() < 0.5
          const answers = records.map((record): Appended => {
            if (after !== undefined && file.behind(after, record.tenant)) return { status: 'conflict' }
            const previous = file.head
            return { status: 'written', position: there ? file.write(record) : previous + 1, previous }
          })
          file.unlock(process)
          if (fault?.kind === 'fsync-error') {
            this.#fail('the disk reports an error')
            const cause = this.#failure
            return resolve(answers.map(each => (each.status === 'conflict' ? each : { status: 'unknown', cause, fatal: true })))
          }
          // Between the commit and what its writer does about it, it may be killed.
          process.after(process.random() * 0.1, () => resolve(answers))
        })
      })
    })
  }

  async close(): Promise<void> {}

  #fail(why: string): void {
    this.#failure ??= new EngineError('log-failed', `the log ${this.description} could not be written: ${why}`)
  }
}
