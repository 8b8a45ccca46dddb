/**
 * What a test leaves to be cleaned up, or a round of the torture: there vitest runs no test that it could belong to, but what serves the tests
 * serves it, too.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { onTestFinished } from 'vitest'

const rounds = new AsyncLocalStorage<(() => unknown)[]>()

/** Does that when the test or the round is over; what was asked for last comes first. Call it before any `await` of a test. */
export function atEnd(work: () => unknown): void {
  const round = rounds.getStore()
  if (round) round.push(work)
  else onTestFinished(async () => void (await work()))
}

/** The work of a test that runs beside others, for it waits more than it works: its ends are its own. */
export const beside =
  <A extends unknown[]>(work: (...args: A) => Promise<void>) =>
  (...args: A): Promise<void> =>
    asRound(() => work(...args))

/** What `work` asked for with `atEnd` is done when it has ended, whatever its end is. */
export async function asRound<T>(work: () => Promise<T>): Promise<T> {
  const ends: (() => unknown)[] = []
  try {
    return await rounds.run(ends, work)
  } finally {
    for (const end of ends.toReversed()) await end()
  }
}
