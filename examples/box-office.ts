/**
 * One instance of `seats` that sells a house until it is sold out. Start it in several terminals on one log, each with a data directory of
 * its own; kill one, start it again: every seat is sold once.
 *
 *   npm run box-office -- kafka://127.0.0.1:9092/seats .mainstem/one
 *   npm run box-office -- kafka://127.0.0.1:9092/seats .mainstem/two
 */
import { randomUUID } from 'node:crypto'
import { EngineError, openReplica } from 'mainstem'
import seats from './seats.ts'

const [log, data, house = '300'] = process.argv.slice(2)
if (log === undefined || data === undefined || !(Number(house) > 0)) {
  process.stderr.write(
    'usage: npm run box-office -- LOG DATA [SEATS]\n  e.g. npm run box-office -- kafka://127.0.0.1:9092/seats .mainstem/one 300\n',
  )
  process.exit(2)
}

const me = `office-${randomUUID().slice(0, 4)}`
const replica = await openReplica(seats, { log, data, timeout: 30_000 }).catch(giveUp)
const say = (line: string) => process.stdout.write(`${me}  ${line}\n`)
const { role } = await replica.status()
say(`open as ${role} on ${log}`)

let closing = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => (closing = true))

const numbers = Array.from({ length: Number(house) }, (_, n) => `${n + 1}`)
const sold = { here: 0, tooLate: 0 }
let told = performance.now()
while (!closing) {
  const taken = new Set((await replica.query('taken')).map(({ seat }) => seat))
  const free = numbers.filter(seat => !taken.has(seat))
  if (free.length === 0) break
  const seat = free[Math.floor(Math.random() * free.length)]!
  try {
    const outcome = await replica.execute('reserve', { seat, guest: me })
    if (outcome.status === 'accepted') sold.here++
    else sold.tooLate++
  } catch (error) {
    // What became of it the log knows; the seat is looked at again.
    if (!(error instanceof EngineError) || error.retry === 'no') giveUp(error)
    say(`${error.code}: ${error.message}`)
  }
  if (performance.now() - told > 1_000) {
    told = performance.now()
    say(`${sold.here} sold here, ${sold.tooLate} were taken meanwhile, ${free.length - 1} of ${numbers.length} free`)
  }
  await new Promise(resolve => setTimeout(resolve, 20 + Math.random() * 30))
}

const twice = await replica.sql('SELECT seat FROM sale WHERE released IS NULL GROUP BY seat HAVING count(*) > 1', [], {
  read: 'linearizable',
})
const { version, digest } = await replica.digest()
say(`${sold.here} sold here; seats sold twice: ${twice.length}; version ${version}, digest ${digest}`)
await replica.close()
if (twice.length > 0) process.exitCode = 1

function giveUp(error: unknown): never {
  process.stderr.write(`${me}  ${error instanceof EngineError ? `${error.code}: ${error.message}` : String(error)}\n`)
  process.exit(1)
}
