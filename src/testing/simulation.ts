/** Simulations of an app: a plan is drawn from a seed, run in virtual time, and judged. */
import type { App } from '../app.ts'
import { type Invariants, dumpOf, judge, type Judgement } from './judge.ts'
import type { Plan } from './world/plan.ts'
import type { Run } from './world/run.ts'
import { World } from './world.ts'

export interface Simulated extends Judgement {
  readonly run: Run
}

export interface Looking {
  readonly probe?: { readonly name: string; readonly input: unknown }
  readonly invariants?: Invariants
  /** What replicas of the second release run: other tables, the same decisions. */
  readonly green?: App
}

export async function simulatePlan(app: App, plan: Plan, { probe, invariants, green }: Looking = {}): Promise<Simulated> {
  const other = green && { app: green, dump: dumpOf(green) }
  const run = await new World({ app, plan, dump: dumpOf(app), ...(probe ? { probe } : {}), green: other }).run()
  return { run, ...judge(app, run, invariants, green) }
}
