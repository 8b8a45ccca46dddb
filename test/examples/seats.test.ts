import { given } from 'mainstem/testing'
import { describe, expect, test } from 'vitest'
import seats, { invariant } from '../../examples/seats.ts'
import readme from '../../examples/seats-readme.ts'
import { rowsAfter } from './rows.ts'

const A1 = { seat: 'A1', guest: 'Ann' }

describe('reserve', () => {
  test('a free seat', () => {
    given(seats).when('reserve', A1).accepts(['SeatReserved', A1]).answers('taken', [A1])
  })

  test('a taken seat, even by the same guest', () => {
    const taken = given(seats).event('SeatReserved', A1)
    taken.when('reserve', { seat: 'A1', guest: 'Ben' }).rejects('seat-taken', { seat: 'A1' })
    taken.when('reserve', A1).rejects('seat-taken', { seat: 'A1' })
    taken.when('reserve', { seat: 'A2', guest: 'Ann' }).accepts(['SeatReserved', { seat: 'A2', guest: 'Ann' }])
  })

  test('a seat that was released', () => {
    given(seats)
      .event('SeatReserved', A1)
      .event('SeatReleased', { seat: 'A1' })
      .when('reserve', { seat: 'A1', guest: 'Ben' })
      .accepts(['SeatReserved', { seat: 'A1', guest: 'Ben' }])
      .answers('seat', { seat: 'A1' }, [
        { guest: 'Ann', reserved: 1, released: 2 },
        { guest: 'Ben', reserved: 3, released: null },
      ])
  })

  test('no seat at all', () => {
    given(seats).when('reserve', { seat: '', guest: 'Ann' }).fails('invalid-input')
  })
})

test('release: only what one has', () => {
  const taken = given(seats).event('SeatReserved', A1)
  taken
    .when('release', A1)
    .accepts(['SeatReleased', { seat: 'A1' }])
    .answers('taken', [])
  taken.when('release', { seat: 'A1', guest: 'Ben' }).rejects('not-your-seat', { seat: 'A1' })
  taken.when('release', { seat: 'A2', guest: 'Ann' }).rejects('seat-free', { seat: 'A2' })
})

test('move: both seats or none', () => {
  const taken = given(seats).event('SeatReserved', A1)
  const move = taken.when('move', { from: 'A1', to: 'A2' })
  move
    .accepts(['SeatReleased', { seat: 'A1' }], ['SeatReserved', { seat: 'A2', guest: 'Ann' }])
    .answers('taken', [{ seat: 'A2', guest: 'Ann' }])
  move.returns({ guest: 'Ann' })
  taken.when('move', { from: 'A2', to: 'A3' }).rejects('seat-free', { seat: 'A2' })
  taken.when('move', { from: 'A1', to: 'A1' }).rejects('seat-taken', { seat: 'A1' })
  taken.event('SeatReserved', { seat: 'A2', guest: 'Ben' }).when('move', { from: 'A1', to: 'A2' }).rejects('seat-taken', { seat: 'A2' })
})

test('the invariant sees a seat that is sold twice, also when it is over', () => {
  const sold = (seat: string, guest: string) => ['SeatReserved', { seat, guest }] as const
  const released = (seat: string) => ['SeatReleased', { seat }] as const
  expect(rowsAfter(seats, [sold('A1', 'Ann'), released('A1'), sold('A1', 'Ben'), sold('A2', 'Ann')], invariant.sql)).toEqual([])
  const twice = [{ seat: 'A1', first: 'Ann', second: 'Ben', version: 2 }]
  expect(rowsAfter(seats, [sold('A1', 'Ann'), sold('A1', 'Ben')], invariant.sql)).toEqual(twice)
  expect(rowsAfter(seats, [sold('A1', 'Ann'), sold('A1', 'Ben'), released('A1')], invariant.sql)).toEqual(twice)
})

test('the app of the README', () => {
  given(readme)
    .event('SeatReserved', A1)
    .when('reserve', { seat: 'A1', guest: 'Ben' })
    .rejects('seat-taken', { seat: 'A1' })
    .event('SeatReleased', { seat: 'A1' })
    .when('reserve', { seat: 'A1', guest: 'Ben' })
    .accepts(['SeatReserved', { seat: 'A1', guest: 'Ben' }])
    .answers('taken', [{ id: 'A1', guest: 'Ben' }])
})
