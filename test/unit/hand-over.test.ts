/** How a shard changes hands though its owner lives: what is on its way is finished, nothing more is begun, and who should own it comes first. */
import { beforeEach, describe, expect, test } from 'vitest'
import { Bench } from '../support/bench.ts'

let bench: Bench

/** It owns the shard, and b lives. */
beforeEach(() => {
  bench = new Bench('a')
  bench.feed({ type: 'live' })
  bench.appends = []
  bench.term(1, 'a')
  bench.pass(100, ['a', 'b'], 'a')
})

describe('an owner', () => {
  test('finishes what is on its way, begins nothing more, and lets go', () => {
    bench.pay('one')
    expect(bench.waiting).toEqual(['data'])
    bench.pass(100, ['a', 'b'], 'b')
    bench.pay('two', 'other')
    bench.pass(100, ['a', 'b'], 'b')
    expect(bench.waiting).toEqual(['data'])
    bench.settle()
    expect(bench.replies).toMatchObject([{ id: 'one', kind: 'decided' }])
    bench.pass(50, ['a', 'b'], 'b')
    expect(bench.waiting).toEqual(['term of null'])
    bench.settle()
    bench.pass(300, ['a', 'b'], 'b')
    expect(bench.waiting).toEqual([])
    bench.term(3, 'b')
    bench.feed({ type: 'flush' })
    expect(bench.forwarded).toEqual([{ id: 'two', to: 'at b' }])
  })

  test('lets go at once where nothing is on its way', () => {
    bench.pass(50, ['a', 'b'], 'b')
    expect(bench.waiting).toEqual(['term of null'])
  })

  test('stays where it is preferred, or nobody is, or the one who is has gone', () => {
    bench.pass(500, ['a', 'b'], 'a')
    bench.pass(500, ['a', 'b'])
    bench.pass(3_000, ['a'], 'a')
    bench.pass(3_000, ['a'], 'b')
    bench.pay('one')
    expect(bench.waiting).toEqual(['data'])
  })

  test('takes the shard back from one who does not take it, and gives it to that one no more', () => {
    bench.pass(50, ['a', 'b'], 'b')
    bench.settle()
    bench.pay('one')
    bench.pass(1_500, ['a', 'b'], 'b')
    expect(bench.waiting).toEqual([])
    bench.pass(1_000, ['a', 'b'], 'b')
    expect(bench.waiting).toEqual(['term of a'])
    bench.settle()
    bench.pass(50, ['a', 'b'], 'b')
    expect(bench.waiting).toEqual(['data'])
    bench.settle()
    expect(bench.replies).toMatchObject([{ id: 'one', kind: 'decided' }])
    bench.pass(3_000, ['a', 'b'], 'b')
    expect(bench.waiting).toEqual([])
    bench.pass(50, ['a', 'b', 'c'], 'c')
    expect(bench.waiting).toEqual(['term of null'])
    bench.settle()
    bench.pass(500, ['a', 'b', 'c'], 'c')
    expect(bench.waiting).toEqual([])
  })

  test('that could not let go goes on when it is preferred again', () => {
    bench.pass(50, ['a', 'b'], 'b')
    const [{ append } = { append: 0 }] = bench.appends
    bench.appends = []
    bench.feed({ type: 'appended', append, answers: [{ status: 'not-written' }] })
    bench.pass(50, ['a', 'b'], 'a')
    bench.pay('one')
    expect(bench.waiting).toEqual(['data'])
  })
})

describe('a candidate', () => {
  test('that is preferred claims a vacant shard at once', () => {
    bench.term(2, 'b')
    bench.pass(200, ['a', 'b'], 'a')
    expect(bench.waiting).toEqual([])
    bench.term(3, null)
    bench.pass(100, ['a', 'b'], 'a')
    expect(bench.waiting).toEqual(['term of a'])
  })

  test('leaves it to the one who is preferred, for a little while', () => {
    bench.term(2, 'c')
    bench.pass(200, ['a', 'b', 'c'], 'b')
    bench.term(3, null)
    bench.pass(400, ['a', 'b', 'c'], 'b')
    expect(bench.waiting).toEqual([])
    bench.pass(400, ['a', 'b', 'c'], 'b')
    expect(bench.waiting).toEqual(['term of a'])
  })

  test('leaves what was laid down to the heir, for a little while, but not what a dead owner has left', () => {
    bench.around = { heir: 'b' }
    bench.term(2, 'c')
    bench.pass(200, ['a', 'b', 'c'])
    bench.term(3, null)
    bench.pass(400, ['a', 'b', 'c'])
    expect(bench.waiting).toEqual([])
    bench.pass(400, ['a', 'b', 'c'])
    expect(bench.waiting).toEqual(['term of a'])
    bench.settle()
    bench.term(5, 'c')
    bench.pass(200, ['a', 'b', 'c'])
    for (let silent = 0; silent < 2_100 && bench.waiting.length === 0; silent += 50) bench.pass(50, ['a', 'b'])
    // At once, by its own patience: 1,500 ms to 2,000.
    expect(bench.waiting).toEqual(['term of a'])
  })

  test('waits each time anew', () => {
    for (const number of [2, 4, 6]) {
      bench.term(number, 'b')
      bench.pass(200, ['a', 'b'], 'b')
      bench.term(number + 1, null)
      bench.pass(400, ['a', 'b'], 'b')
      expect(bench.waiting).toEqual([])
    }
  })

  test('that is closing claims a vacant shard for those who wait already, and lets go', () => {
    bench.term(2, null)
    bench.refuse()
    bench.pay('one')
    bench.feed({ type: 'stop' })
    bench.pass(2_100, ['a'])
    expect(bench.waiting).toEqual(['term of a'])
    bench.settle()
    bench.pass(50, ['a'])
    expect(bench.waiting).toEqual(['data'])
    bench.settle()
    expect(bench.replies).toMatchObject([{ id: 'one', kind: 'decided' }])
    bench.pass(50, ['a'])
    expect(bench.waiting).toEqual(['term of null'])
    bench.settle()
    bench.pass(500, ['a'])
    expect(bench.waiting).toEqual([])
  })

  test('does not wait for one who is gone', () => {
    bench.term(2, 'c')
    bench.pass(3_000, ['a'], 'b')
    expect(bench.waiting).toEqual(['term of a'])
  })
})
