/** How a log gets from its leader to the others: follower fetches, replicas in sync, the high watermark. */
import { raiseHighWatermark } from './log.ts'
import { type BrokerState, type Leading, soon, type State, tidy } from './state.ts'

/** Replicas in sync, as the controller has confirmed them. */
export const inSync = ({ lead }: Leading): number => lead.isr.length

/** The high watermark moves to what all in sync have. */
export function advance(state: State, broker: BrokerState, partition: number): void {
  const replica = broker.replicas[partition]!
  const { log, leading } = replica
  // KAFKA-15583: not while fewer are in sync than must be.
  if (!leading || inSync(leading) < state.settings.minIsr) return
  const { end } = log
  if (end <= log.highWatermark) return
  raiseHighWatermark(log, end, state.now)
  release(state, broker, partition, leading)
  if (replica.parked.length > 0) soon(state, broker.node, { do: 'wake', partition })
}

/** What waited for the replicas goes on. */
function release(state: State, broker: BrokerState, partition: number, leading: Leading): void {
  const { highWatermark } = broker.replicas[partition]!.log
  const through = leading.pending.filter(({ end }) => end <= highWatermark)
  if (through.length === 0) return
  leading.pending = leading.pending.filter(({ end }) => end > highWatermark)
  tidy(state, broker, partition)
  const error = inSync(leading) < state.settings.minIsr ? 'NOT_ENOUGH_REPLICAS_AFTER_APPEND' : 'NONE'
  for (const { purpose } of through) soon(state, broker.node, { do: 'go-on', partition, purpose, error })
}
