/** Before the tests of test/kafka: one broker for all of them, unless KAFKA_BROKERS names a cluster that is there already. */
import type { TestProject } from 'vitest/node'
import { startCluster } from '../brokers.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** The brokers that the tests share: `host:port,host:port`. */
    readonly kafka: string
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const existing = process.env['KAFKA_BROKERS'] ?? ''
  if (existing !== '') {
    project.provide('kafka', existing)
    return () => Promise.resolve()
  }
  const cluster = await startCluster()
  project.provide('kafka', cluster.bootstrap)
  return () => cluster.close()
}
