/**
 * Accepted events become rows, and the standing moves with them in one transaction. A `Tenant` is one tenant's database together
 * with its fold state. It knows nothing of logs, queues or time: the shard tells it what to fold and when to speculate.
 */
import { accept, enter, genesis, restore, type ShardState, type TenantState, type Verdict } from './accept.ts'
import type { App } from './app.ts'
import type { Standing, Store } from './database.ts'
import { project } from './decide.ts'
import { EngineError } from './errors.ts'
import type { Position } from './log.ts'
import { type DataRecord, type RecordedEvent, recordHash } from './record.ts'

export interface Folded {
  readonly verdicts: readonly Verdict[]
  /** The tenant's version after each decision. */
  readonly versions: readonly number[]
  /** The speculation came true: its rows were kept. */
  readonly confirmed: boolean
}

/** Of what a tenant halts for; anything else is a projection that throws. */
const waysOut = {
  'unknown-event': 'Add the event type, or its newer version, to the app, or run the app that wrote it',
  'data-unusable': 'Then start the replica again: it goes on from there',
  'data-in-use': 'Then start the replica again: it goes on from there',
  halted: 'Correct the projection and give the app another `revision`: its database is then built anew beside this one',
} as const

export class Tenant {
  readonly name: string
  readonly store: Store
  readonly #app: App
  readonly #state: TenantState
  #standing: Standing
  /** The record that `#standing` stands at; hashed when the standing is committed, not for each record. */
  #last: string | Uint8Array | undefined
  #tidied: Standing
  #forgotten = 0
  #transaction: 'none' | 'following' | 'speculating' = 'none'

  constructor(app: App, name: string, store: Store, logId: string) {
    this.name = name
    this.store = store
    this.#app = app
    this.#standing = this.#tidied = store.standing
    const { version, floor, digest } = store.standing
    this.#state = version === 0 ? genesis(logId, name) : restore(logId, name, { version, floor, digest }, () => store.window())
  }

  /** As folded so far; the store may stand behind it until `commit`. */
  get state(): TenantState {
    return this.#state
  }

  get position(): Position {
    return this.#standing.position
  }

  get speculating(): boolean {
    return this.#transaction === 'speculating'
  }

  /** Opens the transaction in which decisions of a batch see each other. What follows is undone by `rollback` or kept by `fold`. */
  speculate(): void {
    this.commit()
    this.store.begin()
    this.#transaction = 'speculating'
  }

  project(event: RecordedEvent, version: number, time: number): void {
    project(this.#app, this.store.write, event, version, time)
  }

  /** Undoes a speculation. */
  rollback(): void {
    if (this.#transaction !== 'speculating') return
    this.#transaction = 'none'
    this.store.rollback()
  }

  /**
   * Takes one record of this tenant. While speculating, the record must be the speculation's own, and nothing of this tenant may
   * have been folded since it began: then its rows stand already, and are kept if every decision is accepted.
   * @throws EngineError halted, with nothing of this record kept; the tenant must not be used again.
   */
  fold(shard: ShardState, position: Position, value: string | Uint8Array, record: DataRecord, place: string): Folded {
    const { version, digest } = this.#state
    const verdicts = accept(shard, this.#state, record, id => this.store.known(id) !== undefined)
    const confirmed = this.#transaction === 'speculating' && verdicts.every(verdict => verdict === 'accepted')
    if (!confirmed) this.rollback()
    try {
      if (this.#transaction === 'none') {
        this.store.begin()
        this.#transaction = 'following'
      }
      if (!confirmed) this.#projectAccepted(record, verdicts)
      this.#transaction = 'following'
      const entered = enter(shard, this.#state, record, value, verdicts)
      const ids: string[] = []
      for (let i = 0; i < verdicts.length; i++) if (verdicts[i] === 'accepted') ids.push(record.decisions[i]!.id)
      this.store.enterIds(ids, { position, version: this.#state.version })
      const time = Math.max(this.#standing.time, record.time)
      if (entered.history) this.store.enterHistory({ ...entered.history, position, time })
      const { version, floor, digest } = this.#state
      this.#standing = { position, version, floor, digest, time, recordHash: '', place, generation: shard.generation }
      this.#last = value
      return { verdicts, versions: entered.versions, confirmed }
    } catch (cause) {
      this.store.rollback()
      this.#transaction = 'none'
      throw this.#halt(position, record, { version, digest }, cause)
    }
  }

  /** Folds a record only as far as a version inside it: rows as they were then, for a database that is read and thrown away. */
  foldUpTo(shard: ShardState, position: Position, record: DataRecord, until: number, place: string): void {
    this.commit()
    const verdicts = accept(shard, this.#state, record, id => this.store.known(id) !== undefined)
    this.store.begin()
    this.#projectAccepted(record, verdicts, until)
    const time = Math.max(this.#standing.time, record.time)
    this.store.commit({ ...this.#standing, position, version: until, time, place, generation: shard.generation })
  }

  /** Commits what was followed. */
  commit(): void {
    if (this.#transaction !== 'following') return
    this.#standing = { ...this.#standing, recordHash: this.#last === undefined ? this.#standing.recordHash : recordHash(this.#last) }
    this.#transaction = 'none'
    this.store.commit(this.#standing)
  }

  /** Between batches: makes durable what was committed since the last time, and drops what no verdict needs any more. */
  tidy({ forgetBefore }: ShardState): void {
    this.store.sync()
    if (this.#transaction !== 'none' || this.#tidied === this.#standing) return
    this.#tidied = this.#standing
    this.store.thin()
    if (forgetBefore > this.#forgotten) this.store.forget(forgetBefore)
    this.#forgotten = forgetBefore
  }

  close(lazily = false): void {
    this.rollback()
    this.commit()
    this.store.close(lazily)
  }

  #projectAccepted(record: DataRecord, verdicts: readonly Verdict[], until = Number.MAX_SAFE_INTEGER): void {
    let { version } = this.#state
    for (const [index, decision] of record.decisions.entries()) {
      if (verdicts[index] !== 'accepted') continue
      for (const event of decision.events) if (++version <= until) this.project(event, version, record.time)
    }
  }

  #halt(position: Position, record: DataRecord, { version, digest }: { version: number; digest: string }, cause: unknown): EngineError {
    const why = cause instanceof Error ? cause.message : String(cause)
    const code = cause instanceof EngineError && cause.code in waysOut ? (cause.code as keyof typeof waysOut) : 'halted'
    const where = `position ${position} of its log, at version ${version} and digest ${digest} (the record was made at digest ${record.digest})`
    const unknown = code === 'unknown-event' ? (cause as EngineError).details : undefined
    return new EngineError(code, `tenant ${this.name} stopped at ${where}: ${why}. ${waysOut[code]}`, {
      cause,
      details: Object.assign({ tenant: this.name, position, version, digest, recordDigest: record.digest }, unknown),
    })
  }
}
