/** The tests, all but the long ones: `npm test`. Those of test/kafka share a broker, which is started when one of them is to run. */
import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { lacking } from './test/support/kafka/install.ts'

const conditions = ['source', 'node', 'import', 'module', 'default']

/** What asks for a cluster of its own, and for the tools that come with it. */
const ownClusters = ['brokers', 'faults', 'security'].map(name => `test/kafka/${name}.test.ts`).concat('test/long/kafka/**')
/** Test files that cannot run here, for want of Kafka. On a build server they run and fail. */
export const leftOut = missing()

export default defineConfig({
  // `mainstem` and `mainstem/testing` mean src/ here, so that a test and what it tests share one copy of every module.
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    environment: 'node',
    pool: 'forks',
    maxWorkers: Math.min(4, availableParallelism()),
    // For what hangs, not for what is slow: tests that start processes share a busy machine with others.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    allowOnly: false,
    reporters: ['default'],
    projects: [
      { extends: true, test: { name: 'main', include: ['test/**/*.test.ts'], exclude: ['test/long/**', 'test/kafka/**'] } },
      {
        extends: true,
        test: {
          name: 'kafka',
          include: ['test/kafka/**/*.test.ts'],
          exclude: leftOut,
          globalSetup: 'test/support/kafka/setup.ts',
          setupFiles: 'test/support/kafka/needed.ts',
        },
      },
    ],
  },
})

function missing(): string[] {
  const lacks = lacking()
  if (lacks === undefined || process.env['CI'] === 'true') return []
  const files = (process.env['KAFKA_BROKERS'] ?? '') === '' ? ['test/kafka/**', 'test/long/kafka/**'] : ownClusters
  console.error(`\n!!! NOT RUN: the tests on Kafka (${files.join(', ')}). Install ${lacks} to run them.\n`)
  return files
}
