/**
 * Small worlds, gone through to the end: every order in which a few writers' commands, the log's answers and what is read can come, over the
 * machines of production. Printed: how many states there were, and that none was left. The larger ones are in test/long.
 */
import { afterAll, test } from 'vitest'
import { Walk } from './exhaustive/go.ts'
import { short } from './exhaustive/worlds.ts'

const walk = new Walk()
afterAll(async () => console.log(await walk.end()))

test.each(Object.entries(short))('%s', (name, setting) => walk.through(name, setting))
