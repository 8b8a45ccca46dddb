/** Faults of the embedded log: processes that are killed, disks and power that fail, copies of the files that are torn or spoilt. */
import { strategies } from '../../src/consistency.ts'
import { diskFault, powerFailures } from '../../test/support/disk-rounds.ts'
import { killRounds } from '../../test/support/kill.ts'
import { seeded } from '../../src/random.ts'
import { spoiltCopies, tornCopies } from '../../test/support/torn.ts'
import type { Counts, Part } from './part.ts'

/** How often processes are killed before what they left is checked. */
const KILLS = 5
const CUTS = 10
const COPIES = 50

const kinds: Record<string, (seed: number, random: () => number) => Promise<Counts>> = {
  kill: async (seed, random) => {
    const strategy = one([...strategies, 'mixed' as const], random)
    return { ...(await killRounds({ strategy, processes: upTo(4, random), seed, rounds: KILLS })), rounds: KILLS }
  },
  disk: (seed, random) => diskFault({ strategy: one(strategies, random), seed }),
  power: async (seed, random) => {
    const strategy = one(strategies, random)
    return { ...(await powerFailures({ strategy, processes: upTo(3, random), seed, cuts: CUTS })), rounds: CUTS }
  },
  torn: async seed => ({ ...(await tornCopies({ seed, copies: COPIES })), rejected: 0, rounds: COPIES }),
  spoilt: async seed => {
    await spoiltCopies({ seed, copies: COPIES })
    return { accepted: 0, rejected: 0, rounds: COPIES }
  },
}
const TURN = ['kill', 'disk', 'kill', 'power', 'kill', 'torn', 'kill', 'spoilt']

export const run: Part['run'] = async ({ until, seed, report }) => {
  for (let own = seed * 100_000, turn = 0; Date.now() < until; own++, turn++) {
    const kind = TURN[turn % TURN.length]!
    await report.round(kind, own, () => kinds[kind]!(own, seeded(own)))
  }
}

const one = <T>(of: readonly T[], random: () => number): T => of[Math.floor(random() * of.length)]!
const upTo = (most: number, random: () => number): number => 1 + Math.floor(random() * most)
