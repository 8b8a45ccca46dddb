/**
 * Commands on Kafka, answered after their record was read back, against ceilings written by hand on the same raw calls: group commit (one
 * batch in flight, one record a batch, read back on a second connection) with the same statements in SQLite, and transactions that begin
 * when the one before was read.
 */
import { hash, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { openReplica, type StrategyName } from '../src/index.ts'
import { decodeBatches, encodeBatch } from '../src/log/kafka/batch.ts'
import { endTxn, fetch, initProducerId, listOffsets, produce } from '../src/log/kafka/calls.ts'
import { KafkaClient } from '../src/log/kafka/client.ts'
import type { Fencing } from '../src/log/kafka/producer.ts'
import { kafkaSettings } from '../src/log/kafka/settings.ts'
import { newLog } from './broker.ts'
import { ENTER, IDS, INSERT, ledger, TABLES, UPSERT } from './embedded.ts'
import { closedLoop, inFolder, type Load, median, table } from './support.ts'

const ACCOUNTS = 10_000
const POINT_READ = 'SELECT cents FROM account WHERE id = ?'

type Call = (n: number) => Promise<unknown>

/** A topic of its own with one partition, and the connections that the raw work needs. */
export async function raw(url: string) {
  const { settings, topic: name } = kafkaSettings(url)
  const client = new KafkaClient(settings)
  const { topic } = await client.metadata(name)
  const { id: topicId, partitions } = topic!
  const versions = await client.versions()
  const node = partitions[0]!.leader
  const write = await client.connect(node, 'write')
  const read = await client.connect(node, 'read')
  const where = { topic: name, topicId, partition: 0 }
  const end = async () => must(await listOffsets(read, { ...where, leaderEpoch: -1, isolation: 'read_committed', timestamp: -1 })).offset
  return { client, versions, write, read, where, name, end }
}

type Raw = Awaited<ReturnType<typeof raw>>

const NONE = 'NONE'
function must<T extends { readonly error: string }>(answer: T): T {
  if (answer.error !== NONE) throw new Error(answer.error)
  return answer
}

/** What stands behind an offset, committed; waits a moment for it. */
export async function fetched({ read, where }: Raw, offset: number) {
  const about = { ...where, offset, leaderEpoch: -1, lastFetchedEpoch: -1, isolation: 'read_committed' as const }
  const { bytes, aborted } = must(await fetch(read, { ...about, maxWait: 200, minBytes: 1, maxBytes: 1 << 20 }))
  return decodeBatches(bytes, { from: offset, aborted, committed: true })
}

/** Tells when an offset was read back. */
function follow(kafka: Raw) {
  const seen = new Map<number, () => void>()
  let reached = -1
  let over = false
  const following = (async () => {
    for (let offset = 0; !over; ) {
      const { records, next } = await fetched(kafka, offset)
      offset = next
      for (const record of records) {
        reached = record.offset
        seen.get(reached)?.()
        seen.delete(reached)
      }
    }
  })()
  const untilSeen = (offset: number) => (reached >= offset ? Promise.resolve() : new Promise<void>(done => seen.set(offset, done)))
  const stop = () => {
    over = true
    return following
  }
  return { untilSeen, stop }
}

/** Writes one record a batch, acknowledged by all replicas in sync, and tells its offset. `transactional`: each in a transaction, committed. */
async function writer({ client, versions, write, where, name }: Raw, transactional: boolean) {
  const transactionalId = transactional ? `bench.${name}` : null
  const coordinator = transactional ? await client.connect(await client.coordinator(transactionalId!), 'end') : undefined
  let me = { error: 'CONCURRENT_TRANSACTIONS', producerId: -1n, epoch: -1 }
  while (me.error !== NONE)
    me = await initProducerId(coordinator ?? write, { transactionalId, timeout: 10_000, producerId: -1n, epoch: -1 })
  let { producerId, epoch } = me
  let sequence = 0
  return async (value: string): Promise<number> => {
    const record = { key: 'default', value, time: Date.now() }
    const bytes = encodeBatch([record], { producerId, epoch, sequence, transactional })
    const version = transactional ? versions.produceInTransaction : versions.produce
    const about = { ...where, batch: bytes, transactionalId, timeout: 5_000, version }
    let answer = await produce(write, about)
    // The markers of the one before are still on their way.
    while (answer.error === 'CONCURRENT_TRANSACTIONS') answer = await produce(write, about)
    const { offset } = must(answer)
    if (transactional) {
      const end = { version: versions.endTxn, transactionalId: transactionalId!, producerId, epoch, commit: true }
      const ended = must(await endTxn(coordinator!, end))
      producerId = ended.producerId
      epoch = ended.epoch
      sequence = 0
    } else sequence++
    return offset
  }
}

/** What one command takes without any database: its record is written and read back. */
async function roundTrip(url: string, run: (call: Call) => Promise<Load>, transactional: boolean): Promise<Load> {
  const kafka = await raw(url)
  const write = await writer(kafka, transactional)
  const { untilSeen, stop } = follow(kafka)
  const value = JSON.stringify([{ id: randomUUID(), type: 'Paid', data: { account: 1, cents: 1 } }])
  const load = await run(async () => untilSeen(await write(value)))
  await stop()
  kafka.client.close()
  return load
}

/** Group commit by hand. `transactional`: each batch in a transaction, the next one when it was read. */
async function ceiling(url: string, folder: string, run: (call: Call) => Promise<Load>, transactional: boolean): Promise<Load> {
  const kafka = await raw(url)
  const { client } = kafka
  const write = await writer(kafka, transactional)
  const db = new DatabaseSync(join(folder, 'ceiling.db'))
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000; ${TABLES}
    ${IDS}`)
  const point = db.prepare(POINT_READ)
  const insert = db.prepare(INSERT)
  const upsert = db.prepare(UPSERT)
  const enter = db.prepare(ENTER)
  let version = 0
  let counter = 0
  const prefix = randomUUID().slice(0, 24)

  const { untilSeen, stop } = follow(kafka)
  let queue: { account: number; cents: number; id: string; done: (version: number) => void }[] = []
  let flying = false
  const flush = async () => {
    flying = true
    while (queue.length > 0) {
      const batch = queue
      queue = []
      db.exec('BEGIN')
      const decisions = batch.map(({ account, cents, id }) => {
        point.get(account)
        version++
        insert.run(version, account, cents)
        upsert.run(account, cents)
        enter.run(id, hash('sha256', JSON.stringify({ account, cents }), 'base64url'), version, 1)
        return { id, type: 'Paid', data: { account, cents } }
      })
      const offset = await write(JSON.stringify(decisions))
      await untilSeen(offset)
      db.exec('COMMIT')
      for (const [index, { done }] of batch.entries()) done(version - batch.length + index + 1)
      // Their next commands make one batch.
      await new Promise(resolve => setImmediate(resolve))
    }
    flying = false
  }
  const call: Call = n =>
    new Promise(done => {
      queue.push({ account: (n * 7_919) % ACCOUNTS, cents: 1, id: prefix + String(counter++).padStart(12, '0'), done })
      if (!flying) {
        flying = true
        setImmediate(() => void flush())
      }
    })
  const load = await run(call)
  await stop()
  client.close()
  db.close()
  return load
}

async function mainstem(url: string, folder: string, way: Way, run: (call: Call) => Promise<Load>): Promise<Load> {
  await using replica = await openReplica(ledger, { log: url, data: join(folder, 'data'), ...way })
  // Whoever leads was elected before the clock runs.
  await replica.execute('pay', { account: 1, cents: 1 })
  return await run(n => replica.execute('pay', { account: (n * 7_919) % ACCOUNTS, cents: 1 }))
}

export interface Way {
  readonly strategy: StrategyName
  readonly fencing?: Fencing
}

export const ways: readonly Way[] = [
  { strategy: 'first-wins' },
  { strategy: 'leader', fencing: 'epoch' },
  { strategy: 'leader', fencing: 'transactions' },
  { strategy: 'optimistic' },
]
const transactional = ({ strategy, fencing }: Way): boolean => strategy === 'optimistic' || fencing === 'transactions'
export const nameOf = ({ strategy, fencing }: Way): string => (fencing ? `${strategy}/${fencing}` : strategy)

interface Measured {
  bare: Load
  ours: Load
  /** For one client alone. */
  trip: Load | undefined
}

/** @param bootstrap 'host:port' of a cluster */
export async function kafka(bootstrap: string, { rounds = 5, duration = 1_500 } = {}): Promise<void> {
  const rows = []
  const latencies = []
  for (const way of ways) {
    for (const clients of [1, 64, 256]) {
      const measure = async (milliseconds: number, turn: number): Promise<Measured> => {
        const run = (call: Call) => closedLoop(clients, milliseconds, call)
        const log = () => newLog(bootstrap, 'ledger')
        const loads: Partial<Measured> = {}
        const works = [
          async () => (loads.bare = await inFolder(async folder => ceiling(await log(), folder, run, transactional(way)))),
          async () => (loads.ours = await inFolder(async folder => mainstem(await log(), folder, way, run))),
          async () => (loads.trip = clients === 1 ? await roundTrip(await log(), run, transactional(way)) : undefined),
        ]
        // Nobody is always the first, or the one behind the other.
        for (let n = 0; n < works.length; n++) await works[(n + turn) % works.length]!()
        return loads as Measured
      }
      // The first one pays for compilers and caches.
      await measure(Math.min(duration, 500), 0)
      const all: Measured[] = []
      for (let round = 0; round < rounds; round++) all.push(await measure(duration, round))
      const mid = (of: (round: Measured) => number) => median(all.map(of))
      rows.push({
        strategy: nameOf(way),
        clients,
        'ceiling /s': mid(({ bare }) => bare.perSecond),
        'mainstem /s': mid(({ ours }) => ours.perSecond),
        ratio: mid(({ bare, ours }) => ours.perSecond / bare.perSecond),
        'ceiling p50 ms': mid(({ bare }) => bare.p50),
        'p50 ms': mid(({ ours }) => ours.p50),
        'p50 ratio': mid(({ bare, ours }) => ours.p50 / bare.p50),
        'p99 ms': mid(({ ours }) => ours.p99),
      })
      if (clients === 1)
        latencies.push({
          strategy: nameOf(way),
          'written and read back, p50 ms': mid(({ trip }) => trip!.p50),
          'mainstem p50 ms': mid(({ ours }) => ours.p50),
          ratio: mid(({ trip, ours }) => ours.p50 / trip!.p50),
        })
    }
  }
  process.stdout.write(`${table(rows)}\n\none client, against its record alone, without any database:\n${table(latencies)}\n`)
}
