/** Leaders that are told again and again to leave the lead to others, as where code is rolled out: nothing is lost on the way, and all ends. */
import { expect, test } from 'vitest'
import { decode } from '../../src/record.ts'
import { stored } from '../../src/testing/judge.ts'
import { simulateSeed } from './search.ts'

const SEEDS = 10

test.each((['leader', 'mixed'] as const).flatMap(strategy => (['file', 'kafka'] as const).map(log => ({ strategy, log }))))(
  '$strategy on $log',
  async kind => {
    let abdications = 0
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { problems, run } = await simulateSeed(seed, { ...kind, handOvers: true })
      expect(problems, `seed ${seed}`).toEqual([])
      for (const { value } of stored(run)) {
        const record = decode(value)
        if (record.kind === 'term' && record.owner === null) abdications++
      }
    }
    // Where each writes in its own way, few lead.
    expect(abdications).toBeGreaterThan(kind.strategy === 'leader' ? SEEDS : 3)
  },
)
