/** The long tests: many seeds, real processes, real disks, clusters that lose brokers. `npm run test:long`. */
import { defineConfig, mergeConfig } from 'vitest/config'
import base, { leftOut } from './vitest.config.ts'

const long = mergeConfig(base, defineConfig({ test: { testTimeout: 600_000, hookTimeout: 120_000 } }))
// Merging would join the lists.
long.test.include = ['test/long/**/*.test.ts']
long.test.exclude = leftOut
delete long.test.projects

export default long
