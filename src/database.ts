/**
 * The database of one tenant: the app's rows and, in the same transaction, how far the log was applied. This file says what the
 * engine asks of a database; `database/` holds the kinds. Written by projections alone, thrown away and replayed at will.
 */
import type { Verdict } from './accept.ts'
import type { Tags } from './record.ts'

/** What an app declares: `sqlite('CREATE TABLE ...')`. DR, DW: the handles that decide and projections get. */
export interface Database<DR = unknown, DW = unknown> {
  readonly kind: string
  /** Goes into the revision: another definition is another database. */
  readonly definition: string
  /** Never read: carries the types of the handles. */
  readonly handles?: { readonly read: DR; readonly write: DW }
}

/** Where a tenant's database stands in its log. Moves only together with the rows. */
export interface Standing {
  /** Position of the last record of this tenant that was handled, accepted or not. */
  readonly position: number
  readonly version: number
  readonly floor: number
  readonly digest: string
  /** Log time: the running maximum of the records' times, ms since the epoch. */
  readonly time: number
  /** `recordHash` of the record at `position`; '' at position 0. */
  readonly recordHash: string
  /** The place of the log and its generation that `position` belongs to. */
  readonly place: string
  readonly generation: number
}

/** What the id table keeps of an accepted decision, for ever (or until forgotten): the record that holds its answer. */
export interface IdEntry {
  /** In the standing's place; a database on another place of its log is built anew. */
  readonly position: number
  /** The tenant's version after that record. */
  readonly version: number
}

/** One accepted record with events. `writes` only within the window, null beyond. */
export interface HistoryEntry {
  /** The tenant's version after the record. */
  readonly end: number
  readonly position: number
  /** Log time: the running maximum, ms. */
  readonly time: number
  readonly digest: string
  /** One verdict per decision; null: all accepted. */
  readonly verdicts: readonly Verdict[] | null
  readonly writes: Tags | null
}

/**
 * A tenant's database, opened for writing by the one replica that owns it. All calls are synchronous. One transaction at a time:
 * `begin`, then project and `enter`, then `commit` or `rollback`. Speculation projects without entering, so that `known`
 * never sees an id that was not accepted.
 */
export interface Store<DR = unknown, DW = unknown> {
  /** As last committed. */
  readonly standing: Standing
  /** Sees the open transaction; refuses to write. */
  readonly read: DR
  /** For projections, inside a transaction. */
  readonly write: DW
  /** Sees only what was committed; opened when first used. */
  readonly queries: DR
  begin(): void
  /** Enters the ids of a record's accepted decisions, none of which is known. */
  enterIds(ids: readonly string[], entry: IdEntry): void
  /** Enters an accepted record with events. */
  enterHistory(entry: HistoryEntry): void
  /** Moves the standing and commits. Throws (and nothing moved) when the stored version is not `standing.version`. */
  commit(next: Standing): void
  rollback(): void
  known(id: string): IdEntry | undefined
  /** Entries with `end` >= `floor`, oldest first. */
  window(): HistoryEntry[]
  /** The entry that holds `version`: the first whose end is not below it. */
  historyAt(version: number): HistoryEntry | undefined
  /** The last entry whose time is not after `time`. */
  historyBefore(time: number): HistoryEntry | undefined
  /** Drops `writes` of entries below `floor`. May be called at any time outside a transaction. */
  thin(): void
  /** Drops the UUIDv7 ids older than `before` (ms); some may stay up to 16 ms longer. */
  forget(before: number): void
  /** Makes everything committed survive a power cut. Also inside a transaction. */
  sync(): void
  /** @param lazily what was committed may stay in files beside, so that nobody waits for the disk */
  close(lazily?: boolean): void
}
