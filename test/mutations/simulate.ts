/** One run of the simulator, for those who look for what a mutation breaks. */
import { drawPlan } from '../../src/testing/plans.ts'
import { World } from '../../src/testing/world.ts'
import type { Only } from './only.ts'
import { probe, till, trade } from './till.ts'
import { dump, verdictOn } from './verdict.ts'

/** @returns the first thing that is wrong; undefined if nothing is, or if it is no plan of those that shall be looked at */
export async function simulateSeed(seed: number, only?: Only): Promise<{ readonly check: string; readonly message: string } | undefined> {
  const plan = drawPlan(seed, { command: trade, commands: 60, replicas: 4 })
  if (only && !only(plan)) return undefined
  try {
    const run = await new World({ app: till, plan, dump, probe }).run()
    return verdictOn(run)[0]
  } catch (error) {
    return { check: 'crash', message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}
