/**
 * Runs one part of the torture, in a process that torture.ts watches: `run.ts PART UNTIL SEED`. What it says of its rounds are messages to that one.
 */
import { inspect } from 'node:util'
import { asRound } from '../../test/support/end.ts'
import { parts, type Said } from './part.ts'

const [, , name, until, seed] = process.argv
const { run } = await parts[name!]!()
await run({
  until: Number(until),
  seed: Number(seed),
  report: {
    async round(kind, own, work) {
      await say({ kind, seed: own, what: 'begun' })
      try {
        const { accepted, rejected, rounds = 1 } = await asRound(work)
        await say({ kind, seed: own, what: 'held', accepted, rejected, rounds })
      } catch (error) {
        // With what caused it.
        await say({ kind, seed: own, what: 'found', error: inspect(error) })
      }
    },
  },
})
process.exit(0)

function say(said: Said): Promise<void> {
  return new Promise(resolve => process.send!(said, () => resolve()))
}
