/** A few rounds of processes that are killed at any moment; `test/long/kill.test.ts` has hundreds. */
import { expect, test } from 'vitest'
import { strategies } from '../../src/consistency.ts'
import { beside } from '../support/end.ts'
import { killRounds } from '../support/kill.ts'

test.concurrent.each(strategies)(
  '%s: what was acknowledged survives SIGKILL, and nothing is doubled',
  beside(async strategy => {
    const { accepted } = await killRounds({ strategy, seed: 1, rounds: 4, processes: 2 })
    expect(accepted).toBeGreaterThan(0)
  }),
)
