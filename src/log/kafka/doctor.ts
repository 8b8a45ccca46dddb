/** The log on Kafka under examination: everything that can be asked, and on demand every record. Nothing is written, made or fenced. */
import { MAX_RECORD_BYTES } from '../../record.ts'
import type { ExamineOptions } from '../examine.ts'
import type { Finding } from '../finding.ts'
import { type ScanFacts, scanShard } from '../scan.ts'
import { examine } from './checks.ts'
import { KafkaClient } from './client.ts'
import { gatherDeepFacts } from './facts.ts'
import { PartitionLog } from './partition.ts'
import { kafkaSettings } from './settings.ts'
import { Topic } from './topic.ts'

/** @throws EngineError invalid-option, log-unreachable, log-denied, log-unusable when there is no such topic */
export async function examineTopic(url: string, { scan, onProgress, signal }: ExamineOptions): Promise<Finding[]> {
  const { settings, topic: name } = kafkaSettings(url)
  const client = new KafkaClient(settings)
  try {
    const topic = await Topic.open(client, name)
    const shards = Array.from({ length: topic.partitions }, (_, partition) => {
      const reading = { fencing: 'term', app: undefined, maxBatchBytes: MAX_RECORD_BYTES, random: Math.random } as const
      return new PartitionLog(topic, partition, { description: `${url}, partition ${partition}`, ...reading })
    })
    try {
      const facts = await gatherDeepFacts(topic, shards, { maxRecordBytes: MAX_RECORD_BYTES, transactional: true })
      // What is cut off cannot be judged: the beginning tells whose log it is.
      const whole = shards.flatMap((shard, partition) => (facts.shards?.[partition]?.begins === 0 ? [{ shard, partition }] : []))
      if (!scan) return examine(facts)
      const scans: ScanFacts[] = []
      for (const { shard, partition } of whole) {
        const head = await shard.head()
        scans.push(await scanShard(shard, partition, position => onProgress(position, head), signal))
      }
      return examine({ ...facts, scans })
    } finally {
      await Promise.all(shards.map(shard => shard.close()))
    }
  } finally {
    client.close()
  }
}
