import { given } from 'mainstem/testing'
import { describe, expect, test } from 'vitest'
import bank, { invariant } from '../../examples/bank/app.ts'
import { bankDay, dailyLimit } from '../../examples/bank/withdraw.ts'
import { rowsAfter } from './rows.ts'

/** Ann owns two accounts with 5,000.00 EUR each, Ben an empty one. */
const opened = given(bank)
  .event('AccountOpened', { account: 'a1', person: 'ann' })
  .event('AccountOpened', { account: 'a2', person: 'ann' })
  .event('AccountOpened', { account: 'b1', person: 'ben' })
  .event('Deposited', { account: 'a1', cents: 500_000, reference: '' })
  .event('Deposited', { account: 'a2', cents: 500_000, reference: '' })

const ann = (account: string, cents: number) => ({ person: 'ann', account, cents })
const withdrawn = (account: string, cents: number, day: string) => ['Withdrawn', { account, person: 'ann', cents, day }] as const
const at = (time: string) => ({ now: new Date(time) })

describe('accounts', () => {
  test('are opened once', () => {
    given(bank)
      .when('open', { account: 'a1', person: 'ann' })
      .accepts(['AccountOpened', { account: 'a1', person: 'ann' }])
    opened.when('open', { account: 'a1', person: 'ben' }).rejects('account-exists', { account: 'a1' })
  })

  test('take deposits', () => {
    opened.when('deposit', { account: 'b1', cents: 5 }).accepts(['Deposited', { account: 'b1', cents: 5, reference: '' }])
    opened
      .when('deposit', { account: 'b1', cents: 5, reference: 'rent' })
      .accepts(['Deposited', { account: 'b1', cents: 5, reference: 'rent' }])
      .answers('statement', { account: 'b1' }, [{ version: 6, cents: 5, text: 'rent' }])
    opened.when('deposit', { account: 'b2', cents: 5 }).rejects('no-such-account', { account: 'b2' })
    opened.when('deposit', { account: 'b1', cents: -5 }).fails('invalid-input')
    opened.when('deposit', { account: 'b1', cents: 0.5 }).fails('invalid-input')
  })

  test('deposits of the first version had no reference', () => {
    opened
      .stored('Deposited', 1, { account: 'b1', cents: 7 })
      .answers('statement', { account: 'b1' }, [{ version: 6, cents: 7, text: 'deposit' }])
  })

  test('transfers keep the sum', () => {
    opened
      .when('transfer', { person: 'ann', from: 'a1', to: 'b1', cents: 500_000 })
      .accepts(['Transferred', { from: 'a1', to: 'b1', cents: 500_000 }])
      .answers('accounts', { person: 'ann' }, [
        { id: 'a1', person: 'ann', cents: 0 },
        { id: 'a2', person: 'ann', cents: 500_000 },
      ])
      .answers('accounts', { person: 'ben' }, [{ id: 'b1', person: 'ben', cents: 500_000 }])
      .answers('total', 1_000_000)
    opened.when('transfer', { person: 'ann', from: 'a1', to: 'b1', cents: 500_001 }).rejects('too-little', { missing: 1 })
    opened.when('transfer', { person: 'ben', from: 'a1', to: 'b1', cents: 1 }).rejects('not-your-account', { account: 'a1' })
    opened.when('transfer', { person: 'ann', from: 'a1', to: 'a1', cents: 1 }).rejects('same-account')
    opened.when('transfer', { person: 'ann', from: 'a1', to: 'zz', cents: 1 }).rejects('no-such-account', { account: 'zz' })
  })
})

describe('withdrawals', () => {
  test('only from what one owns and has', () => {
    opened.when('withdraw', { person: 'ben', account: 'a1', cents: 1 }).rejects('not-your-account', { account: 'a1' })
    opened.when('withdraw', { person: 'ben', account: 'b1', cents: 1 }).rejects('too-little', { missing: 1 })
    opened.when('withdraw', { person: 'ben', account: 'zz', cents: 1 }).rejects('no-such-account', { account: 'zz' })
  })

  test('at most 1,500.00 EUR a day, to the cent', () => {
    const whole = opened.when('withdraw', ann('a1', dailyLimit))
    whole.accepts(withdrawn('a1', dailyLimit, '2026-01-01'))
    whole.returns({ leftToday: 0 })
    opened.when('withdraw', ann('a1', dailyLimit + 1)).rejects('daily-limit', { day: '2026-01-01', left: dailyLimit })
  })

  test('over all accounts of a person', () => {
    opened
      .when('withdraw', ann('a1', 100_000))
      .accepts(withdrawn('a1', 100_000, '2026-01-01'))
      .when('withdraw', ann('a2', 50_001))
      .rejects('daily-limit', { day: '2026-01-01', left: 50_000 })
      .when('withdraw', ann('a2', 50_000))
      .accepts(withdrawn('a2', 50_000, '2026-01-01'))
      .when('withdraw', ann('a2', 1))
      .rejects('daily-limit', { day: '2026-01-01', left: 0 })
  })

  test('what others take out does not count', () => {
    opened
      .event('Deposited', { account: 'b1', cents: 500_000, reference: '' })
      .when('withdraw', ann('a1', dailyLimit))
      .accepts(withdrawn('a1', dailyLimit, '2026-01-01'))
      .when('withdraw', { person: 'ben', account: 'b1', cents: dailyLimit })
      .accepts(['Withdrawn', { account: 'b1', person: 'ben', cents: dailyLimit, day: '2026-01-01' }])
  })
})

describe('the day of the bank', () => {
  test.each([
    ['winter', '2026-01-15T22:59:59.999Z', '2026-01-15', '2026-01-15T23:00:00.000Z', '2026-01-16'],
    ['summer', '2026-07-15T21:59:59.999Z', '2026-07-15', '2026-07-15T22:00:00.000Z', '2026-07-16'],
    ['new year', '2026-12-31T22:59:59.999Z', '2026-12-31', '2026-12-31T23:00:00.000Z', '2027-01-01'],
    ['a leap day', '2028-02-28T22:59:59.999Z', '2028-02-28', '2028-02-28T23:00:00.000Z', '2028-02-29'],
    ['before the clock goes forward', '2026-03-28T22:59:59.999Z', '2026-03-28', '2026-03-28T23:00:00.000Z', '2026-03-29'],
    ['after it went forward', '2026-03-29T21:59:59.999Z', '2026-03-29', '2026-03-29T22:00:00.000Z', '2026-03-30'],
    ['before the clock goes back', '2026-10-24T21:59:59.999Z', '2026-10-24', '2026-10-24T22:00:00.000Z', '2026-10-25'],
    ['after it went back', '2026-10-25T22:59:59.999Z', '2026-10-25', '2026-10-25T23:00:00.000Z', '2026-10-26'],
  ])('ends at midnight in Berlin: %s', (_, before, day, after, next) => {
    expect(bankDay(new Date(before))).toBe(day)
    expect(bankDay(new Date(after))).toBe(next)
    opened
      .when('withdraw', ann('a1', dailyLimit), at(before))
      .accepts(withdrawn('a1', dailyLimit, day))
      .when('withdraw', ann('a2', 1), at(before))
      .rejects('daily-limit', { day, left: 0 })
      .when('withdraw', ann('a2', dailyLimit), at(after))
      .accepts(withdrawn('a2', dailyLimit, next))
  })

  test.each([
    ['23 hours, when the clock goes forward', '2026-03-28T23:00:00Z', '2026-03-29T21:59:59Z', 23],
    ['25 hours, when it goes back', '2026-10-24T22:00:00Z', '2026-10-25T22:59:59Z', 25],
  ])('may have %s', (_, first, last, hours) => {
    const start = Date.parse(first)
    const days = new Set(Array.from({ length: hours * 4 }, (_, quarter) => bankDay(new Date(start + quarter * 900_000))))
    expect(days).toEqual(new Set([bankDay(new Date(last))]))
    expect(bankDay(new Date(start - 1))).not.toBe(bankDay(new Date(start)))
    expect(bankDay(new Date(start + hours * 3_600_000))).not.toBe(bankDay(new Date(start)))
  })

  test('the hour that comes twice is one day', () => {
    opened
      .when('withdraw', ann('a1', 100_000), at('2026-10-25T00:30:00Z'))
      .accepts(withdrawn('a1', 100_000, '2026-10-25'))
      .when('withdraw', ann('a1', 50_001), at('2026-10-25T01:30:00Z'))
      .rejects('daily-limit', { day: '2026-10-25', left: 50_000 })
  })

  test('stands in the event: whatever calendar a replay has, the same day counts', () => {
    const [type, data] = withdrawn('a1', dailyLimit, '2026-01-02')
    const past = opened.event(type, data, { at: new Date('2026-01-01T12:00:00Z') })
    past.when('withdraw', ann('a2', 1), at('2026-01-02T12:00:00Z')).rejects('daily-limit', { day: '2026-01-02', left: 0 })
    past.when('withdraw', ann('a2', 1), at('2026-01-01T12:00:00Z')).accepts(withdrawn('a2', 1, '2026-01-01'))
  })
})

test('the invariant sees a balance below zero, and a day with too much', () => {
  const open = ['AccountOpened', { account: 'a1', person: 'ann' }] as const
  const deposit = (cents: number) => ['Deposited', { account: 'a1', cents, reference: '' }] as const
  const rows = (...events: (readonly [string, unknown])[]) => rowsAfter(bank, [open, ...events], invariant.sql)
  expect(rows(deposit(400_000), withdrawn('a1', dailyLimit, '2026-01-01'), withdrawn('a1', dailyLimit, '2026-01-02'))).toEqual([])
  expect(rows(deposit(5), withdrawn('a1', 6, '2026-01-01'), deposit(10))).toEqual([
    { broken: 'balance below zero', who: 'a1', place: 3, cents: -1 },
  ])
  expect(rows(deposit(400_000), withdrawn('a1', dailyLimit, '2026-01-01'), withdrawn('a1', 1, '2026-01-01'))).toEqual([
    { broken: 'daily limit', who: 'ann', place: '2026-01-01', cents: 150_001 },
  ])
})
