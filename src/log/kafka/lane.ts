/**
 * What goes into a lane of the producer and what comes out of it: types only. A lane is a synchronous machine that writes what was given to
 * it, one request at a time; sockets, retries of connections and timers are outside.
 */
import type { Appended, NewRecord, Position } from '../../log.ts'
import type { Answer } from './answers.ts'

/** One call of `Log.append`. */
export interface Append {
  readonly key: number
  readonly records: readonly NewRecord[]
  readonly after: Position | undefined
  readonly fence: 'take' | 'hold' | undefined
}

export interface Identity {
  readonly producerId: bigint
  readonly epoch: number
  /** Of the next record. */
  readonly sequence: number
}

/** A request to the cluster; the driver finds the broker and the connection. */
export type Call =
  | { readonly api: 'init'; readonly transactionalId: string | null; readonly producerId: bigint; readonly epoch: number }
  | { readonly api: 'add-partition'; readonly transactionalId: string; readonly producerId: bigint; readonly epoch: number }
  /** `batch`: frozen. Sent again as it is, or never. */
  | { readonly api: 'produce'; readonly batch: Buffer; readonly transactionalId: string | null }
  | {
      readonly api: 'end'
      readonly transactionalId: string
      readonly producerId: bigint
      readonly epoch: number
      readonly commit: boolean
    }
  /** What stands between two positions, read committed: answered once everything in between was covered, aborted and control batches included. */
  | { readonly api: 'gap'; readonly after: Position; readonly before: Position }
  /** Answered when a committed read has passed this position. */
  | { readonly api: 'passed'; readonly position: Position }
  /** Answered when a record that is no barrier was read committed behind this position, and otherwise after so many milliseconds. */
  | { readonly api: 'yield'; readonly after: Position; readonly patience: number }

/** What stands in a gap: by this alone a record is found to void others. */
export interface Between {
  readonly position: Position
  readonly tenant: string | null
  readonly barrier: boolean
}

export interface Reply {
  readonly error: Answer
  readonly message?: string | null
  /** produce: of the first record. */
  readonly offset?: number
  /** init; end with transactions v2. */
  readonly producerId?: bigint
  readonly epoch?: number
  /** gap */
  readonly between?: readonly Between[]
}

export type Input =
  | { readonly type: 'append'; readonly append: Append }
  /** Nobody waits for it any more: if it still waits for its turn, it is not made. */
  | { readonly type: 'give-up'; readonly key: number }
  | { readonly type: 'reply'; readonly call: number; readonly reply: Reply }
  | { readonly type: 'tick' }
  | { readonly type: 'close' }

export type Output =
  | { readonly do: 'call'; readonly call: number; readonly request: Call }
  | { readonly do: 'answer'; readonly key: number; readonly answers: readonly Appended[] }

/** Polls of a coordinator that is busy, ms. */
export const POLL = 3
/** It is polled so for so long, ms; then slower, for something else is wrong. */
export const POLLING = 2_000
export const SLOW_POLL = 50
/** Between attempts to reach a broker, ms; grows to ten times that. */
export const RETRY = 50
/** Epochs are 16 bits: from here on a new producer id is asked for before anything is opened. */
export const LAST_EPOCH = 32_700

/** A record stands behind the offset that a read begins at: position 1 is offset 0. */
export const positionOf = (offset: number): Position => offset + 1
