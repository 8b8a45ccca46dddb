/** One run of the simulator, for those who look for what a mutation breaks. */
import { drawPlan } from '../../src/testing/plans.ts'
import type { Ask, Plan } from '../../src/testing/world/plan.ts'
import { World } from '../../src/testing/world.ts'
import type { Only } from './only.ts'
import { probe, till, trade } from './till.ts'
import { dump, verdictOn } from './verdict.ts'

/** Milliseconds from one to the next of reads that come together: some begin while the barrier of the first is on its way. */
const BURST = [0, 1, 2, 4, 8]

/** @returns the first thing that is wrong; undefined if nothing is, or if it is no plan of those that shall be looked at */
export async function simulateSeed(seed: number, only?: Only): Promise<{ readonly check: string; readonly message: string } | undefined> {
  const plan = planOf(seed)
  if (only && !only(plan)) return undefined
  try {
    const run = await new World({ app: till, plan, dump, probe }).run()
    return verdictOn(run)[0]
  } catch (error) {
    return { check: 'crash', message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

export const planOf = (seed: number): Plan => crowded(drawPlan(seed, { command: trade, commands: 60, replicas: 4 }))

/** Reads come in bursts, and more ids are made by replicas than was drawn. */
function crowded(plan: Plan): Plan {
  const looks = plan.looks.flatMap(look =>
    BURST.map(later => ({ ...look, at: look.at + later, read: later > 0 ? 'linearizable' : look.read }) as const),
  )
  const asks = plan.asks.map((ask, index) => (index % 4 === 0 ? withoutId(ask) : ask))
  return { ...plan, looks, asks }
}

function withoutId({ at, node, tenant, name, input, timeout }: Ask): Ask {
  return { at, node, tenant, name, input, timeout, repeat: false }
}
