/** A modelled cluster and clients that wait for each answer, in virtual time. */
import { expect } from 'vitest'
import { type BatchProducer, decodeBatches, encodeBatch } from '../../src/log/kafka/batch.ts'
import { seeded } from '../../src/random.ts'
import {
  Cluster,
  type ClusterInput,
  type ClusterOptions,
  type ClusterReplies,
  type ClusterReply,
  type ClusterRequest,
} from '../../src/testing/cluster.ts'

export const topic = 'log'
export const topicId = '00000000-0000-4000-8000-000000000001'

export type Ask<Api extends keyof ClusterReplies> = Omit<Extract<ClusterRequest, { api: Api }>, 'api'>

/** A cluster, and clients that wait for each answer. */
export class World {
  readonly cluster: Cluster
  readonly random: () => number
  now = 0
  readonly #replies = new Map<number, ClusterReply | 'dropped'>()
  #keys = 0

  constructor(options: Partial<ClusterOptions> = {}, seed = 1) {
    this.random = seeded(seed)
    this.cluster = new Cluster({ random: this.random, ...options })
  }

  do(input: ClusterInput): void {
    this.#take(this.cluster.step(this.now, input))
  }

  lead(node: number) {
    return this.ask('metadata', {}, node).topics[0]!.partitions[0]!
  }

  /** Who leads, by the word of one broker. */
  leader(node: number): number {
    return this.lead(node).leader
  }

  coordinator(node: number): number {
    return this.ask('find-coordinator', { transactionalId: 'tx' }, node).node
  }

  /** Until it is so. @returns how long it took, ms */
  until(what: () => boolean, most = 120_000): number {
    const since = this.now
    while (!what()) {
      if (this.now - since > most) throw new Error('it never came to be')
      this.pass(5)
    }
    return this.now - since
  }

  send(node: number, request: ClusterRequest): number {
    const key = ++this.#keys
    this.#take(this.cluster.step(this.now, { type: 'request', key, node, request }))
    return key
  }

  #take(outputs: ReturnType<Cluster['step']>): void {
    for (const output of outputs) this.#replies.set(output.key, output.do === 'reply' ? output.reply : 'dropped')
  }

  answered(key: number): ClusterReply | 'dropped' | undefined {
    return this.#replies.get(key)
  }

  /** Until the answer is there. */
  reply<Api extends keyof ClusterReplies>(key: number): ClusterReplies[Api] {
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
    return this.reply<Api>(this.send(node, { api, ...request } as unknown as ClusterRequest))
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

  end(producer: BatchProducer, commit: boolean, version: 4 | 5 = 5, node = 0) {
    const { producerId, epoch } = producer
    return this.ask('end-txn', { version, transactionalId: 'tx', producerId, epoch, commit }, node)
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

export function produceArgs(values: readonly string[], producer: Partial<BatchProducer>): Ask<'produce'> {
  const batch = encodeBatch(
    values.map(value => ({ key: null, value, time: 1_000 })),
    { ...none, ...producer },
  )
  return { version: 12, topic, topicId, partition: 0, batch, transactionalId: producer.transactional ? 'tx' : null, timeout: 3_000 }
}

export function fetchArgs(over: Partial<Ask<'fetch'>>): Ask<'fetch'> {
  const where = { topicId, partition: 0, offset: 0, leaderEpoch: -1, lastFetchedEpoch: -1 }
  return { ...where, isolation: 'read_committed', maxWait: 0, minBytes: 1, maxBytes: 1 << 20, ...over }
}
