/**
 * A replica that has nothing yet starts from a snapshot: the newest one that fits its log becomes its data directory, as if it had been there
 * before. One that does not fit, or is not whole, is passed over with a notice; without any the log is read from its beginning.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Database, Standing } from '../database.ts'
import { type Clock, nap, timeout } from '../clock.ts'
import type { Log, Position, Stored } from '../log.ts'
import { recordHash } from '../record.ts'
import type { Databases } from '../replica/data.ts'
import type { Advance } from '../replica/progress.ts'
import { shardAt } from '../replica/replay.ts'
import { contradicted, type DatabasePart, misfitToStart, type ShardPart, type Snapshot, type Wanted } from '../snapshot.ts'
import type { Offer, Source } from './source.ts'

/** How many records are asked for at a time. */
const AT_ONCE = 16
/** Between two looks at the end of a log that lags, ms. */
const AGAIN = 50

export interface Beginner {
  readonly database: Database
  readonly source: Source
  readonly data: Databases
  readonly shards: readonly Log[]
  readonly wanted: Wanted
  readonly clock: Clock
  /** How long a log may take to show what it has, ms. */
  readonly patience: number
  readonly signal: AbortSignal
  notice(text: string): void
}

/** Does nothing where there are databases already. Throws nothing but what the signal says. */
export async function startFromSnapshot(beginner: Beginner): Promise<void> {
  const { source, data, shards, wanted, signal, notice } = beginner
  let offers = 0
  try {
    if (data.tenants().length > 0 || shards.some((_, partition) => data.progress.load(partition))) return
    for await (const offer of source.offers(signal)) {
      offers++
      const why = await tryOut(beginner, offer)
      signal.throwIfAborted()
      if (why === undefined) return
      notice(`the snapshot ${offer.name} of ${source.description} is not used: ${why}`)
    }
    notice(`${source.description} holds no ${offers > 0 ? 'other ' : ''}snapshot for log ${wanted.log}: it is read from its beginning`)
  } catch (error) {
    signal.throwIfAborted()
    notice(`no snapshot came from ${source.description}: ${(error as Error).message}. The log is read from its beginning`)
  }
}

/** @returns why it is not used; undefined if the data directory is the snapshot's now */
async function tryOut(
  { database, data, shards, wanted, clock, patience, signal, notice, source }: Beginner,
  offer: Offer,
): Promise<string | undefined> {
  if ('problem' in offer) return offer.problem
  const { snapshot } = offer
  const misfit = misfitToStart(snapshot, wanted)
  if (misfit !== undefined) return misfit
  const intake = data.intake()
  try {
    for (const part of snapshot.shards) {
      const databases = snapshot.databases.filter(({ partition }) => partition === part.partition)
      const why = await contradiction(part, databases, shards[part.partition]!, { clock, patience, signal })
      if (why !== undefined) return why
    }
    for (const part of snapshot.databases) {
      signal.throwIfAborted()
      await offer.bring(part, intake.path(part.tenant), signal)
      checkStanding(intake.standing(database, part.tenant), part)
    }
    intake.adopt()
    // Last: what comes before it alone is read from the beginning, and passed over where a database has it.
    data.progress.save(advancesOf(snapshot))
    notice(`started from the snapshot ${offer.name} of ${source.description}, at ${placesOf(snapshot)}`)
    return undefined
  } catch (error) {
    return (error as Error).message
  } finally {
    intake.discard()
  }
}

/** @throws Error */
function checkStanding(standing: Standing, part: DatabasePart): void {
  for (const key of ['position', 'version', 'floor', 'digest', 'time', 'recordHash'] as const) {
    if (standing[key] !== part[key])
      throw new Error(`the database of tenant ${part.tenant} says ${key} ${standing[key]}, its snapshot ${part[key]}`)
  }
}

const advancesOf = ({ shards }: Snapshot): Map<number, Advance> =>
  new Map(
    shards.map(({ partition, place, cursor, state, types, tenants }) => [
      partition,
      { place, cursor, state, types: new Map(types), tenants: new Map(tenants) },
    ]),
  )

const placesOf = ({ shards }: Snapshot): string =>
  shards
    .map(({ partition, cursor }) => (shards.length === 1 ? `position ${cursor}` : `position ${cursor} of shard ${partition}`))
    .join(', ')

// --- Against the log ------------------------------------------------------------------------------------------------------------

interface Patience {
  readonly clock: Clock
  readonly patience: number
  readonly signal: AbortSignal
}

/**
 * Why the log does not lead to it: it ends before, holds other records where its databases stand, or goes on from another digest. Undefined if
 * all is as the snapshot says.
 */
export async function contradiction(
  part: ShardPart,
  databases: readonly DatabasePart[],
  log: Log,
  patience: Patience,
): Promise<string | undefined> {
  const { cursor, state } = part
  const last = databases.reduce((most, { position }) => Math.max(most, position), cursor)
  const head = await headBehind(log, last, patience)
  if (head < last)
    return `it stands at position ${last}, but the log ends at ${head}: the log was replaced by an older copy of itself, or does not show its end`
  if (log.selective && !isDeepStrictEqual(state, await shardAt(log, cursor, patience.clock)))
    return `what the log's own records come to at position ${cursor} is not what the snapshot says`
  for (let first = 0; first < databases.length; first += AT_ONCE) {
    const some = databases.slice(first, first + AT_ONCE)
    const records = await Promise.all(some.map(({ position }) => recordAt(log, position, patience)))
    for (const [index, { tenant, position, recordHash: remembered }] of some.entries()) {
      const record = records[index]
      if (record?.tenant !== tenant || recordHash(record.value) !== remembered)
        return `the log holds another record at position ${position} than the database of tenant ${tenant} remembers`
    }
  }
  const other = cursor < head ? contradicted(part, databases, await recordsBehind(log, cursor, patience)) : undefined
  return other === undefined ? undefined : `the next record of tenant ${other} was made at another digest than its database has`
}

async function recordsBehind(log: Log, after: Position, { clock, patience, signal }: Patience): Promise<readonly Stored[]> {
  const limit = timeout(clock, patience)
  const either = AbortSignal.any([signal, limit.signal])
  const { records } = await log.read(after, waiting(log, either)).finally(limit.cancel)
  return records
}

const lags = ({ freshHead, tails }: Log): boolean => tails || !freshHead
const waiting = (log: Log, signal: AbortSignal) => (lags(log) ? { wait: true, signal } : { signal })

/** Its end, which is known to be at `known` at least: one that lags gets some time to show it. */
async function headBehind(log: Log, known: Position, { clock, patience, signal }: Patience): Promise<Position> {
  const until = clock.now() + patience
  for (;;) {
    const head = await log.head()
    if (head >= known || log.freshHead || clock.now() >= until || signal.aborted) return head
    await nap(clock, AGAIN, signal)
  }
}

/** What stands at a position in front of the log's end. */
async function recordAt(log: Log, position: Position, { clock, patience, signal }: Patience): Promise<Stored | undefined> {
  const limit = timeout(clock, patience)
  try {
    const either = AbortSignal.any([signal, limit.signal])
    const { records } = await log.read(position - 1, { upTo: position, ...waiting(log, either) })
    return records.find(record => record.position === position)
  } finally {
    limit.cancel()
  }
}
