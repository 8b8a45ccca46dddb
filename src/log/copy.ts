/**
 * Copies a log into another one, where it goes on: in bulk while the source lives, then the source is sealed, then what came until
 * the seal. The bytes stay, and so do versions and digests; only the manifest is written anew, with the next generation. The seal is not
 * copied. Whatever happens on the way, the same call again finds its former work and goes on.
 */
import { control, emptyShard, type ShardState } from '../accept.ts'
import { EngineError } from '../errors.ts'
import type { Log, NewRecord, Position, Stored } from '../log.ts'
import { decode, encodeControl } from '../record.ts'
import { controlsOf, type SealNote, sealNote, sealValue } from './seal.ts'

export interface CopyOptions {
  /** How people call the target; stands in the seal. */
  readonly to: string
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
  /** Where the seal stands in the source. */
  readonly sealedAt: Position
}

/** The source may have so many records more when it is sealed: writers wait no longer than their copying takes. */
const NEAR = 500

/** @throws EngineError log-sealed, log-unusable, log-failed; what the signal says */
export async function copyLog(source: Log, target: Log, options: CopyOptions): Promise<Copied> {
  const { state, seal } = await controlsOf(source)
  if (state.log === null) throw new EngineError('log-unusable', `${source.description} holds no manifest: there is nothing to copy`)
  const copy = new Copy(source, target, options)
  if (seal) copy.check(seal.note)
  await copy.find()
  await copy.run()
  return copy.done(state.log)
}

class Copy {
  readonly #source: Log
  readonly #target: Log
  readonly #options: CopyOptions
  #shard: ShardState = emptyShard
  /** Read up to here, in the source. */
  #after: Position = 0
  /** Read, but not yet in the target. */
  #waiting: NewRecord[] = []
  /** The target's last record. */
  #last: Position = 0
  #records = 0
  #found = 0
  #generation = 0
  #sealedAt: Position | undefined

  constructor(source: Log, target: Log, options: CopyOptions) {
    this.#source = source
    this.#target = target
    this.#options = options
  }

  /** Whether a sealed source may be copied here. @throws EngineError log-sealed */
  check(note: SealNote | undefined): void {
    if (note?.by === 'copy' && note.place === this.#target.place) return
    if (note?.by === 'restore') {
      throw new EngineError(
        'log-sealed',
        `${this.#source.description} was put aside when a backup took its place, and must not go on. Restore it, if that was a mistake`,
      )
    }
    if (this.#options.copyIsLost) return
    const where = note ? ` It is ${note.to}` : ''
    throw new EngineError(
      'log-sealed',
      `${this.#source.description} was sealed: it goes on in its copy, and there may be one only.${where}. If that copy is lost, say --copy-is-lost`,
    )
  }

  /** Compares what the target holds with the source, record by record, and stands behind it. */
  async find(): Promise<void> {
    const { onProgress, signal } = this.#options
    const head = await this.#target.head()
    for (;;) {
      signal?.throwIfAborted()
      const { records, reached } = await this.#target.read(this.#last)
      if (reached === this.#last) break
      for (const { value, tenant } of records) {
        if (this.#waiting.length === 0) await this.#read()
        const expected = this.#waiting.shift()
        if (!expected || expected.tenant !== tenant || !same(expected.value, value)) throw this.#other()
        this.#found++
      }
      this.#last = reached
      onProgress?.(reached, head, 'comparing')
      await turn()
    }
    this.#records = this.#found
  }

  async run(): Promise<void> {
    const { signal, onProgress } = this.#options
    for (let sealing = 0; ; ) {
      // Once the source is sealed nobody can write until the copy is done: that little is not interrupted.
      if (sealing === 0) signal?.throwIfAborted()
      if (this.#waiting.length === 0) await this.#read()
      await this.#write()
      if (this.#sealedAt !== undefined) return
      const head = await this.#source.head()
      onProgress?.(this.#after, head, 'copying')
      await turn()
      if (head - this.#after > NEAR) continue
      if (++sealing > 1 && this.#after >= head)
        throw new EngineError('log-failed', `${this.#source.description} could not be sealed; try again`)
      if (sealing === 1) await this.#seal()
    }
  }

  done(log: string): Copied {
    return { log, generation: this.#generation, records: this.#records, found: this.#found, sealedAt: this.#sealedAt! }
  }

  async #read(): Promise<void> {
    if (this.#sealedAt !== undefined) return
    const { records, reached } = await this.#source.read(this.#after)
    this.#after = reached
    for (const record of records) {
      const copy = this.#copyOf(record)
      if (!copy) return
      this.#waiting.push(copy)
    }
  }

  /** @returns undefined for the seal, behind which nothing is copied */
  #copyOf({ position, value, tenant }: Stored): NewRecord | undefined {
    const record = decode(value)
    const as = (value: string | Uint8Array): NewRecord => ({
      value,
      tenant,
      time: record.kind === 'foreign' ? 0 : record.time,
      ...(record.kind === 'barrier' && tenant === null ? { barrier: true } : {}),
    })
    if (tenant !== null || record.kind === 'foreign' || record.kind === 'data') return as(value)
    const next = control(this.#shard, record)
    if (typeof next === 'string') return as(value)
    this.#shard = next
    if (record.kind === 'manifest') {
      this.#generation = record.generation + 1
      return as(encodeControl({ ...record, generation: this.#generation }))
    }
    if (record.kind !== 'seal') return as(value)
    this.check(sealNote(value))
    this.#sealedAt = position
    return undefined
  }

  async #write(): Promise<void> {
    if (this.#waiting.length === 0) return
    // The condition finds somebody who writes there, too.
    const answers = await this.#target.append(this.#waiting, this.#target.conditional ? { after: this.#last } : {})
    for (const answer of answers) {
      if (answer.status === 'conflict')
        throw new EngineError(
          'log-failed',
          `somebody else writes into ${this.#target.description}. It cannot be used any more; delete it and begin anew`,
        )
      if (answer.status === 'written') this.#last = answer.position
      else
        throw answer.cause instanceof EngineError
          ? answer.cause
          : new EngineError('log-failed', `${this.#target.description} could not be written. The same call again goes on here`, {
              cause: answer.cause,
            })
    }
    this.#records += this.#waiting.length
    this.#waiting = []
  }

  /** What the log answers does not matter: the seal is read back or it is not there. */
  async #seal(): Promise<void> {
    const time = Date.now()
    const value = sealValue(this.#shard.log!, time, { by: 'copy', place: this.#target.place, to: this.#options.to })
    const [answer] = await this.#source.append([{ value, tenant: null, time }])
    if (answer?.status !== 'written' && answer && 'cause' in answer && answer.cause instanceof EngineError) throw answer.cause
  }

  #other(): EngineError {
    return new EngineError(
      'log-unusable',
      `${this.#target.description} holds something else than the beginning of ${this.#source.description}. Copy into a new log`,
    )
  }
}

function same(a: string | Uint8Array, b: string | Uint8Array): boolean {
  if (typeof a === 'string' || typeof b === 'string') return a === b
  return Buffer.compare(a, b) === 0
}

const turn = () => new Promise(resolve => setImmediate(resolve))
