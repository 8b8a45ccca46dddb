/**
 * Small worlds, gone through to the end: every order in which a few writers' commands, the log's answers and what is read can come, over the
 * machine of production. Printed: how many states there were, and that none was left.
 */
import { afterAll, expect, test } from 'vitest'
import { go, table } from './exhaustive/go.ts'
import type { Come } from './exhaustive/worker.ts'
import { short } from './exhaustive/worlds.ts'

const all = new Map<string, Come>()
afterAll(() => console.log(table(all)))

test.each(Object.entries(short))('%s', async (name, setting) => {
  const come = await go(setting)
  expect(come.wrong).toBeUndefined()
  expect(come.frontier).toBe(0)
  expect(come.ends).toBeGreaterThan(0)
  all.set(name, come)
})
