/** A bank: no account below zero, and a person takes out at most 1,500 EUR a day over all accounts together. Amounts are whole euros. */
import { app, sqlite } from '../../index.ts'
import { type Demo, numbered, pick } from './demo.ts'
import { fields } from './schema.ts'

const dailyLimit = 1_500

const bank = app('bank', {
  events: {
    Deposited: fields({ account: 'text', euros: 'whole' }),
    Withdrawn: fields({ account: 'text', person: 'text', euros: 'whole', day: 'text' }),
    Transferred: fields({ from: 'text', to: 'text', euros: 'whole' }),
  },
  database: sqlite(`
    CREATE TABLE account (id TEXT PRIMARY KEY, euros INTEGER NOT NULL) STRICT;
    CREATE TABLE entry (version INTEGER, account TEXT, euros INTEGER NOT NULL, PRIMARY KEY (version, account)) STRICT;
    CREATE TABLE withdrawal (version INTEGER PRIMARY KEY, person TEXT NOT NULL, day TEXT NOT NULL, euros INTEGER NOT NULL) STRICT;
    CREATE INDEX withdrawal_day ON withdrawal (person, day);
  `),
  project: {
    Deposited(db, { account, euros }, { version }) {
      db.run('INSERT INTO account VALUES (?, ?) ON CONFLICT DO UPDATE SET euros = euros + excluded.euros', account, euros)
      db.run('INSERT INTO entry VALUES (?, ?, ?)', version, account, euros)
    },
    Withdrawn(db, { account, person, euros, day }, { version }) {
      db.run('UPDATE account SET euros = euros - ? WHERE id = ?', euros, account)
      db.run('INSERT INTO entry VALUES (?, ?, ?)', version, account, -euros)
      db.run('INSERT INTO withdrawal VALUES (?, ?, ?, ?)', version, person, day, euros)
    },
    Transferred(db, { from, to, euros }, { version }) {
      for (const [account, amount] of [
        [from, -euros],
        [to, euros],
      ] as const) {
        db.run('UPDATE account SET euros = euros + ? WHERE id = ?', amount, account)
        db.run('INSERT INTO entry VALUES (?, ?, ?)', version, account, amount)
      }
    },
  },
  commands: {
    deposit: {
      input: fields({ account: 'text', euros: 'whole' }),
      // Money may always come in: nothing is read, but who reads the account must notice.
      scope: ({ account }) => ({ reads: [], writes: [`account:${account}`] }),
      decide: (input, { emit }) => emit('Deposited', input),
    },
    withdraw: {
      input: fields({ account: 'text', person: 'text', euros: 'whole' }),
      scope: ({ account, person }) => [`account:${account}`, `person:${person}`],
      decide({ account, person, euros }, { db, now, emit, reject }) {
        const day = now.toISOString().slice(0, 10)
        const balance = db.get<{ euros: number }>('SELECT euros FROM account WHERE id = ?', account)?.euros ?? 0
        if (balance < euros) return reject('too-little', { missing: euros - balance })
        const taken = db.get<{ euros: number }>(
          'SELECT coalesce(sum(euros), 0) AS euros FROM withdrawal WHERE person = ? AND day = ?',
          person,
          day,
        )!.euros
        if (taken + euros > dailyLimit) return reject('daily-limit', { left: dailyLimit - taken })
        return emit('Withdrawn', { account, person, euros, day })
      },
    },
    transfer: {
      input: fields({ from: 'text', to: 'text', euros: 'whole' }),
      scope: ({ from, to }) => [`account:${from}`, `account:${to}`],
      decide({ from, to, euros }, { db, emit, reject }) {
        if (from === to) return reject('same-account')
        const balance = db.get<{ euros: number }>('SELECT euros FROM account WHERE id = ?', from)?.euros ?? 0
        return balance < euros ? reject('too-little', { missing: euros - balance }) : emit('Transferred', { from, to, euros })
      },
    },
  },
})

const accounts = numbered('account-', 40)
const people = numbered('person-', 20)

export const bankDemo: Demo = {
  app: bank,
  story: '20 people with 40 accounts between them pay in, move money and take it out, all at once.',
  invariant: {
    name: 'no balance below zero, and nobody takes out more than 1,500 EUR a day',
    sql: `
      SELECT 'below zero' AS broken, account AS who, version AS place, euros
      FROM (SELECT account, version, sum(euros) OVER (PARTITION BY account ORDER BY version) AS euros FROM entry)
      WHERE euros < 0
      UNION ALL
      SELECT 'daily limit', person, day, sum(euros) FROM withdrawal GROUP BY person, day HAVING sum(euros) > ${dailyLimit}`,
  },
  setUp: accounts.map(account => ({ command: 'deposit', input: { account, euros: 500 } })),
  call(random) {
    const account = pick(random, accounts)
    const euros = 10 + Math.floor(random() * 200)
    const what = random()
    if (what < 0.15) return { command: 'deposit', input: { account, euros } }
    if (what < 0.65) return { command: 'withdraw', input: { account, person: pick(random, people), euros } }
    return { command: 'transfer', input: { from: account, to: pick(random, accounts), euros } }
  },
}
