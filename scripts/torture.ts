/**
 * `npm run torture -- --minutes N [--only PART] [--seed S]`: rounds of faults, each of them checked, until the time is over. The parts share the
 * time; each runs in a process of its own, and is watched from here. What was found is kept in .mainstem/torture, with the seed that shows it
 * again; then the exit status is 1.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { parts, type Said } from './torture/part.ts'
import { watched } from './torture/watch.ts'

const FOUND = '.mainstem/torture'
/** A round that takes longer has got stuck, ms. */
const STUCK = 1_200_000

interface Sums {
  rounds: number
  accepted: number
  rejected: number
  found: number
}

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
  const now = Date.now()
  await run(name, now + (end - now) / (names.length - n))
}
say(found === 0 ? 'nothing found' : `FOUND ${found}: see ${FOUND}`)
process.exit(found === 0 ? 0 : 1)

async function run(part: string, until: number): Promise<void> {
  const kinds = new Map<string, Sums>()
  const sumsOf = (kind: string): Sums => {
    const sums = kinds.get(kind) ?? { rounds: 0, accepted: 0, rejected: 0, found: 0 }
    kinds.set(kind, sums)
    return sums
  }
  const isFound = (kind: string, own: number, about: number, what: string): void => {
    const sums = sumsOf(kind)
    sums.rounds++
    sums.found++
    found++
    keep(part, kind, own, about, what)
  }
  const heard = (about: number, said: Said): void => {
    if (said.what === 'held') {
      const sums = sumsOf(said.kind)
      sums.rounds += said.rounds
      sums.accepted += said.accepted
      sums.rejected += said.rejected
    } else if (said.what === 'found') isFound(said.kind, said.seed, about, said.error)
  }
  // Where a process got stuck or broke another one goes on, with other seeds.
  for (let about = seed; Date.now() < until; about++) {
    const open = new Map<string, Said>()
    const { end, ...more } = await watched({
      script: fileURLToPath(new URL('torture/run.ts', import.meta.url)),
      args: [part, String(until), String(about)],
      patience: STUCK,
      heard: message => {
        const said = message as Said
        if (said.what === 'begun') open.set(said.kind, said)
        else open.delete(said.kind)
        heard(about, said)
      },
    })
    if (end === 'done') break
    const what = 'how' in more ? `its process ended (${more.how})` : `it had not ended after ${STUCK / 60_000} minutes, and was killed`
    for (const { kind, seed: own } of open.values()) isFound(kind, own, about, what)
    if (open.size === 0) isFound('any', about, about, what)
  }
  // A round ends well only if nothing acknowledged is lost and nothing is doubled.
  for (const [kind, { rounds, accepted, rejected, found: bad }] of kinds) {
    const verdict = bad === 0 ? 'lost 0, doubled 0' : `FOUND ${bad}`
    say(`${part} ${kind}: rounds ${rounds}, accepted ${accepted}, rejected ${rejected}, ${verdict}, seed ${seed}`)
  }
}

/** @param about the seed of the torture that the round's own follows from */
function keep(part: string, kind: string, own: number, about: number, what: string): void {
  const again = `npm run torture -- --minutes ${minutes} --only ${part} --seed ${about}`
  const path = join(FOUND, `${part}-${kind.replaceAll('/', '-')}-${own}.txt`)
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
