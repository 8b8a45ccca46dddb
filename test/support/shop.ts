/** The app that conformance tests run: accounts whose balance never falls below zero, by entity, by pair and by the whole. */
import { z } from 'zod'
import { app, event, sqlite } from '../../src/index.ts'

export const amount = z.number().int().positive()

export const events = {
  Paid: event(z.object({ account: z.string(), cents: amount })).tags(({ account }) => [account]),
  Taken: z.object({ account: z.string(), cents: amount }),
  Broken: z.object({ how: z.string() }),
  /** Stands in the log, and nowhere else. */
  Noted: z.object({ text: z.string() }),
}

export const tables = `
    CREATE TABLE account (id TEXT PRIMARY KEY, cents INTEGER NOT NULL CHECK (cents >= 0)) STRICT;
    CREATE TABLE entry (version INTEGER PRIMARY KEY, account TEXT NOT NULL, cents INTEGER NOT NULL, at TEXT NOT NULL) STRICT`

export default app('shop', {
  events,
  database: sqlite(tables),
  project: {
    Paid: (db, { account, cents }, { version, at }) => {
      db.run('INSERT INTO account VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET cents = cents + ?2', account, cents)
      db.run('INSERT INTO entry VALUES (?, ?, ?, ?)', version, account, cents, at.toISOString())
    },
    Taken: (db, { account, cents }, { version, at }) => {
      db.run('UPDATE account SET cents = cents - ? WHERE id = ?', cents, account)
      db.run('INSERT INTO entry VALUES (?, ?, ?, ?)', version, account, -cents, at.toISOString())
    },
    Noted: () => {},
    Broken: (db, { how }) => {
      db.run("INSERT INTO account VALUES ('half', 1)")
      throw new Error(how)
    },
  },
  commands: {
    pay: {
      input: z.object({ account: z.string(), cents: amount }),
      scope: ({ account }) => [account],
      decide: (input, { emit }) => emit('Paid', input),
    },
    take: {
      input: z.object({ account: z.string(), cents: amount }),
      scope: ({ account }) => [account],
      decide: ({ account, cents }, { db, emit, reject }) => {
        const row = db.get<{ cents: number }>('SELECT cents FROM account WHERE id = ?', account)
        const has = row?.cents ?? 0
        return has < cents ? reject('too-little', { has }) : { events: emit('Taken', { account, cents }), result: { left: has - cents } }
      },
    },
    /** A rule over all rows: no scope. */
    takeIfRich: {
      input: z.object({ account: z.string(), cents: amount, total: z.number().int() }),
      decide: ({ account, cents, total }, { db, emit, reject }) => {
        const { sum } = db.get<{ sum: number }>('SELECT coalesce(sum(cents), 0) AS sum FROM account')!
        const has = db.get<{ cents: number }>('SELECT cents FROM account WHERE id = ?', account)?.cents ?? 0
        return sum < total || has < cents ? reject('poor', { sum }) : emit('Taken', { account, cents })
      },
    },
    nothing: { decide: () => ({ events: [], result: 'nothing' }) },
    breakProjection: { input: z.object({ how: z.string() }), decide: ({ how }, { emit }) => emit('Broken', { how }) },
    breakDecide: {
      input: z.object({ how: z.string() }),
      decide: ({ how }, { emit }) => {
        if (how) throw new Error(how)
        return emit('Broken', { how })
      },
    },
    note: { input: z.object({ text: z.string() }), scope: () => [], decide: (input, { emit }) => emit('Noted', input) },
    big: { input: z.object({ size: z.number() }), decide: ({ size }, { emit }) => emit('Broken', { how: 'x'.repeat(size) }) },
  },
  compare: ['total', { query: 'balance', input: { account: 'ann' } }],
  queries: {
    balance: {
      input: z.object({ account: z.string() }),
      run: ({ account }, { db }) => db.get<{ cents: number }>('SELECT cents FROM account WHERE id = ?', account)?.cents ?? 0,
    },
    total: { run: (_, { db }) => db.get<{ sum: number }>('SELECT coalesce(sum(cents), 0) AS sum FROM account')!.sum },
    entries: {
      run: (_, { db }) =>
        db.all<{ version: number; account: string; cents: number }>('SELECT version, account, cents FROM entry ORDER BY version'),
    },
  },
})
