/**
 * Copies a log into another one, where it goes on: in bulk while the source lives, then all its shards are sealed, then what came until the
 * seals. Shards are copied one to one, or the only shard is split: each new one gets the control records, and the tenants that live there.
 * The bytes stay, and so do versions and digests; the manifest alone is written anew, with the next generation. Seals are not copied.
 * Whatever happens on the way, the same call again finds its former work and goes on (`writer.ts`).
 */
import { control, emptyShard, type ShardState } from '../accept.ts'
import { EngineError } from '../errors.ts'
import type { Log, NewRecord, Position, Stored } from '../log.ts'
import { partitionOf } from '../partition.ts'
import { decode, encodeControl, type LogRecord } from '../record.ts'
import { type Controls, controlsOf, type SealNote, sealNote, sealValue } from './seal.ts'
import { Writer } from './writer.ts'

/** A log as far as a copy needs to know it. */
interface Shards {
  readonly description: string
  readonly shards: readonly Log[]
}

export interface CopyTarget extends Shards {
  /** How people call it; stands in the seals. */
  readonly name: string
  /** `begun`: a former call may have written into it; `whole`: it is used already, and perhaps the copy that a former call has finished. */
  readonly state: 'new' | 'begun' | 'whole'
  /** Nothing speaks against it: what is written from now on is no log yet. */
  begin(): Promise<void>
}

export interface CopyOptions {
  /** The source was sealed for a copy that is lost: this one takes its place. */
  readonly copyIsLost?: boolean
  readonly signal?: AbortSignal
  /** @param more what it is about, now and then */
  readonly onProgress?: (position: Position, head: Position, more: string) => void
}

export interface Copied {
  readonly log: string
  /** The copy's. */
  readonly generation: number
  readonly records: number
  /** How many of them a former call had copied. */
  readonly found: number
  /** Where the seals stand in the shards of the source. */
  readonly sealedAt: readonly Position[]
}

/** A shard may have so many records more when it is sealed: writers wait no longer than their copying takes. */
const NEAR = 500
/** How often it is tried to seal a shard. */
const TRIES = 5
/** How long a seal that was perhaps written may take to be seen, and one that certainly was; ms. */
const MAYBE = 3_000
const SIGHT = 30_000

/** @throws EngineError invalid-option, log-sealed, log-unusable, log-failed; what the signal says */
export async function copyLog(source: Shards, target: CopyTarget, options: CopyOptions = {}): Promise<Copied> {
  const controls = await Promise.all(source.shards.map(shard => controlsOf(shard)))
  const { log, generation } = checkSource(source, controls)
  const { length } = target.shards
  const split = source.shards.length !== length
  if (split && source.shards.length > 1) {
    throw new EngineError(
      'invalid-option',
      `${source.description} has ${source.shards.length} shards, ${target.description} ${length}: shards are copied one to one, and only a log with one shard can be split into more`,
    )
  }
  const writers = target.shards.map(shard => new Writer(shard, { log, source: source.description, state: target.state }))
  const sources = source.shards.map((shard, partition) => new Source(shard, split ? writers : [writers[partition]!], target, options))
  for (const [partition, { seal }] of controls.entries()) {
    if (target.state === 'whole' && !isFor(seal?.note, sources[partition]!.place)) throw taken(target)
    if (seal) sources[partition]!.check(seal.note)
  }
  const copy = new Copy(sources, options)
  await target.begin()
  await Promise.all(writers.map(writer => writer.begin()))
  await copy.run()
  await Promise.all(writers.map(writer => writer.end()))
  return {
    log,
    generation: generation + 1,
    records: sum(writers, ({ records }) => records),
    found: sum(writers, ({ found }) => found),
    sealedAt: sources.map(({ sealedAt }) => sealedAt!),
  }
}

/** Whether its shards are one log. @throws EngineError log-unusable */
function checkSource({ description, shards }: Shards, controls: readonly Controls[]): { log: string; generation: number } {
  const refuse = (why: string) => new EngineError('log-unusable', `${description} ${why}`)
  const first = controls[0]!.state
  for (const [index, { state }] of controls.entries()) {
    const { log, partitions, partition } = state
    if (log === null)
      throw refuse(shards.length === 1 ? 'holds no manifest: there is nothing to copy' : `holds no manifest in shard ${index}`)
    if (partitions !== shards.length || partition !== index)
      throw refuse(
        `is not whole: ${shards.length === 1 ? 'it' : `shard ${index} of ${shards.length}`} holds the manifest of shard ${partition} of ${partitions}`,
      )
    if (log !== first.log || state.generation !== first.generation)
      throw refuse(`is not one log: its shards 0 and ${index} have different manifests`)
  }
  return { log: first.log!, generation: first.generation }
}

const isFor = (note: SealNote | undefined, place: string) => note?.by === 'copy' && note.place === place

const taken = ({ description }: Shards) => new EngineError('log-unusable', `there is a log at ${description} already. Copy into a new one`)

class Copy {
  readonly #sources: readonly Source[]
  readonly #options: CopyOptions
  #sealing = false

  constructor(sources: readonly Source[], options: CopyOptions) {
    this.#sources = sources
    this.#options = options
  }

  async run(): Promise<void> {
    await this.#each(source => source.copy())
    while (!(await this.#near())) await this.#each(source => source.copy())
    // Once a shard is sealed its tenants wait until the copy is done: that little is not interrupted.
    this.#options.signal?.throwIfAborted()
    this.#sealing = true
    await this.#each(source => source.seal())
  }

  async #near(): Promise<boolean> {
    const near = await Promise.all(this.#sources.map(source => source.near()))
    return near.every(Boolean)
  }

  /** All of them side by side. Before anything is sealed, one that fails ends the others. */
  async #each(steps: (source: Source) => AsyncGenerator<void>): Promise<void> {
    let failed = false
    const each = async (source: Source) => {
      for await (const _ of steps(source)) {
        if (!this.#sealing) this.#options.signal?.throwIfAborted()
        if (!this.#sealing && failed) return
        this.#tell()
        await turn()
      }
    }
    await settled(
      this.#sources.map(source =>
        each(source).catch((error: unknown) => {
          failed = true
          throw error
        }),
      ),
    )
  }

  #tell(): void {
    const comparing = this.#sources.some(({ comparing }) => comparing)
    const position = sum(this.#sources, source => source.position)
    const head = sum(this.#sources, source => source.head)
    this.#options.onProgress?.(position, Math.max(position, head), comparing ? 'comparing' : 'copying')
  }
}

/** A shard that is copied, with the shards that it goes to. */
class Source {
  /** Read up to here. */
  position: Position = 0
  head: Position = 0
  sealedAt: Position | undefined
  readonly #log: Log
  readonly #writers: readonly Writer[]
  readonly #target: CopyTarget
  readonly #options: CopyOptions
  #shard: ShardState = emptyShard

  constructor(log: Log, writers: readonly Writer[], target: CopyTarget, options: CopyOptions) {
    this.#log = log
    this.#writers = writers
    this.#target = target
    this.#options = options
  }

  /** What its seal names. */
  get place(): string {
    return this.#writers[0]!.place
  }

  get comparing(): boolean {
    return this.#writers.some(({ comparing }) => comparing)
  }

  /** Whether a sealed source may be copied here. @throws EngineError log-sealed */
  check(note: SealNote | undefined): void {
    if (isFor(note, this.place)) return
    if (note?.by === 'restore') {
      throw new EngineError(
        'log-sealed',
        `${this.#log.description} was put aside when a backup took its place, and must not go on. Restore it, if that was a mistake`,
      )
    }
    if (this.#options.copyIsLost) return
    const where = note ? ` It is ${note.to}` : ''
    throw new EngineError(
      'log-sealed',
      `${this.#log.description} was sealed: it goes on in its copy, and there may be one only.${where}. If that copy is lost, say --copy-is-lost`,
    )
  }

  async near(): Promise<boolean> {
    if (this.sealedAt !== undefined) return true
    this.head = await this.#log.head()
    return this.head - this.position <= NEAR
  }

  /** What stands there now, compared with all that stands in the target: what does not fit is told before anything is sealed. */
  async *copy(): AsyncGenerator<void> {
    for (let more = true; more && (this.comparing || !(await this.near())); ) {
      const { position } = this
      await this.#step()
      more = this.position > position
      yield
    }
    if (!this.comparing) return
    // Where the end of the source may be further than it tells, the rest is compared with what comes.
    await settled(this.#writers.map(writer => writer.catchUp(this.#log.freshHead)))
  }

  /** The seal, and all up to it. What the log answers does not matter: the seal is read back or it is not there. */
  async *seal(): AsyncGenerator<void> {
    for (let tries = 0; ; tries++) {
      // A seal of a former call is found before another one is written.
      yield* this.#drain(0)
      if (this.sealedAt !== undefined) return
      if (tries === TRIES) throw new EngineError('log-failed', `${this.#log.description} could not be sealed; the same call again goes on`)
      const time = Date.now()
      const value = sealValue(this.#shard.log!, time, { by: 'copy', place: this.place, to: this.#target.name })
      const [answer] = await this.#log.append([{ value, tenant: null, time, kinds: ['seal'] }])
      if (answer?.status === 'written') yield* this.#drain(answer.position)
      else if (answer?.status === 'unknown') yield* this.#drain(undefined)
      if (this.sealedAt !== undefined) return
      if (answer && 'cause' in answer && answer.cause instanceof EngineError) throw answer.cause
    }
  }

  /** @param known something certainly stands there; undefined: it may */
  async *#drain(known: Position | undefined): AsyncGenerator<void> {
    const fresh = this.#log.freshHead
    const until = performance.now() + (known === undefined ? MAYBE : SIGHT)
    while (this.sealedAt === undefined) {
      const { position } = this
      const waits = !fresh && (known === undefined || position < known)
      await this.#step(waits ? Math.max(1, until - performance.now()) : 0)
      yield
      if (this.position > position) continue
      if (!waits || performance.now() >= until) return
    }
  }

  /** The next records. @param patience what it waits for them, ms */
  async #step(patience = 0): Promise<void> {
    if (this.sealedAt !== undefined) return
    const wait = patience > 0 ? { wait: true, signal: AbortSignal.timeout(Math.ceil(patience)) } : {}
    const { records, reached } = await this.#log.read(this.position, wait)
    this.position = reached
    for (const stored of records) {
      if (!this.#take(stored)) break
    }
    await settled(this.#writers.map(writer => writer.settle()))
  }

  /** @returns false for the seal, behind which nothing is copied */
  #take({ position, value, tenant }: Stored): boolean {
    const record = decode(value)
    const { length } = this.#writers
    // What is no control record, and nobody's, has no effect anywhere.
    if (tenant !== null || record.kind === 'foreign' || record.kind === 'data') {
      const partition = tenant === null ? 0 : partitionOf(tenant, length)
      this.#writers[partition]!.offer(recordOf(value, tenant, record))
      return true
    }
    const next = control(this.#shard, record)
    const counts = typeof next !== 'string'
    if (counts) this.#shard = next
    if (counts && record.kind === 'seal') {
      this.check(sealNote(value))
      this.sealedAt = position
      return false
    }
    for (const [partition, writer] of this.#writers.entries()) {
      let copy = value
      if (counts && record.kind === 'manifest') {
        const place = length > 1 ? { partitions: length, partition } : {}
        copy = encodeControl({ ...record, ...place, generation: record.generation + 1 })
      }
      writer.offer(recordOf(copy, tenant, record))
    }
    return true
  }
}

function recordOf(value: string | Uint8Array, tenant: string | null, record: LogRecord | { readonly kind: 'foreign' }): NewRecord {
  // A clock that was ahead must not keep the record out of a log that checks it; the record's own time stays.
  const time = record.kind === 'foreign' ? 0 : Math.min(record.time, Date.now())
  if (record.kind === 'foreign') return { value, tenant, time }
  if (record.kind === 'data')
    return { value, tenant, time, kinds: [...new Set(record.decisions.flatMap(({ events }) => events.map(({ type }) => type)))] }
  return { value, tenant, time, kinds: [record.kind], ...(record.kind === 'barrier' && tenant === null ? { barrier: true } : {}) }
}

/** Waits for all of them, also when one has failed: nothing is left running behind the error. */
async function settled(promises: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(promises)
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0)
}

const turn = () => new Promise(resolve => setImmediate(resolve))
