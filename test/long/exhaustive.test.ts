/** The larger of the small worlds (test/simulation/exhaustive.test.ts), gone through to their end. */
import { afterAll, test } from 'vitest'
import { Walk } from '../simulation/exhaustive/go.ts'
import { long } from '../simulation/exhaustive/worlds.ts'

const walk = new Walk()
afterAll(async () => console.log(await walk.end()))

test.each(Object.entries(long))('%s', (name, setting) => walk.through(name, setting))
