/**
 * Whether a leader takes a batch: idempotence and fencing, from what the log remembers of its producer. Rules of ProducerAppendInfo and
 * ProducerStateEntry of Kafka's source, compared with a real broker step by step in test/kafka/model.
 */
import type { Code } from '../../log/kafka/codes.ts'
import type { Header } from './entry.ts'
import type { Producer, ReplicaLog } from './log.ts'

/** Idle producers are forgotten (producer.id.expiration.ms); one with a transaction open is not. */
export function known(log: ReplicaLog, producerId: number, now: number, expiry: number): Producer | undefined {
  const producer = log.producers.get(producerId)
  return producer !== undefined && producer.open < 0 && now - producer.at >= expiry ? undefined : producer
}

/**
 * Observed on 4.3.1: one of the last five batches of its epoch, by first and last sequence alone, is answered with the first one's offset
 * also where the bytes differ.
 */
export function duplicateOf(producer: Producer | undefined, { producerEpoch, sequence, lastSequence }: Header) {
  if (producer?.epoch !== producerEpoch) return undefined
  return producer.batches.find(({ first, last }) => first === sequence && last === lastSequence)
}

export function refusalOf(producer: Producer | undefined, header: Header): Code {
  const { producerEpoch, sequence, transactional } = header
  // Observed on 4.3.1: a partition that does not know a producer id takes any sequence, and ids that were never given out as well.
  if (producer === undefined) return 'NONE'
  // Observed on 4.3.1: the old epoch is refused once the new one has written here, or a marker of it was.
  if (producerEpoch < producer.epoch) return 'INVALID_PRODUCER_EPOCH'
  const latest = producer.batches.at(-1)
  if (producerEpoch > producer.epoch) {
    // Observed on 4.3.1: the first batch of a new epoch begins at 0.
    if (sequence !== 0) return 'OUT_OF_ORDER_SEQUENCE_NUMBER'
  } else {
    // Behind a marker nothing is remembered but the epoch: -1 precedes 0.
    const previous = latest?.last ?? -1
    if (sequence !== (previous + 1) % 2 ** 31) return 'OUT_OF_ORDER_SEQUENCE_NUMBER'
  }
  // Observed on 4.3.1: no plain batch while the own transaction is open.
  if (producer.open >= 0 && !transactional) return 'INVALID_TXN_STATE'
  return 'NONE'
}

/** A marker raises the epoch: of version 2 it comes under an epoch of its own, so that a second one is told from a late one. */
export function markerRefusal(
  producer: Producer | undefined,
  { epoch, coordinatorEpoch, version }: { epoch: number; coordinatorEpoch: number; version: 1 | 2 },
): Code {
  if (producer === undefined) return 'NONE'
  const again = epoch === producer.epoch && producer.open < 0
  if (epoch < producer.epoch || (version === 2 && epoch === producer.epoch && !again)) return 'INVALID_PRODUCER_EPOCH'
  return producer.coordinatorEpoch > coordinatorEpoch ? 'TRANSACTION_COORDINATOR_FENCED' : 'NONE'
}
