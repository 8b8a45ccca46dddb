/**
 * Commands on the embedded log, durable, one process, against a ceiling written by hand for exactly this work: per batch one insert
 * into a log file with synchronous=FULL; per command one point read, one insert, one upsert and one entry of its id and its input's hash.
 */
import { hash, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import { app, openReplica, sqlite } from '../src/index.ts'
import { closedLoop, inFolder, type Load, median, table } from './support.ts'

export const TABLES = `
  CREATE TABLE account (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL) STRICT;
  CREATE TABLE entry (version INTEGER PRIMARY KEY, account INTEGER NOT NULL, cents INTEGER NOT NULL) STRICT;`
/** A hand-written table of command ids: what a repeat would be answered from. */
export const IDS =
  'CREATE TABLE ids (id TEXT PRIMARY KEY, hash TEXT NOT NULL, version INTEGER NOT NULL, events INTEGER NOT NULL) STRICT, WITHOUT ROWID'
export const ENTER = 'INSERT INTO ids VALUES (?, ?, ?, ?)'
const ACCOUNTS = 10_000
const POINT_READ = 'SELECT cents FROM account WHERE id = ?'
export const INSERT = 'INSERT INTO entry VALUES (?, ?, ?)'
export const UPSERT = 'INSERT INTO account VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET cents = cents + ?2'

export const ledger = app('ledger', {
  events: { Paid: z.object({ account: z.number(), cents: z.number() }) },
  database: sqlite(TABLES),
  project: {
    Paid: (db, { account, cents }, { version }) => {
      db.run(INSERT, version, account, cents)
      db.run(UPSERT, account, cents)
    },
  },
  commands: {
    pay: {
      input: z.object({ account: z.number(), cents: z.number() }),
      scope: ({ account }) => [`account:${account}`],
      decide: (input, { db, emit }) => {
        db.get(POINT_READ, input.account)
        return emit('Paid', input)
      },
    },
  },
})

type Call = (n: number) => Promise<unknown>

export type Pay = (account: number, cents: number) => Promise<number>

export async function ceiling(folder: string, run: (call: Call, pay: Pay) => Promise<Load>): Promise<Load> {
  const log = new DatabaseSync(join(folder, 'ceiling.log'))
  log.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE record (position INTEGER PRIMARY KEY, value TEXT NOT NULL) STRICT',
  )
  const db = new DatabaseSync(join(folder, 'ceiling.db'))
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; ${TABLES}
    ${IDS}`)
  const append = log.prepare('INSERT INTO record (value) VALUES (?)')
  const read = db.prepare(POINT_READ)
  const insert = db.prepare(INSERT)
  const upsert = db.prepare(UPSERT)
  const enter = db.prepare(ENTER)
  let version = 0
  let counter = 0
  const prefix = randomUUID().slice(0, 24)
  let queue: { account: number; cents: number; id: string; done: (version: number) => void }[] = []
  const flush = () => {
    const batch = queue
    queue = []
    db.exec('BEGIN')
    const decisions = batch.map(({ account, cents, id }) => {
      read.get(account)
      version++
      insert.run(version, account, cents)
      upsert.run(account, cents)
      // Of its input, or nobody could tell a repeat from another command under the same id.
      enter.run(id, hash('sha256', JSON.stringify({ account, cents }), 'base64url'), version, 1)
      return { id, type: 'Paid', data: { account, cents } }
    })
    append.run(JSON.stringify(decisions))
    db.exec('COMMIT')
    for (const [index, { done }] of batch.entries()) done(version - batch.length + index + 1)
  }
  const pay: Pay = (account, cents) =>
    new Promise(done => {
      if (queue.length === 0) setImmediate(flush)
      queue.push({ account, cents, id: prefix + String(counter++).padStart(12, '0'), done })
    })
  const load = await run(n => pay((n * 7_919) % ACCOUNTS, 1), pay)
  log.close()
  db.close()
  return load
}

export async function mainstem(
  folder: string,
  strategy: 'optimistic' | 'leader' | 'first-wins',
  run: (call: Call) => Promise<Load>,
): Promise<Load> {
  await using replica = await openReplica(ledger, { log: `file:${join(folder, 'bench.log')}`, data: join(folder, 'data'), strategy })
  return await run(n => replica.execute('pay', { account: (n * 7_919) % ACCOUNTS, cents: 1 }))
}

export async function embedded({
  rounds = 7,
  duration = 1_000,
  strategies = ['optimistic'] as ('optimistic' | 'leader' | 'first-wins')[],
} = {}): Promise<void> {
  const rows = []
  for (const strategy of strategies) {
    for (const clients of [1, 64, 256]) {
      const ratios: number[] = []
      const loads: [Load[], Load[]] = [[], []]
      for (let round = 0; round < rounds; round++) {
        const run = (call: Call) => closedLoop(clients, duration, call)
        const bare = await inFolder(folder => ceiling(folder, run))
        const ours = await inFolder(folder => mainstem(folder, strategy, run))
        ratios.push(ours.perSecond / bare.perSecond)
        loads[0].push(bare)
        loads[1].push(ours)
      }
      rows.push({
        strategy,
        clients,
        'ceiling /s': median(loads[0].map(load => load.perSecond)),
        'mainstem /s': median(loads[1].map(load => load.perSecond)),
        ratio: median(ratios),
        'p50 ms': median(loads[1].map(load => load.p50)),
        'p99 ms': median(loads[1].map(load => load.p99)),
      })
    }
  }
  process.stdout.write(`${table(rows)}\n`)
}
