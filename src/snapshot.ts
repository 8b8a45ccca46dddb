/**
 * A snapshot: databases of a replica as files, whole (rows, ids, history), and where in the log a replica that has them goes on. Here is what
 * it says of itself and whether it fits a log; `snapshot/` makes them, brings them and starts from them. A folder each:
 *
 *   NAME/snapshot.json   what is in it, with a checksum over all that it says
 *   NAME/TENANT.db       a tenant's database
 *
 * The cursors are read before the databases are copied, and those go on meanwhile: each stands where its shard's cursor does, or further. So
 * a replica that was killed leaves its data directory, and what starts from a snapshot starts as such a one does. A tenant without a database
 * in it, of which the log holds records, is found as there: by a search of the log, or by how far it must have come.
 */
import { accept, behind, emptyShard, restore, type ShardState } from './accept.ts'
import { isTenant } from './ids.ts'
import type { Position, Stored } from './log.ts'
import { decode, sha256 } from './record.ts'

/** Of one shard: what a replica stores of how far it has come. */
export interface ShardPart {
  readonly partition: number
  readonly place: string
  readonly cursor: Position
  /** At the cursor. */
  readonly state: ShardState
  /** Event types that stand in the log up to the cursor, each with its latest version there. */
  readonly types: readonly (readonly [type: string, version: number])[]
  /** How far a tenant's database must have come at least; of logs that must be scanned for one. */
  readonly tenants: readonly (readonly [tenant: string, position: Position])[]
}

/** A tenant's database and where it stands. */
export interface DatabasePart {
  readonly tenant: string
  readonly partition: number
  readonly bytes: number
  /** Of the file, in hex. */
  readonly sha256: string
  readonly position: Position
  readonly version: number
  readonly floor: number
  readonly digest: string
  /** Log time, ms. */
  readonly time: number
  /** Of the record at `position`. */
  readonly recordHash: string
}

export interface Snapshot {
  readonly format: 1
  readonly app: string
  readonly revision: string
  readonly log: string
  readonly generation: number
  /** When it was made, ms. */
  readonly made: number
  /** Not of one tenant alone: a replica can start from it. */
  readonly whole: boolean
  readonly shards: readonly ShardPart[]
  readonly databases: readonly DatabasePart[]
}

/** What a snapshot must be of. */
export interface Wanted {
  readonly app: string
  readonly revision: string
  readonly log: string | null
  readonly generation: number
  /** Of the shards, in order. */
  readonly places: readonly string[]
}

export const fileOf = (tenant: string): string => `${tenant}.db`

/** One line. */
export const encodeSnapshot = (snapshot: Snapshot): string => {
  const text = JSON.stringify(snapshot)
  return `{"sha256":"${sha256(text)}","snapshot":${text}}\n`
}

/** @throws Error that says what is wrong with it; whatever it is given */
export function decodeSnapshot(text: string): Snapshot {
  let read: { readonly sha256?: unknown; readonly snapshot?: Snapshot }
  try {
    read = JSON.parse(text)
  } catch {
    throw new Error('it is torn, or none: snapshot.json is not JSON')
  }
  const { snapshot } = read ?? {}
  if (typeof snapshot !== 'object' || snapshot === null) throw new Error('snapshot.json tells of no snapshot')
  // The checksum is of our own bytes: what says anything else, or says it otherwise, is not what was written.
  if (sha256(JSON.stringify(snapshot)) !== read.sha256) throw new Error('snapshot.json is damaged: it is not what its checksum is of')
  if (snapshot.format !== 1) throw new Error(`it has format ${String(snapshot.format)}, this release knows 1`)
  // Names of files are made of them.
  for (const { tenant } of snapshot.databases) if (!isTenant(tenant)) throw new Error('it holds a tenant whose name is not legal')
  // What was made before something was added to the state does not tell it.
  return { ...snapshot, shards: snapshot.shards.map(part => ({ ...part, state: { ...emptyShard, ...part.state } })) }
}

/** Why a replica of this app on this log cannot use it, as far as that is to be seen without the log; undefined if it can. */
export function misfit(snapshot: Snapshot, wanted: Wanted): string | undefined {
  const { app, revision, log, generation, shards } = snapshot
  if (app !== wanted.app) return `it is of the app ${app}`
  if (revision !== wanted.revision) return `it is of revision ${revision.slice(0, 12)}, this is ${wanted.revision.slice(0, 12)}`
  if (log !== wanted.log) return `it is of the log ${log}, this is ${wanted.log}`
  if (generation !== wanted.generation)
    return `it is of generation ${generation} of its log, which was restored or copied since: this is ${wanted.generation}`
  for (const { partition, place } of shards) {
    if (place !== wanted.places[partition])
      return `it is of another file or topic with the same log: its positions are not those of this one`
  }
  return undefined
}

/** Also whether it holds what a start needs. */
export function misfitToStart(snapshot: Snapshot, wanted: Wanted): string | undefined {
  const why = misfit(snapshot, wanted)
  if (why !== undefined) return why
  if (!snapshot.whole) return 'it is of one tenant alone, and good for looks at its past'
  const parts = new Set(snapshot.shards.map(({ partition }) => partition))
  return wanted.places.every((_, partition) => parts.has(partition)) ? undefined : 'it lacks a shard'
}

/**
 * The tenant whose next record says that the database is not as the log has it: that record was made at another digest of the same version, and
 * none was at this one. Undefined if there is none.
 * @param records what follows the shard's cursor, as far as it was read
 */
export function contradicted(part: ShardPart, databases: readonly DatabasePart[], records: readonly Stored[]): string | undefined {
  const open = new Map(databases.map(database => [database.tenant, database]))
  const doubtful = new Set<string>()
  let state = part.state
  for (const { position, value, tenant } of records) {
    const record = decode(value)
    if (record.kind === 'foreign') continue
    if (record.kind !== 'data') {
      if (tenant === null) state = behind(state, record)
      continue
    }
    const database = open.get(record.tenant)
    if (!database || tenant !== record.tenant || position <= database.position || record.base !== database.version) continue
    // At its very version nothing is asked of window or ids.
    const [verdict] = accept(
      state,
      restore(state.log ?? '', record.tenant, database, () => []),
      record,
      () => false,
    )
    if (verdict === 'diverged') doubtful.add(record.tenant)
    else if (verdict === 'accepted') {
      open.delete(record.tenant)
      doubtful.delete(record.tenant)
    }
  }
  return [...doubtful][0]
}
