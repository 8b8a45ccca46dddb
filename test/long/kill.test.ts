/**
 * 208 rounds of processes that share a log and are killed at any moment. `MAINSTEM_SEED` gives them another course; the seed is
 * in the message of whatever fails.
 */
import { expect, test } from 'vitest'
import { strategies } from '../../src/consistency.ts'
import { killRounds } from '../support/kill.ts'

const first = Number(process.env['MAINSTEM_SEED'] ?? 1)
const series = [...strategies, 'mixed' as const].flatMap(strategy =>
  [1, 2, 3, 4].map(processes => ({ strategy, processes, rounds: 13, seed: first * 100 + processes })),
)

test.each(series)('$strategy, $processes processes: nothing acknowledged is lost, nothing is doubled', async each => {
  const { accepted, rejected, kills } = await killRounds(each)
  expect(kills).toBeGreaterThanOrEqual(each.rounds)
  expect(accepted).toBeGreaterThan(50)
  expect(rejected).toBeGreaterThan(0)
})
