/** Up to eight replicas that write at once: no strategy comes to a livelock, every command ends. */
import { expect, test } from 'vitest'
import { strategies } from '../../src/consistency.ts'
import { searchFrom } from './search.ts'

const SEEDS = 6

test.each(strategies.flatMap(strategy => (['file', 'kafka'] as const).map(log => ({ strategy, log }))))('$strategy on $log', async kind => {
  const { findings, accepted } = await searchFrom(1, SEEDS, { ...kind, replicas: 8 })
  expect(findings).toEqual([])
  expect(accepted).toBeGreaterThan(20 * SEEDS)
})
