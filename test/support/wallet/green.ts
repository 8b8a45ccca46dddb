/** The wallet in its next release: other tables, in which every movement stands. */
import { app, sqlite } from 'mainstem'
import { events, input, scope, which } from './parts.ts'

const BALANCE = 'SELECT coalesce(sum(cents), 0) AS cents FROM movement WHERE account = ?'

export default app('wallet', {
  events,
  database: sqlite(`
    CREATE TABLE movement (version INTEGER PRIMARY KEY, account TEXT NOT NULL, cents INTEGER NOT NULL) STRICT;
    CREATE INDEX movement_account ON movement (account, cents)`),
  project: {
    Paid: (db, { account, cents }, { version }) => db.run('INSERT INTO movement VALUES (?, ?, ?)', version, account, cents),
    Taken: (db, { account, cents }, { version }) => db.run('INSERT INTO movement VALUES (?, ?, ?)', version, account, -cents),
  },
  commands: {
    pay: { input, scope, decide: (paid, { emit }) => emit('Paid', paid) },
    take: {
      input,
      scope,
      decide: ({ account, cents }, { db, emit, reject }) => {
        const has = db.get<{ cents: number }>(BALANCE, account)!.cents
        return has < cents ? reject('too-little', { has }) : { events: emit('Taken', { account, cents }), result: { left: has - cents } }
      },
    },
  },
  queries: {
    balance: { input: which, run: ({ account }, { db }) => db.get<{ cents: number }>(BALANCE, account)!.cents },
    total: { run: (_, { db }) => db.get<{ sum: number }>('SELECT coalesce(sum(cents), 0) AS sum FROM movement')!.sum },
  },
  compare: ['total', { query: 'balance', input: { account: 'account-1' } }],
})
