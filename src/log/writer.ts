/**
 * Writes a shard of a copy, and knows by reading alone what stands there: whatever it finds, of a former call or of this one, is compared with
 * what shall stand there, record by record; only behind the end of all that is something appended, and what was appended is read back.
 * So an append of which nothing is known is settled like any other, and a copy is whole when all of it was read.
 *
 * An append that was given up may still arrive, behind others. The fold takes such a doubled record for what it is (a duplicate, a term that
 * is not next), and so does the comparison: a record that repeats one of the last few thousand is passed over.
 */
import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { EngineError } from '../errors.ts'
import type { Appended, Log, NewRecord, Position, Stored } from '../log.ts'
import { decode, encodeControl } from '../record.ts'

export interface WriterOptions {
  /** The log's id. */
  readonly log: string
  /** For people: what is copied. */
  readonly source: string
  readonly state: 'new' | 'begun' | 'whole'
}

/** What one append takes at most, bytes: less than a batch of Kafka, which stands or falls whole. */
const APPEND_BYTES = 600_000
/** What a record takes there beside its value, generously. */
const OVERHEAD = 512
/** Repetitions of so many records are known as such. */
const RECENT = 4_096
/** How often in a row nothing comes of an append before it is given up, and the pause between, ms. */
const TRIES = 5
const PAUSE = 100
/** How long what was perhaps written may take to be seen, and what certainly was; ms. */
const PATIENCE = 1_000
const SIGHT = 30_000

export class Writer {
  /** That stand there. */
  records = 0
  /** How many of them stood there before this call wrote. */
  found = 0
  readonly #log: Log
  readonly #options: WriterOptions
  /** That shall come next, and were not seen there yet. */
  #pending: NewRecord[] = []
  /** Read there, and not compared yet: the source is not so far. */
  #ahead: Stored[] = []
  /** Read up to here. */
  #position: Position = 0
  /** Something stands there, as an append has said. */
  #known: Position = 0
  #comparing = true
  /** Hashes of the last records, the oldest first. */
  readonly #recent = new Set<string>()

  constructor(log: Log, options: WriterOptions) {
    this.#log = log
    this.#options = options
  }

  get place(): string {
    return this.#log.place
  }

  /** Still within what a former call has written. */
  get comparing(): boolean {
    return this.#comparing
  }

  /** Finds out where the end is, if the log's own word is not to be trusted. */
  async begin(): Promise<void> {
    if (this.#log.freshHead) return
    if (this.#options.state === 'whole') this.#known = await this.#log.head()
    if (this.#options.state !== 'begun') return
    const time = Date.now()
    const value = encodeControl({ kind: 'barrier', log: this.#options.log, time, nonce: randomUUID() })
    const [answer] = await this.#log.append([{ value, tenant: null, time, barrier: true, kinds: ['barrier'] }])
    if (answer?.status !== 'written') throw this.#failed(answer)
    this.#known = answer.position
  }

  offer(record: NewRecord): void {
    this.#pending.push(record)
  }

  /** Until everything that was offered stands there. */
  async settle(): Promise<void> {
    for (let tries = 0; ; ) {
      const { records } = this
      this.#match()
      if (this.#pending.length === 0) return
      if (this.#comparing) {
        await this.#readOn()
        continue
      }
      const answers = await this.#append()
      if (this.records > records) {
        tries = 0
        continue
      }
      const failure = answers.find(({ status }) => status !== 'written')
      const fatal = failure && 'fatal' in failure && failure.fatal
      if (fatal || ++tries === TRIES) throw this.#failed(failure)
      await pause(PAUSE * tries)
    }
  }

  /**
   * Everything that the source holds was offered: reads what stands here to its end.
   * @param all whether nothing can come that was not offered yet
   * @throws EngineError log-unusable if there is more than that
   */
  async catchUp(all: boolean): Promise<void> {
    while (this.#comparing) await this.#readOn()
    if (all) this.#refuseMore()
  }

  /** All was offered. @throws EngineError log-unusable if there is more than that */
  async end(): Promise<void> {
    const more = await this.#log.read(this.#position)
    this.#ahead.push(...more.records)
    this.#refuseMore()
  }

  #refuseMore(): void {
    if (this.#options.state === 'whole') return
    for (const stored of this.#ahead) if (!this.#isBarrier(stored) && !this.#recent.has(hashOf(stored))) throw this.#other()
  }

  /** Compares what was read with what was offered, as far as both go. */
  #match(): void {
    let matched = 0
    let read = 0
    for (; read < this.#ahead.length && matched < this.#pending.length; read++) {
      const stored = this.#ahead[read]!
      const record = this.#pending[matched]!
      if (stored.tenant === record.tenant && same(stored.value, record.value)) {
        this.#remember(record)
        matched++
      } else if (!this.#isBarrier(stored) && !this.#recent.has(hashOf(stored))) throw this.#other()
    }
    this.#ahead = this.#ahead.slice(read)
    this.#pending = this.#pending.slice(matched)
    this.records += matched
    if (this.#comparing) this.found += matched
  }

  /** What stands there of former calls, until the end is reached. */
  async #readOn(): Promise<void> {
    const sure = this.#position < this.#known
    if (!(await this.#read(sure ? SIGHT : 0)) && !sure) this.#comparing = false
  }

  /**
   * @param patience how long it waits for something, where the log may tell of an old end; ms
   * @returns whether there was something
   */
  async #read(patience: number): Promise<boolean> {
    const sure = this.#position < this.#known
    const wait = patience > 0 && !this.#log.freshHead ? { wait: true, signal: AbortSignal.timeout(Math.ceil(patience)) } : {}
    const { records, reached } = await this.#log.read(this.#position, wait)
    const more = reached > this.#position
    this.#position = reached
    this.#ahead.push(...records)
    if (!more && sure)
      throw new EngineError(
        'log-failed',
        `${this.#log.description} does not give back what was written into it. The same call again goes on here`,
      )
    return more
  }

  /** Appends what comes next, and reads it back. */
  async #append(): Promise<readonly Appended[]> {
    if (this.#options.state === 'whole') throw this.#other()
    let bytes = 0
    let count = 0
    for (const { value } of this.#pending) {
      bytes += Buffer.byteLength(value) + OVERHEAD
      if (count > 0 && bytes > APPEND_BYTES) break
      count++
    }
    const condition = this.#log.conditional && this.#log.freshHead ? { after: this.#position } : {}
    const answers = await this.#log.append(this.#pending.slice(0, count), condition)
    let unknown = false
    for (const answer of answers) {
      if (answer.status === 'written') this.#known = Math.max(this.#known, answer.position)
      if (answer.status === 'unknown') unknown = true
    }
    await this.#readBack(unknown)
    return answers
  }

  /** @param unknown there may be more than is known */
  async #readBack(unknown: boolean): Promise<void> {
    const until = performance.now() + PATIENCE
    for (;;) {
      const left = unknown ? until - performance.now() : 0
      const more = await this.#read(this.#position < this.#known ? SIGHT : left)
      this.#match()
      if (this.#position < this.#known) continue
      if (!unknown || this.#pending.length === 0) return
      if (this.#log.freshHead ? !more : left <= 0) return
    }
  }

  #remember(record: NewRecord): void {
    // A release that is doubled could count a second time, after it was taken back.
    if (record.tenant === null && record.kinds?.[0] === 'release') return
    const hash = hashOf(record)
    this.#recent.delete(hash)
    this.#recent.add(hash)
    if (this.#recent.size <= RECENT) return
    for (const oldest of this.#recent) {
      this.#recent.delete(oldest)
      return
    }
  }

  /** Barriers have no effect: those that mark the end for further calls are no part of the copy. */
  #isBarrier({ tenant, value }: Stored): boolean {
    return tenant === null && decode(value).kind === 'barrier'
  }

  #failed(answer: Appended | undefined): EngineError {
    if (answer?.status === 'conflict') return this.#other()
    const cause = answer && 'cause' in answer ? answer.cause : undefined
    if (cause instanceof EngineError) return cause
    return new EngineError('log-failed', `${this.#log.description} could not be written. The same call again goes on here`, { cause })
  }

  #other(): EngineError {
    return new EngineError(
      'log-unusable',
      `${this.#log.description} holds something else than the beginning of ${this.#options.source}, or somebody else writes there. Copy into a new log`,
    )
  }
}

function hashOf({ tenant, value }: { readonly tenant: string | null; readonly value: string | Uint8Array }): string {
  return createHash('sha256').update(JSON.stringify(tenant)).update(value).digest('base64')
}

function same(a: string | Uint8Array, b: string | Uint8Array): boolean {
  if (typeof a === 'string' && typeof b === 'string') return a === b
  // A log may keep as text what another one keeps as bytes.
  return Buffer.compare(Buffer.from(a as string), Buffer.from(b as string)) === 0
}
