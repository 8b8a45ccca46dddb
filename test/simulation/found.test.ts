/** Seeds that once found something: each is a row in docs/bugs.md. */
import { expect, test } from 'vitest'
import { type Kind, simulateSeed } from './search.ts'

const found: readonly (readonly [what: string, kind: Kind, seed: number])[] = [
  ['a release that is not active any more writes nothing', { log: 'file' }, 28],
  ['a repeated id, asked of a replica that closes', { log: 'kafka' }, 1000],
  ['an answer that is lost where a producer id is used up nearly', { log: 'kafka' }, 519],
]

test.each(found)('%s', async (_, kind, seed) => {
  const { problems, refused } = await simulateSeed(seed, kind)
  expect(problems).toEqual([])
  // Void records are cheap to refuse, and make the log grow for ever.
  expect(refused).toBeLessThan(200)
})
