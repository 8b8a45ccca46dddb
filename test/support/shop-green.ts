/** The shop of the next release: other tables, the same decisions and answers. */
import { z } from 'zod'
import { app, type Reader, sqlite } from '../../src/index.ts'
import { amount, events } from './shop.ts'

const input = z.object({ account: z.string(), cents: amount })

const balance = (db: Reader, account: string): number =>
  db.get<{ cents: number }>('SELECT coalesce(sum(cents), 0) AS cents FROM movement WHERE account = ?', account)!.cents
const total = (db: Reader): number => db.get<{ cents: number }>('SELECT cents FROM sum')?.cents ?? 0

export default app('shop', {
  events,
  database: sqlite(`
    CREATE TABLE movement (account TEXT NOT NULL, version INTEGER NOT NULL, cents INTEGER NOT NULL, PRIMARY KEY (account, version)) STRICT, WITHOUT ROWID;
    CREATE INDEX movement_in_order ON movement (version);
    CREATE TABLE sum (one INTEGER PRIMARY KEY CHECK (one = 1), cents INTEGER NOT NULL CHECK (cents >= 0)) STRICT`),
  project: {
    Paid: (db, { account, cents }, { version }) => {
      db.run('INSERT INTO movement VALUES (?, ?, ?)', account, version, cents)
      db.run('INSERT INTO sum VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET cents = cents + ?1', cents)
    },
    Taken: (db, { account, cents }, { version }) => {
      db.run('INSERT INTO movement VALUES (?, ?, ?)', account, version, -cents)
      db.run('UPDATE sum SET cents = cents - ?', cents)
    },
    Noted: () => {},
    Broken: (_, { how }) => {
      throw new Error(how)
    },
  },
  commands: {
    pay: { input, scope: ({ account }) => [account], decide: (wanted, { emit }) => emit('Paid', wanted) },
    take: {
      input,
      scope: ({ account }) => [account],
      decide: ({ account, cents }, { db, emit, reject }) => {
        const has = balance(db, account)
        return has < cents ? reject('too-little', { has }) : { events: emit('Taken', { account, cents }), result: { left: has - cents } }
      },
    },
    takeIfRich: {
      input: z.object({ account: z.string(), cents: amount, total: z.number().int() }),
      decide: ({ account, cents, total: least }, { db, emit, reject }) => {
        const sum = total(db)
        return sum < least || balance(db, account) < cents ? reject('poor', { sum }) : emit('Taken', { account, cents })
      },
    },
    note: { input: z.object({ text: z.string() }), scope: () => [], decide: (wanted, { emit }) => emit('Noted', wanted) },
  },
  compare: ['total', { query: 'balance', input: { account: 'ann' } }],
  queries: {
    balance: { input: z.object({ account: z.string() }), run: ({ account }, { db }) => balance(db, account) },
    total: { run: (_, { db }) => total(db) },
    entries: {
      run: (_, { db }) =>
        db.all<{ version: number; account: string; cents: number }>('SELECT version, account, cents FROM movement ORDER BY version'),
    },
  },
})
