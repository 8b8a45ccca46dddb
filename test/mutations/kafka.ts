/** Breakages of what is written into Kafka and read from it. */
import type { Mutation } from './mutation.ts'
import { both, fenced, onKafka, rivals, some, transactional } from './only.ts'

const answers = 'src/log/kafka/answers.ts'
const batches = 'src/log/kafka/batches.ts'
const partition = 'src/log/kafka/partition.ts'
const transactions = 'src/log/kafka/transactions.ts'

export const kafka: readonly Mutation[] = [
  {
    name: 'no fencing',
    breaks: 'leaders write under producer ids of their own, which nobody can fence',
    scene: 'sleepers on a cluster',
    only: fenced('epoch'),
    edits: [
      {
        file: 'src/log/kafka/producer.ts',
        find: "fence === undefined || this.#fencing === 'term'",
        replace: 'fence === undefined || this.#fencing !== undefined',
      },
    ],
  },
  {
    name: 'fence taken back',
    breaks: 'an owner that was fenced takes the next epoch and writes on in its term',
    scene: 'sleepers on a cluster',
    only: fenced('epoch'),
    edits: [
      {
        file: batches,
        find: `if (fence === 'hold' && !this.#identity) this.#queue.refuse({ status: 'not-written', fenced: true }, head.append.key)
      else if`,
        replace: 'if',
      },
    ],
  },
  {
    name: 'no gap check before EndTxn',
    breaks: 'a transaction is committed whatever stands between its base and its record',
    only: both(rivals, transactional, some('optimistic')),
    edits: [
      {
        file: transactions,
        find: "flight.stage = base === undefined || base + 1 === flight.first ? 'commit' : 'gap'",
        replace: "flight.stage = base === -1 ? 'gap' : 'commit'",
      },
    ],
  },
  {
    name: 'gap check blind to control records',
    breaks: 'a term, release or rules record in the gap does not void a transaction',
    scene: 'rules that change',
    edits: [{ file: transactions, find: '(tenant === null ? !barrier : tenant === own)', replace: '(tenant === own && !barrier)' }],
  },
  {
    name: 'fenced read as "did not happen"',
    breaks: 'EndTxn is sent again after a lost answer, and the refusal of the second is taken for the first',
    scene: 'impatient clients of transactions',
    edits: [
      {
        file: transactions,
        find: `this.#queue.answerAll(items, { status: 'unknown', cause: refusal(reply, this.#options.transactionalId) })
        this.#giveUpIdentity(flight)`,
        replace: '',
      },
    ],
  },
  {
    name: 'lost EndTxn read as "did not happen"',
    breaks: 'an EndTxn without an answer counts as an aborted transaction',
    scene: 'impatient clients of transactions',
    edits: [
      {
        file: answers,
        find: `    default:
      return 'unknown'`,
        replace: `    default:
      return 'aborted'`,
      },
    ],
  },
  {
    name: 'refused resend read as "did not happen"',
    breaks: 'the refusal of a batch that was sent again is taken for the first sending',
    scene: 'followers that stop',
    edits: [
      {
        file: answers,
        find: "if (first || fate === 'written' || fate === 'resend') return fate",
        replace: "if (first || fate !== 'unknown') return fate",
      },
    ],
  },
  {
    name: 'lost produce read as "did not happen"',
    breaks: 'a batch without an answer counts as not written',
    only: onKafka,
    edits: [{ file: answers, find: "[LOST]: 'resend'", replace: "[LOST]: 'not-written'" }],
  },
  {
    name: 'retained epoch after an unanswered request',
    breaks: 'the next transaction goes on under the epoch of one that was not answered',
    only: transactional,
    edits: [
      {
        file: transactions,
        find: `this.#open = this.#identity
    this.#identity = undefined`,
        replace: '',
      },
    ],
  },
  {
    name: 'sequence used twice',
    breaks: 'the sequence does not move on after a batch',
    only: onKafka,
    edits: [{ file: batches, find: 'sequence: wrapped(sequence + items.length)', replace: 'sequence: wrapped(sequence)' }],
  },
  {
    name: 'aborted records delivered',
    breaks: 'records of aborted transactions are read like any other',
    only: transactional,
    edits: [
      {
        file: 'src/log/kafka/batch.ts',
        find: 'return (attributes & transactionalBit) === 0 || !this.#inside.has(producerId)',
        replace: 'return true',
      },
    ],
  },
  {
    name: 'gap looked at halfway',
    breaks: 'the look at a gap ends with the first answer, also where it does not cover the gap (answers bring a batch each)',
    only: both(rivals, transactional, some('optimistic')),
    edits: [
      { file: partition, find: "await this.#fetch(reached, 'gap', 0)", replace: "await this.#fetch(reached, 'gap', 0, ONE_BATCH)" },
      {
        file: partition,
        find: `reached = fetched.reached
      }
      return`,
        replace: `reached = before
      }
      return`,
      },
    ],
  },
  {
    name: 'uncommitted records read',
    breaks: 'records of transactions that are still open are read',
    only: transactional,
    edits: [{ file: partition, find: "...size, isolation: 'read_committed'", replace: "...size, isolation: 'read_uncommitted'" }],
  },
  {
    name: "a broker's word on the head taken for evidence",
    breaks: 'linearizable reads and rejections ask for the end offset, and send no barrier',
    scene: 'an old leader',
    edits: [{ file: partition, find: 'readonly freshHead = false', replace: 'readonly freshHead = true' }],
  },
]
