/** The log is gone for good, with work on its way: whoever waits is told at once, and nothing goes on that can come to no end. */
import { beforeEach, describe, expect, test } from 'vitest'
import { EngineError } from '../../src/errors.ts'
import { Bench } from '../support/bench.ts'

const gone = new EngineError('log-other', 'it is another log now')
const refused = { status: 'not-written', cause: gone, fatal: true } as const

let bench: Bench

/** It owns the shard of a log whose own word on its end is no evidence. */
beforeEach(() => {
  bench = new Bench('a', 'leader', false)
  bench.feed({ type: 'live' })
  bench.appends = []
  bench.term(1, 'a')
})

function expectTheEnd(): void {
  expect(bench.replies).toMatchObject([{ id: 'one', kind: 'failed', error: { code: 'outcome-unknown' } }])
  expect(bench.waiting).toEqual([])
  expect(bench.restless).toBe(false)
  bench.feed({ type: 'stop' })
  expect(bench.drained).toBe(true)
}

describe('a command', () => {
  beforeEach(() => bench.pay('one'))

  test('whose record is on its way', () => {
    bench.feed({ type: 'lost', error: gone })
    bench.refuse(refused)
    expectTheEnd()
  })

  test('whose record may have been written', () => {
    bench.refuse({ status: 'unknown' })
    bench.feed({ type: 'lost', error: gone })
    expectTheEnd()
  })

  test.each(['before', 'after'])('whose barrier is refused %s that is told', when => {
    bench.refuse({ status: 'unknown' })
    bench.feed({ type: 'flush' })
    expect(bench.waiting).toEqual(['barrier'])
    if (when === 'after') bench.feed({ type: 'lost', error: gone })
    bench.refuse(refused)
    if (when === 'before') bench.feed({ type: 'lost', error: gone })
    expectTheEnd()
  })

  test('whose barrier is on its way when the replica is closed', () => {
    bench.refuse({ status: 'unknown' })
    bench.feed({ type: 'flush' })
    bench.feed({ type: 'stop' })
    expect(bench.drained).toBe(false)
    bench.feed({ type: 'lost', error: gone })
    expect(bench.drained).toBe(true)
  })
})

test.each(['before', 'after'])('a read whose barrier is refused %s that is told', when => {
  bench.read()
  expect(bench.waiting).toEqual(['barrier'])
  if (when === 'after') bench.feed({ type: 'lost', error: gone })
  bench.refuse(refused)
  if (when === 'before') bench.feed({ type: 'lost', error: gone })
  expect(bench.reads).toMatchObject([{ error: { code: 'log-other' } }])
  expect(bench.waiting).toEqual([])
  expect(bench.restless).toBe(false)
})
