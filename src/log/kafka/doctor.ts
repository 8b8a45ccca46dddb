/** The log on Kafka under examination: everything that can be asked, and on demand every record. Nothing is written, made or fenced. */
import { MAX_RECORD_BYTES } from '../../record.ts'
import type { ExamineOptions } from '../examine.ts'
import type { Finding } from '../finding.ts'
import { KafkaLogs } from '../kafka.ts'
import { type ScanFacts, scanShard } from '../scan.ts'
import { examine } from './checks.ts'
import { gatherDeepFacts } from './facts.ts'

/** @throws EngineError invalid-option, log-unreachable, log-denied, log-unusable when there is no such topic */
export async function examineTopic(url: string, { scan, onProgress, signal }: ExamineOptions): Promise<Finding[]> {
  const logs = await KafkaLogs.open(url, { as: 'reader' })
  const { topic, shards } = logs
  try {
    const facts = await gatherDeepFacts(topic, shards, { maxRecordBytes: MAX_RECORD_BYTES, transactional: true })
    if (!scan) return examine(facts)
    const scans: ScanFacts[] = []
    for (const [partition, shard] of shards.entries()) {
      // What is cut off cannot be judged: the beginning tells whose log it is.
      if (facts.shards?.[partition]?.begins !== 0) continue
      const head = await shard.head()
      scans.push(await scanShard(shard, partition, position => onProgress(position, head), signal))
    }
    return examine({ ...facts, scans })
  } finally {
    await logs.close()
  }
}
