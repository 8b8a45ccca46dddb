/** Runs seeds of the shop's simulation and says what was found, with how to see it again. SEED: the first one, SEEDS: how many. */
import { drawPlan, type Drawing } from '../../src/testing/plans.ts'
import { type Simulated, simulatePlan } from '../../src/testing/simulation.ts'
import shop from '../support/shop.ts'
import { probe, shopping } from './shop-plans.ts'

export type Kind = Pick<Drawing, 'log' | 'strategy'>

export async function simulateSeed(seed: number, kind: Kind): Promise<Simulated> {
  return await simulatePlan(shop, drawPlan(seed, { ...shopping, ...kind }), { probe })
}

/** @returns what is wrong, one text per seed with a problem */
export async function search(kind: Kind, seeds: number): Promise<string[]> {
  const first = Number(process.env['SEED'] ?? 1)
  const count = Number(process.env['SEEDS'] ?? (process.env['SEED'] === undefined ? seeds : 1))
  const began = performance.now()
  const findings: string[] = []
  let commands = 0
  let refused = 0
  for (let seed = first; seed < first + count; seed++) {
    const simulated = await simulateSeed(seed, kind)
    commands += simulated.run.answered.length
    refused += simulated.refused
    const told = simulated.problems.slice(0, 3).map(({ check, message }) => `\n  ${check}: ${message}`)
    if (told.length > 0) findings.push(`seed ${seed}:${told.join('')}`)
  }
  const seconds = (performance.now() - began) / 1_000
  console.log(
    `${kind.log ?? 'any log'}, ${kind.strategy ?? 'any strategy'}: seeds ${first} to ${first + count - 1}, ${commands} commands, ${refused} decisions refused, ${Math.round(commands / seconds)} commands/s`,
  )
  return findings
}
