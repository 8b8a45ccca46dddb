/** Whole replicas in virtual time on the model of a Kafka cluster: what was acknowledged is there, once, and nothing was decided on what was not so. */
import { expect, test } from 'vitest'
import { search } from './search.ts'

test('500 seeds', { timeout: 600_000 }, async () => {
  expect(await search({ log: 'kafka' }, 500)).toEqual([])
})
