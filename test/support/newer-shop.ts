/** The shop in a later release: the same tables, and a newer version of what is stored for a payment. */
import { z } from 'zod'
import { app, event, sqlite } from '../../src/index.ts'
import { tables } from './shop.ts'

const cents = z.number().int().positive()
const paid = z.object({ account: z.string(), cents })

export default app('shop', {
  events: {
    Paid: event(paid)
      .next(z.object({ account: z.string(), amount: z.object({ cents, currency: z.string() }) }), ({ account, cents }) => ({
        account,
        amount: { cents, currency: 'EUR' },
      }))
      .tags(({ account }) => [account]),
    Taken: paid,
    Noted: z.object({ text: z.string() }),
  },
  database: sqlite(tables),
  project: {
    Paid: (db, { account, amount }, { version, at }) => {
      if (amount.currency !== 'EUR') throw new Error(`no ${amount.currency}`)
      db.run('INSERT INTO account VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET cents = cents + ?2', account, amount.cents)
      db.run('INSERT INTO entry VALUES (?, ?, ?, ?)', version, account, amount.cents, at.toISOString())
    },
    Taken: (db, { account, cents }, { version, at }) => {
      db.run('UPDATE account SET cents = cents - ? WHERE id = ?', cents, account)
      db.run('INSERT INTO entry VALUES (?, ?, ?, ?)', version, account, -cents, at.toISOString())
    },
    Noted: () => {},
  },
  commands: {
    pay: {
      input: paid,
      scope: ({ account }) => [account],
      decide: ({ account, cents }, { emit }) => emit('Paid', { account, amount: { cents, currency: 'EUR' } }),
    },
  },
  queries: {
    balance: {
      input: z.object({ account: z.string() }),
      run: ({ account }, { db }) => db.get<{ cents: number }>('SELECT cents FROM account WHERE id = ?', account)?.cents ?? 0,
    },
  },
})
