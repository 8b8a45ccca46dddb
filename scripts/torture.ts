/**
 * `npm run torture -- --minutes N [--only PART] [--seed S]`: rounds of faults, each of them checked, until the time is over. The parts share the
 * time. What was found is kept in .mainstem/torture, with the seed that shows it again; then the exit status is 1.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { inspect, parseArgs } from 'node:util'
import { asRound } from '../test/support/end.ts'
import type { Part, Report } from './torture/part.ts'

const parts: Record<string, () => Promise<Part>> = {
  file: () => import('./torture/file.ts'),
  simulation: () => import('./torture/simulation.ts'),
  kafka: () => import('./torture/kafka.ts'),
}
const FOUND = '.mainstem/torture'
/** A round that takes longer has got stuck, ms. */
const STUCK = 1_200_000

const { values } = parseArgs({ options: { minutes: { type: 'string' }, only: { type: 'string' }, seed: { type: 'string' } } })
const minutes = Number(values.minutes)
if (!(minutes > 0)) fail('--minutes takes a number of minutes')
const seed = values.seed === undefined ? Math.floor(Math.random() * 1e6) : Number(values.seed)
if (!Number.isSafeInteger(seed) || seed < 0) fail('--seed takes a whole number')
const names = values.only === undefined ? Object.keys(parts) : [values.only]
for (const name of names) if (!parts[name]) fail(`no part ${name}; there are ${Object.keys(parts).join(', ')}`)

const end = Date.now() + minutes * 60_000
let found = 0
say(`${names.join(', ')} for ${minutes} min, seed ${seed}`)
for (const [n, name] of names.entries()) {
  const part = await parts[name]!()
  const now = Date.now()
  const { report, summary } = reportOf(name)
  await part.run({ until: now + (end - now) / (names.length - n), seed, report })
  for (const line of summary()) say(line)
}
say(found === 0 ? 'nothing found' : `FOUND ${found}: see ${FOUND}`)
// Whatever a round left running is nobody's any more.
process.exit(found === 0 ? 0 : 1)

function reportOf(part: string): { report: Report; summary: () => string[] } {
  const kinds = new Map<string, { rounds: number; accepted: number; rejected: number; found: number }>()
  const report: Report = {
    async round(kind, seed, work) {
      const sums = kinds.get(kind) ?? { rounds: 0, accepted: 0, rejected: 0, found: 0 }
      kinds.set(kind, sums)
      try {
        const { accepted, rejected, rounds = 1 } = await Promise.race([asRound(work), stuck()])
        sums.rounds += rounds
        sums.accepted += accepted
        sums.rejected += rejected
      } catch (error) {
        sums.rounds++
        sums.found++
        found++
        keep(part, kind, seed, error)
      }
    },
  }
  // A round ends well only if nothing acknowledged is lost and nothing is doubled.
  const verdict = (found: number): string => (found === 0 ? 'lost 0, doubled 0' : `FOUND ${found}`)
  const summary = () =>
    [...kinds].map(
      ([kind, { rounds, accepted, rejected, found }]) =>
        `${part} ${kind}: rounds ${rounds}, accepted ${accepted}, rejected ${rejected}, ${verdict(found)}, seed ${seed}`,
    )
  return { report, summary }
}

async function stuck(): Promise<never> {
  await pause(STUCK, undefined, { ref: false })
  throw new Error(`it has not ended after ${STUCK / 60_000} minutes`)
}

function keep(part: string, kind: string, own: number, error: unknown): void {
  const again = `npm run torture -- --minutes ${minutes} --only ${part} --seed ${seed}`
  // With what caused it.
  const what = inspect(error)
  const path = join(FOUND, `${part}-${kind}-${own}.txt`)
  mkdirSync(FOUND, { recursive: true })
  writeFileSync(path, `${part} ${kind}, seed of the round ${own}\n${again}\n\n${what}\n`)
  say(`FOUND by ${part} ${kind}, seed of the round ${own}: ${what.split('\n')[0]} (${path})`)
}

function say(text: string): void {
  process.stdout.write(`[torture] ${text}\n`)
}

function fail(text: string): never {
  process.stderr.write(`[torture] ${text}\n`)
  process.exit(1)
}
