/** Runs seeds of the shop's simulation and says what was found, with how to see it again. SEED: the first one, SEEDS: how many. */
import { drawPlan, type Drawing } from '../../src/testing/plans.ts'
import { type Simulated, simulatePlan } from '../../src/testing/simulation.ts'
import shop from '../support/shop.ts'
import { probe, shopping } from './shop-plans.ts'

export type Kind = Pick<Drawing, 'log' | 'strategy' | 'replicas'>

export interface Found {
  readonly findings: readonly string[]
  /** Commands that clients asked for, repeated calls included. */
  readonly asked: number
  readonly accepted: number
  readonly refused: number
}

export async function simulateSeed(seed: number, kind: Kind): Promise<Simulated> {
  return await simulatePlan(shop, drawPlan(seed, { ...shopping, ...kind }), { probe })
}

/** Seeds from `first` on, and what is wrong, one text per seed with a problem. */
export async function searchFrom(first: number, count: number, kind: Kind): Promise<Found> {
  const findings: string[] = []
  let [asked, accepted, refused] = [0, 0, 0]
  for (let seed = first; seed < first + count; seed++) {
    const simulated = await simulateSeed(seed, kind)
    asked += simulated.run.answered.length
    accepted += simulated.accepted
    refused += simulated.refused
    const told = simulated.problems.slice(0, 3).map(({ check, message }) => `\n  ${check}: ${message}`)
    if (told.length > 0) findings.push(`seed ${seed}, ${JSON.stringify(kind)}:${told.join('')}`)
  }
  return { findings, asked, accepted, refused }
}

/** As many seeds as the environment wants, else so many; and how fast that was is printed. */
export async function search(kind: Kind, seeds: number): Promise<readonly string[]> {
  const first = Number(process.env['SEED'] ?? 1)
  const count = Number(process.env['SEEDS'] ?? (process.env['SEED'] === undefined ? seeds : 1))
  const began = performance.now()
  const { findings, asked, refused } = await searchFrom(first, count, kind)
  const speed = Math.round((asked / (performance.now() - began)) * 1_000)
  console.log(
    `${kind.log ?? 'any log'}, ${kind.strategy ?? 'any strategy'}: seeds ${first} to ${first + count - 1}, ${asked} commands, ${refused} decisions refused, ${speed} commands/s`,
  )
  return findings
}
