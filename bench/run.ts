/**
 * `npm run bench [NAME ...]`: every measurement, or those named. Each compares Mainstem with a ceiling written by hand for the same
 * work, side by side in one run; the ratio is the figure, the rest depends on the machine and the hour.
 */
import { embedded } from './embedded.ts'
import { replay } from './replay.ts'
import { visibility } from './visibility.ts'

const all: Record<string, () => Promise<void>> = {
  embedded: () => embedded(),
  strategies: () => embedded({ rounds: 3, strategies: ['optimistic', 'leader', 'first-wins'] }),
  replay: () => replay(),
  visibility: () => visibility(),
}

const wanted = process.argv.slice(2)
for (const name of wanted.length > 0 ? wanted : Object.keys(all)) {
  const measure = all[name]
  if (!measure) throw new Error(`no measurement ${name}; there are ${Object.keys(all).join(', ')}`)
  process.stdout.write(`\n${name}\n`)
  await measure()
}
