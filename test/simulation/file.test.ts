/** Whole replicas in virtual time on the model of one file: what was acknowledged is there, once, and nothing was decided on what was not so. */
import { expect, test } from 'vitest'
import { search } from './search.ts'

test('500 seeds', { timeout: 600_000 }, async () => {
  expect(await search({ log: 'file' }, 500)).toEqual([])
})
