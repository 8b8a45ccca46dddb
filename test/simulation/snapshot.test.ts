/** Machines that are replaced by new ones, which start from snapshots of others: whole ones, such as lack a database, and such as must be refused. */
import { expect, test } from 'vitest'
import { search } from './search.ts'

test.each(['file', 'kafka'] as const)('10 seeds on %s', { timeout: 600_000 }, async log => {
  expect(await search({ log, replacements: true }, 10)).toEqual([])
})
