/**
 * Replays one tenant from the log into a database of its own: the past as a whole database, and the check that the living one is
 * what its log says. The same fold as everywhere; only where it stops differs.
 */
import { accept, behind, emptyShard, enter, genesis, isHome, type ShardState, type Verdict } from '../accept.ts'
import type { App } from '../app.ts'
import { type Clock, machine, timeout } from '../clock.ts'
import type { Standing, Store } from '../database.ts'
import { EngineError } from '../errors.ts'
import type { Chunk, Log, Position, Stored } from '../log.ts'
import { Tenant } from '../projection.ts'
import { type DataRecord, decode } from '../record.ts'

/** Where a replay stops. `time`: ms since the epoch, by log time; what has exactly that time is included. */
export type Until = { readonly position: Position } | { readonly version: number } | { readonly time: number }

export interface ReplayProgress {
  readonly position: Position
  readonly head: Position
  readonly events: number
}

/** How long a log may take to show what it is known to have, ms. */
const PATIENCE = 10_000

/**
 * The next records behind `after`; nothing more when all up to `upTo` was read. What stands there is known to be there, unless `upTo` has no
 * bounds: a log that does not show it yet is waited for, as what is left out would be taken for another history.
 */
async function readUpTo(log: Log, after: Position, upTo: Position, tenant: string | null, clock: Clock): Promise<Chunk> {
  const chunk = await log.read(after, { tenant, upTo })
  const lags = log.tails || !log.freshHead
  if (!lags || chunk.reached > after || after >= upTo || upTo === Number.MAX_SAFE_INTEGER) return chunk
  const { signal, cancel } = timeout(clock, PATIENCE)
  const { records, reached } = await log.read(after, { tenant, wait: true, signal }).finally(cancel)
  if (reached === after)
    throw new EngineError('log-behind', `${log.description} does not show what stands behind position ${after}, up to ${upTo}`)
  return { records: records.filter(({ position }) => position <= upTo), reached: Math.min(reached, upTo) }
}

/** Where a replay begins that need not begin at the beginning. */
export interface From {
  readonly cursor: Position
  /** Of the shard, at the cursor. */
  readonly state: ShardState
}

const BEGINNING: From = { cursor: 0, state: emptyShard }

/** The data records of a tenant, each with the shard's state at its place; the shard's own records are followed on the way. */
async function* records(
  log: Log,
  tenant: string,
  upTo: Position,
  clock: Clock,
  from: From = BEGINNING,
): AsyncGenerator<{ readonly shard: ShardState; readonly stored: Stored; readonly record: DataRecord }> {
  let shard = from.state
  for (let after = from.cursor; ; ) {
    const chunk = await readUpTo(log, after, upTo, tenant, clock)
    for (const stored of chunk.records) {
      const record = decode(stored.value)
      if (record.kind === 'foreign') continue
      if (record.kind === 'data') {
        if (record.tenant === tenant && stored.tenant === tenant && record.log === shard.log && isHome(shard, tenant))
          yield { shard, stored, record }
        continue
      }
      if (stored.tenant !== null) continue
      shard = behind(shard, record)
    }
    if (chunk.reached === after) return
    after = chunk.reached
  }
}

/** The state of the shard behind `upTo`, from its control records alone. */
export async function shardAt(log: Log, upTo: Position, clock: Clock = machine): Promise<ShardState> {
  let shard = emptyShard
  for (let after = 0; ; ) {
    const chunk = await readUpTo(log, after, upTo, null, clock)
    for (const { value } of chunk.records) {
      const record = decode(value)
      if (record.kind === 'foreign' || record.kind === 'data') continue
      shard = behind(shard, record)
    }
    if (chunk.reached === after) return shard
    after = chunk.reached
  }
}

export interface ReplayExtras {
  /** A position that the log certainly has, whatever it says of its end. */
  readonly known?: Position
  /** The store holds all of the tenant up to there, or more. */
  readonly from?: From | undefined
  /** What each record came to. */
  readonly folded?: (position: Position, verdicts: readonly Verdict[]) => void
}

/**
 * Fills a store: an empty one, unless `from` says otherwise.
 * @throws EngineError no-such-version when the log ends before `until`; halted, unknown-event
 */
export async function replay(
  app: App,
  log: Log,
  name: string,
  store: Store,
  until: Until,
  progress: (progress: ReplayProgress) => void = () => {},
  { known = 0, from, folded }: ReplayExtras = {},
): Promise<Standing> {
  const head = 'position' in until ? until.position : Math.max(known, await log.head())
  let tenant: Tenant | undefined
  let count = 0
  const begun = store.standing.position
  for await (const { shard, stored, record } of records(log, name, head, machine, from)) {
    if (stored.position <= begun) continue
    tenant ??= new Tenant(app, name, store, record.log)
    const { version } = tenant.state
    if ('version' in until && version >= until.version) break
    // Log time is the running maximum: once it has passed, nothing behind belongs to that moment.
    if ('time' in until && record.time > until.time) break
    const most = record.decisions.reduce((sum, { events }) => sum + events.length, 0)
    if ('version' in until && version + most > until.version && ends(shard, tenant, record) > until.version) {
      tenant.foldUpTo(shard, stored.position, record, until.version, log.place)
      break
    }
    const { verdicts } = tenant.fold(shard, stored.position, stored.value, record, log.place)
    folded?.(stored.position, verdicts)
    if (++count % 512 === 0) {
      tenant.commit()
      progress({ position: stored.position, head, events: tenant.state.version })
    }
  }
  tenant?.commit()
  const { standing } = store
  progress({ position: head, head, events: standing.version })
  if ('version' in until && standing.version < until.version) {
    throw new EngineError('no-such-version', `tenant ${name} is at version ${standing.version}; it has not reached ${until.version}`)
  }
  return standing
}

/** The tenant's version after this record. */
function ends(shard: ShardState, tenant: Tenant, record: DataRecord): number {
  const verdicts = accept(shard, tenant.state, record, id => tenant.store.known(id) !== undefined)
  return record.decisions.reduce(
    (end, { events }, index) => (verdicts[index] === 'accepted' ? end + events.length : end),
    tenant.state.version,
  )
}

/** The digest that the log gives a tenant at the end of a record: the fold alone, without database or projections. */
export async function digestAt(
  log: Log,
  name: string,
  upTo: Position,
  clock: Clock,
): Promise<{ readonly version: number; readonly digest: string }> {
  const ids = new Set<string>()
  let state: ReturnType<typeof genesis> | undefined
  for await (const { shard, stored, record } of records(log, name, upTo, clock)) {
    state ??= genesis(record.log, name)
    const verdicts = accept(shard, state, record, id => ids.has(id))
    enter(shard, state, record, stored.value, verdicts)
    for (const [index, { id }] of record.decisions.entries()) if (verdicts[index] === 'accepted') ids.add(id)
  }
  return { version: state?.version ?? 0, digest: state?.digest ?? '' }
}
