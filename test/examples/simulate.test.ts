/** The examples in simulated worlds, their rules looked at after every event; and a scope that is too narrow, seen to break one. */
import { type Invariants, simulate } from 'mainstem/testing'
import { expect, test } from 'vitest'
import bank from '../../examples/bank/app.ts'
import seats from '../../examples/seats.ts'
import warehouse from '../../examples/warehouse.ts'
import { bankCommands, seatsCommands, warehouseCommands } from '../support/arbitraries.ts'
import { bankWith } from './bank-with.ts'

const bankRules: Invariants = {
  'no balance below zero': db => db.get('SELECT 1 FROM account WHERE cents < 0') === undefined,
  '1,500 EUR a day': db => {
    const over = db.get<{ person: string; sum: number }>(
      'SELECT person, sum(cents) AS sum FROM withdrawal GROUP BY person, day HAVING sum(cents) > 150000',
    )
    return over === undefined || `${over.person} has withdrawn ${over.sum / 100} EUR`
  },
}

// Always the same worlds: what is found by one run is found by the next.
test.each([
  ['bank', () => simulate(bank, { commands: bankCommands, invariants: bankRules, seed: 1, runs: 20 })],
  [
    'warehouse',
    () =>
      simulate(warehouse, {
        commands: warehouseCommands,
        invariants: { 'no stock below zero': db => db.get('SELECT 1 FROM stock WHERE quantity < 0') === undefined },
        seed: 1,
        runs: 20,
      }),
  ],
  [
    'seats',
    () =>
      simulate(seats, {
        commands: seatsCommands,
        invariants: {
          'one guest a seat': db => db.get('SELECT 1 FROM sale WHERE released IS NULL GROUP BY seat HAVING count(*) > 1') === undefined,
        },
        seed: 1,
        runs: 20,
      }),
  ],
])('the %s holds its rules', async (_, simulated) => {
  const { accepted, asked } = await simulated()
  expect(accepted).toBeGreaterThan(100)
  expect(asked).toBeGreaterThan(accepted)
})

test('a withdrawal whose scope leaves out its person: the daily limit breaks, and it is told how', async () => {
  const narrow = bankWith(({ account }) => [`account:${account}`])
  const found = simulate(narrow, { commands: bankCommands, invariants: bankRules, strategy: 'first-wins', seed: 1, runs: 200 })
  const { message } = (await found.then(
    () => ({ message: 'nothing was found' }),
    (error: Error) => error,
  )) as Error
  expect(message).toMatch(/decides .* at its place|1,500 EUR a day/)
  expect(message).toMatch(/to see it again: seed \d+, runs 1$/)
  expect(message.split('\n').length).toBeLessThan(35)
})
