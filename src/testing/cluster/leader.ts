/** What a broker answers to those who write to a partition and read from it: Produce, Fetch, ListOffsets. */
import type { Code } from '../../log/kafka/codes.ts'
import { decodeBatches } from '../../log/kafka/batch.ts'
import type { ProduceAnswer } from '../../log/kafka/calls.ts'
import { type Entry, entryOf, type Header, headerOf } from './entry.ts'
import { abortedFrom, append, endOfEpoch, entriesFrom, lastStable, read } from './log.ts'
import type { ClusterRequest, ListOffsetsAnswer } from './messages.ts'
import { duplicateOf, known, refusalOf } from './producers.ts'
import { appended, inSync } from './replication.ts'
import {
  type BrokerState,
  expireBy,
  hintOf,
  later,
  reply,
  type Replica,
  send,
  soon,
  type State,
  tidy,
  transactionLog,
  type VerifyAsk,
} from './state.ts'

type Produce = Extract<ClusterRequest, { api: 'produce' }>
type Fetch = Extract<ClusterRequest, { api: 'fetch' }>
type ListOffsets = Extract<ClusterRequest, { api: 'list-offsets' }>

/** A leader asks the coordinator again for so long, ms, and so often (add.partitions.to.txn.retry.backoff.max.ms and .ms). */
const VERIFY_FOR = 100
const VERIFY_EVERY = 20

function refused(error: Code, more: Partial<ProduceAnswer> = {}): ProduceAnswer {
  return { error, message: null, offset: -1, ...more }
}

function replicaOf(state: State, broker: BrokerState, partition: number): Replica | undefined {
  return partition >= 0 && partition < state.settings.partitions ? broker.replicas[partition] : undefined
}

// --- Produce --------------------------------------------------------------------------------------------------------------

export function produce(state: State, broker: BrokerState, key: number, request: Produce): void {
  const { settings } = state
  // Observed on 4.3.1: version 13 names the topic by its id, and notices another one of the same name; version 11 does not.
  if (request.version >= 13 ? request.topicId !== settings.topicId : request.topic !== settings.topic)
    return reply(state, broker, key, refused(request.version >= 13 ? 'UNKNOWN_TOPIC_ID' : 'UNKNOWN_TOPIC_OR_PARTITION'))
  const replica = replicaOf(state, broker, request.partition)
  if (!replica) return reply(state, broker, key, refused('UNKNOWN_TOPIC_OR_PARTITION'))
  const header = headerOf(request.batch)
  if (!header.transactional) return write(state, broker, key, request, header)
  if (request.transactionalId === null) return reply(state, broker, key, refused('TRANSACTIONAL_ID_AUTHORIZATION_FAILED'))
  const { leading } = replica
  if (!leading) return reply(state, broker, key, refused('NOT_LEADER_OR_FOLLOWER', hintOf(broker, request.partition)))
  const producer = known(replica.log, header.producerId, state.now, settings.producerIdExpiry)
  // The transaction is open here already: nobody is asked (KIP-890).
  if (producer !== undefined && producer.open >= 0 && producer.epoch === header.producerEpoch)
    return write(state, broker, key, request, header)
  const verification = ++state.nextId
  broker.verifications.set(verification, { key, partition: request.partition, request, header, since: state.now, coordinator: -1 })
  askCoordinator(state, broker, verification)
}

/** Whether the transaction is open, and with version 2 also that it shall be (KIP-890). */
export function askCoordinator(state: State, broker: BrokerState, verification: number): void {
  const waiting = broker.verifications.get(verification)
  if (!waiting) return
  const { request, header, partition } = waiting
  const { leading } = broker.replicas[partition]!
  if (!leading) return verified(state, broker, verification, 'NONE')
  const before = leading.verified.get(header.producerId)
  const lowest = before?.epoch === header.producerEpoch ? Math.min(before.lowest, header.sequence) : header.sequence
  leading.verified.set(header.producerId, { epoch: header.producerEpoch, lowest })
  const ask: VerifyAsk = {
    transactionalId: request.transactionalId!,
    producerId: header.producerId,
    epoch: header.producerEpoch,
    partition,
    add: request.version >= 12,
  }
  const coordinator = broker.image.leads[transactionLog(state)]!.leader
  broker.verifications.set(verification, { ...waiting, coordinator })
  if (coordinator === broker.node) return soon(state, broker.node, { do: 'verify', from: broker.node, verification, ask })
  if (coordinator < 0) return verified(state, broker, verification, 'COORDINATOR_NOT_AVAILABLE')
  if (!send(state, broker.node, coordinator, { do: 'verify', from: broker.node, verification, ask }))
    later(state, VERIFY_EVERY, broker.node, { do: 'verified', verification, error: 'NETWORK_EXCEPTION' })
}

/** The connection to this coordinator is gone. */
export function unanswered(state: State, broker: BrokerState, coordinator: number): void {
  for (const [verification, waiting] of broker.verifications)
    if (waiting.coordinator === coordinator) soon(state, broker.node, { do: 'verified', verification, error: 'NETWORK_EXCEPTION' })
}

const unverified: ReadonlySet<Code> = new Set([
  'NETWORK_EXCEPTION',
  'COORDINATOR_LOAD_IN_PROGRESS',
  'COORDINATOR_NOT_AVAILABLE',
  'NOT_COORDINATOR',
])

export function verified(state: State, broker: BrokerState, verification: number, error: Code): void {
  const waiting = broker.verifications.get(verification)
  if (!waiting) return
  const { key, request, header, since } = waiting
  const busy = error === 'CONCURRENT_TRANSACTIONS'
  if (busy && request.version >= 12 && state.now - since < VERIFY_FOR)
    return later(state, VERIFY_EVERY, broker.node, { do: 'retry', verification })
  broker.verifications.delete(verification)
  if (error === 'NONE') return write(state, broker, key, request, header)
  // ReplicaManager of Kafka's source: what older clients would not try again after is told as this.
  if (unverified.has(error) || (busy && request.version < 12)) error = 'NOT_ENOUGH_REPLICAS'
  // AddPartitionsToTxnManager of Kafka's source.
  else if (error === 'PRODUCER_FENCED') error = 'INVALID_PRODUCER_EPOCH'
  reply(state, broker, key, refused(error))
}

function write(state: State, broker: BrokerState, key: number, request: Produce, header: Header): void {
  const { settings, now } = state
  const { partition, batch } = request
  const replica = broker.replicas[partition]!
  const { log, leading } = replica
  if (!leading) return reply(state, broker, key, refused('NOT_LEADER_OR_FOLLOWER', hintOf(broker, partition)))
  // Observed on 4.3.1: asked before anything else, so that the retry of a batch that stands there hears it, too.
  if (inSync(leading) < settings.minIsr) return reply(state, broker, key, refused('NOT_ENOUGH_REPLICAS'))
  // Observed on 4.3.1: uses up no sequence.
  if (batch.length > settings.maxMessageBytes) return reply(state, broker, key, refused('MESSAGE_TOO_LARGE'))
  let end: number
  let offset: number
  if (header.producerId >= 0) {
    const producer = known(log, header.producerId, now, settings.producerIdExpiry)
    const duplicate = duplicateOf(producer, header)
    if (duplicate) return replicated(state, broker, key, request, duplicate.offset, duplicate.lastOffset + 1)
    const error = unbegun(replica, header) ?? refusalOf(producer, header)
    if (error !== 'NONE') return reply(state, broker, key, refused(error))
    if (!producer) log.producers.delete(header.producerId)
    if (header.transactional) leading.verified.delete(header.producerId)
  }
  offset = log.end
  append(log, entryOf(batch, header, offset, leading.epoch, log.entries.at(-1)), now)
  end = log.end
  appended(state, broker, partition)
  replicated(state, broker, key, request, offset, end)
}

/** A transactional batch is only taken into a transaction that is open here or was asked for, with no marker since (KIP-890). */
function unbegun({ log, leading }: Replica, { producerId, producerEpoch, sequence, transactional }: Header): Code | undefined {
  if (!transactional) return undefined
  const producer = log.producers.get(producerId)
  if (producer !== undefined && producer.open >= 0 && producer.epoch === producerEpoch) return undefined
  const asked = leading!.verified.get(producerId)
  if (asked?.epoch !== producerEpoch) return 'INVALID_TXN_STATE'
  return sequence > asked.lowest ? 'OUT_OF_ORDER_SEQUENCE_NUMBER' : undefined
}

/** Answers once all in sync have it. */
function replicated(state: State, broker: BrokerState, key: number, request: Produce, offset: number, end: number): void {
  const { log, leading } = broker.replicas[request.partition]!
  if (log.highWatermark >= end) return reply(state, broker, key, refused('NONE', { offset }))
  leading!.pending.push({ end, until: state.now + request.timeout, purpose: { do: 'produce', key, offset } })
  expireBy(state, broker, request.partition, state.now + request.timeout)
}

/** A produce that waited for the replicas. */
export function produced(state: State, broker: BrokerState, partition: number, key: number, offset: number, error: Code): void {
  const { leading } = broker.replicas[partition]!
  // DelayedProduce: asked again when it is answered. Whatever is said, the batch stands there.
  if (error === 'NONE' && !leading) error = 'NOT_LEADER_OR_FOLLOWER'
  else if (error === 'NONE' && inSync(leading!) < state.settings.minIsr) error = 'NOT_ENOUGH_REPLICAS_AFTER_APPEND'
  const hint = error === 'NOT_LEADER_OR_FOLLOWER' ? hintOf(broker, partition) : {}
  reply(state, broker, key, refused(error, { offset: error === 'NONE' ? offset : -1, ...hint }))
}

// --- Fetch ----------------------------------------------------------------------------------------------------------------

const noBytes = Buffer.alloc(0)
const noFetch = { highWatermark: -1, lastStable: -1, logStart: -1, aborted: [], bytes: noBytes }

export function fetch(state: State, broker: BrokerState, key: number, request: Fetch): void {
  if (answerFetch(state, broker, key, request, request.maxWait <= 0)) return
  broker.replicas[request.partition]!.parked.push({ key, until: state.now + request.maxWait, request })
  expireBy(state, broker, request.partition, state.now + request.maxWait)
}

/** @returns whether it was answered: now, or never mind what there is */
function answerFetch(state: State, broker: BrokerState, key: number, request: Fetch, now: boolean): boolean {
  const { topicId, partition, offset, isolation, lastFetchedEpoch, minBytes, maxBytes } = request
  const answer = (reply_: Parameters<typeof reply>[3]) => {
    reply(state, broker, key, reply_)
    return true
  }
  if (topicId !== state.settings.topicId) return answer({ error: 'UNKNOWN_TOPIC_ID', ...noFetch })
  const replica = replicaOf(state, broker, partition)
  if (!replica) return answer({ error: 'UNKNOWN_TOPIC_OR_PARTITION', ...noFetch })
  const epochError = wrongEpoch(broker, partition, request.leaderEpoch)
  if (epochError) return answer({ error: epochError, ...noFetch, ...hintOf(broker, partition) })
  const { log } = replica
  const stable = lastStable(log)
  const told = { highWatermark: log.highWatermark, lastStable: stable, logStart: 0 }
  if (lastFetchedEpoch >= 0) {
    const ends = endOfEpoch(log, lastFetchedEpoch)
    if (!ends) return answer({ error: 'OFFSET_OUT_OF_RANGE', ...noFetch })
    if (ends.epoch < lastFetchedEpoch || ends.end < offset)
      return answer({ error: 'NONE', ...told, diverging: { epoch: ends.epoch, endOffset: ends.end }, aborted: [], bytes: noBytes })
  }
  // Observed on 4.3.1: a follower answers a consumer as well, silently. Its end counts, not that of the leader.
  if (offset > log.end || offset < 0) return answer({ error: 'OFFSET_OUT_OF_RANGE', ...noFetch })
  const committed = isolation === 'read_committed'
  const bytes = read(log, offset, committed ? stable : log.highWatermark, maxBytes)
  if (!now && bytes.length < minBytes) return false
  return answer({ error: 'NONE', ...told, aborted: committed ? abortedFrom(log, offset) : [], bytes })
}

function wrongEpoch(broker: BrokerState, partition: number, epoch: number): Code | undefined {
  const ours = broker.image.leads[partition]!.epoch
  if (epoch < 0 || epoch === ours) return undefined
  return epoch < ours ? 'FENCED_LEADER_EPOCH' : 'UNKNOWN_LEADER_EPOCH'
}

/** There may be more to read, or another leader. */
export function wake(state: State, broker: BrokerState, partition: number): void {
  const replica = broker.replicas[partition]!
  if (replica.parked.length === 0) return
  replica.parked = replica.parked.filter(({ key, request }) => !answerFetch(state, broker, key, request, false))
  tidy(state, broker, partition)
}

// --- ListOffsets ----------------------------------------------------------------------------------------------------------

export function listOffsets(state: State, broker: BrokerState, key: number, request: ListOffsets): void {
  reply(state, broker, key, offsets(state, broker, request))
}

function offsets(
  state: State,
  broker: BrokerState,
  { topic, partition, leaderEpoch, isolation, timestamp }: ListOffsets,
): ListOffsetsAnswer {
  const none: ListOffsetsAnswer = { error: 'NONE', offset: -1, timestamp: -1, leaderEpoch: -1 }
  const replica = replicaOf(state, broker, partition)
  if (topic !== state.settings.topic || !replica) return { ...none, error: 'UNKNOWN_TOPIC_OR_PARTITION' }
  const epochError = wrongEpoch(broker, partition, leaderEpoch)
  if (epochError) return { ...none, error: epochError }
  const { log, leading } = replica
  if (!leading) return { ...none, error: 'NOT_LEADER_OR_FOLLOWER' }
  const fetchable = isolation === 'read_committed' ? lastStable(log) : log.highWatermark
  // KIP-207: a new leader that has not yet seen how far the old one had come does not give out an end that lies before that.
  const lagging = fetchable < leading.start
  if (timestamp === -1)
    return lagging ? { ...none, error: 'OFFSET_NOT_AVAILABLE' } : { ...none, offset: fetchable, leaderEpoch: leading.epoch }
  if (timestamp === -2) {
    const first = log.epochs[0]
    return { ...none, offset: 0, leaderEpoch: first && first.start <= 0 ? first.epoch : -1 }
  }
  for (const entry of entriesFrom(log, 0, log.end)) {
    const found = entry.time < timestamp ? undefined : recordFrom(entry, timestamp)
    if (found && found.offset < fetchable) return { ...none, ...found, leaderEpoch: entry.leaderEpoch }
    if (found) break
  }
  return lagging ? { ...none, error: 'OFFSET_NOT_AVAILABLE' } : none
}

function recordFrom(entry: Entry, timestamp: number): { offset: number; timestamp: number } | undefined {
  if (entry.marker) return { offset: entry.offset, timestamp: entry.time }
  const { records } = decodeBatches(entry.bytes, { from: 0, aborted: [], committed: false })
  const found = records.find(({ time }) => time >= timestamp)
  return found && { offset: found.offset, timestamp: found.time }
}

// --- Patience -------------------------------------------------------------------------------------------------------------

/** Fetches and appends of this partition that have waited long enough. */
export function expire(state: State, broker: BrokerState, partition: number): void {
  const replica = broker.replicas[partition]!
  const { now } = state
  replica.expiresAt = undefined
  replica.parked = replica.parked.filter(({ key, request, until }) => until > now || !answerFetch(state, broker, key, request, true))
  const { leading } = replica
  if (leading) {
    const over = leading.pending.filter(({ until }) => until <= now)
    if (over.length > 0) leading.pending = leading.pending.filter(({ until }) => until > now)
    // Observed on 4.3.1: though it stands in the leader's log, and may be committed yet.
    for (const { purpose } of over) soon(state, broker.node, { do: 'go-on', partition, purpose, error: 'REQUEST_TIMED_OUT' })
  }
  const next = Math.min(...replica.parked.map(({ until }) => until), ...(leading?.pending ?? []).map(({ until }) => until))
  if (next < Infinity) expireBy(state, broker, partition, next)
}
