/** The calls against a real broker: what they ask for is understood, and what comes back is. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { type BatchProducer, decodeBatches, encodeBatch, type InRecord, type OutRecord, survey } from '../../src/log/kafka/batch.ts'
import {
  addPartitions,
  createTopics,
  deleteTopics,
  describeAcls,
  describeCluster,
  describeConfigs,
  describeProducers,
  describeTransactions,
  endTxn,
  fetch,
  type FetchArgs,
  initProducerId,
  listOffsets,
  listTransactions,
  type NewTopic,
  produce,
  type ProduceArgs,
  type ProducerAnswer,
} from '../../src/log/kafka/calls.ts'
import { type Conn, Disconnected, KafkaClient, type Metadata, type Versions } from '../../src/log/kafka/client.ts'
import type { Code } from '../../src/log/kafka/codes.ts'
import { kafkaSettings } from '../../src/log/kafka/settings.ts'

const { settings } = kafkaSettings('kafka:any', { ...process.env, KAFKA_BROKERS: inject('kafka') })
const client = new KafkaClient(settings)
const tag = Date.now().toString(36)
const timeout = 10_000

let cluster: Metadata
let versions: Versions
let admin: Conn

beforeAll(async () => {
  cluster = await client.metadata()
  versions = await client.versions()
  admin = await client.connect(cluster.brokers[0]?.id ?? -1, 'administration')
})
afterAll(() => client.close())

/** A topic of one partition, and connections to its leader. */
interface Place {
  readonly topic: string
  readonly topicId: string
  readonly leader: number
  readonly leaderEpoch: number
  readonly w: Conn
  readonly r: Conn
}

let topics = 0

async function newTopic(over: Partial<NewTopic> = {}): Promise<Place> {
  const name = over.name ?? `wire-${tag}-${topics++}`
  const wanted = { name, partitions: 1, replicationFactor: 1, configs: { 'retention.ms': '-1' }, ...over }
  const [created] = await createTopics(admin, { topics: [wanted], timeout })
  expect(created).toMatchObject({ error: 'NONE', name })
  for (;;) {
    const { topic } = await client.metadata(name)
    const partition = topic?.partitions[0]
    if (topic !== undefined && topic.id === created?.topicId && partition !== undefined && partition.leader >= 0) {
      const [w, r] = await Promise.all([client.connect(partition.leader, 'produce'), client.connect(partition.leader, 'fetch')])
      const place = { topic: name, topicId: topic.id, leader: partition.leader, leaderEpoch: partition.leaderEpoch, w, r }
      // A broker tells of a partition a moment before it takes it up: UNKNOWN_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER.
      while ((await get(place, 0)).error !== 'NONE') await sleep(10)
      return place
    }
    await sleep(10)
  }
}

const passing: readonly Code[] = ['COORDINATOR_LOAD_IN_PROGRESS', 'COORDINATOR_NOT_AVAILABLE', 'NOT_COORDINATOR', 'CONCURRENT_TRANSACTIONS']

/** Asks until the coordinator is ready. */
async function settled<Answer extends { readonly error: Code }>(ask: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await ask()
    if (!passing.includes(answer.error)) return answer
    await sleep(3)
  }
}

async function plainProducer(conn: Conn): Promise<BatchProducer> {
  const { producerId, epoch } = await settled(() => initProducerId(conn, { transactionalId: null, timeout, producerId: -1n, epoch: -1 }))
  return { producerId, epoch, sequence: 0, transactional: false }
}

const record = (value: string | Buffer, time = 1_700_000_000_000): OutRecord => ({ key: 'k', value, time })

function send({ w, topic, topicId }: Place, batch: Buffer, over: Partial<ProduceArgs> = {}) {
  return produce(w, { version: versions.produce, topic, topicId, partition: 0, batch, transactionalId: null, timeout, ...over })
}

function get({ r, topicId, leaderEpoch }: Place, offset: number, over: Partial<FetchArgs> = {}) {
  const isolation = 'read_committed'
  return fetch(r, {
    topicId,
    partition: 0,
    offset,
    leaderEpoch,
    lastFetchedEpoch: -1,
    isolation,
    maxWait: 0,
    minBytes: 1,
    maxBytes: 1 << 20,
    ...over,
  })
}

/** Everything from an offset on that can be read now. */
async function readAll(place: Place, from = 0, over: Partial<FetchArgs> = {}): Promise<InRecord[]> {
  const records: InRecord[] = []
  for (;;) {
    const { error, bytes, aborted } = await get(place, from, over)
    expect(error).toBe('NONE')
    const decoded = decodeBatches(bytes, { from, aborted, committed: over.isolation !== 'read_uncommitted' })
    expect(decoded).not.toHaveProperty('damaged')
    expect(decoded).not.toHaveProperty('hole')
    if (decoded.next === from) return records
    records.push(...decoded.records)
    from = decoded.next
  }
}

const values = (records: readonly InRecord[]) => records.map(({ value }) => value)

describe('the cluster', () => {
  test('says what it is', async () => {
    const answer = await describeCluster(admin)
    expect(answer).toMatchObject({
      error: 'NONE',
      clusterId: cluster.clusterId,
      brokers: expect.arrayContaining([...cluster.brokers]) as unknown,
    })
    expect(answer.operations).toContain('IDEMPOTENT_WRITE')
    expect(versions.features.get('metadata.version')).toBeGreaterThan(20)
    expect([versions.transactions, versions.endTxn]).toEqual(versions.transactions === 2 ? [2, 5] : [1, 4])
    expect(await client.versions(cluster.brokers[0]?.id)).toEqual(versions)
  })

  test('knows nothing of a topic that is not there, and makes none', async () => {
    for (let i = 0; i < 2; i++) {
      const { topic } = await client.metadata(`wire-${tag}-none`, { operations: true })
      expect(topic).toMatchObject({ error: 'UNKNOWN_TOPIC_OR_PARTITION', partitions: [] })
    }
    await expect(client.connect(4711, 'x')).rejects.toMatchObject({ sent: false, message: expect.stringContaining('4711') as string })
  })

  test('tells of access', async () => {
    const place = await newTopic()
    const answer = await describeAcls(admin, { type: 'topic', name: place.topic })
    expect(['NONE', 'SECURITY_DISABLED']).toContain(answer.error)
    const { topic } = await client.metadata(place.topic, { operations: true })
    expect(topic?.operations).toEqual(expect.arrayContaining(['READ', 'WRITE', 'DESCRIBE', 'DESCRIBE_CONFIGS']))
  })
})

describe('topics', () => {
  test('are made with settings, which can be read', async () => {
    const { topic, leader } = await newTopic({ configs: { 'cleanup.policy': 'delete', 'retention.ms': '-1', 'min.insync.replicas': '1' } })
    const resources = [{ type: 'topic', name: topic }] as const
    const [all] = await describeConfigs(admin, { resources })
    expect(all).toMatchObject({ error: 'NONE', message: null, name: topic })
    expect(all?.configs.get('retention.ms')).toEqual({ value: '-1', source: 'topic' })
    expect(all?.configs.get('max.message.bytes')).toMatchObject({ value: '1048588', source: 'default' })
    const [some] = await describeConfigs(admin, { resources, keys: ['cleanup.policy'] })
    expect([...(some?.configs ?? [])]).toEqual([['cleanup.policy', { value: 'delete', source: 'topic' }]])
    const conn = await client.connect(leader, 'settings')
    const [broker] = await describeConfigs(conn, {
      resources: [{ type: 'broker', name: `${leader}` }],
      keys: ['message.max.bytes', 'node.id'],
    })
    expect(broker?.configs.get('message.max.bytes')?.value).toBe('1048588')
    conn.close()
  })

  test('are made on the brokers that are named', async () => {
    const { topic, leader } = await newTopic({ assignments: [[cluster.brokers.at(-1)?.id ?? -1]] })
    expect(leader).toBe(cluster.brokers.at(-1)?.id)
    expect((await client.metadata(topic)).topic?.partitions).toMatchObject([{ replicas: [leader], isr: [leader] }])
  })

  test('are refused for a reason', async () => {
    const { topic } = await newTopic()
    const asked = [
      { name: topic, partitions: 1, replicationFactor: 1 },
      { name: `wire-${tag}-odd`, partitions: 1, replicationFactor: 1, configs: { 'no.such.setting': '1' } },
      { name: `wire-${tag}-wide`, partitions: 1, replicationFactor: 99 },
    ]
    const answers = await createTopics(admin, { topics: asked, timeout, validateOnly: true })
    expect(answers).toMatchObject([
      { error: 'TOPIC_ALREADY_EXISTS', message: expect.stringContaining(topic) as string },
      { error: 'INVALID_CONFIG', message: expect.stringContaining('no.such.setting') as string },
      { error: 'INVALID_REPLICATION_FACTOR' },
    ])
  })

  test('that were made anew are not taken for the old ones', async () => {
    const old = await newTopic()
    const producer = await plainProducer(old.w)
    await send(old, encodeBatch([record('old')], producer))
    expect(await deleteTopics(admin, { topics: [{ topicId: old.topicId }], timeout })).toMatchObject([{ error: 'NONE' }])
    for (let error: Code = 'NONE'; error === 'NONE'; ) error = (await get(old, 0)).error
    const made = await settledTopic(old.topic)
    expect(made.topicId).not.toBe(old.topicId)
    const batch = encodeBatch([record('new')], { ...producer, sequence: 1 })
    expect(await get({ ...made, topicId: old.topicId }, 0)).toMatchObject({ error: 'UNKNOWN_TOPIC_ID', bytes: Buffer.alloc(0) })
    if (versions.produce === 13) {
      expect(await send({ ...made, topicId: old.topicId }, batch)).toMatchObject({ error: 'UNKNOWN_TOPIC_ID', offset: -1 })
    }
    // By name nothing is noticed.
    expect(await send({ ...made, topicId: old.topicId }, batch, { version: 11 })).toMatchObject({ error: 'NONE', offset: 0 })
    const [gone] = await deleteTopics(admin, { topics: [{ topicId: old.topicId }], timeout })
    expect(gone?.error).toBe('UNKNOWN_TOPIC_ID')
    expect(await deleteTopics(admin, { topics: [{ name: made.topic }], timeout })).toMatchObject([{ error: 'NONE', name: made.topic }])
  })

  /** Deleting takes a while, in which the name is still taken. */
  async function settledTopic(name: string): Promise<Place> {
    for (;;) {
      const { topic } = await client.metadata(name)
      if (topic?.error === 'UNKNOWN_TOPIC_OR_PARTITION') return newTopic({ name })
      await sleep(10)
    }
  }
})

describe('records', () => {
  test('come back as they were written, by every version of Produce', async () => {
    const place = await newTopic()
    const producer = await plainProducer(place.w)
    const written: OutRecord[] = [
      { key: 'tenant', value: '{"ä":"\u{1F600}"}', headers: [['a', 'ö']], time: 1_700_000_000_123 },
      { key: null, value: Buffer.from([0, 0xff]), time: 1_700_000_000_000 },
      { key: '', value: '', time: 0 },
    ]
    let sequence = 0
    for (let version: 11 | 12 | 13 = 11; version <= versions.produce; version++) {
      const batch = encodeBatch(written, { ...producer, sequence })
      expect(await send(place, batch, { version: version as 11 })).toEqual({ error: 'NONE', message: null, offset: sequence })
      sequence += written.length
    }
    const records = await readAll(place)
    expect(records).toHaveLength(sequence)
    expect(records.slice(0, 3)).toEqual(
      written.map(({ key, value, headers = [], time }, offset) => ({ offset, key, value, headers, time })),
    )
    expect(await readAll(place, 2)).toEqual(records.slice(2))
  })

  test('that are large come whole, whatever the fetch asks for', async () => {
    const place = await newTopic()
    const producer = await plainProducer(place.w)
    const value = 'x'.repeat(900 * 1024)
    for (let sequence = 0; sequence < 3; sequence++) await send(place, encodeBatch([record(value)], { ...producer, sequence }))
    expect(values(await readAll(place, 0, { maxBytes: 100 }))).toEqual([value, value, value])
    const answer = await get(place, 1, { maxBytes: 1 << 20 })
    expect(decodeBatches(answer.bytes, { from: 1, aborted: [], committed: true })).toMatchObject({ next: 2, epoch: place.leaderEpoch })
    expect(await send(place, encodeBatch([record('x'.repeat(1 << 20))], { ...producer, sequence: 3 }))).toMatchObject({
      error: 'MESSAGE_TOO_LARGE',
      offset: -1,
    })
  })

  test('are written once, however often they are sent', async () => {
    const place = await newTopic()
    const producer = await plainProducer(place.w)
    const [first, second, fourth] = [0, 1, 3].map(sequence => encodeBatch([record(`${sequence}`)], { ...producer, sequence }))
    const answers = [first, second, first, fourth, second].map(batch => send(place, batch as Buffer))
    expect(await Promise.all(answers)).toMatchObject([
      { offset: 0 },
      { offset: 1 },
      { offset: 0 },
      { error: 'OUT_OF_ORDER_SEQUENCE_NUMBER', offset: -1 },
      { offset: 1 },
    ])
    expect(values(await readAll(place))).toEqual(['0', '1'])
    expect(await describeProducers(place.r, { topic: place.topic, partition: 0 })).toMatchObject({
      error: 'NONE',
      producers: [{ producerId: producer.producerId, epoch: producer.epoch, lastSequence: 1, lastTime: 1_700_000_000_000, openFrom: -1 }],
    })
  })

  test('that suffered on their way are refused', async () => {
    const place = await newTopic()
    const batch = encodeBatch([record('x')], await plainProducer(place.w))
    batch[batch.length - 2] = 0x79
    expect((await send(place, batch)).error).toMatch(/^(CORRUPT_MESSAGE|INVALID_RECORD)$/)
    expect(await readAll(place)).toEqual([])
  })

  test.each(['gzip', 'snappy', 'lz4', 'zstd'])('that the broker compresses with %s are read', async codec => {
    const place = await newTopic({ configs: { 'compression.type': codec, 'retention.ms': '-1' } })
    const producer = await plainProducer(place.w)
    const large = JSON.stringify(Array.from({ length: 20_000 }, (_, i) => ({ i, text: `entry ${i * 7919}` })))
    const batches = [[record('small')], [record(large), record('a'), record('b')]]
    await send(place, encodeBatch(batches[0] ?? [], producer))
    await send(place, encodeBatch(batches[1] ?? [], { ...producer, sequence: 1 }))
    const { bytes } = await get(place, 0)
    expect((bytes[22] ?? 0) & 7).toBeGreaterThan(0)
    expect(values(await readAll(place))).toEqual(['small', large, 'a', 'b'])
  })

  test('end a long poll', async () => {
    const place = await newTopic()
    const batch = encodeBatch([record('x')], await plainProducer(place.w))
    const from = performance.now()
    const polled = get(place, 0, { maxWait: 5_000 })
    await sleep(50)
    await send(place, batch)
    expect(await polled).toMatchObject({ error: 'NONE', highWatermark: 1 })
    expect((await polled).bytes.length).toBe(batch.length)
    expect(performance.now() - from).toBeLessThan(3_000)
    expect((await get(place, 1, { maxWait: 20 })).bytes.length).toBe(0)
  })

  test('are asked for in another reign, or where there are none', async () => {
    const place = await newTopic()
    await send(place, encodeBatch([record('x')], await plainProducer(place.w)))
    expect(await get({ ...place, leaderEpoch: place.leaderEpoch + 1 }, 0)).toMatchObject({ error: 'UNKNOWN_LEADER_EPOCH' })
    expect(await get(place, 2)).toMatchObject({ error: 'OFFSET_OUT_OF_RANGE', bytes: Buffer.alloc(0) })
    const other = await fetch(place.r, {
      topicId: place.topicId,
      partition: 7,
      offset: 0,
      leaderEpoch: -1,
      lastFetchedEpoch: -1,
      isolation: 'read_committed',
      maxWait: 0,
      minBytes: 1,
      maxBytes: 1000,
    })
    expect(other.error).toBe('UNKNOWN_TOPIC_OR_PARTITION')
  })

  test('have offsets that can be listed', async () => {
    const place = await newTopic()
    await send(place, encodeBatch([record('a', 1000), record('b', 3000)], await plainProducer(place.w)))
    const list = (timestamp: number) =>
      listOffsets(place.r, { topic: place.topic, partition: 0, leaderEpoch: place.leaderEpoch, isolation: 'read_committed', timestamp })
    expect(await list(-2)).toMatchObject({ error: 'NONE', offset: 0 })
    expect(await list(-1)).toMatchObject({ error: 'NONE', offset: 2, leaderEpoch: place.leaderEpoch })
    expect(await list(2000)).toMatchObject({ offset: 1, timestamp: 3000 })
    expect(await list(4000)).toMatchObject({ error: 'NONE', offset: -1 })
  })
})

/** One producer of transactions, by version 1 or 2 of the protocol. */
class Transactions {
  readonly id: string
  readonly place: Place
  readonly version: 1 | 2
  readonly coordinator: Conn
  me: ProducerAnswer = { error: 'NONE', producerId: -1n, epoch: -1 }
  #sequence = 0
  #added = false

  private constructor(id: string, place: Place, version: 1 | 2, coordinator: Conn) {
    this.id = id
    this.place = place
    this.version = version
    this.coordinator = coordinator
  }

  static async begin(id: string, place: Place, version: 1 | 2): Promise<Transactions> {
    for (;;) {
      const coordinator = await client.connect(await client.coordinator(id), 'transactions')
      const self = new Transactions(id, place, version, coordinator)
      self.me = await initProducerId(coordinator, { transactionalId: id, timeout, producerId: -1n, epoch: -1 })
      if (self.me.error === 'NONE') return self
      coordinator.close()
      expect(passing).toContain(self.me.error)
      await sleep(5)
    }
  }

  async write(...records: string[]) {
    const { id: transactionalId, place, version, coordinator, me } = this
    if (version === 1 && !this.#added) {
      const add = () => addPartitions(coordinator, { transactionalId, ...me, topic: place.topic, partitions: [0] })
      const { error } = await settled(add)
      if (error !== 'NONE') return { error, offset: -1 }
      this.#added = true
    }
    const batch = encodeBatch(
      records.map(value => record(value)),
      { ...me, sequence: this.#sequence, transactional: true },
    )
    // Where the coordinator still finishes the transaction before.
    const answer = await settled(() => send(place, batch, { transactionalId, version: version === 2 ? versions.produceInTransaction : 11 }))
    if (answer.error === 'NONE') this.#sequence += records.length
    return answer
  }

  async end(commit: boolean): Promise<Code> {
    const answer = await settled(() =>
      endTxn(this.coordinator, { version: this.version === 2 ? 5 : 4, transactionalId: this.id, ...this.me, commit }),
    )
    if (answer.error === 'NONE') {
      this.me = answer
      this.#added = false
      if (this.version === 2) this.#sequence = 0
    }
    return answer.error
  }
}

/** An own record is seen a little after its transaction ended. */
async function until(place: Place, offset: number): Promise<void> {
  for (;;) if ((await get(place, 0, { maxWait: 100 })).lastStable > offset) return
}

describe.each([1, 2] as const)('transactions of version %i', version => {
  test('are seen when they are committed, never when they are aborted', async () => {
    expect(versions.transactions).toBeGreaterThanOrEqual(version)
    const place = await newTopic()
    const t = await Transactions.begin(`wire-${tag}-${version}-a`, place, version)
    const { epoch } = t.me
    expect(await t.write('a', 'b')).toMatchObject({ error: 'NONE', offset: 0 })
    // While it is open.
    expect(await readAll(place)).toEqual([])
    expect(values(await readAll(place, 0, { isolation: 'read_uncommitted' }))).toEqual(['a', 'b'])
    expect(await get(place, 0)).toMatchObject({ highWatermark: 2, lastStable: 0 })
    const listed = await describeTransactions(t.coordinator, { transactionalIds: [t.id, 'none'] })
    expect(listed).toMatchObject([
      {
        error: 'NONE',
        transactionalId: t.id,
        state: 'Ongoing',
        timeout,
        producerId: t.me.producerId,
        partitions: [{ topic: place.topic, partitions: [0] }],
      },
      { error: 'TRANSACTIONAL_ID_NOT_FOUND' },
    ])
    const { transactions } = await listTransactions(t.coordinator, { states: ['Ongoing'] })
    expect(transactions).toContainEqual({ transactionalId: t.id, producerId: t.me.producerId, state: 'Ongoing' })
    expect(await describeProducers(place.r, { topic: place.topic, partition: 0 })).toMatchObject({ producers: [{ openFrom: 0 }] })

    expect(await t.end(true)).toBe('NONE')
    expect(t.me.epoch).toBe(version === 2 ? epoch + 1 : epoch)
    await until(place, 1)
    expect(values(await readAll(place))).toEqual(['a', 'b'])

    expect(await t.write('c', 'd')).toMatchObject({ error: 'NONE', offset: 3 })
    expect(await t.write('e')).toMatchObject({ error: 'NONE', offset: 5 })
    expect(await t.end(false)).toBe('NONE')
    expect(await t.write('f')).toMatchObject({ error: 'NONE', offset: 7 })
    expect(await t.end(true)).toBe('NONE')
    await until(place, 7)
    expect(values(await readAll(place))).toEqual(['a', 'b', 'f'])
    expect(values(await readAll(place, 0, { isolation: 'read_uncommitted' }))).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
    // From the middle, and in small answers.
    for (let from = 0; from < 9; from++) {
      const wanted = 'ab_cde_f'
        .split('')
        .slice(from)
        .filter(value => 'abf'.includes(value))
      expect(values(await readAll(place, from, { maxBytes: 1 }))).toEqual(wanted)
      expect(values(await readAll(place, from))).toEqual(wanted)
    }
    const { bytes, aborted } = await get(place, 2)
    expect(aborted).toEqual([{ producerId: t.me.producerId, firstOffset: 3 }])
    expect(survey(bytes, { from: 2, to: 7, aborted })).toMatchObject({ covered: true, records: [] })
    expect(survey(bytes, { from: 2, to: 8, aborted })).toMatchObject({ covered: true, records: [{ value: 'f' }] })
    expect(survey(bytes, { from: 2, to: 99, aborted })).toMatchObject({ covered: false, next: 9 })
  })

  test('are ended and fenced by a rival', async () => {
    const place = await newTopic()
    const id = `wire-${tag}-${version}-b`
    const zombie = await Transactions.begin(id, place, version)
    expect(await zombie.write('lost')).toMatchObject({ error: 'NONE' })
    const rival = await Transactions.begin(id, place, version)
    expect(rival.me.epoch).toBeGreaterThan(zombie.me.epoch)
    expect((await zombie.write('late')).error).toMatch(/^(INVALID_PRODUCER_EPOCH|PRODUCER_FENCED)$/)
    expect(await zombie.end(true)).toMatch(/^(INVALID_PRODUCER_EPOCH|PRODUCER_FENCED)$/)
    const { offset } = await rival.write('won')
    expect(await rival.end(true)).toBe('NONE')
    await until(place, offset)
    expect(values(await readAll(place))).toEqual(['won'])
    // Nothing was written.
    expect(await rival.end(true)).toMatch(/^(INVALID_TXN_STATE|NONE)$/)
  })
})

describe('connections', () => {
  test('end with the client, and whatever waits on them', async () => {
    const other = new KafkaClient(settings)
    const place = await newTopic()
    const conn = await other.connect(place.leader, 'a long poll')
    const polled = get({ ...place, r: conn }, 0, { maxWait: 20_000 })
    const [failed] = await Promise.allSettled([polled, sleep(50).then(() => other.close())])
    expect(failed).toMatchObject({ status: 'rejected', reason: { sent: true } })
    expect(conn.closed).toBe(true)
    await expect(other.metadata()).rejects.toBeInstanceOf(Disconnected)
  })

  test('carry many requests at once, answered in order', async () => {
    const place = await newTopic()
    const producer = await plainProducer(place.w)
    const batches = Array.from({ length: 50 }, (_, sequence) => encodeBatch([record(`${sequence}`)], { ...producer, sequence }))
    const answers = await Promise.all(batches.map(batch => send(place, batch)))
    expect(answers.map(({ offset }) => offset)).toEqual(batches.map((_, i) => i))
    expect(values(await readAll(place, 0, { maxBytes: 1000 }))).toEqual(batches.map((_, i) => `${i}`))
  })
})
