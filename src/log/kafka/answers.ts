/**
 * What Kafka's answers mean for what was sent. One table for produce, one for EndTxn, one for InitProducerId; each row with the scenario
 * that it comes from. Nobody else looks at an error's name.
 *
 * `first`: no earlier attempt to send these very bytes can have reached a broker. Without that, no refusal says anything about the attempt
 * before it: the retry of a batch got NOT_ENOUGH_REPLICAS though it stood in the log.
 */

/** An error of the broker by name; 'NONE'; or that there was no answer. */
export type Answer = string

/** No answer came, and the request may have arrived. */
export const LOST = 'LOST'
/** It never left this process. */
export const UNSENT = 'UNSENT'

/** A request that got no answer. */
export interface Unanswered {
  readonly error: typeof LOST | typeof UNSENT
  readonly message: string
}

/** What became of a batch. */
export type Fate =
  | 'written'
  /** Not in the log, and never will be. Sequence and producer can be used again. */
  | 'not-written'
  /** Not in the log; the producer's identity is used up. */
  | 'spent'
  /** Not in the log; somebody else has taken the producer's transactional id since. */
  | 'fenced'
  /** Not in the log, and never fits. */
  | 'too-large'
  /** Not in the log; the coordinator is still busy with the transaction before. Ask again soon. */
  | 'busy'
  /** May be in the log. The same bytes can be sent again: the broker knows them by their sequence. */
  | 'resend'
  /** May be in the log, and sending again would tell nothing. Only reading does. */
  | 'unknown'

/** Answers to a produce, acks=all. `refused`: what it means for a batch that was sent for the first time. */
const produced: { readonly [error: Answer]: Fate } = {
  NONE: 'written',
  // The connection could not be made, or broke before the request was handed to it.
  [UNSENT]: 'not-written',
  // The broker was stopped, killed or cut off while it worked.
  [LOST]: 'resend',
  // Fewer replicas in sync than min.insync.replicas: looked at before the append.
  NOT_ENOUGH_REPLICAS: 'not-written',
  // The same, found while it waited for the followers: it stands in the leader's log, and is committed later.
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: 'resend',
  // A follower was stopped: appended, and committed once the follower left the ISR.
  REQUEST_TIMED_OUT: 'resend',
  // A leader that was deposed while it waited says so, with the batch in its log.
  NOT_LEADER_OR_FOLLOWER: 'resend',
  LEADER_NOT_AVAILABLE: 'resend',
  FENCED_LEADER_EPOCH: 'resend',
  KAFKA_STORAGE_ERROR: 'resend',
  NETWORK_EXCEPTION: 'resend',
  THROTTLING_QUOTA_EXCEEDED: 'resend',
  UNKNOWN_SERVER_ERROR: 'resend',
  // A broker that has just started does not know its topics yet. Whether the topic is another one now is looked at elsewhere.
  UNKNOWN_TOPIC_OR_PARTITION: 'resend',
  UNKNOWN_TOPIC_ID: 'resend',
  INCONSISTENT_TOPIC_ID: 'resend',
  // Uses up no sequence.
  MESSAGE_TOO_LARGE: 'too-large',
  RECORD_LIST_TOO_LARGE: 'too-large',
  // The record's time is further ahead than message.timestamp.after.max.ms.
  INVALID_TIMESTAMP: 'not-written',
  INVALID_RECORD: 'not-written',
  TOPIC_AUTHORIZATION_FAILED: 'not-written',
  CLUSTER_AUTHORIZATION_FAILED: 'not-written',
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: 'not-written',
  // A rival's InitProducerId has raised the epoch, and it has written since (or, in a transaction, at once).
  INVALID_PRODUCER_EPOCH: 'fenced',
  PRODUCER_FENCED: 'fenced',
  // A batch before this one is missing there: the broker's memory of the producer is not ours. Nothing may follow under this identity.
  OUT_OF_ORDER_SEQUENCE_NUMBER: 'spent',
  UNKNOWN_PRODUCER_ID: 'spent',
  INVALID_PRODUCER_ID_MAPPING: 'spent',
  // A plain batch while a transaction of the same id is open; or a transaction that the coordinator has given up.
  INVALID_TXN_STATE: 'spent',
  TRANSACTION_ABORTABLE: 'spent',
  // Never seen; says that it was appended long ago.
  DUPLICATE_SEQUENCE_NUMBER: 'unknown',
  // Transactions v2 add the partition on the way: the markers of the transaction before are not written yet.
  CONCURRENT_TRANSACTIONS: 'busy',
}

/** What became of a batch that was answered so. */
export function fateOf(error: Answer, first: boolean): Fate {
  const fate = produced[error] ?? 'resend'
  if (first || fate === 'written' || fate === 'resend') return fate
  // An earlier attempt may stand there, whatever this one came to.
  return fate === 'not-written' || fate === 'busy' ? 'resend' : 'unknown'
}

/** How a transaction ended whose EndTxn(commit), sent once, was answered so. */
export function endedBy(error: Answer): 'committed' | 'aborted' | 'unknown' {
  switch (error) {
    case 'NONE':
      return 'committed'
    // The request never left, and nobody else can commit it.
    case UNSENT:
    // A rival took over before it arrived: its InitProducerId aborted the transaction.
    case 'PRODUCER_FENCED':
    case 'INVALID_PRODUCER_EPOCH':
    // The transaction was aborted by its time-out.
    case 'INVALID_TXN_STATE':
    case 'TRANSACTION_ABORTABLE':
      return 'aborted'
    // Lost, or CONCURRENT_TRANSACTIONS, COORDINATOR_*, UNKNOWN_SERVER_ERROR (seen under rivalry): it may have been taken.
    default:
      return 'unknown'
  }
}

/** What to do about an InitProducerId that was answered so. Nothing is written by it, so it may always be sent again. */
export function initiation(error: Answer): 'done' | 'poll' | 'retry' | 'fenced' | 'denied' {
  switch (error) {
    case 'NONE':
      return 'done'
    // A transaction of the id is being ended. With an idle coordinator this lasted 500 ms, with a request every 3 ms 20 ms: poll, never back off.
    case 'CONCURRENT_TRANSACTIONS':
    case 'COORDINATOR_LOAD_IN_PROGRESS':
      return 'poll'
    // Two candidates at once; the other one was later.
    case 'INVALID_PRODUCER_EPOCH':
    case 'PRODUCER_FENCED':
    case 'INVALID_PRODUCER_ID_MAPPING':
      return 'fenced'
    case 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED':
    case 'CLUSTER_AUTHORIZATION_FAILED':
    case 'INVALID_TRANSACTION_TIMEOUT':
      return 'denied'
    // COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, lost, anything else: look for the coordinator again.
    default:
      return 'retry'
  }
}
