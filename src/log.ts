/**
 * The log: records of one shard in one order. This file says what a log owes to the engine; `log/` holds the kinds of log.
 * A log knows nothing of events or versions. Correctness never rests on its locks or fences: `accept` alone decides.
 */

import type { Roster } from './roster.ts'

/** A place in a log. Grows, has gaps. 0 stands before the first record. */
export type Position = number

/** A record as the log gives it back. Text where the log keeps text; anything else is bytes that somebody else wrote. */
export interface Stored {
  readonly position: Position
  readonly value: string | Uint8Array
  /** What the log filed the record under; null for a control record. A record whose envelope says otherwise is foreign. */
  readonly tenant: string | null
}

/** A record to be appended. `tenant` and `barrier` are what `after` is checked by; the log looks no deeper. */
export interface NewRecord {
  /** Text; bytes only where a copy carries over what somebody else wrote. */
  readonly value: string | Uint8Array
  /** The tenant of a data record, null for a control record. */
  readonly tenant: string | null
  /** Milliseconds since the epoch, as the record's own `time`. */
  readonly time: number
  /** A control record that voids nothing. */
  readonly barrier?: boolean
  /** What it holds, for readers that do not look into it: its types of events, or the kind of a control record. */
  readonly kinds?: readonly string[]
}

/** `fatal`: the log has failed for good; nothing more will be written through it. `fenced`: another writer took the fence (see `fence`). */
export type Appended =
  /** `previous`: the position of the record before this one, where the log can tell; the writer then need not read back. */
  | { readonly status: 'written'; readonly position: Position; readonly previous?: Position }
  /** Certainly not in the log, now or later. Safe to append again. */
  | { readonly status: 'not-written'; readonly cause?: unknown; readonly fatal?: boolean; readonly fenced?: boolean }
  /** Refused because of `after`. */
  | { readonly status: 'conflict' }
  /** May be in the log, or arrive yet. Settled by reading only. */
  | { readonly status: 'unknown'; readonly cause?: unknown; readonly fatal?: boolean }

export interface Chunk {
  readonly records: readonly Stored[]
  /** Everything up to here was looked at: also the gaps. The next read begins here. */
  readonly reached: Position
}

export interface ReadOptions {
  /** Only this tenant's records and all control records; null: control records alone. */
  readonly tenant?: string | null
  /** Nothing behind this position. */
  readonly upTo?: Position
  /** Wait for the first record when there is none (a live read). Without it the answer comes at once. */
  readonly wait?: boolean
  readonly signal?: AbortSignal
}

export interface AppendOptions {
  /** Refuse each record of which a record of its tenant, or a control record other than a barrier, stands behind. */
  readonly after?: Position
  /**
   * For logs that can keep rivals out. `take`: from here on whoever took the fence before is refused. `hold`: written only if nobody has
   * taken it since this writer did. Left out: whatever the fence says. A log without fences ignores it; safety never rests on it.
   */
  readonly fence?: 'take' | 'hold'
  /** Nobody waits any more: an append that still waits for its turn is `not-written`. One that has begun goes on. */
  readonly signal?: AbortSignal
}

export interface Log {
  /** For people: 'file:seats.log'. */
  readonly description: string
  /** Who the log is: the file or topic itself. A database remembers it and notices when it was put on another log. */
  readonly place: string
  /** Whether `append` honours `after`. */
  readonly conditional: boolean
  /** Whether `head` is a fresh look that no acknowledged record can be missing from. */
  readonly freshHead: boolean
  /** Whether reading one tenant's records, or the control records alone, costs what those cost and not what the whole log costs. */
  readonly selective: boolean
  /** Whether a waiting read tells of every record at once, own ones included: to read on beside it gains nothing. */
  readonly tails: boolean
  /**
   * The next records behind `after`, in order; an empty chunk when there are none, or when the signal fired. A function is asked anew
   * before each look, for a waiting reader may have got further by other means (its own appends).
   */
  read(after: Position | (() => Position), options?: ReadOptions): Promise<Chunk>
  /** One answer per record, in order. */
  append(records: readonly NewRecord[], options?: AppendOptions): Promise<readonly Appended[]>
  /** The position of the last record, 0 in an empty log. */
  head(): Promise<Position>
  close(): Promise<void>
}

/** The log of an app: its shards in order, and who is alive on them. */
export interface Logs {
  /** For people: 'kafka://host:9092/topic'. */
  readonly description: string
  /** At least one; a tenant's shard is told by its name (`partitionOf`). */
  readonly shards: readonly Log[]
  readonly roster: Roster
  /** How far apart those may run who share it: it tells how they can reach each other. */
  readonly spans: 'process' | 'machine' | 'network'
  /** What whoever runs it should know, for people. */
  readonly notices?: readonly string[]
  close(): Promise<void>
}
