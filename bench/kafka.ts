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
import { endTxn, fetch, initProducerId, produce } from '../src/log/kafka/calls.ts'
import { KafkaClient } from '../src/log/kafka/client.ts'
import { createLog } from '../src/log/kafka/create.ts'
import type { Fencing } from '../src/log/kafka/settings.ts'
import { kafkaSettings } from '../src/log/kafka/settings.ts'
import { ENTER, IDS, INSERT, ledger, TABLES, UPSERT } from './embedded.ts'
import { closedLoop, inFolder, type Load, median, table } from './support.ts'

const ACCOUNTS = 10_000
const POINT_READ = 'SELECT cents FROM account WHERE id = ?'

type Call = (n: number) => Promise<unknown>

/** A topic of its own with one partition, and the connections that the raw work needs. */
async function raw(url: string) {
  const { settings, topic: name } = kafkaSettings(url)
  const client = new KafkaClient(settings)
  const { topic } = await client.metadata(name)
  const { id: topicId, partitions } = topic!
  const versions = await client.versions()
  const node = partitions[0]!.leader
  const write = await client.connect(node, 'write')
  const read = await client.connect(node, 'read')
  const where = { topic: name, topicId, partition: 0 }
  return { client, versions, write, read, where, name }
}

const NONE = 'NONE'
function must<T extends { readonly error: string }>(answer: T): T {
  if (answer.error !== NONE) throw new Error(answer.error)
  return answer
}

/** Offsets as they are read back, committed. */
async function* readBack({ read, where }: Awaited<ReturnType<typeof raw>>, ended: () => boolean): AsyncGenerator<number> {
  for (let offset = 0; !ended(); ) {
    const about = { ...where, offset, leaderEpoch: -1, lastFetchedEpoch: -1, isolation: 'read_committed' as const }
    const { bytes, aborted } = must(await fetch(read, { ...about, maxWait: 200, minBytes: 1, maxBytes: 1 << 20 }))
    const { records, next } = decodeBatches(bytes, { from: offset, aborted, committed: true })
    offset = next
    for (const record of records) yield record.offset
  }
}

/** Group commit by hand. `transactional`: each batch in a transaction, the next one when it was read. */
async function ceiling(url: string, folder: string, run: (call: Call) => Promise<Load>, transactional: boolean): Promise<Load> {
  const kafka = await raw(url)
  const { client, versions, write, where, name } = kafka
  const transactionalId = transactional ? `bench.${name}` : null
  const coordinator = transactional ? await client.connect(await client.coordinator(transactionalId!), 'end') : undefined
  let me = { error: 'CONCURRENT_TRANSACTIONS', producerId: -1n, epoch: -1 }
  while (me.error !== NONE)
    me = await initProducerId(coordinator ?? write, { transactionalId, timeout: 10_000, producerId: -1n, epoch: -1 })
  let { producerId, epoch } = me
  let sequence = 0

  const db = new DatabaseSync(join(folder, 'ceiling.db'))
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; ${TABLES}
    ${IDS}`)
  const point = db.prepare(POINT_READ)
  const insert = db.prepare(INSERT)
  const upsert = db.prepare(UPSERT)
  const enter = db.prepare(ENTER)
  let version = 0
  let counter = 0
  const prefix = randomUUID().slice(0, 24)

  const seen = new Map<number, () => void>()
  let reached = -1
  let over = false
  const following = (async () => {
    for await (const offset of readBack(kafka, () => over)) {
      reached = offset
      seen.get(offset)?.()
      seen.delete(offset)
    }
  })()
  const untilSeen = (offset: number) => (reached >= offset ? Promise.resolve() : new Promise<void>(done => seen.set(offset, done)))

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
      const bytes = encodeBatch([{ key: 'default', value: JSON.stringify(decisions), time: Date.now() }], {
        producerId,
        epoch,
        sequence,
        transactional,
      })
      const about = { ...where, batch: bytes, transactionalId, timeout: 5_000 }
      let answer = await produce(write, { ...about, version: transactional ? versions.produceInTransaction : versions.produce })
      while (answer.error === 'CONCURRENT_TRANSACTIONS') answer = await produce(write, { ...about, version: versions.produceInTransaction })
      const { offset } = must(answer)
      if (transactional) {
        const ended = must(
          await endTxn(coordinator!, { version: versions.endTxn, transactionalId: transactionalId!, producerId, epoch, commit: true }),
        )
        producerId = ended.producerId
        epoch = ended.epoch
        sequence = 0
      } else sequence++
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
  over = true
  await following
  client.close()
  db.close()
  return load
}

async function mainstem(url: string, folder: string, way: Way, run: (call: Call) => Promise<Load>): Promise<Load> {
  await using replica = await openReplica(ledger, { log: url, data: join(folder, 'data'), ...way })
  await replica.execute('pay', { account: 1, cents: 1 })
  return await run(n => replica.execute('pay', { account: (n * 7_919) % ACCOUNTS, cents: 1 }))
}

interface Way {
  readonly strategy: StrategyName
  readonly fencing?: Fencing
}

const plain: readonly Way[] = [{ strategy: 'first-wins' }, { strategy: 'leader', fencing: 'epoch' }]
const transactions: readonly Way[] = [{ strategy: 'leader', fencing: 'transactions' }, { strategy: 'optimistic' }]
export const nameOf = ({ strategy, fencing }: Way): string => (fencing ? `${strategy}/${fencing}` : strategy)

/** @param bootstrap 'host:port' of a cluster */
export async function kafka(bootstrap: string, { rounds = 5, duration = 1_500 } = {}): Promise<void> {
  const rows = []
  for (const way of [...plain, ...transactions]) {
    for (const clients of [1, 64, 256]) {
      const loads: [Load[], Load[]] = [[], []]
      for (let round = 0; round < rounds; round++) {
        const run = (call: Call) => closedLoop(clients, duration, call)
        const topic = `bench-${randomUUID().slice(0, 8)}`
        const urls = [`kafka://${bootstrap}/${topic}-raw`, `kafka://${bootstrap}/${topic}`] as const
        for (const url of urls) await createLog(url, { app: 'ledger', partitions: 1 })
        loads[0].push(await inFolder(folder => ceiling(urls[0], folder, run, transactions.includes(way))))
        loads[1].push(await inFolder(folder => mainstem(urls[1], folder, way, run)))
      }
      const [bare, ours] = loads
      rows.push({
        strategy: nameOf(way),
        clients,
        'ceiling /s': median(bare.map(load => load.perSecond)),
        'mainstem /s': median(ours.map(load => load.perSecond)),
        ratio: median(ours.map((load, round) => load.perSecond / bare[round]!.perSecond)),
        'ceiling p50 ms': median(bare.map(load => load.p50)),
        'p50 ms': median(ours.map(load => load.p50)),
        'p50 ratio': median(ours.map((load, round) => load.p50 / bare[round]!.p50)),
        'p99 ms': median(ours.map(load => load.p99)),
      })
    }
  }
  process.stdout.write(`${table(rows)}\n`)
}
