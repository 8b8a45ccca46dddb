/**
 * `npm run bench [NAME ...] [-- --rounds N] [--duration MS] [--events N]`: every measurement, or those named. Most compare Mainstem with a
 * ceiling written by hand for the same work, side by side in one run; the ratio is the figure, the rest depends on the machine and the hour.
 */
import { parseArgs } from 'node:util'
import { onBroker } from './broker.ts'
import { contention } from './contention.ts'
import { embedded } from './embedded.ts'
import { http } from './http.ts'
import { kafka } from './kafka.ts'
import { kafkaReplay } from './kafka-replay.ts'
import { replay } from './replay.ts'
import { rivals } from './rivals.ts'
import { snapshot } from './snapshot.ts'
import { takeover } from './takeover.ts'
import { visibility } from './visibility.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string' }, duration: { type: 'string' }, events: { type: 'string' } },
})
const given = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)]))

const all: Record<string, () => Promise<void>> = {
  embedded: () => embedded(given),
  strategies: () => embedded({ rounds: 3, strategies: ['optimistic', 'leader', 'first-wins'], ...given }),
  http: () => http(given),
  replay: () => replay(given),
  snapshot: () => snapshot(given),
  visibility: () => visibility(),
  kafka: () => onBroker(bootstrap => kafka(bootstrap, given)),
  'kafka-replay': () => onBroker(bootstrap => kafkaReplay(bootstrap, given)),
  takeover: () => onBroker(bootstrap => takeover(bootstrap, given)),
  contention: () => onBroker(bootstrap => contention(bootstrap, given)),
  rivals: () => onBroker(bootstrap => rivals(bootstrap, given)),
}

for (const name of positionals.length > 0 ? positionals : Object.keys(all)) {
  const measure = all[name]
  if (!measure) throw new Error(`no measurement ${name}; there are ${Object.keys(all).join(', ')}`)
  process.stdout.write(`\n${name}\n`)
  await measure()
}
