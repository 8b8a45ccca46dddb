/** The ways in which replicas can share a log: the strategies, and on Kafka the fences of the leader. */
import type { StrategyName } from '../../src/consistency.ts'
import type { Fencing } from '../../src/log/kafka/settings.ts'

export interface Way {
  readonly strategy: StrategyName
  readonly fencing?: Fencing
}

export const kafkaWays: readonly Way[] = [
  { strategy: 'leader', fencing: 'epoch' },
  { strategy: 'leader', fencing: 'transactions' },
  { strategy: 'leader', fencing: 'term' },
  { strategy: 'first-wins' },
  { strategy: 'optimistic' },
]

/** One way for each lane by which a record gets into the topic; the others differ from these in who may write. */
export const kafkaLanes: readonly Way[] = [{ strategy: 'leader', fencing: 'epoch' }, { strategy: 'first-wins' }, { strategy: 'optimistic' }]

export const wayName = ({ strategy, fencing }: Way): string => `${strategy}${fencing === undefined ? '' : `/${fencing}`}`
