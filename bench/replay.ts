/**
 * Replay: a replica's databases built anew from the log, against a bare loop that parses the same records and runs the same statements: the
 * app's own two and the entry of the command's id, without which repeats would not be known afterwards. Besides: the memory it takes (of the whole process, with what writing the log has left behind), and how long a replica takes to
 * open, and close again, where its database is current.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { openReplica } from '../src/index.ts'
import { ENTER, IDS, INSERT, ledger, TABLES, UPSERT } from './embedded.ts'
import { inFolder, median, table } from './support.ts'

const CLIENTS = 256

/** A log of so many events, as a busy replica writes it. */
async function write(folder: string, events: number): Promise<void> {
  await using replica = await openReplica(ledger, { log: `file:${join(folder, 'bench.log')}`, data: join(folder, 'data') })
  let n = 0
  const client = async () => {
    for (let i = n++; i < events; i = n++) await replica.execute('pay', { account: (i * 7_919) % 10_000, cents: 1 })
  }
  await Promise.all(Array.from({ length: CLIENTS }, client))
}

function bare(folder: string): void {
  const log = new DatabaseSync(join(folder, 'bench.log'), { readOnly: true })
  const path = join(folder, 'bare.db')
  const db = new DatabaseSync(path)
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000; ${TABLES} ${IDS}`)
  const insert = db.prepare(INSERT)
  const upsert = db.prepare(UPSERT)
  const enter = db.prepare(ENTER)
  let version = 0
  let records = 0
  db.exec('BEGIN')
  for (const { value } of log.prepare("SELECT value FROM record WHERE tenant = 'default' ORDER BY position").iterate() as Iterable<{
    value: string
  }>) {
    for (const { id, hash, events } of JSON.parse(value).decisions) {
      for (const { data } of events) {
        insert.run(++version, data.account, data.cents)
        upsert.run(data.account, data.cents)
      }
      enter.run(id, hash, version, events.length)
    }
    if (++records % 16 === 0) db.exec('COMMIT; BEGIN')
  }
  db.exec('COMMIT')
  db.close()
  log.close()
  rmSync(path)
}

async function ours(folder: string): Promise<void> {
  const replica = await openReplica(ledger, { log: `file:${join(folder, 'bench.log')}`, data: join(folder, 'replayed') })
  await replica.close()
  rmSync(join(folder, 'replayed'), { recursive: true })
}

async function seconds(work: () => unknown): Promise<number> {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1_000
}

export async function replay({ events = 1_000_000, rounds = 3 } = {}): Promise<void> {
  await inFolder(async folder => {
    await write(folder, events)
    const times: [number, number][] = []
    let most = 0
    for (let round = 0; round < rounds; round++) {
      const loop = await seconds(() => bare(folder))
      const look = setInterval(() => {
        most = Math.max(most, process.memoryUsage.rss())
      }, 20)
      times.push([loop, await seconds(() => ours(folder))])
      clearInterval(look)
    }
    const opening = await seconds(async () =>
      (await openReplica(ledger, { log: `file:${join(folder, 'bench.log')}`, data: join(folder, 'data') })).close(),
    )
    const row = {
      events,
      'bare loop /s': events / median(times.map(([loop]) => loop)),
      'mainstem /s': events / median(times.map(([, time]) => time)),
      ratio: median(times.map(([loop, time]) => loop / time)),
      'MiB at most': most / 2 ** 20,
      'opening, current, ms': opening * 1_000,
    }
    process.stdout.write(`${table([row])}\n`)
  })
}
