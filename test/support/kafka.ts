/** Topics for tests: made anew on the cluster that the tests were given. */
import { randomUUID } from 'node:crypto'
import { inject } from 'vitest'
import { createTopics } from '../../src/log/kafka/calls.ts'
import { KafkaClient } from '../../src/log/kafka/client.ts'
import { kafkaSettings } from '../../src/log/kafka/settings.ts'
import { openLogs } from '../../src/log/open.ts'
import { manifestValue } from '../../src/replica/manifest.ts'

/** 'host:port,...' of the cluster that this run of tests has. */
export const bootstrap = (): string => process.env['KAFKA_BROKERS'] ?? inject('kafka')

export function newUrl(): string {
  return `kafka://${bootstrap()}/test-${randomUUID().slice(0, 13)}`
}

/** A topic with its manifests. */
export async function makeLog(url: string, app: string, partitions = 1): Promise<void> {
  await makeTopic(url, partitions)
  const logs = await openLogs(url)
  try {
    const log = randomUUID()
    for (const [partition, shard] of logs.shards.entries()) {
      const value = manifestValue({ log, app, partitions, partition })
      const [answer] = await shard.append([{ value, tenant: null, time: Date.now() }])
      if (answer?.status !== 'written') throw new Error(`no manifest in partition ${partition}: ${JSON.stringify(answer)}`)
    }
  } finally {
    await logs.close()
  }
}

export async function makeTopic(url: string, partitions = 1, configs: Record<string, string> = {}, replicationFactor = -1): Promise<void> {
  const { settings, topic: name } = kafkaSettings(url)
  const client = new KafkaClient(settings)
  try {
    const { brokers } = await client.metadata()
    const conn = await client.connect(brokers[0]!.id, 'make a topic')
    const [answer] = await createTopics(conn, { topics: [{ name, partitions, replicationFactor, configs }], timeout: 10_000 })
    if (answer?.error !== 'NONE') throw new Error(`no topic ${name}: ${answer?.error} ${answer?.message}`)
    // All brokers know it.
    while ((await client.metadata(name)).topic?.partitions.some(({ leader }) => leader < 0) !== false) await new Promise(resolve => setTimeout(resolve, 20))
  } finally {
    client.close()
  }
}
