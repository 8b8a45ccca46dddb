/**
 * The producer of one partition, as a synchronous machine: which lane an append goes into, and what the lanes want done. Nothing here waits,
 * or reads a clock, or draws a random number that was not handed in.
 *
 *   no condition, no fence      -> plain batches under a producer id of its own
 *   fenced by epoch             -> plain batches under the epoch of the shard's transactional id
 *   fenced by transactions, or
 *   on a condition (`after`)    -> transactions of the shard's transactional id
 */
import { BatchLane } from './batches.ts'
import type { Input, Output } from './lane.ts'
import type { Fencing } from './settings.ts'
import { TransactionLane } from './transactions.ts'

export interface ProducerOptions {
  /** Of the shard; shared by all who write to it. */
  readonly transactionalId: string
  readonly fencing: Fencing
  /** Kafka's transaction.version. */
  readonly version: 1 | 2
  readonly app: string | undefined
  readonly maxBatchBytes: number
  readonly random: () => number
}

type LaneName = 'plain' | 'epoch' | 'transactions'

/** An output with the lane it comes from, into which the reply goes. */
export type ProducerOutput = Output & { readonly lane: LaneName }

export class Producer {
  readonly #fencing: Fencing
  readonly #lanes: { readonly plain: BatchLane; readonly epoch: BatchLane; readonly transactions: TransactionLane }

  constructor(options: ProducerOptions) {
    this.#fencing = options.fencing
    this.#lanes = {
      plain: new BatchLane({ ...options, transactionalId: null }),
      epoch: new BatchLane(options),
      transactions: new TransactionLane(options),
    }
  }

  /** When a tick has something to do; undefined: not before another input. */
  get due(): number | undefined {
    const { plain, epoch, transactions } = this.#lanes
    const due = Math.min(plain.due ?? Infinity, epoch.due ?? Infinity, transactions.due ?? Infinity)
    return due === Infinity ? undefined : due
  }

  /** @param lane that a reply is for */
  step(now: number, input: Input, lane?: LaneName): ProducerOutput[] {
    if (lane) return this.#feed(lane, now, input)
    if (input.type === 'append') return this.#feed(this.#laneFor(input.append), now, input)
    return (Object.keys(this.#lanes) as LaneName[]).flatMap(name => this.#feed(name, now, input))
  }

  #laneFor({ after, fence }: { after: unknown; fence: unknown }): LaneName {
    if (after !== undefined) return 'transactions'
    if (fence === undefined || this.#fencing === 'term') return 'plain'
    return this.#fencing
  }

  #feed(lane: LaneName, now: number, input: Input): ProducerOutput[] {
    return this.#lanes[lane].step(now, input).map(output => ({ ...output, lane }))
  }
}
