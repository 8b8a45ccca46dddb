/** More seeds of the simulation, on a file: see test/simulation. */
import { expect, test } from 'vitest'
import { search } from '../simulation/search.ts'

test('1,000 seeds', { timeout: 1_800_000 }, async () => {
  expect(await search({ log: 'file' }, 1_000)).toEqual([])
})

test('400 seeds with two releases', { timeout: 1_800_000 }, async () => {
  expect(await search({ log: 'file', rollouts: true }, 400)).toEqual([])
})
