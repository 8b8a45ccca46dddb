/**
 * An app of somebody's own in a simulated world: generated commands, several replicas, and misfortunes of all kinds; its invariants are looked
 * at after every event, and the log is judged as the engine's own tests do it.
 */
import { AssertionError } from 'node:assert'
import type { App } from '../app.ts'
import { type StrategyName, strategies } from '../consistency.ts'
import { EngineError } from '../errors.ts'
import type { Commands } from './commands.ts'
import { fastCheck, generated } from './generated.ts'
import type { Invariants, Problem } from './judge.ts'
import { drawPlan } from './plans.ts'
import { type Simulated, simulatePlan } from './simulation.ts'
import { smaller } from './smaller.ts'
import { storyOf } from './story.ts'
import type { Plan } from './world/plan.ts'
import { seeded } from '../random.ts'

export interface Simulation<CI> {
  /** Those left out are never asked. */
  readonly commands: Commands<CI>
  /** Looked at after every accepted event, in every tenant's database: true if it holds; false, or a text that says why, if not. */
  readonly invariants?: Invariants
  /** How many worlds. Default 100; each takes some tenths of a second. */
  readonly runs?: number
  /** A whole number. The same seed gives the same worlds; without, there are others each time. */
  readonly seed?: number
  /** Default: both, in turn. */
  readonly log?: 'file' | 'kafka'
  /** Default: all three and mixtures, in turn. */
  readonly strategy?: StrategyName
}

export interface Simulations {
  readonly runs: number
  readonly seed: number
  /** What clients asked, repeated calls included. */
  readonly asked: number
  /** Decisions that were accepted, and that stood in the log for nothing. */
  readonly accepted: number
  readonly refused: number
}

const RUNS = 100
/** So many commands are asked in a world, more or less. */
const COMMANDS = 30
/** So many smaller worlds are tried before a failure is told. */
const SMALLER = 150

/**
 * Runs an app in simulated worlds.
 *
 *     await simulate(seats, {
 *       commands: { reserve: fc.record({ seat: fc.constantFrom('A1', 'A2'), guest: fc.constantFrom('Ann', 'Ben') }) },
 *       invariants: { 'no more guests than seats': db => db.all('SELECT 1 FROM seat').length <= 2 },
 *     })
 *
 * @throws AssertionError with a short story of what went wrong, and the seed that shows it again
 */
export async function simulate<EI, EO, CI, CR, QI, QR>(
  app: App<string, EI, EO, CI, CR, QI, QR>,
  { commands, invariants = {}, runs = RUNS, seed = Math.floor(Math.random() * 2 ** 31), log, strategy }: Simulation<NoInfer<CI>>,
): Promise<Simulations> {
  if (!(Number.isSafeInteger(runs) && runs > 0)) throw new EngineError('invalid-option', 'runs is a whole number above 0')
  if (!Number.isSafeInteger(seed)) throw new EngineError('invalid-option', 'seed is a whole number')
  if (strategy !== undefined && !strategies.includes(strategy))
    throw new EngineError('invalid-option', `strategy is one of ${strategies.join(', ')}`)
  if (log !== undefined && log !== 'file' && log !== 'kafka') throw new EngineError('invalid-option', 'log is file or kafka')
  const fc = await fastCheck('simulate')
  const command = generated(fc, commands)
  const told = { asked: 0, accepted: 0, refused: 0 }
  const looking = { invariants }
  for (let run = 0; run < runs; run++) {
    const pool = fc.sample(command, { seed: seed + run, numRuns: 4 * COMMANDS })
    let next = 0
    const drawn = drawPlan(seed + run, {
      command: () => {
        const { command: name, input } = pool[next++ % pool.length]!
        return { name, input }
      },
      commands: COMMANDS,
      operations: false,
      ...(log ? { log } : {}),
      ...(strategy ? { strategy } : {}),
    })
    const simulated = await simulatePlan(app, (seed + run) % 2 === 0 ? drawn : crowded(drawn), looking)
    told.asked += simulated.run.answered.length
    told.accepted += simulated.accepted
    told.refused += simulated.refused
    const [problem] = simulated.problems
    if (problem) throw await failure(app, looking, simulated, problem, `to see it again: seed ${seed + run}, runs 1`)
  }
  return { runs, seed, ...told }
}

/** The same with clients that all come at a few moments, to all replicas at once, and mostly for one tenant: where scopes are too narrow, it shows then. */
function crowded(plan: Plan): Plan {
  const random = seeded(plan.seed + 1)
  const { asks, nodes, calmAt } = plan
  const moments = Math.ceil(asks.length / 5)
  const first = asks[0]?.tenant ?? ''
  const moved = asks.map((ask, number) => ({
    ...ask,
    at: Math.floor((Math.floor((number / asks.length) * moments) / moments) * 0.8 * calmAt),
    node: Math.floor(random() * nodes.length),
    tenant: random() < 0.9 ? first : ask.tenant,
  }))
  return { ...plan, asks: moved }
}

async function failure(
  app: App,
  looking: { readonly invariants: Invariants },
  simulated: Simulated,
  problem: Problem,
  again: string,
): Promise<AssertionError> {
  const same = (problems: readonly Problem[]) => problems.find(({ check, rule }) => check === problem.check && rule === problem.rule)
  let shown = { simulated, problem }
  const fails = async (plan: Simulated['run']['plan']) => {
    const candidate = await simulatePlan(app, plan, looking)
    const found = same(candidate.problems)
    if (found) shown = { simulated: candidate, problem: found }
    return found !== undefined
  }
  await smaller(simulated.run.plan, fails, SMALLER)
  return new AssertionError({
    message: `${shown.problem.message}\n\n${storyOf(shown.simulated, { about: shown.problem.message })}\n\n${again}`,
  })
}
