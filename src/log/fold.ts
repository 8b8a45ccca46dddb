/**
 * A whole log folded in memory: all its tenants, without app or database. For tools that look at a log: what each record came to, and
 * where the tenants stand. It takes memory for every command id.
 */
import {
  accept,
  control,
  type Entered,
  emptyShard,
  enter,
  genesis,
  isHome,
  type ShardState,
  type TenantState,
  type Verdict,
} from '../accept.ts'
import type { Log, Position, Stored } from '../log.ts'
import { type DataRecord, decode, type LogRecord } from '../record.ts'

/** What a record came to. */
export type Effect =
  /** `from`: the tenant's version before it. */
  | {
      readonly kind: 'data'
      readonly record: DataRecord
      readonly verdicts: readonly Verdict[]
      readonly from: number
      readonly entered: Entered
    }
  | { readonly kind: 'control'; readonly record: Exclude<LogRecord, DataRecord> }
  /** No effect. Without a record: it is not one of ours. */
  | { readonly kind: 'none'; readonly record: LogRecord | undefined; readonly reason: string }

/** Records made at a digest that the log does not lead to, and so without effect: it was altered, or a replica that wrote was damaged. */
export interface Astray {
  readonly records: number
  readonly first: Position
}

/** With the next such record, if this is one. */
export function astray(before: Astray | undefined, position: Position, verdicts: readonly Verdict[]): Astray | undefined {
  return verdicts[0] === 'diverged' ? { records: (before?.records ?? 0) + 1, first: before?.first ?? position } : before
}

export class LogFold {
  #shard: ShardState = emptyShard
  #position: Position = 0
  #astray: Astray | undefined
  readonly #tenants = new Map<string, { readonly state: TenantState; readonly ids: Set<string> }>()

  get shard(): ShardState {
    return this.#shard
  }

  /** Of the last record that was taken. */
  get position(): Position {
    return this.#position
  }

  get astray(): Astray | undefined {
    return this.#astray
  }

  get tenants(): ReadonlyMap<string, { readonly state: TenantState }> {
    return this.#tenants
  }

  take(stored: Stored): Effect {
    this.#position = stored.position
    const record = decode(stored.value)
    if (record.kind === 'foreign') return { kind: 'none', record: undefined, reason: record.reason }
    const none = (reason: string): Effect => ({ kind: 'none', record, reason })
    if (record.kind !== 'data') {
      if (stored.tenant !== null) return none(`it is filed under tenant ${stored.tenant}`)
      const next = control(this.#shard, record)
      if (typeof next === 'string') return none(next)
      this.#shard = next
      return { kind: 'control', record }
    }
    if (this.#shard.log === null) return none('the log has no manifest yet')
    if (record.log !== this.#shard.log) return none('it belongs to another log')
    if (record.tenant !== stored.tenant)
      return none(`it is filed under ${stored.tenant === null ? 'no tenant' : `tenant ${stored.tenant}`}`)
    if (!isHome(this.#shard, record.tenant)) return none('its tenant lives on another shard')
    const { state, ids } = this.#tenant(record.tenant)
    const from = state.version
    const verdicts = accept(this.#shard, state, record, id => ids.has(id))
    this.#astray = astray(this.#astray, stored.position, verdicts)
    const entered = enter(this.#shard, state, record, stored.value, verdicts)
    for (const [index, { id }] of record.decisions.entries()) if (verdicts[index] === 'accepted') ids.add(id)
    return { kind: 'data', record, verdicts, from, entered }
  }

  #tenant(name: string) {
    let tenant = this.#tenants.get(name)
    if (!tenant) {
      tenant = { state: genesis(this.#shard.log!, name), ids: new Set() }
      this.#tenants.set(name, tenant)
    }
    return tenant
  }
}

export interface Range {
  /** Begins behind this position. */
  readonly after?: Position
  readonly upTo?: Position
  /** As `read` has it. */
  readonly tenant?: string | null
  readonly signal?: AbortSignal
}

/** The records that stand in a log now, in order. @throws what the signal says */
export async function* stored(log: Log, { after = 0, signal, ...options }: Range = {}): AsyncGenerator<Stored> {
  for (let at = after; ; ) {
    signal?.throwIfAborted()
    const { records, reached } = await log.read(at, options)
    yield* records
    if (reached === at) return
    at = reached
    // Reads of a file come at once: signals and timers get their turn.
    await new Promise(resolve => setImmediate(resolve))
  }
}
