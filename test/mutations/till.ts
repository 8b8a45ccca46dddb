/** The app that is simulated with mutations: a till with every kind of scope, and answers that tell what was seen. */
import { z } from 'zod'
import { app, event, sqlite } from '../../src/index.ts'
import type { Drawing } from '../../src/testing/plans.ts'

const cents = z.number().int().positive()
const one = z.object({ account: z.string(), cents })

/** What may be spent from an account within this time. */
const WITHIN = 1_000
const MOST = 15

export const till = app('till', {
  events: {
    Paid: event(one).tags(({ account }) => [account]),
    Taken: one,
    /** Into every account. */
    Raised: z.object({ cents }),
    Noted: z.object({ text: z.string() }),
  },
  database: sqlite(`
    CREATE TABLE account (id TEXT PRIMARY KEY, cents INTEGER NOT NULL CHECK (cents >= 0)) STRICT;
    CREATE TABLE spent (version INTEGER PRIMARY KEY, account TEXT NOT NULL, cents INTEGER NOT NULL, at INTEGER NOT NULL) STRICT`),
  project: {
    Paid: (db, { account, cents }) =>
      db.run('INSERT INTO account VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET cents = cents + ?2', account, cents),
    Taken: (db, { account, cents }, { version, at }) => {
      db.run('UPDATE account SET cents = cents - ? WHERE id = ?', cents, account)
      db.run('INSERT INTO spent VALUES (?, ?, ?, ?)', version, account, cents, at.getTime())
    },
    Raised: (db, { cents }) => db.run('UPDATE account SET cents = cents + ?', cents),
    Noted: () => {},
  },
  commands: {
    pay: { input: one, scope: ({ account }) => [account], decide: (input, { emit }) => emit('Paid', input) },
    /** What it writes is said by its event alone. */
    gift: { input: one, scope: () => [], decide: (input, { emit }) => emit('Paid', input) },
    take: {
      input: one,
      scope: ({ account }) => [account],
      decide: (input, { db, emit, reject }) => {
        const has = balance(db, input.account)
        return has < input.cents ? reject('too-little', { has }) : { events: emit('Taken', input), result: has - input.cents }
      },
    },
    /** A rule over a time window. */
    spend: {
      input: one,
      scope: ({ account }) => [account],
      decide: (input, { db, emit, reject, now }) => {
        const since = now.getTime() - WITHIN
        const sql = 'SELECT coalesce(sum(cents), 0) AS sum FROM spent WHERE account = ? AND at > ?'
        const { sum } = db.get<{ sum: number }>(sql, input.account, since)!
        if (sum + input.cents > MOST) return reject('too-much', { sum })
        return balance(db, input.account) < input.cents ? reject('too-little') : emit('Taken', input)
      },
    },
    /** What it pays into is written, and not read. */
    move: {
      input: z.object({ from: z.string(), to: z.string(), cents }),
      scope: ({ from, to }) => ({ reads: [from], writes: [from, to] }),
      decide: ({ from, to, cents }, { db, emit, reject }) =>
        balance(db, from) < cents ? reject('too-little') : [emit('Taken', { account: from, cents }), emit('Paid', { account: to, cents })],
    },
    /** A rule over everything. */
    takeIfRich: {
      input: one,
      decide: (input, { db, emit, reject }) => {
        const { sum } = db.get<{ sum: number }>('SELECT coalesce(sum(cents), 0) AS sum FROM account')!
        return sum < 20 || balance(db, input.account) < input.cents ? reject('poor', { sum }) : emit('Taken', input)
      },
    },
    /** Reads nothing, writes everything. */
    raise: { scope: () => ({ reads: [], writes: '*' }), decide: (_, { emit }) => emit('Raised', { cents: 1 }) },
    note: { scope: () => [], decide: (_, { emit }) => emit('Noted', { text: '' }) },
  },
  queries: {},
})

function balance(db: { get<T>(sql: string, ...values: string[]): T | undefined }, account: string): number {
  return db.get<{ cents: number }>('SELECT cents FROM account WHERE id = ?', account)?.cents ?? 0
}

const shares = { pay: 25, take: 25, takeIfRich: 15, spend: 10, move: 10, gift: 7, raise: 4, note: 4 } as const

export const trade: Drawing['command'] = random => {
  const account = () => 'abc'[Math.floor(random() * 3)]!
  const cents = 1 + Math.floor(random() * 9)
  let share = random() * 100
  const name = Object.entries(shares).find(([, each]) => (share -= each) < 0)![0]
  if (name === 'raise' || name === 'note') return { name, input: undefined }
  return { name, input: name === 'move' ? { from: account(), to: account(), cents } : { account: account(), cents } }
}

/** What is asked when all is calm again. */
export const probe = { name: 'pay', input: { account: 'a', cents: 1 } }
