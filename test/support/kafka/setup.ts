/** Before the tests of test/kafka: one broker for all of them, unless KAFKA_BROKERS names a cluster that is there already. */
import type { TestProject } from 'vitest/node'
import { startCluster } from '../brokers.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** The brokers that the tests share: `host:port,host:port`. */
    readonly kafka: string
    /** Why there are none, or empty. */
    readonly noKafka: string
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const offer = (kafka: string, noKafka = ''): void => {
    project.provide('kafka', kafka)
    project.provide('noKafka', noKafka)
  }
  const existing = process.env['KAFKA_BROKERS'] ?? ''
  if (existing !== '') {
    offer(existing)
    return () => Promise.resolve()
  }
  try {
    const cluster = await startCluster()
    offer(cluster.bootstrap)
    return () => cluster.close()
  } catch (error) {
    // Thrown here it would keep all other tests from running, too. needed.ts throws it.
    offer('', String(error))
    return () => Promise.resolve()
  }
}
