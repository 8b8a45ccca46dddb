/** The tests, all but the long ones: `npm test`. */
import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

const conditions = ['source', 'node', 'import', 'module', 'default']

export default defineConfig({
  // `mainstem` and `mainstem/testing` mean src/ here, so that a test and what it tests share one copy of every module.
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    environment: 'node',
    include: ['test/**/*.test.ts'],
    exclude: ['test/long/**'],
    pool: 'forks',
    maxWorkers: Math.min(4, availableParallelism()),
    // For what hangs, not for what is slow: tests that start processes share a busy machine with others.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    allowOnly: false,
    reporters: ['default'],
  },
})
