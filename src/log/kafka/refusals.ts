/** What the cluster refuses, in words: the cause, and the way out. */
import { EngineError } from '../../errors.ts'
import type { NewRecord } from '../../log.ts'
import { LOST, UNSENT } from './answers.ts'
import type { Reply } from './lane.ts'

export function refusal({ error, message }: Reply, transactionalId: string | null): EngineError {
  const said = message ? `${error}: ${message}` : error
  const denied = (text: string) => new EngineError('log-denied', `${text} (${said})`)
  const unreachable = (text: string) => new EngineError('log-unreachable', `${text} (${said})`)
  switch (error) {
    case 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED':
      return denied(
        `this user may not write under the transactional id ${transactionalId}. Allow Describe and Write on it (kafka-acls --add --transactional-id), or use the strategy leader with fencing 'term', or first-wins, which need none`,
      )
    case 'TOPIC_AUTHORIZATION_FAILED':
      return denied('this user may not write into the topic. Allow Describe, Read and Write on it (kafka-acls --add --topic)')
    case 'CLUSTER_AUTHORIZATION_FAILED':
      return denied('this user may not write idempotently. Allow IdempotentWrite on the cluster (kafka-acls --add --cluster)')
    case 'INVALID_TIMESTAMP':
      return denied(
        "the record's time is further ahead than the topic allows (message.timestamp.after.max.ms). Set the clock of this machine",
      )
    case 'INVALID_TRANSACTION_TIMEOUT':
      return denied('the cluster allows no transaction of this length (transaction.max.timeout.ms)')
    case 'NOT_ENOUGH_REPLICAS':
    case 'NOT_ENOUGH_REPLICAS_AFTER_APPEND':
      return unreachable('fewer replicas of the partition are in sync than min.insync.replicas asks for')
    case 'KAFKA_STORAGE_ERROR':
      return unreachable("the disk of the partition's leader is full or broken")
    case UNSENT:
      return unreachable('no broker that leads the partition could be reached')
    case LOST:
      return unreachable('the broker did not answer')
    default:
      return unreachable('the cluster did not take the record')
  }
}

export function tooLarge({ value }: NewRecord): EngineError {
  return new EngineError(
    'record-too-large',
    `a record of ${Buffer.byteLength(value)} bytes is larger than the topic allows (max.message.bytes). Raise that, or lower maxRecordBytes`,
  )
}
