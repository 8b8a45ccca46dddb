/** One run of the simulator, for those who look for what a mutation breaks. */
import { type StrategyName, strategies } from '../../src/consistency.ts'
import { World } from '../simulation/world.ts'
import { judge } from '../support/judge.ts'
import { seeded } from '../support/logs.ts'

export interface Problem {
  readonly check: string
  readonly message: string
}

const rough = { lostReply: 0.05, lost: 0.05, late: 0.05, doubled: 0.05, notWritten: 0.05, crash: 0.01, pause: 0.01 }
const casts: readonly (readonly StrategyName[])[] = [...strategies.map(s => [s, s, s]), ['leader', 'optimistic', 'first-wins']]

export async function simulateSeed(seed: number): Promise<Problem | undefined> {
  const cast = casts[seed % casts.length]!
  const world = new World(seed, cast, (seed >> 2) % 2 === 0, rough)
  try {
    return run(world, seed)
  } catch (error) {
    return { check: 'crash', message: (error as Error).stack ?? String(error) }
  } finally {
    world.close()
  }
}

function run(world: World, seed: number): Problem | undefined {
  const random = seeded(seed + 1_000_000)
  const accounts = ['a', 'b', 'c']
  for (let n = 0; n < 60; n++) {
    const account = accounts[Math.floor(random() * 3)]!
    const cents = 1 + Math.floor(random() * 9)
    const tenant = random() < 0.8 ? 'default' : 'other'
    const kind = random()
    const id = random() < 0.5 ? `command-${n}` : `018bcfe5-6800-7${n.toString(16).padStart(3, '0')}-8000-000000000000`
    const [name, input]: [string, unknown] =
      kind < 0.4 ? ['pay', { account, cents }] : kind < 0.8 ? ['take', { account, cents }] : ['takeIfRich', { account, cents, total: 20 }]
    world.ask(random() * 4_000, { id, tenant, name, input })
  }
  world.run(5_000)
  world.calmDown()
  world.run(25_000)
  const asked = new Map(world.commands.map(({ id, name: command, input }) => [id, { command, input }]))
  const { problems, accepted, digests } = judge(world.log, id => asked.get(id)!)
  if (problems.length > 0) return { check: 'judge', message: problems[0]! }
  for (const { id, answer, error } of world.commands) {
    if (error) return { check: 'error', message: error.message }
    if (!answer) return { check: 'progress', message: `${id} was never answered` }
    const decision = accepted.get(id)
    if (!decision) return { check: 'acknowledged', message: `${id} was acknowledged and is not there` }
    if (answer.decision && JSON.stringify(answer.decision.events) !== JSON.stringify(decision.events))
      return { check: 'acknowledged', message: `${id} has other events` }
    if (answer.decision && JSON.stringify(answer.decision.rejection) !== JSON.stringify(decision.rejection))
      return { check: 'acknowledged', message: `${id} has another rejection` }
  }
  for (const { name: node, shard } of world.nodes) {
    for (const { name, error } of shard.tenants()) {
      if (error) return { check: 'halt', message: error.message }
      const { version, digest } = shard.look(name)!.state
      const at = `${version} ${digest}`
      if (at !== (digests.get(name) ?? at)) return { check: 'state', message: `${node} ${name} ${at} not ${digests.get(name)}` }
    }
  }
  return undefined
}
