/** Withdrawals: a person takes out at most 1,500.00 EUR a day, over all accounts together. */
import { z } from 'zod'
import { book, find } from './accounts.ts'
import { bank, cents, name } from './model.ts'

/** In cents, for one person and one day of the bank. */
export const dailyLimit = 150_000

const calendar = new Intl.DateTimeFormat('en', { timeZone: 'Europe/Berlin', year: 'numeric', month: '2-digit', day: '2-digit' })

/** The bank's day, YYYY-MM-DD: from midnight to midnight in Berlin, wherever the computer stands. */
export function bankDay(now: Date): string {
  const { year, month, day } = Object.fromEntries(calendar.formatToParts(now).map(({ type, value }) => [type, value]))
  return `${year}-${month}-${day}`
}

export const withdraw = bank.command({
  input: z.object({ person: name, account: name, cents }),
  // The account, for its balance; the person, for the day's sum over all accounts.
  scope: ({ person, account }) => [`person:${person}`, `account:${account}`],
  decide({ person, account, cents }, { db, now, emit, reject }) {
    const source = find(db, account)
    if (!source) return reject('no-such-account', { account })
    if (source.person !== person) return reject('not-your-account', { account })
    if (source.cents < cents) return reject('too-little', { missing: cents - source.cents })
    const day = bankDay(now)
    const sum = 'SELECT coalesce(sum(cents), 0) AS cents FROM withdrawal WHERE person = ? AND day = ?'
    const left = dailyLimit - db.get<{ cents: number }>(sum, person, day)!.cents
    if (cents > left) return reject('daily-limit', { day, left })
    return { events: emit('Withdrawn', { account, person, cents, day }), result: { leftToday: left - cents } }
  },
})

export const withdrawProjections = bank.projection({
  Withdrawn(db, { account, person, cents, day }, { version }) {
    book(db, version, account, -cents, 'withdrawal')
    db.run('INSERT INTO withdrawal VALUES (?, ?, ?, ?)', version, person, day, cents)
  },
})
