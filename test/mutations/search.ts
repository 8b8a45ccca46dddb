/**
 * Finds for each mutation a seed at which the simulator catches it, and writes that down: `catches.json`, and the table in the docs. A seed that
 * still catches it is kept. Without the mutation the same worlds must find nothing.
 *
 *   npm run mutations [-- NAME...]
 */
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { mutations } from './list.ts'
import { type Catch, catches, control, type Found, hunt, KEPT, SEEDS } from './run.ts'
import { TABLE, tableOf } from './table.ts'

const names = process.argv.slice(2)
const unknown = names.filter(name => !mutations.some(each => each.name === name))
if (unknown.length > 0) throw new Error(`no mutation is called '${unknown.join("', '")}'`)
const known = new Map<string, Catch>(Object.entries(catches()))
let failed = false

async function search(name: string): Promise<void> {
  const before = known.get(name)?.seed
  const again = before === undefined ? [] : ([[name, before, before]] as const)
  const found = await hunt(name, [...again, [name, 1, SEEDS]])
  if (found) known.set(name, { seed: found.seed, check: found.check })
  else known.delete(name)
  keep()
  failed ||= !found
  console.log(found ? `${name}: ${told(found)}` : `${name}: NOT CAUGHT`)
}

const told = ({ seed, check, message }: Found) => `seed ${seed}, ${check}: ${message.slice(0, 300)}`

function keep(): void {
  const kept = Object.fromEntries(mutations.flatMap(({ name }) => (known.has(name) ? [[name, known.get(name)!]] : [])))
  writeFileSync(KEPT, `${JSON.stringify(kept, null, 2)}\n`)
  writeFileSync(TABLE, tableOf(mutations, kept))
}

const queue = mutations.filter(({ name }) => names.length === 0 || names.includes(name))
await Promise.all(
  Array.from({ length: Math.min(2, availableParallelism()) }, async () => {
    for (let next = queue.shift(); next; next = queue.shift()) await search(next.name)
  }),
)
const harmless = await hunt('', control(catches()))
console.log(harmless ? `WITHOUT A MUTATION, in the worlds of '${harmless.name}': ${told(harmless)}` : 'without a mutation: nothing')
if (failed || harmless) process.exitCode = 1
