/**
 * The modelled cluster against a real broker: each script runs on both, and every answer is compared. The real one comes first in a diff.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { type BatchProducer, decodeBatches, encodeBatch } from '../../src/log/kafka/batch.ts'
import {
  addPartitions,
  createTopics,
  describeTransactions,
  endTxn,
  fetch,
  initProducerId,
  listOffsets,
  produce,
} from '../../src/log/kafka/calls.ts'
import { type Conn, KafkaClient } from '../../src/log/kafka/client.ts'
import { kafkaSettings } from '../../src/log/kafka/settings.ts'
import type { ClusterReplies } from '../../src/testing/cluster.ts'
import { type Ask, topic as modelTopic, topicId as modelTopicId, World } from '../support/modelled.ts'

const { settings } = kafkaSettings('kafka:any', { ...process.env, KAFKA_BROKERS: inject('kafka') })
const client = new KafkaClient(settings)
const maxMessageBytes = 2_000
/** A broker begins another segment where times are far apart, and a fetch ends there. */
const since = Date.now()
let conns: { w: Conn; r: Conn; node: number; transactions: 1 | 2 }

beforeAll(async () => {
  const { brokers } = await client.metadata()
  const node = brokers[0]!.id
  const { transactions } = await client.versions()
  conns = { node, transactions, w: await client.connect(node, 'write'), r: await client.connect(node, 'read') }
})
afterAll(() => client.close())

type Api = 'produce' | 'fetch' | 'list-offsets' | 'init-producer-id' | 'add-partitions' | 'end-txn'

/** One of the two that are asked, and what it answered, line by line. */
abstract class Side {
  readonly lines: string[] = []
  readonly #names: bigint[] = []
  abstract readonly topic: string
  abstract readonly topicId: string
  abstract readonly tx: string

  abstract ask<A extends Api>(api: A, request: Ask<A>): Promise<ClusterReplies[A]>
  abstract pass(ms: number): Promise<void>
  /** No transaction is on its way to its end. */
  abstract rest(): Promise<void>

  /** Producer ids by the order in which they were seen. */
  name(id: bigint): string {
    if (id < 0n) return '-'
    if (!this.#names.includes(id)) this.#names.push(id)
    return `p${this.#names.indexOf(id)}`
  }

  note(what: string, ...said: (string | number)[]): void {
    this.lines.push(`${this.lines.length} ${what}: ${said.join(' ')}`)
  }

  async produce(values: readonly string[], producer: BatchProducer, over: Partial<Ask<'produce'>> = {}): Promise<string> {
    const batch = encodeBatch(
      values.map((value, i) => ({ key: null, value, time: since + 1_000 * this.lines.length + i })),
      producer,
    )
    const transactionalId = producer.transactional ? this.tx : null
    const version = conns.transactions === 2 ? 12 : 11
    const where = { version, topic: this.topic, topicId: this.topicId, partition: 0, batch, transactionalId, timeout: 5_000 } as const
    let { error, offset } = await this.ask('produce', { ...where, ...over })
    // How long the markers of the transaction before take is not the same each time.
    while (error === 'CONCURRENT_TRANSACTIONS') ({ error, offset } = await this.ask('produce', { ...where, ...over }))
    this.note(
      `produce ${values.join().slice(0, 20)} ${this.name(producer.producerId)} ${producer.epoch} ${producer.sequence}`,
      error,
      offset,
    )
    return error
  }

  async init(over: Partial<Ask<'init-producer-id'>> = {}): Promise<BatchProducer> {
    const answer = await this.ask('init-producer-id', { transactionalId: this.tx, timeout: 10_000, producerId: -1n, epoch: -1, ...over })
    this.note('init', answer.error, this.name(answer.producerId), answer.epoch)
    return { producerId: answer.producerId, epoch: answer.epoch, sequence: 0, transactional: true }
  }

  /** Until the coordinator has time; what it says meanwhile is not the same each time. */
  async polled(over: Partial<Ask<'init-producer-id'>> = {}): Promise<BatchProducer> {
    await this.rest()
    return this.init(over)
  }

  async end(commit: boolean, { producerId, epoch }: Pick<BatchProducer, 'producerId' | 'epoch'>, version: 4 | 5 = 5): Promise<void> {
    const request = { version, transactionalId: this.tx, producerId, epoch, commit } as const
    let answer = await this.ask('end-txn', request)
    while (answer.error === 'CONCURRENT_TRANSACTIONS') {
      await this.pass(3)
      answer = await this.ask('end-txn', request)
    }
    this.note(`${commit ? 'commit' : 'abort'} v${version}`, answer.error, this.name(answer.producerId), answer.epoch)
  }

  async add({ producerId, epoch }: BatchProducer, transactionalId = this.tx): Promise<void> {
    const { error } = await this.ask('add-partitions', { transactionalId, producerId, epoch, topic: this.topic, partitions: [0] })
    this.note('add', error)
  }

  async fetch(over: Partial<Ask<'fetch'>> = {}): Promise<void> {
    const where = { topicId: this.topicId, partition: 0, offset: 0, leaderEpoch: -1, lastFetchedEpoch: -1, maxWait: 0, minBytes: 1 }
    const request = { ...where, isolation: 'read_committed', maxBytes: 1 << 20, ...over } as const
    const answer = await this.ask('fetch', request)
    const { error, highWatermark, lastStable, logStart, diverging, bytes } = answer
    const aborted = answer.aborted.map(({ producerId, firstOffset }) => `${this.name(producerId)}@${firstOffset}`).sort()
    this.note(
      `fetch ${JSON.stringify(over)}`,
      error,
      highWatermark,
      lastStable,
      logStart,
      JSON.stringify(diverging ?? null),
      `[${aborted.join()}]`,
    )
    if (error !== 'NONE') return
    const committed = request.isolation === 'read_committed'
    const { records, next, epoch } = decodeBatches(bytes, { from: request.offset, aborted: answer.aborted, committed })
    this.note('  seen', records.map(({ offset, value }) => `${offset}=${String(value).slice(0, 20)}`).join(), next, epoch, bytes.length)
    this.note('  batches', this.#batches(bytes).join(' '))
  }

  /** Base and last offset, producer, epoch, sequence, attributes. */
  #batches(bytes: Buffer): string[] {
    const found: string[] = []
    for (let at = 0; at + 61 <= bytes.length; at += bytes.readInt32BE(at + 8) + 12) {
      const base = Number(bytes.readBigInt64BE(at))
      const producer = this.name(bytes.readBigInt64BE(at + 43))
      found.push(
        [
          base,
          base + bytes.readInt32BE(at + 23),
          producer,
          bytes.readInt16BE(at + 51),
          bytes.readInt32BE(at + 53),
          bytes.readInt16BE(at + 21),
        ].join(),
      )
    }
    return found
  }

  async offsets(timestamp: number, over: Partial<Ask<'list-offsets'>> = {}): Promise<void> {
    const where = { topic: this.topic, partition: 0, leaderEpoch: -1, isolation: 'read_committed' } as const
    const { error, offset, timestamp: time, leaderEpoch } = await this.ask('list-offsets', { ...where, timestamp, ...over })
    this.note(`offsets ${timestamp}`, error, offset, time, leaderEpoch)
  }
}

class Real extends Side {
  readonly tx = `model-${randomUUID()}`
  readonly topic = this.tx
  topicId = ''

  async begin(): Promise<this> {
    const wanted = { name: this.topic, partitions: 1, replicationFactor: 1, configs: { 'max.message.bytes': `${maxMessageBytes}` } }
    const [created] = await createTopics(conns.w, { topics: [wanted], timeout: 10_000 })
    expect(created?.error).toBe('NONE')
    this.topicId = created!.topicId
    const about = {
      topicId: this.topicId,
      partition: 0,
      offset: 0,
      leaderEpoch: 0,
      lastFetchedEpoch: -1,
      maxWait: 0,
      minBytes: 1,
      maxBytes: 1,
    }
    while ((await fetch(conns.r, { ...about, isolation: 'read_committed' })).error !== 'NONE') await sleep(10)
    return this
  }

  override async ask<A extends Api>(api: A, request: Ask<A>): Promise<ClusterReplies[A]> {
    const calls = {
      produce,
      fetch,
      'list-offsets': listOffsets,
      'init-producer-id': initProducerId,
      'add-partitions': addPartitions,
      'end-txn': endTxn,
    } as unknown as Record<Api, (conn: Conn, request: unknown) => Promise<ClusterReplies[A]>>
    for (;;) {
      const reply = await calls[api](api === 'fetch' ? conns.r : conns.w, request)
      if (!reply.error.startsWith('COORDINATOR_')) return reply
      await sleep(10)
    }
  }

  override async pass(ms: number): Promise<void> {
    await sleep(ms)
  }

  override async rest(): Promise<void> {
    for (;;) {
      const [answer] = await describeTransactions(conns.w, { transactionalIds: [this.tx] })
      if (!answer?.state.startsWith('Prepare')) return
      await sleep(5)
    }
  }
}

class Modelled extends Side {
  readonly tx = 'tx'
  readonly topic = modelTopic
  readonly topicId = modelTopicId
  readonly #world: World

  constructor(transactionVersion: 1 | 2) {
    super()
    this.#world = new World({ transactionVersion, maxMessageBytes })
    this.#world.now = since
  }

  override ask<A extends Api>(api: A, request: Ask<A>): Promise<ClusterReplies[A]> {
    return Promise.resolve(this.#world.ask(api, request))
  }

  override async pass(ms: number): Promise<void> {
    this.#world.pass(ms)
  }

  override async rest(): Promise<void> {
    this.#world.pass(100)
  }
}

/** Runs the script on both. @returns what both answered */
async function compare(script: (side: Side) => Promise<void>): Promise<string> {
  const real = await new Real().begin()
  const model = new Modelled(conns.transactions)
  await Promise.all([script(real), script(model)])
  expect(model.lines).toEqual(real.lines)
  return real.lines.join('\n')
}

const next = (producer: BatchProducer, epoch = producer.epoch + 1): BatchProducer => ({ ...producer, epoch, sequence: 0 })
const plain = (producer: BatchProducer, sequence = 0): BatchProducer => ({ ...producer, sequence, transactional: false })
const nobody: BatchProducer = { producerId: -1n, epoch: -1, sequence: -1, transactional: false }

test('idempotence: the last five are known by their sequence, and nothing else', async () => {
  const said = await compare(async side => {
    const own = plain(await side.init({ transactionalId: null }))
    for (const sequence of [0, 1, 2, 3, 4, 5]) await side.produce([`v${sequence}`], { ...own, sequence })
    await side.produce(['v5'], { ...own, sequence: 5 })
    await side.produce(['other'], { ...own, sequence: 1 })
    await side.produce(['other'], { ...own, sequence: 0 })
    await side.produce(['gap'], { ...own, sequence: 8 })
    await side.produce(['a', 'b'], { ...own, sequence: 6 })
    await side.produce(['a'], { ...own, sequence: 6 })
    await side.produce(['a', 'b', 'c'], { ...own, sequence: 6 })
    await side.produce(['x'.repeat(maxMessageBytes)], { ...own, sequence: 8 })
    await side.produce(['c'], { ...own, sequence: 8 })
    // Ids that nobody knows begin anywhere, and epochs rise by themselves.
    const made = { ...own, producerId: 4_000_000_000n, epoch: 3 }
    await side.produce(['m'], { ...made, sequence: 77 })
    await side.produce(['m'], { ...made, sequence: 78 })
    await side.produce(['m'], { ...made, sequence: 80 })
    await side.produce(['m'], { ...made, epoch: 4, sequence: 1 })
    await side.produce(['m'], { ...made, epoch: 4, sequence: 0 })
    await side.produce(['m'], { ...made, epoch: 3, sequence: 79 })
    // Sequences wrap.
    const last = { ...own, producerId: 4_000_000_001n }
    await side.produce(['w', 'w'], { ...last, sequence: 2 ** 31 - 2 })
    await side.produce(['w', 'w', 'w'], { ...last, sequence: 0 })
    await side.produce(['w', 'w'], { ...last, sequence: 2 ** 31 - 2 })
    await side.produce(['n'], nobody)
    await side.produce(['n'], nobody)
    await side.fetch()
  })
  expect(said).toContain('OUT_OF_ORDER_SEQUENCE_NUMBER')
  expect(said).toContain('MESSAGE_TOO_LARGE')
})

test('plain batches under the epoch of a transactional id are fenced once the next one has written', async () => {
  const said = await compare(async side => {
    const old = plain(await side.init())
    await side.produce(['a'], old)
    await side.produce(['b'], plain(old, 1))
    const own = plain(await side.init())
    await side.produce(['zombie'], plain(old, 2))
    await side.produce(['out of turn'], plain(own, 1))
    await side.produce(['c'], own)
    await side.produce(['zombie'], plain(old, 3))
    await side.produce(['zombie'], plain(old, 2))
    await side.produce(['c again'], own)
    await side.fetch()
  })
  expect(said).toContain('INVALID_PRODUCER_EPOCH')
})

test('transactions of version 2: committed, aborted, and seen from anywhere', async () => {
  const said = await compare(async side => {
    let own = await side.init()
    await side.produce(['n'], nobody)
    for (const commit of [true, false, true, false, true]) {
      await side.produce(['t', 't'], own)
      await side.produce(['n'], nobody)
      await side.fetch({ offset: 4 })
      await side.produce(['t'], { ...own, sequence: 2 })
      await side.offsets(-1)
      await side.offsets(-1, { isolation: 'read_uncommitted' })
      await side.end(commit, own)
      own = next(own)
      await side.rest()
    }
    for (const isolation of ['read_committed', 'read_uncommitted'] as const) {
      for (let offset = 0; offset < 30; offset += 3) await side.fetch({ offset, isolation })
      for (const maxBytes of [1, 150, 200, 400]) await side.fetch({ offset: 8, isolation, maxBytes })
    }
    // Straight on: what is too early is kept until the markers are written.
    await side.produce(['quick'], own)
    await side.end(true, own)
    await side.produce(['quick'], next(own))
    await side.end(false, next(own))
    await side.rest()
    await side.fetch({ offset: 24 })
  })
  expect(said).toMatch(/\[p0@/)
})

test('transactions of version 1: partitions are added first, and the epoch stays', async () => {
  await compare(async side => {
    const own = await side.init()
    await side.produce(['early'], own, { version: 11 })
    await side.add(own)
    await side.add(own)
    await side.produce(['a'], own, { version: 11 })
    await side.produce(['b'], { ...own, sequence: 1 }, { version: 11 })
    await side.produce(['a again'], own, { version: 11 })
    await side.end(true, own, 4)
    await side.rest()
    await side.end(true, own, 4)
    await side.end(false, own, 4)
    await side.produce(['late'], { ...own, sequence: 2 }, { version: 11 })
    await side.add(own)
    await side.produce(['c'], { ...own, sequence: 2 }, { version: 11 })
    await side.end(false, own, 4)
    await side.rest()
    await side.end(true, own, 4)
    await side.end(false, own, 4)
    await side.fetch()
    await side.fetch({ isolation: 'read_uncommitted' })
    const second = await side.init()
    await side.add(own)
    await side.produce(['zombie'], { ...own, sequence: 3 }, { version: 11 })
    await side.end(false, own, 4)
    await side.add(second)
    await side.produce(['d'], second, { version: 11 })
    await side.init()
    await side.rest()
    await side.end(true, second, 4)
    await side.produce(['zombie'], { ...second, sequence: 1 }, { version: 11 })
    await side.init()
    await side.fetch({ offset: 5, isolation: 'read_uncommitted' })
  })
})

test('no plain batch goes into an open transaction, and none that is transactional outside of one', async () => {
  const said = await compare(async side => {
    const own = await side.init()
    await side.produce(['t'], own)
    await side.produce(['plain'], plain(own, 1))
    await side.produce(['t'], { ...own, sequence: 1 })
    await side.end(true, own)
    await side.rest()
    // Under the old epoch, which the marker has ended; then under the next one.
    await side.produce(['plain'], plain(own, 2))
    await side.produce(['plain'], plain(next(own)))
    await side.produce(['t'], { ...next(own), sequence: 1 })
    await side.end(true, next(own))
    await side.rest()
    await side.produce(['no id'], { ...own, producerId: 4_000_000_003n })
    await side.produce(['gap'], { ...next(own, own.epoch + 2), sequence: 5 })
    await side.produce(['old'], { ...own, sequence: 2 })
    await side.fetch()
  })
  expect(said).toContain('INVALID_TXN_STATE')
})

test('EndTxn: of nothing, again, and too late', async () => {
  const said = await compare(async side => {
    const own = await side.init()
    await side.end(true, own)
    await side.end(true, own, 4)
    await side.end(false, own, 4)
    await side.produce(['a'], own)
    await side.end(true, own)
    await side.rest()
    await side.end(true, own)
    await side.end(false, own)
    await side.end(true, next(own))
    await side.produce(['b'], next(own))
    await side.end(true, own)
    await side.end(false, next(own))
    await side.rest()
    await side.end(false, next(own))
    await side.end(true, next(own))
    // Of nothing, with version 2: an abort is taken.
    await side.end(false, next(own, own.epoch + 2))
    await side.rest()
    await side.end(false, next(own, own.epoch + 2))
    await side.end(false, next(own, own.epoch + 3))
    await side.rest()
    await side.end(true, next(own, own.epoch + 9))
    await side.end(true, { producerId: 4_000_000_004n, epoch: 0 })
    await side.fetch()
    await side.init()
    await side.end(false, next(own, own.epoch + 4))
  })
  expect(said).toContain('INVALID_TXN_STATE')
  expect(said).toContain('PRODUCER_FENCED')
})

test.each([4, 5] as const)('a take-over ends what is open, and its writer is a zombie (EndTxn version %i)', async version => {
  const said = await compare(async side => {
    const over = { version: version === 5 ? 12 : 11 } as const
    const zombie = await side.init()
    if (version === 4) await side.add(zombie)
    await side.produce(['open'], zombie, over)
    // The first answer is that a transaction is being ended.
    await side.init()
    await side.end(true, zombie, version)
    await side.rest()
    await side.end(true, zombie, version)
    await side.produce(['zombie'], { ...zombie, sequence: 1 }, over)
    await side.produce(['zombie'], plain(zombie, 1))
    const own = await side.init()
    await side.end(true, zombie, version)
    await side.init({ producerId: zombie.producerId, epoch: zombie.epoch })
    await side.produce(['zombie'], { ...zombie, sequence: 1 }, over)
    await side.produce(['zombie'], plain(zombie, 1))
    if (version === 4) await side.add(own)
    await side.produce(['own'], own, over)
    await side.end(true, own, version)
    await side.rest()
    await side.fetch()
    await side.fetch({ isolation: 'read_uncommitted' })
  })
  expect(said).toContain('CONCURRENT_TRANSACTIONS')
  expect(said).toContain('PRODUCER_FENCED')
})

test.each([4, 5] as const)(
  'the answer to EndTxn is lost: the retry hears of it, but not once a rival has taken over (version %i)',
  async version => {
    const said = await compare(async side => {
      const over = { version: version === 5 ? 12 : 11 } as const
      const first = await side.init()
      if (version === 4) await side.add(first)
      await side.produce(['committed'], first, over)
      await side.end(true, first, version)
      await side.rest()
      await side.end(true, first, version)
      await side.init()
      await side.end(true, first, version)
      await side.fetch()
    })
    expect(said).toContain('PRODUCER_FENCED')
    expect(said).toContain('0=committed')
  },
)

test('InitProducerId: as oneself, again, and as somebody else', async () => {
  await compare(async side => {
    const own = await side.init()
    await side.init({ producerId: own.producerId, epoch: own.epoch })
    await side.init({ producerId: own.producerId, epoch: own.epoch })
    await side.init({ producerId: own.producerId, epoch: own.epoch + 1 })
    await side.init({ producerId: own.producerId, epoch: own.epoch })
    await side.init({ producerId: own.producerId, epoch: own.epoch + 7 })
    await side.init({ producerId: 4_000_000_005n, epoch: 0 })
    await side.init()
    await side.init({ producerId: own.producerId, epoch: own.epoch + 2 })
    await side.init({ timeout: 1_000_000_000 })
    await side.init({ transactionalId: '' })
    const open = await side.init()
    await side.produce(['open'], open)
    await side.init({ producerId: open.producerId, epoch: open.epoch })
    const after = await side.polled({ producerId: open.producerId, epoch: open.epoch })
    await side.produce(['open'], after)
    await side.init({ producerId: open.producerId, epoch: open.epoch })
    await side.polled()
    await side.fetch({ isolation: 'read_uncommitted' })
  })
})

test('between the attempts of a rival a zombie may go on as itself; the next attempt wins', async () => {
  const said = await compare(async side => {
    const zombie = await side.init()
    await side.produce(['open'], zombie)
    await side.init()
    const again = await side.polled({ producerId: zombie.producerId, epoch: zombie.epoch })
    await side.produce(['again'], again)
    await side.init()
    await side.rest()
    await side.init()
    await side.init({ producerId: again.producerId, epoch: again.epoch })
    await side.end(true, again)
    await side.end(true, zombie)
    await side.produce(['late'], { ...again, sequence: 1 })
    await side.fetch()
  })
  expect(said).toContain('PRODUCER_FENCED')
})

test('a transaction that takes too long is aborted, and its writer fenced', async () => {
  const said = await compare(async side => {
    const own = await side.init({ timeout: 1_000 })
    await side.produce(['open'], own)
    await side.fetch()
    await side.pass(12_000)
    await side.rest()
    await side.fetch()
    await side.end(true, own)
    await side.produce(['zombie'], { ...own, sequence: 1 })
    await side.init({ producerId: own.producerId, epoch: own.epoch })
    await side.init()
    await side.fetch({ isolation: 'read_uncommitted' })
  })
  expect(said).toContain('INVALID_TXN_STATE')
})

test('reads: beyond the end, of another topic, by another leader, by time', async () => {
  const said = await compare(async side => {
    await side.fetch()
    await side.offsets(-1)
    await side.offsets(-2)
    for (const values of [['a'], ['b', 'c'], ['d']]) await side.produce(values, nobody)
    await side.fetch({ offset: 4 })
    await side.fetch({ offset: 4, maxWait: 50 })
    await side.fetch({ offset: 5 })
    await side.fetch({ offset: -5 })
    await side.fetch({ offset: 2, maxBytes: 1 })
    await side.fetch({ offset: 1, leaderEpoch: 0, lastFetchedEpoch: 0 })
    await side.fetch({ leaderEpoch: 7 })
    await side.fetch({ offset: 1, lastFetchedEpoch: 3 })
    await side.fetch({ offset: 9, leaderEpoch: 0, lastFetchedEpoch: 0 })
    await side.fetch({ topicId: '99999999-9999-4999-8999-999999999999' })
    await side.fetch({ partition: 4 })
    await side.produce(['x'], nobody, { version: 13, topicId: '99999999-9999-4999-8999-999999999999' })
    await side.produce(['x'], nobody, { version: 13 })
    await side.produce(['x'], nobody, { topic: 'no-such-topic' })
    await side.produce(['x'], nobody, { partition: 4 })
    await side.offsets(-1)
    await side.offsets(-2)
    await side.offsets(-1, { leaderEpoch: 7 })
    await side.offsets(-1, { partition: 4 })
    // Lines of the script are its clock.
    for (const time of [0, 3_000, 4_001, 5_001, 8_000, 20_000, 60_000]) await side.offsets(since + time)
  })
  expect(said).toContain('OFFSET_OUT_OF_RANGE')
  expect(said).toContain('UNKNOWN_LEADER_EPOCH')
})
