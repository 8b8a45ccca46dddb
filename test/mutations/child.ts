/**
 * One mutation in a process of its own: simulates seed after seed until a check fails, and says so on its output as JSON.
 *
 *   node --conditions=source test/mutations/child.ts NAME SEEDS
 *
 * NAME: '' for none. SEEDS: '1-2000', or '7,19,23'.
 */
import { plant } from './hook.ts'
import { mutations } from './list.ts'

const [name = '', seeds = ''] = process.argv.slice(2)
const mutation = mutations.find(each => each.name === name)
if (!mutation && name !== '') throw new Error(`no mutation is called '${name}'`)
plant(mutation)
const { simulateSeed } = await import('./simulate.ts')

function* all(): Iterable<number> {
  const [first, last] = seeds.split('-').map(Number)
  if (last === undefined) yield* seeds.split(',').map(Number)
  else for (let seed = first!; seed <= last; seed++) yield seed
}

let found: object = {}
for (const seed of all()) {
  const problem = await simulateSeed(seed, mutation?.only)
  if (!problem) continue
  found = { seed, ...problem }
  break
}
process.stdout.write(`${JSON.stringify(found)}\n`, () => process.exit(0))
