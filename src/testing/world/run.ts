/** What a simulation gives back, as plain data: nothing of it rests on the code that was run. */
import type { DiskFault } from './embedded.ts'
import type { Ask, Misfortune, Operation, Plan } from './plan.ts'

/** What a client heard. `answer`: events and result, or code and details, as JSON. */
export type Said =
  | {
      readonly status: 'accepted' | 'rejected'
      readonly version: number
      readonly token: string
      readonly answer: string
      readonly duplicate: boolean
    }
  | { readonly error: string; readonly retry: 'no' | 'safe' | 'unknown'; readonly message: string; readonly id: string | null }
  | { readonly silence: 'lost' }

export interface Answered {
  readonly ask: Ask
  readonly attempt: number
  readonly node: string
  readonly begun: number
  readonly ended: number
  /** The highest version of the tenant that anybody had been told of when it began. */
  readonly told: number
  readonly said: Said
}

export interface Looked {
  readonly node: string
  readonly tenant: string
  readonly read: 'local' | 'linearizable' | 'token'
  readonly begun: number
  /** The highest version of the tenant that anybody had been told of when it began. */
  readonly told: number
  readonly version: number
  /** All rows of the app's tables. */
  readonly rows: string
}

/** A replica at the end. `standing`: the version that its database says, `version` and `digest` what the replica says. */
export interface Final {
  readonly node: string
  readonly tenant: string
  readonly version: number
  readonly standing: number
  readonly digest: string
  /** Of its window, as its database keeps it. */
  readonly floor: number
  readonly rows: string
}

/** What went wrong in the run itself. `halt`: a replica stopped at what it should have lived with; `progress`: something never ended. */
export interface Trouble {
  readonly check: 'crash' | 'halt' | 'progress'
  readonly message: string
  readonly at: number
}

/** `who`: a replica, or the operator. `met`: a misfortune; those of messages and disks when they strike. */
export type Happening = { readonly at: number; readonly who: string } & (
  | { readonly what: 'asked'; readonly details: { readonly ask: Ask; readonly attempt: number } }
  | { readonly what: 'answered'; readonly details: { readonly ask: Ask; readonly said: Said } }
  | { readonly what: 'met'; readonly details: Misfortune | DiskFault }
  | { readonly what: 'started'; readonly details: object }
  | { readonly what: 'wrote'; readonly details: Operation }
)

export interface Chunk {
  readonly from: number
  readonly bytes: Uint8Array
  readonly aborted: readonly { readonly producerId: bigint; readonly firstOffset: number }[]
}

export interface Run {
  readonly plan: Plan
  readonly place: string
  readonly log:
    | {
        readonly kind: 'file'
        readonly entries: readonly { readonly position: number; readonly value: string | Uint8Array; readonly tenant: string | null }[]
      }
    | { readonly kind: 'kafka'; readonly chunks: readonly Chunk[] }
  readonly answered: readonly Answered[]
  readonly looked: readonly Looked[]
  readonly finals: readonly Final[]
  readonly troubles: readonly Trouble[]
  readonly happenings: readonly Happening[]
  /** How many things happened, and how long it took in virtual time, ms. */
  readonly events: number
  readonly time: number
}
