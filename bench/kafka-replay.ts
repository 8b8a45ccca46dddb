/**
 * Replay from a topic into a fresh replica, against a loop by hand that fetches, parses and runs the same statements: the app's own two and
 * the entry of the command's id. Each in a process of its own, which tells how long it took and the most memory that it had.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { openReplica } from '../src/index.ts'
import { newLog } from './broker.ts'
import { ENTER, IDS, INSERT, ledger, TABLES, UPSERT } from './embedded.ts'
import { fetched, raw } from './kafka.ts'
import { inFolder, median, table } from './support.ts'

const CLIENTS = 256

interface Told {
  readonly seconds: number
  readonly mebibytes: number
  readonly events: number
}

/** A log of so many events, as a busy replica writes it. */
async function write(url: string, folder: string, events: number): Promise<void> {
  await using replica = await openReplica(ledger, { log: url, data: join(folder, 'data'), strategy: 'first-wins' })
  let n = 0
  const client = async () => {
    for (let i = n++; i < events; i = n++) await replica.execute('pay', { account: (i * 7_919) % 10_000, cents: 1 })
  }
  await Promise.all(Array.from({ length: CLIENTS }, client))
}

async function bare(url: string, folder: string): Promise<number> {
  const kafka = await raw(url)
  const end = await kafka.end()
  const db = new DatabaseSync(join(folder, 'bare.db'))
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000; ${TABLES} ${IDS}`)
  const insert = db.prepare(INSERT)
  const upsert = db.prepare(UPSERT)
  const enter = db.prepare(ENTER)
  let version = 0
  for (let offset = 0; offset < end; ) {
    const { records, next } = await fetched(kafka, offset)
    offset = next
    db.exec('BEGIN')
    for (const { key, value } of records) {
      if (key === null) continue
      for (const { id, hash, events } of JSON.parse(value as string).decisions) {
        for (const { data } of events) {
          insert.run(++version, data.account, data.cents)
          upsert.run(data.account, data.cents)
        }
        enter.run(id, hash, version, events.length)
      }
    }
    db.exec('COMMIT')
  }
  db.close()
  kafka.client.close()
  return version
}

async function ours(url: string, folder: string): Promise<number> {
  await using replica = await openReplica(ledger, { log: url, data: join(folder, 'data') })
  return (await replica.digest()).version
}

async function inChild(who: 'bare' | 'ours', url: string): Promise<Told> {
  return inFolder(async folder => {
    const child = fork(import.meta.filename, [who, url, folder])
    const told = once(child, 'message') as Promise<[Told]>
    const [code] = await once(child, 'exit')
    if (code !== 0) throw new Error(`${who} ended with ${code}`)
    return (await told)[0]
  })
}

/** @param bootstrap 'host:port' of a cluster */
export async function kafkaReplay(bootstrap: string, { events = 200_000, rounds = 3 } = {}): Promise<void> {
  const url = await newLog(bootstrap, 'ledger')
  await inFolder(folder => write(url, folder, events))
  const all: { bare: Told; ours: Told }[] = []
  for (let round = 0; round < rounds; round++) all.push({ bare: await inChild('bare', url), ours: await inChild('ours', url) })
  for (const round of all)
    for (const who of ['bare', 'ours'] as const)
      if (round[who].events !== events) throw new Error(`${who} replayed ${round[who].events} events of ${events}`)
  const mid = (of: (round: (typeof all)[number]) => number) => median(all.map(of))
  const row = {
    events,
    'bare loop /s': mid(({ bare }) => events / bare.seconds),
    'mainstem /s': mid(({ ours }) => events / ours.seconds),
    ratio: mid(({ bare, ours }) => bare.seconds / ours.seconds),
    'bare loop MiB at most': Math.max(...all.map(({ bare }) => bare.mebibytes)),
    'mainstem MiB at most': Math.max(...all.map(({ ours }) => ours.mebibytes)),
  }
  process.stdout.write(`${table([row])}\n`)
}

if (process.argv[1] === import.meta.filename) {
  const [who, url, folder] = process.argv.slice(2) as [string, string, string]
  const start = performance.now()
  const events = await (who === 'bare' ? bare : ours)(url, folder)
  const seconds = (performance.now() - start) / 1_000
  process.send!({ seconds, mebibytes: process.resourceUsage().maxRSS / 1_024, events } satisfies Told)
  process.disconnect()
}
