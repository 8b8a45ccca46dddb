/** Faults of the embedded log: processes that are killed. */
import { strategies } from '../../src/consistency.ts'
import { killRounds } from '../../test/support/kill.ts'
import { seeded } from '../../test/support/logs.ts'
import type { Part } from './part.ts'

/** How often processes are killed before what they left is checked. */
const KILLS = 10

export const run: Part['run'] = async ({ until, seed, report }) => {
  const ways = [...strategies, 'mixed' as const]
  for (let own = seed * 1_000; Date.now() < until; own++) {
    const random = seeded(own)
    const strategy = ways[Math.floor(random() * ways.length)]!
    const processes = 1 + Math.floor(random() * 4)
    await report.round('kill', own, () => killRounds({ strategy, processes, seed: own, rounds: KILLS }))
  }
}
