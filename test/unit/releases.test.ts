/** What a shard does while another release than its own is the active one: it writes nothing, and commands find those who may. */
import { describe, expect, test } from 'vitest'
import { Bench } from '../support/bench.ts'

const green = { id: 'g', address: 'at g', release: 'green' }

function blue(strategy: 'leader' | 'optimistic' | 'first-wins'): Bench {
  const bench = new Bench('a', strategy)
  bench.around = { peers: [{ id: 'a', address: 'at a', release: 'test' }, green] }
  bench.feed({ type: 'live' })
  bench.appends = []
  bench.release('test', null)
  return bench
}

describe('a leader whose release is replaced', () => {
  test('writes nothing more, does not campaign, and its commands wait for the next leader', () => {
    const bench = blue('leader')
    bench.term(2, 'a')
    bench.pass(100, ['a', 'g'])
    bench.appends = []
    bench.pay('one')
    expect(bench.waiting).toEqual(['data'])
    const [late] = bench.appends
    bench.appends = []
    bench.release('green', 'test')
    // Its record comes behind.
    bench.write(late!.records[0]!.value as string, 'default')
    bench.pay('two', 'other')
    bench.pass(1_500, ['a', 'g'])
    expect(bench).toMatchObject({ waiting: [], forwarded: [], replies: [], restless: false })
    bench.term(4, 'g')
    bench.feed({ type: 'flush' })
    expect(bench.forwarded).toEqual([
      { id: 'one', to: 'at g' },
      { id: 'two', to: 'at g' },
    ])
    expect(bench.replies).toEqual([])
  })

  test('passes commands of others back, so that they look further themselves', () => {
    const bench = blue('leader')
    bench.term(2, 'a')
    bench.pay('flying', 'default', true)
    bench.pay('waiting', 'default', true)
    expect(bench.waiting).toEqual(['data'])
    const [late] = bench.appends
    bench.release('green', 'test')
    bench.write(late!.records[0]!.value as string, 'default')
    bench.pay('new', 'default', true)
    const refused = { kind: 'failed', error: { code: 'not-leader', retry: 'safe' } }
    expect(bench.replies).toMatchObject([
      { id: 'waiting', ...refused },
      { id: 'flying', ...refused },
      { id: 'new', ...refused },
    ])
  })

  test('says at the deadline which release is the active one', () => {
    const bench = blue('leader')
    bench.around = {}
    bench.release('green', 'test')
    bench.pay('one')
    bench.pass(10_100, ['a'])
    expect(bench.replies).toMatchObject([
      { id: 'one', error: { code: 'not-ready', retry: 'safe', message: expect.stringMatching(/^release green is the active one/) } },
    ])
  })

  test('leads again when its release comes back', () => {
    const bench = blue('leader')
    bench.release('green', 'test')
    bench.pay('one')
    bench.pass(1_000, ['a', 'g'])
    expect(bench.waiting).toEqual([])
    bench.release('test', 'green')
    bench.pass(100, ['a', 'g'])
    expect(bench.waiting).toEqual(['term of a'])
    bench.settle()
    bench.feed({ type: 'flush' })
    bench.settle()
    expect(bench.replies).toMatchObject([{ id: 'one', kind: 'decided' }])
  })

  test('asks one of the active release where nobody comes to reign', () => {
    const bench = blue('leader')
    bench.release('green', 'test')
    bench.pay('one')
    bench.pass(1_900, ['a', 'g'])
    expect(bench.forwarded).toEqual([])
    bench.pass(400, ['a', 'g'])
    expect(bench.forwarded).toEqual([{ id: 'one', to: 'at g' }])
  })
})

describe.each(['optimistic', 'first-wins'] as const)('under %s, who is of another release', strategy => {
  test('passes commands on to one of the active release', () => {
    const bench = blue(strategy)
    bench.pay('flying')
    const [late] = bench.appends
    bench.pass(50, ['a', 'g'])
    bench.appends = []
    bench.release('green', 'test')
    bench.write(late!.records[0]!.value as string, 'default')
    bench.pay('new')
    expect(bench.restless).toBe(false)
    expect(bench.forwarded).toEqual([
      { id: 'flying', to: 'at g' },
      { id: 'new', to: 'at g' },
    ])
    expect(bench.waiting).toEqual([])
  })

  test('waits a while for one to come', () => {
    const bench = blue(strategy)
    bench.around = {}
    bench.release('green', 'test')
    bench.pay('one')
    bench.pass(2_000, ['a'])
    expect(bench).toMatchObject({ replies: [], restless: false })
    bench.around = { peers: [green] }
    bench.pass(100, ['a', 'g'])
    expect(bench.forwarded).toEqual([{ id: 'one', to: 'at g' }])
  })

  test('hears so where nobody comes', () => {
    const bench = blue(strategy)
    bench.around = {}
    bench.release('green', 'test')
    bench.pay('two')
    bench.pass(3_200, ['a'])
    expect(bench.replies).toMatchObject([{ id: 'two', error: { code: 'not-ready', retry: 'safe' } }])
  })

  test('asks another one when the first has fallen silent', () => {
    const bench = blue(strategy)
    bench.release('green', 'test')
    bench.pay('one')
    bench.pass(100, ['a', 'g'])
    expect(bench.forwarded).toEqual([{ id: 'one', to: 'at g' }])
    bench.around = { peers: [green, { ...green, id: 'h', address: 'at h' }] }
    bench.pass(3_000, ['a', 'h'])
    expect(bench.forwarded).toEqual([
      { id: 'one', to: 'at g' },
      { id: 'one', to: 'at h' },
    ])
  })
})

describe('a log without an active release', () => {
  test('gets that of one with a name, before it claims the shard', () => {
    const bench = new Bench('a')
    bench.around = { founds: true }
    bench.pass(50, ['a'])
    bench.feed({ type: 'live' })
    expect(bench.waiting).toEqual(['release'])
    bench.settle()
    bench.pass(50, ['a'])
    expect(bench.waiting).toEqual(['term of a'])
    bench.settle()
    bench.pass(3_000, ['a'])
    expect(bench.waiting).toEqual([])
  })

  test('has the first of two that come at once', () => {
    const bench = new Bench('a')
    bench.around = { founds: true }
    bench.pass(50, ['a'])
    bench.feed({ type: 'live' })
    bench.release('green', null)
    bench.settle()
    bench.pass(3_000, ['a'])
    expect(bench.waiting).toEqual([])
  })

  test('is left alone by one that may not', () => {
    const bench = new Bench('a')
    bench.feed({ type: 'live' })
    bench.pass(50, ['a'])
    expect(bench.waiting).toEqual(['term of a'])
  })
})
