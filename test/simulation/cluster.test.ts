/** The rules of the modelled cluster, one by one. Those that a real broker can be asked for are compared with it in test/kafka/model. */
import { describe, expect, test } from 'vitest'
import { type BatchProducer, decodeBatches, encodeBatch } from '../../src/log/kafka/batch.ts'
import { Cluster, type ClusterOptions, type ClusterReplies, type ClusterReply, type ClusterRequest } from '../../src/testing/cluster.ts'

const topic = 'log'
const topicId = '00000000-0000-4000-8000-000000000001'

type Ask<Api extends keyof ClusterReplies> = Omit<Extract<ClusterRequest, { api: Api }>, 'api'>

/** A cluster, and clients that wait for each answer. */
class World {
  readonly cluster: Cluster
  now = 0
  readonly #replies = new Map<number, ClusterReply | 'dropped'>()
  #keys = 0

  constructor(options: Partial<ClusterOptions> = {}) {
    let seed = 1
    // A small generator is enough (mulberry32): runs are the same each time.
    const random = () => {
      seed = (seed + 0x6d2b79f5) | 0
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
      return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
    }
    this.cluster = new Cluster({ random, ...options })
  }

  send(node: number, request: ClusterRequest): number {
    const key = ++this.#keys
    this.#take(this.cluster.step(this.now, { type: 'request', key, node, request }))
    return key
  }

  #take(outputs: ReturnType<Cluster['step']>): void {
    for (const output of outputs) this.#replies.set(output.key, output.do === 'reply' ? output.reply : 'dropped')
  }

  answered(key: number): boolean {
    return this.#replies.has(key)
  }

  /** Until the answer is there. */
  async<Api extends keyof ClusterReplies>(key: number): ClusterReplies[Api] {
    while (!this.#replies.has(key)) {
      const { due } = this.cluster
      if (due === undefined) throw new Error(`request ${key} will not be answered`)
      this.pass(Math.max(0, due - this.now))
    }
    const reply = this.#replies.get(key)!
    if (reply === 'dropped') throw new Error('dropped')
    return reply as ClusterReplies[Api]
  }

  pass(ms: number): void {
    const until = this.now + ms
    for (let { due } = this.cluster; due !== undefined && due <= until; { due } = this.cluster) {
      this.now = Math.max(this.now, due)
      this.#take(this.cluster.step(this.now, { type: 'tick' }))
    }
    this.now = until
  }

  ask<Api extends keyof ClusterReplies>(api: Api, request: Ask<Api>, node = 0): ClusterReplies[Api] {
    return this.async<Api>(this.send(node, { api, ...request } as unknown as ClusterRequest))
  }

  produce(values: readonly string[], producer: Partial<BatchProducer> = {}, over: Partial<Ask<'produce'>> = {}, node = 0) {
    return this.ask('produce', { ...produceArgs(values, producer), ...over }, node)
  }

  init(transactionalId: string | null = 'tx', over: Partial<Ask<'init-producer-id'>> = {}, node = 0): BatchProducer {
    for (;;) {
      const answer = this.ask('init-producer-id', { transactionalId, timeout: 10_000, producerId: -1n, epoch: -1, ...over }, node)
      if (answer.error === 'NONE') return { producerId: answer.producerId, epoch: answer.epoch, sequence: 0, transactional: false }
      if (answer.error !== 'CONCURRENT_TRANSACTIONS') throw new Error(answer.error)
      this.pass(3)
    }
  }

  end(producer: BatchProducer, commit: boolean, version: 4 | 5 = 5) {
    const { producerId, epoch } = producer
    return this.ask('end-txn', { version, transactionalId: 'tx', producerId, epoch, commit })
  }

  fetch(over: Partial<Ask<'fetch'>> = {}, node = 0) {
    return this.ask('fetch', fetchArgs(over), node)
  }

  values(isolation: 'read_committed' | 'read_uncommitted' = 'read_committed', from = 0, node = 0): unknown[] {
    const values: unknown[] = []
    for (;;) {
      const { error, bytes, aborted } = this.fetch({ offset: from, isolation }, node)
      expect(error).toBe('NONE')
      const decoded = decodeBatches(bytes, { from, aborted, committed: isolation === 'read_committed' })
      expect(decoded.damaged).toBeUndefined()
      values.push(...decoded.records.map(({ value }) => value))
      if (decoded.next === from) return values
      from = decoded.next
    }
  }
}

const none: BatchProducer = { producerId: -1n, epoch: -1, sequence: -1, transactional: false }

function produceArgs(values: readonly string[], producer: Partial<BatchProducer>): Ask<'produce'> {
  const batch = encodeBatch(
    values.map(value => ({ key: null, value, time: 1_000 })),
    { ...none, ...producer },
  )
  return { version: 12, topic, topicId, partition: 0, batch, transactionalId: producer.transactional ? 'tx' : null, timeout: 3_000 }
}

function fetchArgs(over: Partial<Ask<'fetch'>>): Ask<'fetch'> {
  const where = { topicId, partition: 0, offset: 0, leaderEpoch: -1, lastFetchedEpoch: -1 }
  return { ...where, isolation: 'read_committed', maxWait: 0, minBytes: 1, maxBytes: 1 << 20, ...over }
}

describe('one broker', () => {
  test('takes batches, knows the last five again, and refuses what is out of turn', () => {
    const world = new World()
    const producer = world.init(null)
    expect(producer.epoch).toBe(0)
    for (let i = 0; i < 6; i++) expect(world.produce([`${i}`], { ...producer, sequence: i })).toMatchObject({ error: 'NONE', offset: i })
    expect(world.produce(['other'], { ...producer, sequence: 1 })).toMatchObject({ error: 'NONE', offset: 1 })
    expect(world.produce(['other'], { ...producer, sequence: 0 })).toMatchObject({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER', offset: -1 })
    expect(world.produce(['other'], { ...producer, sequence: 8 })).toMatchObject({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
    expect(world.values()).toEqual(['0', '1', '2', '3', '4', '5'])
  })

  test('shows a transaction once it was committed, and none that was aborted', () => {
    const world = new World()
    const first = world.init()
    for (const [epoch, commit] of [false, true, false].entries()) {
      const producer = { ...first, epoch, transactional: true }
      expect(world.produce([`${commit}`], producer)).toMatchObject({ error: 'NONE' })
      expect(world.produce(['plain'])).toMatchObject({ error: 'NONE' })
      expect(world.end(producer, commit)).toEqual({ error: 'NONE', producerId: producer.producerId, epoch: epoch + 1 })
    }
    world.pass(1_000)
    expect(world.values()).toEqual(['plain', 'true', 'plain', 'plain'])
    expect(world.values('read_uncommitted')).toEqual(['false', 'plain', 'true', 'plain', 'false', 'plain'])
  })

  test('works with transactions of version 1', () => {
    const world = new World({ transactionVersion: 1 })
    const producer = { ...world.init(), transactional: true }
    const { producerId, epoch } = producer
    expect(world.produce(['early'], producer, { version: 11 }).error).toBe('TRANSACTION_ABORTABLE')
    expect(world.ask('add-partitions', { transactionalId: 'tx', producerId, epoch, topic, partitions: [0] }).error).toBe('NONE')
    expect(world.produce(['a'], producer, { version: 11 }).error).toBe('NONE')
    expect(world.end(producer, true, 4)).toMatchObject({ error: 'NONE', epoch })
    world.pass(100)
    expect(world.values()).toEqual(['a'])
  })

  test('says who leads', () => {
    const world = new World()
    expect(world.ask('metadata', {})).toMatchObject({ topics: [{ id: topicId, partitions: [{ index: 0, leader: 0, leaderEpoch: 0 }] }] })
    expect(world.ask('find-coordinator', { transactionalId: 'tx' })).toMatchObject({ error: 'NONE', node: 0 })
    const latest = { topic, partition: 0, leaderEpoch: 0, isolation: 'read_committed', timestamp: -1 } as const
    world.produce(['a', 'b'])
    expect(world.ask('list-offsets', latest)).toEqual({ error: 'NONE', offset: 2, timestamp: -1, leaderEpoch: 0 })
  })
})
