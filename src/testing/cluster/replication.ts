/**
 * How a log gets from its leader to the others: follower fetches, replicas in sync, the high watermark. A follower has one fetch on its way
 * at a time; where there is nothing new it waits at the leader. The leader learns how far a follower is when it asks for more, the follower
 * how far all are with the answer. Rules of Partition, Replica and AbstractFetcherThread of Kafka's source.
 */
import { append, endOfEpoch, entriesFrom, raiseHighWatermark, truncate } from './log.ts'
import {
  type BrokerState,
  CONTROLLER,
  type Follower,
  type FollowAsk,
  type FollowReply,
  hop,
  joined,
  later,
  type Leading,
  type Lead,
  send,
  soon,
  type State,
  tidy,
} from './state.ts'

/** Before a follower tries again to reach its leader, ms (replica.fetch.backoff.ms is longer). */
const FOLLOW_AGAIN = 20

/** How often what is replicated goes on later than it could. */
const LATE = 0.02

/** Replicas in sync, as the controller has confirmed them. */
export const inSync = ({ lead }: Leading): number => lead.isr.length

// --- The leader -----------------------------------------------------------------------------------------------------------

/** Something was appended. */
export function appended(state: State, broker: BrokerState, partition: number): void {
  const { log, leading } = broker.replicas[partition]!
  if (leading && state.settings.brokers > 1) {
    const last = log.entries.at(-1)!
    for (const [node, follower] of leading.followers) {
      if (follower.waits !== undefined && follower.end === last.offset) follower.caughtUpAt = state.now
      if (follower.waits !== undefined) feed(state, broker, partition, node, follower)
    }
    watchLag(state, broker, partition, leading)
  }
  advance(state, broker, partition)
}

/** A follower asks for what stands behind its end. */
export function asked(state: State, broker: BrokerState, partition: number, from: number, ask: FollowAsk): void {
  const { log, leading } = broker.replicas[partition]!
  const { exchange } = ask
  const answer = (reply: Partial<FollowReply>) =>
    send(state, broker.node, from, {
      do: 'followed',
      partition,
      exchange,
      reply: { error: 'NONE', diverging: undefined, entries: [], highWatermark: -1, ...reply },
    })
  // One of the two has not heard of a new leader yet.
  if (!leading || leading.epoch !== ask.leaderEpoch) return void answer({ error: 'STALE' })
  const follower = leading.followers.get(from)!
  if (ask.lastEpoch >= 0) {
    const ends = endOfEpoch(log, ask.lastEpoch)
    // KIP-595: it holds what this leader never had.
    if (!ends || ends.epoch < ask.lastEpoch || ends.end < ask.end) return void answer({ diverging: ends ?? { epoch: -1, end: 0 } })
  }
  // Replica.updateFetchState: caught up now, or when it asked before.
  if (ask.end >= log.end) follower.caughtUpAt = state.now
  else if (ask.end >= follower.leaderEnd) follower.caughtUpAt = Math.max(follower.caughtUpAt, follower.askedAt)
  follower.end = ask.end
  follower.leaderEnd = log.end
  follower.askedAt = state.now
  follower.waits = exchange
  welcome(state, broker, partition, from, leading)
  advance(state, broker, partition)
  if (ask.end < log.end) feed(state, broker, partition, from, follower)
  else if (follower.highWatermark < log.highWatermark) promise(state, broker, partition, from, follower)
}

/** Answers the fetch that waits. */
function feed(state: State, broker: BrokerState, partition: number, node: number, follower: Follower): void {
  const { log } = broker.replicas[partition]!
  const exchange = follower.waits!
  follower.waits = undefined
  follower.highWatermark = log.highWatermark
  const entries = [...entriesFrom(log, follower.end, Infinity)]
  const reply: FollowReply = { error: 'NONE', diverging: undefined, entries, highWatermark: log.highWatermark }
  send(state, broker.node, node, { do: 'followed', partition, exchange, reply })
}

/** Without anything new a follower hears of the high watermark when its fetch has waited long enough. */
function promise(state: State, broker: BrokerState, partition: number, node: number, follower: Follower): void {
  if (follower.promised) return
  follower.promised = true
  later(state, state.settings.random() * state.settings.followerWait, broker.node, { do: 'feed', partition, to: node })
}

export function keepPromise(state: State, broker: BrokerState, partition: number, node: number): void {
  const { log, leading } = broker.replicas[partition]!
  const follower = leading?.followers.get(node)
  if (!follower) return
  follower.promised = false
  if (follower.waits !== undefined && follower.highWatermark < log.highWatermark) feed(state, broker, partition, node, follower)
}

/** The high watermark moves to what all in sync have. */
export function advance(state: State, broker: BrokerState, partition: number): void {
  const replica = broker.replicas[partition]!
  const { log, leading } = replica
  // KAFKA-15583: not while fewer are in sync than must be.
  if (!leading || inSync(leading) < state.settings.minIsr) return
  let { end } = log
  for (const node of maximal(leading)) if (node !== broker.node) end = Math.min(end, leading.followers.get(node)!.end)
  if (end > log.highWatermark) {
    raiseHighWatermark(log, end, state.now)
    if (replica.parked.length > 0) soon(state, broker.node, { do: 'wake', partition })
    for (const [node, follower] of leading.followers) if (follower.waits !== undefined) promise(state, broker, partition, node, follower)
  }
  release(state, broker, partition, leading)
}

/** Those that must have it: one that is to join counts before the controller has agreed, one that is to leave until then. */
function maximal({ lead, asked }: Leading): readonly number[] {
  return asked !== undefined && asked.length > lead.isr.length ? asked : lead.isr
}

/** What waited for the replicas goes on. */
function release(state: State, broker: BrokerState, partition: number, leading: Leading): void {
  const { highWatermark } = broker.replicas[partition]!.log
  if (!leading.pending.some(({ end }) => end <= highWatermark)) return
  const through = leading.pending.filter(({ end }) => end <= highWatermark)
  leading.pending = leading.pending.filter(({ end }) => end > highWatermark)
  tidy(state, broker, partition)
  for (const { purpose } of through) {
    const work = { do: 'go-on', partition, purpose, error: 'NONE' } as const
    // Now and then something comes in between.
    if (state.settings.brokers > 1 && state.settings.random() < LATE) later(state, hop(state), broker.node, work)
    else soon(state, broker.node, work)
  }
}

// --- In sync or not -------------------------------------------------------------------------------------------------------

/** A follower joins once it has everything that is settled, and the beginning of this reign (Partition.isFollowerInSync). */
function welcome(state: State, broker: BrokerState, partition: number, node: number, leading: Leading): void {
  const { log } = broker.replicas[partition]!
  const { end } = leading.followers.get(node)!
  if (leading.lead.isr.includes(node) || !broker.image.alive.includes(node)) return
  if (end >= log.highWatermark && end >= leading.start) alter(state, broker, partition, leading, joined(leading.lead.isr, node))
}

/** As long as somebody is behind it is looked at every so often. */
function watchLag(state: State, broker: BrokerState, partition: number, leading: Leading): void {
  if (leading.lagTimer) return
  leading.lagTimer = true
  later(state, state.settings.lagTime / 2, broker.node, { do: 'lag', partition, epoch: leading.epoch })
}

export function checkLag(state: State, broker: BrokerState, partition: number, epoch: number): void {
  const { log, leading } = broker.replicas[partition]!
  if (leading?.epoch !== epoch) return
  leading.lagTimer = false
  const { isr } = leading.lead
  const behind = isr.filter(node => node !== broker.node && leading.followers.get(node)!.end < log.end)
  if (behind.length === 0) return
  watchLag(state, broker, partition, leading)
  // Observed on 4.3.1: a follower that was stopped holds up what all in sync must have for so long.
  const lost = behind.filter(node => state.now - leading.followers.get(node)!.caughtUpAt > state.settings.lagTime)
  if (lost.length > 0)
    alter(
      state,
      broker,
      partition,
      leading,
      isr.filter(node => !lost.includes(node)),
    )
}

/** The controller decides who is in sync; one change at a time. */
function alter(state: State, broker: BrokerState, partition: number, leading: Leading, isr: readonly number[]): void {
  if (leading.asked) return
  const { lead } = leading
  if (send(state, broker.node, CONTROLLER, { do: 'alter-isr', from: broker.node, partition, isr, lead })) leading.asked = isr
}

/** What the controller says of this leader's replicas. */
export function altered(state: State, broker: BrokerState, partition: number, lead: Lead): void {
  const { leading } = broker.replicas[partition]!
  if (leading?.epoch !== lead.epoch || lead.number < leading.lead.number) return
  leading.asked = undefined
  leading.lead = lead
  for (const node of leading.followers.keys()) welcome(state, broker, partition, node, leading)
  advance(state, broker, partition)
}

// --- The follower ---------------------------------------------------------------------------------------------------------

/** Begins anew: whatever is on its way under an older number is not heard. */
export function beginToFollow(state: State, broker: BrokerState, partition: number): void {
  const replica = broker.replicas[partition]!
  replica.exchange++
  const { leader } = broker.image.leads[partition]!
  if (leader >= 0 && leader !== broker.node) soon(state, broker.node, { do: 'follow', partition, exchange: replica.exchange })
}

export function follow(state: State, broker: BrokerState, partition: number, exchange: number): void {
  const { log, exchange: current } = broker.replicas[partition]!
  const { leader, epoch } = broker.image.leads[partition]!
  if (exchange !== current || leader < 0 || leader === broker.node) return
  const ask: FollowAsk = { exchange, leaderEpoch: epoch, end: log.end, lastEpoch: log.entries.at(-1)?.leaderEpoch ?? -1 }
  if (!send(state, broker.node, leader, { do: 'asked', partition, from: broker.node, ask })) again(state, broker, partition, exchange)
}

const again = (state: State, broker: BrokerState, partition: number, exchange: number): void =>
  later(state, FOLLOW_AGAIN, broker.node, { do: 'follow', partition, exchange })

export function followed(state: State, broker: BrokerState, partition: number, exchange: number, reply: FollowReply): void {
  const replica = broker.replicas[partition]!
  if (exchange !== replica.exchange) return
  if (reply.error !== 'NONE') return again(state, broker, partition, exchange)
  const { log } = replica
  const { diverging, entries, highWatermark } = reply
  if (diverging) {
    // The tail of a deposed leader: what was not acknowledged by all in sync goes.
    const ours = endOfEpoch(log, diverging.epoch)
    truncate(log, Math.min(log.end, ours?.end ?? log.end, ours?.epoch === diverging.epoch ? diverging.end : Infinity), state.now)
  }
  for (const entry of entries) if (entry.offset === log.end) append(log, entry, state.now)
  const settled = Math.min(highWatermark, log.end)
  if (settled > log.highWatermark) raiseHighWatermark(log, settled, state.now)
  if (replica.parked.length > 0) soon(state, broker.node, { do: 'wake', partition })
  follow(state, broker, partition, exchange)
}
