/**
 * What is going to happen in a simulation, as data: who asks what when, and what goes wrong. A plan and its seed say it all: the same plan
 * comes to the same end, and a part of a plan is a plan, so that a failure can be made smaller.
 */
import type { StrategyName } from '../../consistency.ts'
import type { Fencing } from '../../log/kafka/settings.ts'
import type { DiskFault } from './embedded.ts'
import type { Armed } from './network.ts'
import type { Condition } from './snapshot.ts'

/** A command, as a client sends it. */
export interface Ask {
  /** ms since the beginning, as all times here. */
  readonly at: number
  /** The number of the replica that it is sent to first. */
  readonly node: number
  readonly tenant: string
  readonly name: string
  readonly input: unknown
  /** Left out: made by the replica, and the client does not ask again. */
  readonly id?: string
  /** How long the replica may take, ms. */
  readonly timeout: number
  /** Whether the client asks again as long as it is told that this is safe, and when it hears nothing. */
  readonly repeat: boolean
}

/** A look at all rows of a tenant. */
export interface Look {
  readonly at: number
  readonly node: number
  readonly tenant: string
  /** `token`: of the latest answer that any client has heard. */
  readonly read: 'local' | 'linearizable' | 'token'
}

/** What an operator, or somebody else with access to the log, writes there. */
export type Operation = { readonly at: number } & (
  | { readonly do: 'forget'; readonly before: number }
  /** Makes the release of these replicas the active one, whichever is that now. */
  | { readonly do: 'release'; readonly release: string }
  | { readonly do: 'rules'; readonly window: number }
  | { readonly do: 'seal' }
  | { readonly do: 'barrier' }
  /** A data record that was written before, with something else in one place. */
  | { readonly do: 'alien'; readonly change: Alien }
)

export const aliens = [
  'term-owner',
  'term-number',
  'rules',
  'release',
  'log',
  'base',
  'digest',
  'ids',
  'double-id',
  'tenant',
  'term-record',
] as const
export type Alien = (typeof aliens)[number]

export type Misfortune =
  | Armed
  | (DiskFault & { readonly at: number; readonly node: number })
  /** SIGKILL, or with `power` a power cut; back after `downtime`, ms. */
  | { readonly kind: 'crash'; readonly at: number; readonly node: number; readonly downtime: number; readonly power: boolean }
  /** SIGSTOP, for so long, ms. */
  | { readonly kind: 'pause'; readonly at: number; readonly node: number; readonly for: number }
  /** Closed in good order, and back after `downtime`, ms. */
  | { readonly kind: 'restart'; readonly at: number; readonly node: number; readonly downtime: number }
  /** The machine is lost with its disk; after `downtime`, ms, there is a new one, which starts from a snapshot of the disk of `from`. */
  | {
      readonly kind: 'replace'
      readonly at: number
      readonly node: number
      readonly from: number
      readonly downtime: number
      readonly snapshot: Condition
    }
  | { readonly kind: 'clock-jump'; readonly at: number; readonly node: number; readonly by: number }
  /** It is told to lead no more, as before it is replaced: from then on somebody else should. */
  | { readonly kind: 'step-down'; readonly at: number; readonly node: number }
  /** Nobody hears its heartbeats for so long, ms. */
  | { readonly kind: 'mute'; readonly at: number; readonly node: number; readonly for: number }
  /** SIGKILL or SIGSTOP of a broker, for so long, ms. */
  | { readonly kind: 'kill-broker' | 'stop-broker'; readonly at: number; readonly broker: number; readonly for: number }
  /** Two brokers, or one and the controller (-1), do not hear each other, for so long, ms. */
  | { readonly kind: 'part'; readonly at: number; readonly brokers: readonly [number, number]; readonly for: number }

/** Of replicas; that of the second may be another app, with other tables. '' is one without a name. */
export const RELEASES = ['one', 'two'] as const
export const GREEN = RELEASES[1]

export interface Plan {
  /** For everything that is left to chance: what messages take, jitter. */
  readonly seed: number
  readonly log:
    | { readonly kind: 'file' }
    | {
        readonly kind: 'kafka'
        readonly brokers: number
        readonly transactions: 1 | 2
        readonly fencing: Fencing
        /** Where the epochs of a transactional id begin; near 32,767 its producer id changes soon. */
        readonly firstEpoch: number
      }
  /** How many versions back a decision may be based. */
  readonly window: number
  /** How many databases a replica keeps open, give or take. */
  readonly open: number
  /** The replicas: how each writes, and its release. */
  readonly nodes: readonly { readonly strategy: StrategyName; readonly release: string }[]
  readonly asks: readonly Ask[]
  readonly looks: readonly Look[]
  readonly operations: readonly Operation[]
  readonly misfortunes: readonly Misfortune[]
  /** Nothing goes wrong any more from here on, and everything must come to an end. */
  readonly calmAt: number
}
