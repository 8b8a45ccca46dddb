/** Accounts that are never overdrawn, as they were released first: a balance for each. */
import { app, sqlite } from 'mainstem'
import { events, input, scope, which } from './parts.ts'

export default app('wallet', {
  events,
  database: sqlite(`CREATE TABLE balance (account TEXT PRIMARY KEY, cents INTEGER NOT NULL CHECK (cents >= 0)) STRICT`),
  project: {
    Paid: (db, { account, cents }) =>
      db.run('INSERT INTO balance VALUES (?1, ?2) ON CONFLICT (account) DO UPDATE SET cents = cents + ?2', account, cents),
    Taken: (db, { account, cents }) => db.run('UPDATE balance SET cents = cents - ? WHERE account = ?', cents, account),
  },
  commands: {
    pay: { input, scope, decide: (paid, { emit }) => emit('Paid', paid) },
    take: {
      input,
      scope,
      decide: ({ account, cents }, { db, emit, reject }) => {
        const has = db.get<{ cents: number }>('SELECT cents FROM balance WHERE account = ?', account)?.cents ?? 0
        return has < cents ? reject('too-little', { has }) : { events: emit('Taken', { account, cents }), result: { left: has - cents } }
      },
    },
  },
  queries: {
    balance: {
      input: which,
      run: ({ account }, { db }) => db.get<{ cents: number }>('SELECT cents FROM balance WHERE account = ?', account)?.cents ?? 0,
    },
    total: { run: (_, { db }) => db.get<{ sum: number }>('SELECT coalesce(sum(cents), 0) AS sum FROM balance')!.sum },
  },
  compare: ['total', { query: 'balance', input: { account: 'account-1' } }],
})
