/** How a shard changes hands though its owner lives: what is on its way is finished, nothing more is begun, and who should own it comes first. */
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { definitionOf } from '../../src/app.ts'
import { type StrategyName, strategyOf } from '../../src/consistency.ts'
import { openStore } from '../../src/database/sqlite.ts'
import { prepare } from '../../src/decide.ts'
import { encodeControl, inputHash } from '../../src/record.ts'
import type { Output, Reply, Request } from '../../src/shard/protocol.ts'
import { Shard } from '../../src/shard.ts'
import shop from '../support/shop.ts'

const HEADER = { log: 'log-1', time: 1 }

/** The machine of one replica by hand: its appends are written when the test says so. */
class Bench {
  readonly #shard: Shard
  readonly replies: (Reply & { readonly id: string })[] = []
  readonly forwarded: { readonly id: string; readonly to: string }[] = []
  /** Appends that wait for their answer. */
  appends: Extract<Output, { do: 'append' }>[] = []
  now = 10_000
  #position = 1
  #beat = 0

  constructor(me: string, strategy: StrategyName = 'leader') {
    this.#shard = new Shard({
      app: shop,
      strategy: strategyOf[strategy],
      me,
      address: `at ${me}`,
      release: 'test',
      place: 'here',
      freshHead: true,
      open: () => openStore(definitionOf(shop).database, ':memory:'),
      discard: () => {},
      random: () => 0.5,
      maxRecordBytes: 100_000,
    })
    onTestFinished(() => this.#shard.close())
    this.write(
      encodeControl({ kind: 'manifest', ...HEADER, app: 'shop', partitions: 1, partition: 0, rules: 1, window: 50, generation: 1 }),
    )
  }

  /** Somebody's record comes to stand in the log. */
  write(value: string, tenant: string | null = null): void {
    const position = this.#position++
    this.feed({ type: 'records', records: [{ position, value, tenant }], reached: position })
  }

  term(number: number, owner: string | null): void {
    this.write(encodeControl({ kind: 'term', ...HEADER, number, owner, address: owner === null ? null : `at ${owner}` }))
  }

  feed(input: Parameters<Shard['step']>[2]): void {
    for (const output of this.#shard.step(this.now, 1, input)) {
      if (output.do === 'append') this.appends.push(output)
      if (output.do === 'reply') this.replies.push({ ...output.reply, id: output.request.id })
      if (output.do === 'forward') this.forwarded.push({ id: output.request.id, to: output.address })
    }
  }

  /** All appends so far are written, and read back. */
  settle(): void {
    const { appends } = this
    this.appends = []
    for (const { append, records } of appends) {
      const first = this.#position
      this.#position += records.length
      this.feed({ type: 'appended', append, answers: records.map((_, n) => ({ status: 'written', position: first + n })) })
      const stored = records.map(({ value, tenant }, n) => ({ position: first + n, value, tenant }))
      this.feed({ type: 'records', records: stored, reached: this.#position - 1 })
    }
  }

  pay(id: string, tenant = 'default'): void {
    const input = { account: 'ann', cents: 1 }
    const request: Request = {
      tenant,
      command: 'pay',
      input,
      prepared: prepare(shop, 'pay', input),
      id,
      hash: inputHash('pay', input),
      deadline: this.now + 10_000,
      forwarded: false,
      fresh: false,
      done: false,
      inDoubt: false,
      conflicts: 0,
    }
    this.feed({ type: 'command', request })
    this.feed({ type: 'flush' })
  }

  /** Time passes; all of these are alive. */
  pass(ms: number, alive: readonly string[], preferred?: string): void {
    for (const end = this.now + ms; this.now < end; this.now += 50) {
      const beats = new Map(alive.map(who => [who, ++this.#beat]))
      this.feed({ type: 'beats', beats, preferred })
      this.feed({ type: 'tick' })
      if (this.#shard.due !== undefined) this.feed({ type: 'flush' })
    }
  }

  /** What waits to be written, by kind. */
  get waiting(): string[] {
    return this.appends.flatMap(({ records }) =>
      records.map(({ value }) => {
        const { kind, owner } = JSON.parse(value as string) as { kind: string; owner?: string | null }
        return kind === 'term' ? `term of ${owner}` : kind
      }),
    )
  }
}

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
    bench.appends = []
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
