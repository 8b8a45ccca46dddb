/** Simulations are told whole and short: each conflict in their logs is laid at somebody's door. */
import { expect, test } from 'vitest'
import { storyOf } from '../../src/testing/story.ts'
import { simulateSeed } from './search.ts'

test.each(['file', 'kafka'] as const)('who lost to whom, on the log %s', async log => {
  let conflicts = 0
  for (let seed = 1; seed <= 4; seed++) {
    const simulated = await simulateSeed(seed, { log, strategy: 'first-wins' })
    const whole = storyOf(simulated, { lines: 10_000 }).split('\n')
    const lost = whole.filter(line => /: decided at version \d+, lost to [\w-]+(?: at \d+|, beside it)$/.test(line)).length
    expect(lost, `seed ${seed}`).toBe(simulated.verdicts.filter(({ verdict }) => verdict === 'conflict').length)
    conflicts += lost
    expect(storyOf(simulated).split('\n').length).toBeLessThanOrEqual(25)
  }
  expect(conflicts).toBeGreaterThan(0)
})
