/** Two releases with other tables in one world, made active one after the other: nothing is lost, doubled, or left waiting. */
import { expect, test } from 'vitest'
import { strategies } from '../../src/consistency.ts'
import { drawPlan } from '../../src/testing/plans.ts'
import { simulatePlan } from '../../src/testing/simulation.ts'
import { RELEASES } from '../../src/testing/world/plan.ts'
import shop from '../support/shop.ts'
import green from '../support/shop-green.ts'
import { search } from './search.ts'
import { probe, shopping } from './shop-plans.ts'

const logs = ['file', 'kafka'] as const

test.each(logs)('on %s, while things go wrong: 20 seeds', { timeout: 600_000 }, async log => {
  expect(await search({ log, rollouts: true }, 20)).toEqual([])
})

test.each(logs.flatMap(log => strategies.map(strategy => [log, strategy] as const)))(
  'on %s under %s, where nothing goes wrong nobody hears an error, to and fro',
  async (log, strategy) => {
    const heard: string[] = []
    for (let seed = 1; seed <= 3; seed++) {
      const plan = drawPlan(seed, { ...shopping, log, strategy, rollouts: true, misfortunes: false })
      const asks = plan.asks.map(ask => ({ ...ask, at: ask.at + 500, timeout: 2_500 }))
      // While commands are on their way.
      const operations = asks.flatMap(({ at }, n) =>
        n % 3 === 0 ? [{ at: at + (n % 8), do: 'release', release: RELEASES[(n / 3) % 2]! } as const] : [],
      )
      const { problems, run } = await simulatePlan(shop, { ...plan, asks, operations }, { probe, green })
      for (const { check, message } of problems) heard.push(`seed ${seed}, ${check}: ${message}`)
      for (const { ask, said } of run.answered) if (!('status' in said)) heard.push(`seed ${seed}, ${ask.name}: ${JSON.stringify(said)}`)
    }
    expect(heard).toEqual([])
  },
)
