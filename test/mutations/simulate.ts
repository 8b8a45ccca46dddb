/** One run of the simulator, for those who look for what a mutation breaks. */
import { World } from '../../src/testing/world.ts'
import type { Mutation } from './mutation.ts'
import { scenes } from './scenes.ts'
import { probe, till } from './till.ts'
import { dump, verdictOn } from './verdict.ts'

/** @returns the first thing that is wrong; undefined if nothing is, or if it is no plan of those that shall be looked at */
export async function simulateSeed(
  seed: number,
  { scene = 'crowd', only }: Pick<Mutation, 'scene' | 'only'>,
): Promise<{ readonly check: string; readonly message: string } | undefined> {
  const plan = scenes[scene](seed)
  if (only && !only(plan)) return undefined
  try {
    const run = await new World({ app: till, plan, dump, probe }).run()
    return verdictOn(run)[0]
  } catch (error) {
    return { check: 'crash', message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}
