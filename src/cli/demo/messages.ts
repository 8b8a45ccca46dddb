/** What the demo and its worker processes tell each other. */
import type { StrategyName } from '../../consistency.ts'

export interface Assignment {
  readonly demo: string
  readonly log: string
  readonly data: string
  readonly strategy: StrategyName
  readonly commands: number
  readonly seed: number
  readonly setsUp: boolean
}

export type ToWorker =
  | { readonly do: 'open'; readonly assignment: Assignment }
  | { readonly do: 'set-up' }
  | { readonly do: 'run' }
  /** Read up to this token, then look at the own database. */
  | { readonly do: 'check'; readonly token: string }
  /** Throw the database away and replay it. */
  | { readonly do: 'rebuild' }
  | { readonly do: 'close' }

export interface Tally {
  readonly accepted: number
  readonly rejected: number
}

export interface Done extends Tally {
  /** How long each command took, ms. */
  readonly latencies: readonly number[]
  /** Of the newest version that was answered. */
  readonly version: number
  /** Appends that the log refused, of this replica. */
  readonly conflicts: number
  /** Decisions that lost when the log was read, of all replicas. */
  readonly refused: number
}

export interface Checked {
  readonly version: number
  readonly digest: string
  /** Of all rows in all tables. */
  readonly content: string
  readonly violations: readonly object[]
}

export interface Rebuilt extends Checked {
  readonly ms: number
  readonly tables: number
  readonly rows: number
  /** How a row differs, if one does. */
  readonly difference?: string
}

export type FromWorker =
  | { readonly is: 'tally'; readonly tally: Tally }
  | { readonly is: 'answer'; readonly answer?: Done | Checked | Rebuilt }
  | { readonly is: 'failure'; readonly message: string }
