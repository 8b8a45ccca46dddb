/**
 * A start from a snapshot against a start that replays the log, in turn, on the same log: a new replica until it is ready, all checks of the
 * snapshot included. Behind the snapshot stand 1 % more events, which both read. Besides: what it takes to make one, and how long that holds up
 * whoever writes meanwhile.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { openReplica } from '../src/index.ts'
import { makeSnapshot } from '../src/snapshot/make.ts'
import { ledger } from './embedded.ts'
import { inFolder, median, table } from './support.ts'

const CLIENTS = 256

async function write(folder: string, from: number, to: number): Promise<void> {
  await using replica = await openReplica(ledger, { log: `file:${join(folder, 'bench.log')}`, data: join(folder, 'data') })
  let n = from
  const client = async () => {
    for (let i = n++; i < to; i = n++) await replica.execute('pay', { account: (i * 7_919) % 10_000, cents: 1 })
  }
  await Promise.all(Array.from({ length: CLIENTS }, client))
}

async function seconds(work: () => unknown): Promise<number> {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1_000
}

export async function snapshot({ events = 1_000_000, rounds = 3 } = {}): Promise<void> {
  await inFolder(async folder => {
    const snapshots = join(folder, 'snapshots')
    await write(folder, 0, events)
    let longest = 0
    let last = performance.now()
    const look = setInterval(() => {
      const now = performance.now()
      longest = Math.max(longest, now - last)
      last = now
    }, 1)
    // As a running replica makes one for another: in its own process.
    let bytes = 0
    const making = await seconds(async () => {
      const { databases } = (await makeSnapshot(ledger, join(folder, 'data'), snapshots, { passing: true })).snapshot
      bytes = databases.reduce((sum, database) => sum + database.bytes, 0)
    })
    clearInterval(look)
    await write(folder, events, events * 1.01)
    const start = async (from?: string) => {
      const options = { log: `file:${join(folder, 'bench.log')}`, data: join(folder, 'new') }
      const time = await seconds(async () => {
        const replica = await openReplica(ledger, { ...options, ...(from === undefined ? {} : { snapshots: from }) })
        const { version } = await replica.digest()
        if (version !== Math.floor(events * 1.01)) throw new Error(`it is at version ${version}`)
        await replica.close()
      })
      rmSync(options.data, { recursive: true })
      return time
    }
    const times: { readonly replayed: number; readonly begun: number }[] = []
    for (let round = 0; round < rounds; round++) times.push({ replayed: await start(), begun: await start(snapshots) })
    const row = {
      events,
      MB: bytes / 1e6,
      'replayed, s': median(times.map(({ replayed }) => replayed)),
      'from a snapshot, s': median(times.map(({ begun }) => begun)),
      ratio: median(times.map(({ replayed, begun }) => replayed / begun)),
      'made in, s': making,
      'longest pause, ms': longest,
    }
    process.stdout.write(`${table([row])}\n`)
  })
}
