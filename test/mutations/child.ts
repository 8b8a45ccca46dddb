/**
 * Production code in a process of its own, with a mutation or without: simulates seed after seed until a check fails, and says so on its output
 * as JSON.
 *
 *   node --conditions=source test/mutations/child.ts NAME RUNS
 *
 * NAME: the mutation, '' for none. RUNS: `[["no fencing",1,2000],...]`, seeds of the worlds that are meant for a mutation.
 */
import { plant } from './hook.ts'
import { mutations } from './list.ts'
import type { Runs } from './run.ts'

const [planted = '', runs = ''] = process.argv.slice(2)
const called = (name: string) => {
  const mutation = mutations.find(each => each.name === name)
  if (!mutation) throw new Error(`no mutation is called '${name}'`)
  return mutation
}
plant(planted === '' ? undefined : called(planted))
const { simulateSeed } = await import('./simulate.ts')

async function hunt(): Promise<object> {
  for (const [name, first, last] of JSON.parse(runs) as Runs) {
    for (let seed = first; seed <= last; seed++) {
      const problem = await simulateSeed(seed, called(name))
      if (problem) return { name, seed, ...problem }
    }
  }
  return {}
}

const found = await hunt()
process.stdout.write(`${JSON.stringify(found)}\n`, () => process.exit(0))
