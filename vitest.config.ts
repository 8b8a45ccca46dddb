/** The tests, all but the long ones: `npm test`. Those of test/kafka share a broker, which is started when one of them is to run. */
import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { lackingHaproxy } from './test/support/haproxy/install.ts'
import { lacking } from './test/support/kafka/install.ts'

const conditions = ['source', 'node', 'import', 'module', 'default']

/** What asks for a cluster of its own, and for the tools that come with it. */
const ownClusters = ['test/kafka/brokers.test.ts', 'test/long/kafka/**']
/** What asks for HAProxy. */
const proxied = ['test/deploy/haproxy.test.ts', 'test/kafka/rollout.test.ts', 'test/long/kafka/rollout.test.ts']
/** Test files that cannot run here, for want of Kafka or HAProxy. On a build server they run and fail. */
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
      { extends: true, test: { name: 'main', include: ['test/**/*.test.ts'], exclude: ['test/long/**', 'test/kafka/**', ...leftOut] } },
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
  if (process.env['CI'] === 'true') return []
  const files = (process.env['KAFKA_BROKERS'] ?? '') === '' ? ['test/kafka/**', 'test/long/kafka/**'] : ownClusters
  const kafka = leaveOut('the tests on Kafka', files, lacking())
  return [...kafka, ...leaveOut('the tests behind HAProxy', proxied, lackingHaproxy())]
}

function leaveOut(what: string, files: readonly string[], lacks: string | undefined): readonly string[] {
  if (lacks === undefined) return []
  console.error(`\n!!! NOT RUN: ${what} (${files.join(', ')}). Install ${lacks} to run them.\n`)
  return files
}
