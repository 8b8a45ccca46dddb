/** The small worlds that are gone through to the end, by name. */
import { type StrategyName, strategies } from '../../../src/consistency.ts'
import type { Command } from './log.ts'
import { calm, type Faults, type Setting } from './world.ts'

/** Of 'take a': the writers' commands, in order. */
function writersOf(scripts: readonly (readonly string[])[], fresh: boolean): Command[][] {
  return scripts.map((script, writer) =>
    script.map((line, index) => {
      const [name, purse] = line.split(' ') as ['take' | 'give', string]
      return { id: `writer-${writer}.${index}`, name, purse, fresh }
    }),
  )
}

/** Each purse holds one coin. */
const twoByTwo = [
  ['take a', 'take b'],
  ['take b', 'take a'],
]

function embedded(strategy: StrategyName, scripts: readonly (readonly string[])[], fresh: boolean, faults: Partial<Faults>): Setting {
  return { strategy, freshHead: true, writers: writersOf(scripts, fresh), faults: { ...calm, ...faults } }
}

export const short: Readonly<Record<string, Setting>> = Object.fromEntries(
  strategies
    .filter(strategy => strategy !== 'leader')
    .map(strategy => [`${strategy}, 2 writers with 2 commands, no faults`, embedded(strategy, twoByTwo, false, {})]),
)
