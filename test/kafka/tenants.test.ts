/** Many tenants on the partitions of one topic: each in its place, with its own versions and its own database; and what a start, or a repeat, reads. */
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Partitioners } from 'kafkajs'
import { expect, onTestFinished, test } from 'vitest'
import { revision } from '../../src/app.ts'
import { openLogs } from '../../src/log/open.ts'
import { partitionOf } from '../../src/partition.ts'
import { folderOf } from '../../src/replica/data.ts'
import { openReplica, type LoggedEvent, type Replica, type ReplicaOptions } from '../../src/replica.ts'
import { bootstrap, makeLog, newUrl } from '../support/kafka.ts'
import { temporaryFolder } from '../support/logs.ts'
import { type Proxy, startProxy } from '../support/proxy.ts'
import shop from '../support/shop.ts'

const PARTITIONS = 8
const TENANTS = 40
const FETCH = 1

const names = Array.from({ length: TENANTS }, (_, n) => `tenant-${n}`)

async function open(log: string, data: string, options: Partial<ReplicaOptions> = {}): Promise<Replica> {
  const replica = (await openReplica(shop, { log, data, timeout: 50_000, ...options })) as unknown as Replica
  onTestFinished(() => replica.close())
  return replica
}

/** How many bytes fetches bring, from when this is called. */
function fetched(proxy: Proxy): () => number {
  let bytes = 0
  proxy.on({ direction: 'reply', api: FETCH, where: frame => ((bytes += frame.bytes.length), false) }, 'drop')
  return () => bytes
}

test.each(['leader', 'first-wins'] as const)(
  '%s: tenants are spread over the partitions, and each has its own versions and database',
  async strategy => {
    const log = newUrl()
    const folder = temporaryFolder()
    await makeLog(log, 'shop', PARTITIONS)
    const paths = [join(folder, 'one'), join(folder, 'two')]
    const replicas = await Promise.all(paths.map(path => open(log, path, { strategy })))
    await Promise.all(
      names.flatMap((tenant, n) =>
        Array.from({ length: 5 }, (_, m) =>
          replicas[(n + m) % 2]!.execute('pay', { account: 'ann', cents: n + 1 }, { tenant, id: `same-${m}` }),
        ),
      ),
    )
    for (const [n, tenant] of names.entries()) {
      const digests = new Set<string>()
      for (const replica of replicas) {
        expect(await replica.query('total', undefined, { tenant, read: 'linearizable' })).toBe(5 * (n + 1))
        const { version, digest } = await replica.digest(tenant)
        expect(version).toBe(5)
        digests.add(digest)
      }
      expect(digests.size, tenant).toBe(1)
    }
    const events: LoggedEvent[] = []
    for await (const event of replicas[0]!.events({ tenant: names[0]!, from: 1 })) if (events.push(event) === 5) break
    expect(events.map(({ version }) => version)).toEqual([1, 2, 3, 4, 5])

    // Where the hash of Kafka's own clients puts their keys.
    const place = Partitioners.DefaultPartitioner()
    const metadata = Array.from({ length: PARTITIONS }, (_, partitionId) => ({ partitionId, leader: 1 })) as never
    const logs = await openLogs(log)
    try {
      for (const [partition, shard] of logs.shards.entries()) {
        const { records } = await shard.read(0, { wait: true })
        const here = new Set(records.flatMap(({ tenant }) => (tenant === null ? [] : [tenant])))
        expect([...here].sort()).toEqual(names.filter(name => partitionOf(name, PARTITIONS) === partition).sort())
        for (const key of here) expect(place({ topic: 'any', partitionMetadata: metadata, message: { key, value: null } })).toBe(partition)
      }
    } finally {
      await logs.close()
    }
    for (const path of paths) {
      const files = readdirSync(folderOf(path, shop.name, revision(shop))).filter(name => name.endsWith('.db'))
      expect(files.sort()).toEqual(names.map(name => `${name}.db`).sort())
    }
  },
)

test('a start reads no more than is new; a repeat no more than its record; a database that was deleted is made again', async ({
  annotate,
}) => {
  const log = newUrl()
  const folder = temporaryFolder()
  await makeLog(log, 'shop', PARTITIONS)
  const data = join(folder, 'data')
  const proxy = await startProxy(bootstrap())
  // When the replicas are closed.
  onTestFinished(() => proxy.close())
  const through = `kafka://${proxy.bootstrap}/${log.split('/').at(-1)}`
  const first = await open(through, data)
  const text = 'x'.repeat(20_000)
  await first.execute('note', { text }, { tenant: names[0]!, id: 'alone' })
  for (let m = 0; m < 4; m++) await Promise.all(names.map(tenant => first.execute('note', { text }, { tenant, id: `note-${m}` })))
  const size = 4 * TENANTS * text.length
  const before = new Map<string, string>()
  for (const tenant of names) before.set(tenant, (await first.digest(tenant)).digest)

  const repeat = fetched(proxy)
  expect(await first.execute('note', { text }, { tenant: names[0]!, id: 'alone' })).toMatchObject({ duplicate: true, version: 1 })
  await annotate(`a repeat: ${repeat()} bytes of ${size}`)
  // All that stands behind it in its partition is many times that.
  expect(repeat()).toBeLessThan(3 * text.length)
  await first.close()

  // All are asked for, so each database is checked against the log; none of them is read again.
  const start = fetched(proxy)
  const second = await open(through, data)
  await annotate(`a start: ${start()} bytes of ${size}`)
  expect(start()).toBeLessThan(size / 20)
  for (const tenant of names) expect((await second.digest(tenant)).digest).toBe(before.get(tenant))
  expect(await second.execute('note', { text }, { tenant: names[1]! })).toMatchObject({ version: 5 })
  await second.close()

  const file = join(folderOf(data, shop.name, revision(shop)), `${names[2]!}.db`)
  for (const end of ['', '-wal', '-shm']) rmSync(`${file}${end}`, { force: true })
  const third = await open(through, data)
  expect(await third.digest(names[2])).toEqual({ version: 4, digest: before.get(names[2]!) })
  expect(await third.digest(names[3])).toEqual({ version: 4, digest: before.get(names[3]!) })
  expect(await third.execute('note', { text }, { tenant: names[2]! })).toMatchObject({ version: 5 })
  expect(existsSync(file)).toBe(true)
})
