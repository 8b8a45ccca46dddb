/** Logs as values: each is another one and a record behind it, made once, so that equal logs are one number. With what `accept` says of it. */
import { accept, control, emptyShard, type ShardState } from '../../../src/accept.ts'
import { decide, prepare } from '../../../src/decide.ts'
import type { NewRecord, Position, Stored } from '../../../src/log.ts'
import { Tenant } from '../../../src/projection.ts'
import { type Decision, decode, encodeControl } from '../../../src/record.ts'
import app from './app.ts'
import { PlainStore } from './store.ts'

export const TIME = 1_700_000_000_000
export const LOG = 'small'

export interface Entry extends Stored {
  readonly barrier: boolean
}

/** What was accepted under an id, and where. */
export interface Won {
  readonly decision: Decision
  readonly position: Position
  /** The tenant's version after it. */
  readonly version: number
}

export interface Log {
  readonly number: number
  /** The log that this one goes on from; undefined: it has nothing but the manifest. */
  readonly before: Log | undefined
  readonly entries: readonly Entry[]
  readonly end: Position
  /** Folded by the judge. */
  readonly shard: ShardState
  readonly won: ReadonlyMap<string, Won>
  readonly version: number
  readonly digest: string
  /** The tenant's database, as text. */
  readonly database: string
  readonly problem: string | undefined
}

/** What a command id stands for. */
export interface Command {
  readonly id: string
  readonly name: 'take' | 'give'
  readonly purse: string
  /** The id is made when it is first asked for: then a rejection need not be recorded. */
  readonly fresh: boolean
}

export class Logs {
  readonly first: Log
  readonly #commands: ReadonlyMap<string, Command>
  readonly #behind = new Map<string, Log>()
  #count = 0

  constructor(commands: Iterable<Command>) {
    this.#commands = new Map([...commands].map(command => [command.id, command]))
    const manifest = { app: 'purses', partitions: 1, partition: 0, rules: 1, window: 50, generation: 1 }
    const value = encodeControl({ kind: 'manifest', log: LOG, time: TIME, ...manifest })
    this.first = this.#judged(undefined, { position: 1, value, tenant: null, barrier: false })
  }

  /** Positions have gaps, as Kafka's have. */
  append(log: Log, { value, tenant, barrier = false }: NewRecord, position = log.end + 1 + (log.entries.length % 2)): Log {
    const key = `${log.number} ${position} ${String(value)}`
    let next = this.#behind.get(key)
    if (!next) this.#behind.set(key, (next = this.#judged(log, { position, value, tenant, barrier })))
    return next
  }

  /** There is nothing up to here. */
  pass(log: Log, end: Position): Log {
    if (end <= log.end) return log
    const key = `${log.number} ${end}`
    let next = this.#behind.get(key)
    if (!next) this.#behind.set(key, (next = { ...log, number: this.#count++, before: log, end }))
    return next
  }

  /** What a command comes to at a version that the log has passed. */
  decided(log: Log, version: number, { name, purse }: Command): string {
    let at = log
    while (at.version > version && at.before) at = at.before
    return essence(decide(app, prepare(app, name, { purse }), new PlainStore(at.database).read, TIME))
  }

  /** Decides what is accepted again at its place. */
  #judged(before: Log | undefined, entry: Entry): Log {
    const { position, value } = entry
    const base = { number: this.#count++, before, entries: [...(before?.entries ?? []), entry], end: position }
    const shard = before?.shard ?? emptyShard
    const record = decode(value)
    const none = { version: 0, digest: '', database: new PlainStore().text, won: new Map<string, Won>() }
    const { version, digest, database, won } = before ?? none
    if (record.kind === 'foreign') return { ...base, shard, version, digest, database, won, problem: `position ${position} is foreign` }
    if (record.kind !== 'data') {
      const next = control(shard, record)
      return { ...base, shard: typeof next === 'string' ? shard : next, version, digest, database, won, problem: before?.problem }
    }
    const problems: string[] = []
    const store = new PlainStore(database)
    const tenant = new Tenant(app, 'default', store, LOG)
    const verdicts = accept(shard, tenant.state, record, id => store.known(id) !== undefined)
    if (verdicts.includes('diverged') || verdicts.includes('foreign')) problems.push(`the record at ${position} is ${verdicts.join(', ')}`)
    const accepted = new Map(won)
    tenant.speculate()
    let reached = version
    for (const [index, decision] of record.decisions.entries()) {
      if (verdicts[index] !== 'accepted') continue
      const { name, purse } = this.#commands.get(decision.id)!
      const again = decide(app, prepare(app, name, { purse }), store.read, record.time)
      if (essence(again) !== essence(decision)) {
        problems.push(`${decision.id} at ${position} decides ${essence(again)}, and stands there as ${essence(decision)}`)
        break
      }
      if (accepted.has(decision.id)) problems.push(`${decision.id} was accepted twice`)
      for (const event of decision.events) tenant.project(event, ++reached, record.time)
      accepted.set(decision.id, { decision, position, version: reached })
    }
    tenant.rollback()
    if (problems.length === 0) {
      tenant.fold(shard, position, value, record, 'here')
      tenant.commit()
      if (tenant.state.version !== reached) problems.push(`version ${tenant.state.version} at ${position}, counted ${reached}`)
    }
    const { state } = tenant
    const problem = before?.problem ?? problems[0]
    return { ...base, shard, version: state.version, digest: state.digest, database: store.text, won: accepted, problem }
  }
}

/** What a decision comes to, as text. */
export const essence = ({ events, result, rejection }: Pick<Decision, 'events' | 'result' | 'rejection'>): string =>
  JSON.stringify([events, result, rejection])
