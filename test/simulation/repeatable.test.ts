/** The same seed is the same world: what it finds can be seen again. */
import { expect, test } from 'vitest'
import { simulateSeed } from './search.ts'

test.each(['file', 'kafka'] as const)('twice the same: %s', async log => {
  for (let seed = 1; seed <= 5; seed++) {
    const [once, again] = [await simulateSeed(seed, { log }), await simulateSeed(seed, { log })]
    const seen = ({ run, verdicts }: typeof once) => ({
      verdicts,
      answered: run.answered,
      looked: run.looked,
      events: run.events,
      time: run.time,
    })
    expect(seen(again), `seed ${seed}`).toEqual(seen(once))
  }
})
