/** More seeds of the simulation, on a cluster: see test/simulation. */
import { expect, test } from 'vitest'
import { search } from '../simulation/search.ts'

test('1,000 seeds', { timeout: 1_800_000 }, async () => {
  expect(await search({ log: 'kafka' }, 1_000)).toEqual([])
})

test('400 seeds with two releases', { timeout: 1_800_000 }, async () => {
  expect(await search({ log: 'kafka', rollouts: true }, 400)).toEqual([])
})
