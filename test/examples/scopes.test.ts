/** The scopes of the examples are wide enough, and in the bank one that is not is found. */
import { checkScopes } from 'mainstem/testing'
import { expect, test } from 'vitest'
import bank from '../../examples/bank/app.ts'
import seats from '../../examples/seats.ts'
import warehouse from '../../examples/warehouse.ts'
import { bankCommands, seatsCommands, warehouseCommands } from '../support/arbitraries.ts'
import { bankWith } from './bank-with.ts'

// Each time from another seed, which is printed with what is found.
test.each([
  ['bank', () => checkScopes(bank, { commands: bankCommands, runs: 25 })],
  ['warehouse', () => checkScopes(warehouse, { commands: warehouseCommands, runs: 25 })],
  ['seats', () => checkScopes(seats, { commands: seatsCommands, runs: 25 })],
])('the scopes of the %s', async (_, check) => {
  const { checked } = await check()
  expect(checked).toBeGreaterThan(500)
})

test('a withdrawal that leaves out its person: the daily limit is of all accounts', async () => {
  const narrow = bankWith(({ account }) => [`account:${account}`])
  await expect(checkScopes(narrow, { commands: bankCommands, seed: 1, runs: 50 })).rejects.toThrowErrorMatchingInlineSnapshot(`
    [AssertionError: a scope is too narrow: 'withdraw' writes nothing that 'withdraw' reads, and yet changes what it comes to
    after
      open { account: 'a1', person: 'ann' }
      open { account: 'b1', person: 'ann' }
      deposit { account: 'a1', cents: 100000 }
      transfer { person: 'ann', from: 'a1', to: 'b1', cents: 1 }
    at the same time
      A: withdraw { person: 'ann', account: 'a1', cents: 1 }
         writes account:a1
      B: withdraw { person: 'ann', account: 'b1', cents: 1 }
         reads account:b1
    B alone:    accepted, Withdrawn { account: 'b1', person: 'ann', cents: 1, day: '2026-01-01' }, result { leftToday: 149999 }
    B behind A: accepted, Withdrawn { account: 'b1', person: 'ann', cents: 1, day: '2026-01-01' }, result { leftToday: 149998 }
    The log would let B stand behind A as it was decided alone. To prevent it,
    add a tag in common to the scopes of both, such as 'person:ann'.
    Without a scope, a command meets every other.

    to see it again: seed 1, runs 50]
  `)
})

test('a withdrawal that leaves out its account', async () => {
  const narrow = bankWith(({ person }) => [`person:${person}`])
  await expect(checkScopes(narrow, { commands: bankCommands, seed: 1, runs: 50 })).rejects.toThrowErrorMatchingInlineSnapshot(`
    [AssertionError: a scope is too narrow: 'deposit' writes nothing that 'withdraw' reads, and yet changes what it comes to
    after
      open { account: 'a1', person: 'ben' }
    at the same time
      A: deposit { account: 'a1', cents: 1 }
         writes account:a1
      B: withdraw { person: 'ben', account: 'a1', cents: 1 }
         reads person:ben
    B alone:    rejected, too-little { missing: 1 }
    B behind A: accepted, Withdrawn { account: 'a1', person: 'ben', cents: 1, day: '2026-01-01' }, result { leftToday: 149999 }
    The log would let B stand behind A as it was decided alone. To prevent it,
    add a tag that A writes to what the scope of 'withdraw' reads, such as 'account:a1'.
    Without a scope, a command meets every other.

    to see it again: seed 1, runs 50]
  `)
})
