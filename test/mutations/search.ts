/**
 * Finds for each mutation a seed at which the simulator catches it, and writes that down: `catches.json`, and the table in the docs. A seed that
 * still catches it is kept.
 *
 *   node --conditions=source test/mutations/search.ts [NAME...]
 */
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { mutations } from './list.ts'
import { type Catch, catches, hunt, KEPT, SEEDS } from './run.ts'
import { TABLE, tableOf } from './table.ts'

const names = process.argv.slice(2)
const known = new Map<string, Catch>(Object.entries(catches()))
const wanted = mutations.filter(({ name }) => names.length === 0 || names.includes(name))
let failed = names.length > 0 && wanted.length !== names.length

async function search(name: string): Promise<void> {
  const before = known.get(name)?.seed
  const found = (before === undefined ? undefined : await hunt(name, `${before}`)) ?? (await hunt(name, `1-${SEEDS}`))
  if (found) known.set(name, { seed: found.seed, check: found.check })
  else known.delete(name)
  failed ||= !found
  console.log(found ? `${name}: seed ${found.seed}, ${found.check}: ${found.message.slice(0, 300)}` : `${name}: NOT CAUGHT`)
}

const queue = [...wanted]
await Promise.all(
  Array.from({ length: Math.min(2, availableParallelism()) }, async () => {
    for (let next = queue.shift(); next; next = queue.shift()) await search(next.name)
  }),
)
if (names.length === 0) {
  const found = await hunt('', `1-${SEEDS}`)
  console.log(found ? `without a mutation: seed ${found.seed}, ${found.check}: ${found.message}` : `without a mutation: nothing`)
  failed ||= found !== undefined
}

const kept = Object.fromEntries(mutations.flatMap(({ name }) => (known.has(name) ? [[name, known.get(name)!]] : [])))
writeFileSync(KEPT, `${JSON.stringify(kept, null, 2)}\n`)
writeFileSync(TABLE, tableOf(mutations, kept))
if (failed) process.exitCode = 1
