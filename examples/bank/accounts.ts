/** Accounts: opening them, paying in, moving money between them. */
import type { Reader, Writer } from 'mainstem'
import { z } from 'zod'
import { bank, cents, name } from './model.ts'

export interface Account {
  id: string
  person: string
  cents: number
}

export const find = (db: Reader, id: string) => db.get<Account>('SELECT id, person, cents FROM account WHERE id = ?', id)

/** Books an amount on one account. */
export function book(db: Writer, version: number, account: string, cents: number, text: string): void {
  db.run('UPDATE account SET cents = cents + ? WHERE id = ?', cents, account)
  db.run('INSERT INTO entry VALUES (?, ?, ?, ?)', version, account, cents, text)
}

export const openAccount = bank.command({
  input: z.object({ account: name, person: name }),
  scope: ({ account }) => [`account:${account}`],
  decide: (input, { db, emit, reject }) =>
    find(db, input.account) ? reject('account-exists', { account: input.account }) : emit('AccountOpened', input),
})

export const deposit = bank.command({
  input: z.object({ account: name, cents, reference: z.string().max(140).default('') }),
  scope: ({ account }) => [`account:${account}`],
  decide: (input, { db, emit, reject }) =>
    find(db, input.account) ? emit('Deposited', input) : reject('no-such-account', { account: input.account }),
})

export const transfer = bank.command({
  input: z.object({ person: name, from: name, to: name, cents }),
  scope: ({ from, to }) => [`account:${from}`, `account:${to}`],
  decide({ person, from, to, cents }, { db, emit, reject }) {
    const source = find(db, from)
    if (!source) return reject('no-such-account', { account: from })
    if (!find(db, to)) return reject('no-such-account', { account: to })
    if (source.person !== person) return reject('not-your-account', { account: from })
    if (from === to) return reject('same-account')
    if (source.cents < cents) return reject('too-little', { missing: cents - source.cents })
    return emit('Transferred', { from, to, cents })
  },
})

export const accountProjections = bank.projection({
  AccountOpened: (db, { account, person }) => db.run('INSERT INTO account VALUES (?, ?, 0)', account, person),
  Deposited: (db, { account, cents, reference }, { version }) => book(db, version, account, cents, reference || 'deposit'),
  Transferred(db, { from, to, cents }, { version }) {
    book(db, version, from, -cents, `to ${to}`)
    book(db, version, to, cents, `from ${from}`)
  },
})
