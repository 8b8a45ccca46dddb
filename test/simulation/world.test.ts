/** What the simulated world owes to whoever judges it. */
import { expect, test } from 'vitest'
import { simulatePlan } from '../../src/testing/simulation.ts'
import shop from '../support/shop.ts'

test('a replica that is started anew at the very end is asked when it is there again', async () => {
  const ask = {
    at: 100,
    node: 0,
    tenant: 'default',
    name: 'pay',
    input: { account: 'a', cents: 1 },
    id: 'last',
    timeout: 1_000,
    repeat: false,
  }
  const { run, problems } = await simulatePlan(shop, {
    seed: 1,
    log: { kind: 'file' },
    window: 50,
    open: 4,
    nodes: [{ strategy: 'optimistic', release: 'one' }],
    asks: [ask],
    looks: [],
    operations: [],
    misfortunes: [{ kind: 'fsync-error', at: 50, node: 0 }],
    calmAt: 200,
  })
  expect(problems).toEqual([])
  // It was: its disk has failed.
  expect(run.happenings.filter(({ what }) => what === 'started')).toHaveLength(2)
  expect(run.finals).toHaveLength(1)
})
