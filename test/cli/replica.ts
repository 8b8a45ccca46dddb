/** A replica as a user would run it: the process that `startReplica` starts. Its one argument is what it shall do, as JSON. */
import { EngineError, openReplica } from 'mainstem'

const { log, data, strategy, app, writers, name } = JSON.parse(process.argv[2]!) as {
  log: string
  data: string
  strategy: 'optimistic'
  app: string
  writers: number
  name: string
}

const module = (await import(app)) as typeof import('../../examples/seats.ts')
const replica = await openReplica(module.default, { log, data, strategy })
let stopping = false

const stop = async () => {
  stopping = true
  await replica.close()
  process.exit(0)
}
process.on('SIGTERM', () => void stop())
process.stdout.write('ready\n')
// Keeps the process alive.
setInterval(() => {}, 1_000)

let count = 0
const write = async () => {
  while (!stopping) {
    const seat = `${name}${++count}`
    try {
      const outcome = await replica.execute('reserve', { seat, guest: 'Ann' })
      if (outcome.status === 'accepted') process.stdout.write(`ack ${seat}\n`)
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== 'log-sealed') throw error
      if (!stopping) process.stdout.write('sealed\n')
      return stop()
    }
  }
}
for (let writer = 0; writer < writers; writer++) void write()
