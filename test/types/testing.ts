/** The types of given/when/then, and of commands that are generated. Checked by tsc alone, never run. */

import fc from 'fast-check'
import bank from '../../examples/bank/app.ts'
import seats from '../../examples/seats.ts'
import { checkScopes, given, simulate } from '../../src/testing.ts'

given(seats)
  .event('SeatReserved', { seat: 'A1', guest: 'Ann' }, { at: new Date(0) })
  .when('move', { from: 'A1', to: 'A2' }, { now: new Date(0) })
  .accepts(['SeatReleased', { seat: 'A1' }], ['SeatReserved', { seat: 'A2', guest: 'Ann' }])
  .when('reserve', { seat: 'A2', guest: 'Ben' })
  .rejects('seat-taken', { seat: 'A2' })
  .answers('taken', [{ seat: 'A2', guest: 'Ann' }])
  .answers('seat', { seat: 'A3' }, [])
given(bank).when('deposit', { account: 'a', cents: 1 }).rejects('no-such-account')
given(bank).when('withdraw', { person: 'p', account: 'a', cents: 1 }).returns({ leftToday: 5 })

// @ts-expect-error unknown event
given(seats).event('SeatReservd', { seat: 'A1', guest: 'Ann' })
// @ts-expect-error wrong payload
given(seats).event('SeatReserved', { seat: 'A1' })
// @ts-expect-error unknown command
given(seats).when('resreve', { seat: 'A1', guest: 'Ben' })
// @ts-expect-error wrong input
given(seats).when('reserve', { seat: 'A1' })
// @ts-expect-error missing input
given(seats).when('reserve')
const reserve = given(seats).when('reserve', { seat: 'A1', guest: 'Ben' })
// @ts-expect-error this command does not reject so
reserve.rejects('seat-free')
// @ts-expect-error wrong details
reserve.rejects('seat-taken', { chair: 'A1' })
// @ts-expect-error it does not come to this event
reserve.accepts(['SeatReleased', { seat: 'A1' }])
// @ts-expect-error wrong payload
reserve.accepts(['SeatReserved', { seat: 'A1', guest: 1 }])
// @ts-expect-error no such error
reserve.fails('invalid-inptu')
// @ts-expect-error it has no result
reserve.returns(1)
// @ts-expect-error a chain must not be a thenable
void reserve.then
// @ts-expect-error nor this one
void given(seats).then
// @ts-expect-error the query needs an input
given(seats).query('seat')
// @ts-expect-error this one takes none
given(seats).query('taken', { seat: 'A1' })
// @ts-expect-error another answer
given(seats).answers('taken', [{ seat: 'A1' }])

const seat = fc.constantFrom('A1', 'A2')
void checkScopes(seats, {
  commands: { reserve: fc.record({ seat, guest: seat }), move: fc.record({ from: seat, to: seat }) },
  runs: 10,
  seed: 1,
})
// A default of the schema may be left out.
void checkScopes(bank, { commands: { deposit: fc.record({ account: seat, cents: fc.nat() }) } })
// @ts-expect-error unknown command
void checkScopes(seats, { commands: { resreve: fc.record({ seat, guest: seat }) } })
// @ts-expect-error wrong input
void checkScopes(seats, { commands: { reserve: fc.record({ seat, guest: fc.nat() }) } })
// @ts-expect-error missing input
void checkScopes(seats, { commands: { reserve: fc.record({ seat }) } })
// @ts-expect-error no arbitrary
void checkScopes(seats, { commands: { reserve: { seat: 'A1', guest: 'Ann' } } })

void simulate(seats, {
  commands: { reserve: fc.record({ seat, guest: seat }) },
  invariants: { 'a rule': db => db.get('SELECT 1') !== undefined || 'it does not hold' },
  strategy: 'first-wins',
  log: 'kafka',
  runs: 1,
  seed: 1,
})
// @ts-expect-error unknown command
void simulate(seats, { commands: { resreve: fc.record({ seat, guest: seat }) } })
// @ts-expect-error wrong input
void simulate(seats, { commands: { reserve: fc.record({ seat }) } })
// @ts-expect-error an invariant answers
void simulate(seats, { commands: {}, invariants: { 'a rule': db => db.get('SELECT 1') } })
