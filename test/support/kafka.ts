/** Topics for tests: made anew on the cluster that the tests were given. */
import { randomUUID } from 'node:crypto'
import { inject } from 'vitest'
import { createTopics } from '../../src/log/kafka/calls.ts'
import { KafkaClient } from '../../src/log/kafka/client.ts'
import { createLog, logSettings } from '../../src/log/kafka/create.ts'
import { kafkaSettings } from '../../src/log/kafka/settings.ts'

/** 'host:port,...' of the cluster that this run of tests has. */
export const bootstrap = (): string => process.env['KAFKA_BROKERS'] ?? inject('kafka')

export function newUrl(): string {
  return `kafka://${bootstrap()}/test-${randomUUID().slice(0, 13)}`
}

/** A topic with its manifests. */
export async function makeLog(url: string, app: string, partitions = 1): Promise<void> {
  await createLog(url, { app, partitions })
}

/** A topic alone. @param configs beside those that a log is made with */
export async function makeTopic(url: string, partitions = 1, configs: Record<string, string> = {}, replicationFactor = -1): Promise<void> {
  const { settings, topic: name } = kafkaSettings(url)
  const client = new KafkaClient(settings)
  try {
    const { brokers } = await client.metadata()
    const replicas = replicationFactor > 0 ? replicationFactor : brokers.length >= 3 ? 3 : 1
    const conn = await client.connect(brokers[0]!.id, 'make a topic')
    const [answer] = await createTopics(conn, {
      topics: [{ name, partitions, replicationFactor: replicas, configs: { ...logSettings(replicas), ...configs } }],
      timeout: 10_000,
    })
    if (answer?.error !== 'NONE') throw new Error(`no topic ${name}: ${answer?.error} ${answer?.message}`)
    // All brokers know it.
    while ((await client.metadata(name)).topic?.partitions.some(({ leader }) => leader < 0) !== false)
      await new Promise(resolve => setTimeout(resolve, 20))
  } finally {
    client.close()
  }
}
