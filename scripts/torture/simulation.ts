/** Simulations: seeds that nobody has looked at yet, over all strategies and logs. */
import { strategies } from '../../src/consistency.ts'
import { type Kind, searchFrom } from '../../test/simulation/search.ts'
import type { Part } from './part.ts'

/** Seeds of a round. */
const SEEDS = 20

const kinds: readonly Kind[] = (['file', 'kafka'] as const).flatMap(log =>
  [...strategies, 'mixed' as const].map(strategy => ({ log, strategy })),
)

export const run: Part['run'] = async ({ until, seed, report }) => {
  for (let first = seed * 1_000_000 + 1, turn = 0; Date.now() < until; turn++) {
    const kind = kinds[turn % kinds.length]!
    await report.round(`${kind.strategy} on ${kind.log}`, first, async () => {
      const { findings, asked, accepted } = await searchFrom(first, SEEDS, kind)
      if (findings.length > 0) throw new Error(findings.join('\n'))
      return { accepted, rejected: asked - accepted, rounds: SEEDS }
    })
    if (turn % kinds.length === kinds.length - 1) first += SEEDS
  }
}
