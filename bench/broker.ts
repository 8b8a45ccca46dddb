/** The Kafka that measurements run on: the cluster that KAFKA_BROKERS names, or a broker of their own, gone when they have ended. */
import { randomUUID } from 'node:crypto'
import { createLog } from '../src/log/kafka/create.ts'
import { startCluster } from '../test/support/brokers.ts'

/** Tests ask for little memory and a fast start; who measures lets Java compile as it does in production. */
const JVM = ['-Xms512m', '-Xmx512m', '-XX:TieredStopAtLevel=4']

/** @param work is given 'host:port,...' */
export async function onBroker(work: (bootstrap: string) => Promise<void>): Promise<void> {
  const named = process.env['KAFKA_BROKERS']
  if (named !== undefined) return work(named)
  await using cluster = await startCluster({ jvm: JVM })
  await work(cluster.bootstrap)
}

/** A topic of its own, made as a log. */
export async function newLog(bootstrap: string, app: string): Promise<string> {
  const url = `kafka://${bootstrap}/bench-${randomUUID().slice(0, 13)}`
  await createLog(url, { app, partitions: 1 })
  return url
}
