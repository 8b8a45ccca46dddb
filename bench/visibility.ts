/**
 * How soon one process sees what another one wrote: from the acknowledgement of a command in this process to its event in a loop over
 * `events()` in another one, both on one embedded log. Below nothing if it was seen before the answer was.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { openReplica } from '../src/index.ts'
import { ledger } from './embedded.ts'
import { inFolder, median, table } from './support.ts'

/** The same clock in all processes of a machine, ms. */
const now = (): number => performance.timeOrigin + performance.now()

interface Seen {
  readonly version: number
  readonly at: number
}

async function watch(log: string, data: string): Promise<void> {
  await using replica = await openReplica(ledger, { log, data })
  process.send!('ready')
  const stop = new AbortController()
  process.once('disconnect', () => stop.abort())
  for await (const { version } of replica.events({ from: 1, signal: stop.signal })) process.send!({ version, at: now() } satisfies Seen)
}

export async function visibility({ commands = 500 } = {}): Promise<void> {
  await inFolder(async folder => {
    const log = `file:${join(folder, 'bench.log')}`
    await using replica = await openReplica(ledger, { log, data: join(folder, 'one') })
    const child: ChildProcess = fork(import.meta.filename, ['watch', log, join(folder, 'two')])
    await once(child, 'message')
    const seen = new Map<number, number>()
    const done = new Promise<void>(resolve =>
      child.on('message', ({ version, at }: Seen) => {
        seen.set(version, at)
        if (seen.size === commands) resolve()
      }),
    )
    const acknowledged = new Map<number, number>()
    for (let n = 0; n < commands; n++) {
      const answer = await replica.execute('pay', { account: n, cents: 1 })
      if (answer.status === 'accepted') acknowledged.set(answer.version, now())
      // At any point of the other one's rhythm.
      await pause(Math.random() * 20)
    }
    await done
    const gone = once(child, 'exit')
    child.disconnect()
    await gone
    const delays = [...acknowledged].map(([version, at]) => seen.get(version)! - at).sort((a, b) => a - b)
    const quantile = (q: number): number => delays[Math.floor((delays.length - 1) * q)]!
    const row = { commands, 'p50 ms': median(delays), 'p90 ms': quantile(0.9), 'p99 ms': quantile(0.99), 'at most, ms': delays.at(-1)! }
    process.stdout.write(`${table([row])}\n`)
  })
}

if (process.argv[1] === import.meta.filename && process.argv[2] === 'watch') await watch(process.argv[3]!, process.argv[4]!)
