/**
 * The machine of production in a world that loses replies, doubles and delays records, kills and pauses processes: what was acknowledged
 * is there, once; every accepted decision is right at its place; all replicas come to the same state; everything comes to an end.
 */
import { describe, expect, test } from 'vitest'
import { type StrategyName, strategies } from '../../src/consistency.ts'
import { seeded } from '../../src/random.ts'
import { judge } from '../support/judge.ts'
import { calm, type Faults, World } from './world.ts'

const rough: Faults = { lostReply: 0.05, lost: 0.05, late: 0.05, doubled: 0.05, notWritten: 0.05, crash: 0.01, pause: 0.01 }
const SEEDS = Number(process.env.SEEDS ?? 12)
const FIRST = Number(process.env.SEED ?? 1)

const casts: Record<string, readonly StrategyName[]> = {
  ...Object.fromEntries(strategies.map(strategy => [strategy, [strategy, strategy, strategy]])),
  mixed: ['leader', 'optimistic', 'first-wins'],
}

function simulate(seed: number, cast: readonly StrategyName[], faults: Faults): World {
  const world = new World(seed, cast, seed % 2 === 0, faults)
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
  return world
}

describe.each(Object.entries(casts))('%s', (_, cast) => {
  test.each([
    ['calm', calm],
    ['rough', rough],
  ])('%s', (_, faults) => {
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const world = simulate(seed, cast, faults)
      const asked = new Map(world.commands.map(({ id, name: command, input }) => [id, { command, input }]))
      const { problems, accepted, digests } = judge(world.log, id => asked.get(id)!)
      expect(problems, `seed ${seed}`).toEqual([])
      for (const { id, answer, error } of world.commands) {
        expect(error?.message, `seed ${seed}: ${id}`).toBeUndefined()
        expect(answer, `seed ${seed}: ${id} was never answered`).toBeDefined()
        const decision = accepted.get(id)
        expect(decision, `seed ${seed}: ${id} was acknowledged and is not there`).toBeDefined()
        if (answer!.decision) expect(answer!.decision.events, `seed ${seed}: ${id}`).toEqual(decision!.events)
        if (answer!.decision) expect(answer!.decision.rejection, `seed ${seed}: ${id}`).toEqual(decision!.rejection)
      }
      for (const { shard } of world.nodes) {
        for (const { name, error } of shard.tenants()) {
          expect(error?.message, `seed ${seed}`).toBeUndefined()
          const { version, digest } = shard.look(name)!.state
          expect(`${version} ${digest}`, `seed ${seed}`).toBe(digests.get(name) ?? `${version} ${digest}`)
        }
      }
      world.close()
    }
  })
})
