/**
 * A log on Apache Kafka: one topic, each of its partitions a shard. `kafka/` holds, from the outside in: partitions (reading, and carrying out
 * what the producer wants), the producer's machine and its lanes, the meaning of answers, and the wire.
 */
import { EngineError } from '../errors.ts'
import type { Log, Logs, Readable } from '../log.ts'
import { MAX_RECORD_BYTES } from '../record.ts'
import type { Roster } from '../roster.ts'
import { KafkaClient } from './kafka/client.ts'
import { checkAccepted, checkCluster } from './kafka/guard.ts'
import { PartitionLog, type PartitionOptions } from './kafka/partition.ts'
import { type Fencing, fencings } from './kafka/producer.ts'
import { KafkaRoster } from './kafka/roster.ts'
import { kafkaSettings } from './kafka/settings.ts'
import { Topic } from './kafka/topic.ts'

export interface KafkaOptions {
  /** Strategy leader: how the one before is kept out. Default: epoch. */
  readonly fencing?: Fencing
  /** Named in each record's headers. */
  readonly app?: string
  /** The most that a batch may take, bytes; a single record may be larger. */
  readonly maxBatchBytes?: number
  /** The largest record that will be written, bytes: the topic must take it. */
  readonly maxRecordBytes?: number
  /** What is unsafe about the cluster, and shall be taken as it is: by the names that `mainstem doctor` gives. */
  readonly accept?: readonly string[]
}

/** Below the default of max.message.bytes, 1,048,588, with what batch and request add. */
const MAX_BATCH_BYTES = 950_000

export class KafkaLogs implements Logs {
  readonly description: string
  readonly spans = 'network' as const
  readonly shards: readonly Log[]
  readonly roster: Roster
  readonly notices: readonly string[]
  readonly #client: KafkaClient

  private constructor(description: string, client: KafkaClient, shards: readonly Log[], roster: Roster, notices: readonly string[]) {
    this.description = description
    this.#client = client
    this.shards = shards
    this.roster = roster
    this.notices = notices
  }

  /**
   * @param url 'kafka://host:9092/topic'
   * @throws EngineError invalid-option, log-unreachable, log-denied, log-unusable when there is no such topic, log-unsafe
   */
  static async open(
    url: string,
    { fencing = 'epoch', app, maxBatchBytes = MAX_BATCH_BYTES, maxRecordBytes = MAX_RECORD_BYTES, accept = [] }: KafkaOptions = {},
  ): Promise<KafkaLogs> {
    if (!fencings.includes(fencing))
      throw new EngineError('invalid-option', `fencing is one of ${fencings.join(', ')}, not ${JSON.stringify(fencing)}`)
    checkAccepted(accept)
    const { settings, topic: name } = kafkaSettings(url)
    const client = new KafkaClient(settings)
    try {
      const topic = await Topic.open(client, name)
      // A roster that is missing is made below.
      const accepted = [...accept, 'roster-missing']
      const notices = await checkCluster(topic, { accept: accepted, maxRecordBytes, transactional: fencing !== 'term' })
      const roster = await KafkaRoster.open(topic)
      const shards = shardsOf(topic, url, { fencing, app, maxBatchBytes })
      return new KafkaLogs(url, client, shards, roster, notices)
    } catch (error) {
      client.close()
      throw error
    }
  }

  /**
   * The shards alone, to be read: how safe the cluster is does not matter to who writes nothing, and nothing is made.
   * @throws EngineError invalid-option, log-unreachable, log-denied, log-unusable when there is no such topic
   */
  static async read(url: string): Promise<Readable & { readonly topic: Topic }> {
    const { settings, topic: name } = kafkaSettings(url)
    const client = new KafkaClient(settings)
    try {
      const topic = await Topic.open(client, name)
      const shards = shardsOf(topic, url, { fencing: 'term', app: undefined, maxBatchBytes: MAX_BATCH_BYTES })
      const close = async () => {
        await Promise.all(shards.map(shard => shard.close()))
        client.close()
      }
      return { topic, shards, close }
    } catch (error) {
      client.close()
      throw error
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.shards.map(shard => shard.close()))
    await this.roster.close()
    this.#client.close()
  }
}

function shardsOf(topic: Topic, url: string, options: Omit<PartitionOptions, 'description' | 'random'>): PartitionLog[] {
  return Array.from({ length: topic.partitions }, (_, partition) => {
    const description = topic.partitions === 1 ? url : `${url}, partition ${partition}`
    return new PartitionLog(topic, partition, { ...options, description, random: Math.random })
  })
}
