/** What goes into the shard's machine and what comes out of it: types only. */
import type { ShardState } from '../accept.ts'
import type { App } from '../app.ts'
import type { Strategy } from '../consistency.ts'
import type { IdEntry, Store } from '../database.ts'
import type { Decided, Prepared } from '../decide.ts'
import type { EngineError } from '../errors.ts'
import type { Appended, NewRecord, Position, Stored } from '../log.ts'
import type { CommandMeta, Decision } from '../record.ts'

/** A command on its way. Made by the replica; the shard alone writes to its mutable part. */
export interface Request {
  readonly tenant: string
  readonly command: string
  readonly input: unknown
  readonly prepared: Prepared
  readonly id: string
  readonly hash: string
  readonly meta?: CommandMeta | undefined
  /** By the clock of `step`'s `now`, ms. */
  readonly deadline: number
  /** It came from another replica, which will look for the leader itself: one hop only. */
  readonly forwarded: boolean
  /** The id was made inside this very call, and no record with it can be in any log: its rejection need not be recorded. */
  fresh: boolean
  /** Answered; whatever still comes for it is dropped. */
  done: boolean
  /** An attempt that is over may yet turn out to have been written: an end without an answer is `outcome-unknown`. */
  inDoubt: boolean
  conflicts: number
}

export type Reply =
  | { readonly kind: 'decided'; readonly decision: Decision; readonly version: number }
  | { readonly kind: 'rejected'; readonly decided: Decided; readonly version: number }
  | { readonly kind: 'failed'; readonly error: EngineError }
  /** The id was accepted before. Its events, if any, stand in the log. */
  | { readonly kind: 'known'; readonly entry: IdEntry }

/** A query that waits for its replica. */
export interface Read {
  readonly tenant: string
  readonly level: 'local' | 'linearizable' | { readonly version: number }
  readonly deadline: number
  done: boolean
}

/** Another replica, as the roster has it. */
export interface Peer {
  readonly id: string
  readonly address: string
  readonly release: string
}

export type Input =
  | { readonly type: 'command'; readonly request: Request }
  | { readonly type: 'abandon'; readonly item: Request | Read; readonly error: EngineError }
  | { readonly type: 'read'; readonly read: Read }
  | { readonly type: 'flush' }
  | { readonly type: 'tick' }
  | { readonly type: 'records'; readonly records: readonly Stored[]; readonly reached: Position }
  /** The end of the log, as it was when the replica started, was reached: it may take part now. */
  | { readonly type: 'live' }
  | { readonly type: 'appended'; readonly append: number; readonly answers: readonly Appended[] }
  /** The log cannot be followed any more: it is another one now, or what was read of it is gone. */
  | { readonly type: 'lost'; readonly error: EngineError }
  | { readonly type: 'looked'; readonly look: number; readonly head: Position }
  /**
   * `preferred`: who should own the shard, so that each of those alive has its share; left out where it does not matter. `peers`: whom commands
   * may be passed on to. `founds`: the own release is to be made the active one if the log has none.
   */
  | {
      readonly type: 'beats'
      readonly beats: ReadonlyMap<string, number>
      readonly preferred?: string | undefined
      /** Who should own it next, should its owner lay it down. */
      readonly heir?: string | undefined
      readonly peers?: readonly Peer[]
      readonly founds?: boolean
    }
  /** What became of a request that was passed on in this term. `failed`: with an error that is the answer. */
  | {
      readonly type: 'forwarded'
      readonly request: Request
      readonly term: number
      readonly reply: 'unreachable' | 'lost' | 'refused' | 'answered'
    }
  | { readonly type: 'forwarded'; readonly request: Request; readonly term: number; readonly reply: 'failed'; readonly error: EngineError }
  | {
      readonly type: 'caught-up'
      readonly tenant: string
      readonly shard: ShardState
      readonly records: readonly Stored[]
      readonly last: boolean
    }
  | { readonly type: 'misplaced'; readonly tenant: string; readonly error: EngineError | 'rebuild' }
  /** The log cannot be read at present. */
  | { readonly type: 'unreadable'; readonly error: unknown }
  | { readonly type: 'stop' }
  /** The patience of `stop` is over: whoever still waits is told so. */
  | { readonly type: 'end' }

export type Output =
  | {
      readonly do: 'append'
      readonly append: number
      readonly records: readonly NewRecord[]
      readonly after?: Position
      readonly fence?: 'take' | 'hold'
    }
  /** Somebody's deadline has passed: if the append still waits for its turn, it need not be made. */
  | { readonly do: 'give-up'; readonly append: number }
  | { readonly do: 'look'; readonly look: number }
  /** Something stands behind the cursor: read it now. */
  | { readonly do: 'read-on' }
  | { readonly do: 'reply'; readonly request: Request; readonly reply: Reply }
  | { readonly do: 'forward'; readonly request: Request; readonly address: string; readonly term: number }
  | { readonly do: 'ready'; readonly read: Read; readonly error?: EngineError }
  /**
   * A tenant's database was opened for the first time: check its place in the log and bring it up to `upTo`. `least`: what it is known to have
   * reached in this run.
   */
  | { readonly do: 'catch-up'; readonly tenant: string; readonly store: Store; readonly upTo: Position; readonly least: Position }
  /** Somebody wrote at a digest that is not ours: find out who is wrong. */
  | { readonly do: 'suspect'; readonly tenant: string; readonly position: Position; readonly version: number; readonly digest: string }
  | { readonly do: 'moved' }
  /** Nothing is on its way any more, and no reign of ours is open. */
  | { readonly do: 'drained' }

export interface ShardOptions {
  readonly app: App
  readonly strategy: Strategy
  /** This incarnation of the replica, as it signs its terms. */
  readonly me: string
  /** Where others reach it. */
  readonly address: string | null
  readonly release: string
  readonly place: string
  readonly freshHead: boolean
  readonly open: (tenant: string) => Store
  /** Throws a tenant's database away; the next `open` makes a new one. */
  readonly discard: (tenant: string) => void
  readonly random: () => number
  readonly maxRecordBytes: number
  readonly maxOpen?: number
  readonly maxQueue?: number
  /** Where a former run stopped. */
  readonly cursor?: Position
  readonly state?: ShardState
  readonly types?: ReadonlyMap<string, number>
}
