import { given } from 'mainstem/testing'
import { expect, test } from 'vitest'
import warehouse, { invariant } from '../../examples/warehouse.ts'
import { rowsAfter } from './rows.ts'

const stocked = given(warehouse)
  .event('GoodsReceived', { item: 'nail', quantity: 100 })
  .event('GoodsReceived', { item: 'hammer', quantity: 2 })
const order = (lines: { item: string; quantity: number }[]) => ({ order: 'o1', customer: 'Ann', lines })

test('goods come in', () => {
  stocked
    .when('receive', { item: 'nail', quantity: 5 })
    .accepts(['GoodsReceived', { item: 'nail', quantity: 5 }])
    .answers('stock', [
      { item: 'hammer', quantity: 2 },
      { item: 'nail', quantity: 105 },
    ])
  stocked.when('receive', { item: 'nail', quantity: 0 }).fails('invalid-input')
  stocked.when('receive', { item: 'nail', quantity: 1.5 }).fails('invalid-input')
})

test('an order takes several items at once', () => {
  const lines = [
    { item: 'hammer', quantity: 2 },
    { item: 'nail', quantity: 30 },
  ]
  stocked
    .when('order', order(lines), { now: new Date('2026-05-01T08:00:00Z') })
    .accepts(['OrderPlaced', order(lines)])
    .answers('stock', [
      { item: 'hammer', quantity: 0 },
      { item: 'nail', quantity: 70 },
    ])
    .answers('orders', { customer: 'Ann' }, [{ id: 'o1', at: '2026-05-01T08:00:00.000Z', lines }])
    .answers('orders', { customer: 'Ben' }, [])
})

test('or none, and says all that is missing', () => {
  const missing = [
    { item: 'hammer', quantity: 1 },
    { item: 'saw', quantity: 4 },
  ]
  stocked
    .when(
      'order',
      order([
        { item: 'nail', quantity: 1 },
        { item: 'hammer', quantity: 3 },
        { item: 'saw', quantity: 4 },
      ]),
    )
    .rejects('out-of-stock', { missing })
    .answers('stock', [
      { item: 'hammer', quantity: 2 },
      { item: 'nail', quantity: 100 },
    ])
})

test('an item on several lines counts once for all of them', () => {
  const hammer = { item: 'hammer', quantity: 1 }
  stocked.when('order', order([hammer, hammer])).accepts(['OrderPlaced', order([{ item: 'hammer', quantity: 2 }])])
  stocked.when('order', order([hammer, hammer, hammer])).rejects('out-of-stock', { missing: [hammer] })
})

test('an order is placed once', () => {
  const placed = stocked.event('OrderPlaced', order([{ item: 'nail', quantity: 1 }]))
  placed.when('order', order([{ item: 'nail', quantity: 1 }])).rejects('order-exists', { order: 'o1' })
})

test('the last piece is sold, and no more', () => {
  const one = order([{ item: 'hammer', quantity: 2 }])
  stocked
    .when('order', one)
    .accepts(['OrderPlaced', one])
    .when('order', { ...order([{ item: 'hammer', quantity: 1 }]), order: 'o2' })
    .rejects('out-of-stock', { missing: [{ item: 'hammer', quantity: 1 }] })
})

test('the invariant sees a stock below zero, also when it is over', () => {
  const received = ['GoodsReceived', { item: 'nail', quantity: 5 }] as const
  const taken = (order: string, quantity: number) =>
    ['OrderPlaced', { order, customer: 'Ann', lines: [{ item: 'nail', quantity }] }] as const
  expect(rowsAfter(warehouse, [received, taken('a', 5), received], invariant.sql)).toEqual([])
  const below = [{ item: 'nail', version: 3, quantity: -1 }]
  expect(rowsAfter(warehouse, [received, taken('a', 5), taken('b', 1)], invariant.sql)).toEqual(below)
  expect(rowsAfter(warehouse, [received, taken('a', 5), taken('b', 1), received], invariant.sql)).toEqual(below)
})
