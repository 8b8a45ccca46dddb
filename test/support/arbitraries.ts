/** Commands of the examples, generated: few ids, so that they get into each other's way. */
import fc from 'fast-check'

const person = fc.constantFrom('ann', 'ben')
const account = fc.constantFrom('a1', 'a2', 'b1')
/** Of the order of the bank's daily limit, so that two or three reach it. */
const cents = fc.constantFrom(1, 50_000, 100_000, 150_000)

export const bankCommands = {
  open: fc.record({ account, person }),
  deposit: fc.record(
    { account, cents: fc.constantFrom(1, 100_000, 500_000), reference: fc.constantFrom('', 'rent') },
    { requiredKeys: ['account', 'cents'] },
  ),
  withdraw: fc.record({ person, account, cents }),
  transfer: fc.record({ person, from: account, to: account, cents }),
}

const item = fc.constantFrom('apple', 'pear', 'plum')
const quantity = fc.integer({ min: 1, max: 4 })
const line = fc.record({ item, quantity })

export const warehouseCommands = {
  receive: line,
  order: fc.record({
    order: fc.constantFrom('o1', 'o2', 'o3', 'o4', 'o5', 'o6'),
    customer: fc.constantFrom('ann', 'ben'),
    lines: fc.array(line, { minLength: 1, maxLength: 3 }),
  }),
}

const seat = fc.constantFrom('A1', 'A2', 'A3', 'A4')
const guest = fc.constantFrom('Ann', 'Ben')

export const seatsCommands = {
  reserve: fc.record({ seat, guest }),
  release: fc.record({ seat, guest }),
  move: fc.record({ from: seat, to: seat }),
}
