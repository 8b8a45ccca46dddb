/**
 * Runs seeds of the shop's simulation and says what was found, with how to see it again. SEED: the first one, SEEDS: how many, STRATEGY: of all
 * replicas, COMMANDS: how many in a world, more or less.
 */
import { drawPlan, type Drawing } from '../../src/testing/plans.ts'
import type { StrategyName } from '../../src/consistency.ts'
import { type Simulated, simulatePlan } from '../../src/testing/simulation.ts'
import shop from '../support/shop.ts'
import green from '../support/shop-green.ts'
import { probe, shopping } from './shop-plans.ts'

export type Kind = Pick<Drawing, 'log' | 'strategy' | 'replicas' | 'commands' | 'handOvers' | 'replacements' | 'rollouts'>

export interface Found {
  readonly findings: readonly string[]
  /** What clients asked for, each id once. */
  readonly commands: number
  /** How often they asked, repeated calls included. */
  readonly asked: number
  readonly accepted: number
  readonly refused: number
}

export async function simulateSeed(seed: number, kind: Kind): Promise<Simulated> {
  return await simulatePlan(shop, drawPlan(seed, { ...shopping, ...kind }), { probe, green })
}

/** Seeds from `first` on, and what is wrong, one text per seed with a problem. */
export async function searchFrom(first: number, count: number, kind: Kind): Promise<Found> {
  const findings: string[] = []
  let [commands, asked, accepted, refused] = [0, 0, 0, 0]
  for (let seed = first; seed < first + count; seed++) {
    const simulated = await simulateSeed(seed, kind)
    const { plan, answered } = simulated.run
    commands += new Set(plan.asks.map(ask => (ask.id === undefined ? ask : `${ask.tenant} ${ask.id}`))).size
    asked += answered.length
    accepted += simulated.accepted
    refused += simulated.refused
    const told = simulated.problems.slice(0, 3).map(({ check, message }) => `\n  ${check}: ${message}`)
    if (told.length > 0) findings.push(`seed ${seed}, ${JSON.stringify(kind)}:${told.join('')}`)
  }
  return { findings, commands, asked, accepted, refused }
}

/** As many seeds as the environment wants, else so many; and how fast that was is printed. */
export async function search(given: Kind, seeds: number): Promise<readonly string[]> {
  const { SEED, SEEDS, STRATEGY, COMMANDS } = process.env
  const kind: Kind = {
    ...given,
    ...(STRATEGY === undefined ? {} : { strategy: STRATEGY as StrategyName }),
    ...(COMMANDS === undefined ? {} : { commands: Number(COMMANDS) }),
  }
  const first = Number(SEED ?? 1)
  const count = Number(SEEDS ?? (SEED === undefined ? seeds : 1))
  const began = performance.now()
  const { findings, commands, asked, refused } = await searchFrom(first, count, kind)
  const speed = Math.round((commands / (performance.now() - began)) * 1_000)
  console.log(
    `${kind.log ?? 'any log'}, ${kind.strategy ?? 'any strategy'}: seeds ${first} to ${first + count - 1}, ${commands} commands in ${asked} calls, ${refused} decisions refused, ${speed} commands/s`,
  )
  return findings
}
