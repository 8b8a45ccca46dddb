/**
 * A log on Apache Kafka: one topic, each of its partitions a shard. `kafka/` holds, from the outside in: partitions (reading, and carrying out
 * what the producer wants), the producer's machine and its lanes, the meaning of answers, and the wire.
 */
import { EngineError } from '../errors.ts'
import type { Log, Logs } from '../log.ts'
import { MAX_RECORD_BYTES } from '../record.ts'
import { MemoryRoster, type Roster } from '../roster.ts'
import { KafkaClient } from './kafka/client.ts'
import { checkAccepted, checkCluster } from './kafka/guard.ts'
import { PartitionLog } from './kafka/partition.ts'
import { type Copying, KafkaRoster } from './kafka/roster.ts'
import { type Fencing, fencings, kafkaSettings } from './kafka/settings.ts'
import { Topic } from './kafka/topic.ts'
import { socketWire } from './kafka/wire.ts'

export interface KafkaOptions {
  /** Strategy leader: how the one before is kept out. Default: epoch. */
  readonly fencing?: Fencing
  /** Whether records are written under transactional ids, fencing permitting: not by first-wins. Default: yes. */
  readonly transactional?: boolean
  /** Named in each record's headers. */
  readonly app?: string
  /** The most that a batch may take, bytes; a single record may be larger. */
  readonly maxBatchBytes?: number
  /** The largest record that will be written, bytes: the topic must take it. */
  readonly maxRecordBytes?: number
  /** What is unsafe about the cluster, and shall be taken as it is: by the names that `mainstem doctor` gives. */
  readonly accept?: readonly string[]
  /**
   * `replica` (default): the log must be whole. `copy`: it may be one that another log is being copied into. `reader`: whatever it is, it is
   * only looked at, and nobody is told of it. `operator`: the same, but control records may be written, and who runs on it is known.
   */
  readonly as?: 'replica' | 'copy' | 'reader' | 'operator'
}

/** Below the default of max.message.bytes, 1,048,588, with what batch and request add. */
const MAX_BATCH_BYTES = 950_000

export class KafkaLogs implements Logs {
  readonly description: string
  readonly spans = 'network' as const
  readonly shards: readonly Log[]
  readonly roster: Roster
  readonly notices: readonly string[]
  readonly topic: Topic
  readonly #roster: KafkaRoster | undefined

  private constructor(
    description: string,
    topic: Topic,
    shards: readonly Log[],
    roster: KafkaRoster | undefined,
    notices: readonly string[],
  ) {
    this.description = description
    this.topic = topic
    this.shards = shards
    this.roster = roster ?? new MemoryRoster(description)
    this.#roster = roster
    this.notices = notices
  }

  /**
   * @param url 'kafka://host:9092/topic'
   * @throws EngineError invalid-option, log-unreachable, log-denied, log-unsafe, log-unusable when there is no such topic, or a copy into it is
   *   under way
   */
  static async open(
    url: string,
    {
      fencing = 'epoch',
      transactional = true,
      app,
      maxBatchBytes = MAX_BATCH_BYTES,
      maxRecordBytes = MAX_RECORD_BYTES,
      accept = [],
      as = 'replica',
    }: KafkaOptions = {},
  ): Promise<KafkaLogs> {
    if (!fencings.includes(fencing))
      throw new EngineError('invalid-option', `fencing is one of ${fencings.join(', ')}, not ${JSON.stringify(fencing)}`)
    checkAccepted(accept)
    const { settings, topic: name } = kafkaSettings(url)
    const client = new KafkaClient(settings)
    let roster: KafkaRoster | undefined
    try {
      const topic = await Topic.open(client, name)
      // A roster that is missing is made below. Who only looks on is not kept from seeing what is wrong.
      const accepted = [...accept, 'roster-missing']
      const notices =
        as === 'reader' || as === 'operator'
          ? []
          : await checkCluster(topic, { accept: accepted, maxRecordBytes, transactional: transactional && fencing !== 'term' })
      if (as !== 'reader') roster = await KafkaRoster.open(topic)
      if (roster?.copying && as === 'replica')
        throw new EngineError(
          'log-unusable',
          `${url} is not whole yet: a copy into it is under way. Run the same \`mainstem log copy\` again if it was cut off`,
        )
      const shards = Array.from({ length: topic.partitions }, (_, partition) => {
        const description = topic.partitions === 1 ? url : `${url}, partition ${partition}`
        return new PartitionLog(socketWire(topic), partition, { description, fencing, app, maxBatchBytes })
      })
      return new KafkaLogs(url, topic, shards, roster, notices)
    } catch (error) {
      await roster?.close()
      client.close()
      throw error
    }
  }

  /** The copy into this log that is under way, as of when it was opened. */
  get copying(): Copying | undefined {
    return this.#roster?.copying
  }

  /** Says that a copy into this log is under way, or that it is done. @throws EngineError log-unreachable, log-denied */
  async mark(copying: Copying | null): Promise<void> {
    await this.#roster?.mark(copying)
  }

  async close(): Promise<void> {
    await Promise.all(this.shards.map(shard => shard.close()))
    await this.roster.close()
    this.topic.client.close()
  }
}
