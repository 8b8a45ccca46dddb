/** A log of several shards: what belongs together, who lives where, how replicas share the work, and what they say when it does not fit. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { revision } from '../../src/app.ts'
import { MemoryFile, MemoryLog, MemoryLogs, type MemoryOptions } from '../../src/log/memory.ts'
import type { Logs } from '../../src/log.ts'
import { partitionOf } from '../../src/partition.ts'
import { decode, encodeControl, encodeDecision, encodeRecord, type Manifest } from '../../src/record.ts'
import { folderOf } from '../../src/replica/data.ts'
import type { Listen } from '../../src/replica/listen.ts'
import { openReplica, type Replica, type ReplicaOptions } from '../../src/replica.ts'
import { atEnd, beside } from '../support/end.ts'
import { failure } from '../support/failures.ts'
import { asKafka, shardFiles, temporaryFolder } from '../support/logs.ts'
import shop from '../support/shop.ts'

const logsOf = (files: readonly MemoryFile[], options: MemoryOptions = asKafka) => new MemoryLogs('test', files, options)

async function open(files: readonly MemoryFile[], options: Partial<ReplicaOptions> = {}): Promise<Replica> {
  const replica = (await openReplica(shop, { log: logsOf(files), strategy: 'leader', ...options })) as unknown as Replica
  atEnd(() => replica.close())
  return replica
}

/** As many tenants on each shard. */
function tenantsOn(partitions: number, each: number): string[] {
  const found = Array.from({ length: partitions }, (): string[] => [])
  for (let n = 0; found.some(({ length }) => length < each); n++) {
    const home = found[partitionOf(`t${n}`, partitions)]!
    if (home.length < each) home.push(`t${n}`)
  }
  return found.flat()
}

describe('shards that do not belong together are refused', () => {
  /** Three shards with a manifest each, as changed. */
  function made(change: (manifest: Manifest) => Partial<Manifest> | undefined): MemoryFile[] {
    return shardFiles('shop', 3).map(file => {
      const changed = new MemoryFile()
      const manifest = decode(file.entries[0]!.value) as Manifest
      const over = change(manifest)
      if (over) changed.write({ value: encodeControl({ ...manifest, ...over }), tenant: null, time: 0 })
      return changed
    })
  }

  test.each<[what: string, files: MemoryFile[], code: string, message: RegExp]>([
    ['one without a manifest', made(({ partition }) => (partition === 1 ? undefined : {})), 'log-unusable', /shard 1 of 3 .*create-log/],
    ['all without', made(() => undefined), 'log-unusable', /shard 0 of 3 .*create-log/],
    ['fewer than the manifest says', shardFiles('shop', 3).slice(0, 2), 'log-unusable', /made with 3 shards, but there are 2.*moves keys/],
    ['more than the manifest says', [...shardFiles('shop', 2), new MemoryFile()], 'log-unusable', /shard 2 of 3 .*create-log|made with 2/],
    ['one of a log with more', shardFiles('shop', 4).slice(0, 1), 'log-unusable', /made with 4 shards, but there are 1/],
    ['in another order', shardFiles('shop', 3).reverse(), 'log-unusable', /partition 0 holds the manifest of shard 2/],
    ['of two logs', made(({ partition }) => (partition === 2 ? { log: 'another' } : {})), 'log-unusable', /do not belong together/],
    ['of two generations', made(({ partition }) => (partition === 2 ? { generation: 2 } : {})), 'log-unusable', /do not belong together/],
    ['of another app', shardFiles('till', 3), 'log-other-app', /of the app till/],
  ])('%s', async (_, files, code, message) => {
    const before = files.map(file => file.entries.length)
    const error = await failure(openReplica(shop, { log: logsOf(files), strategy: 'leader' }))
    expect(error).toMatchObject({ code, retry: 'no' })
    expect(error.message).toMatch(message)
    expect(files.map(file => file.entries.length)).toEqual(before)
  })

  test('databases that were built from another log', async () => {
    const data = join(temporaryFolder(), 'data')
    const first = await open(shardFiles('shop', 3), { data })
    await first.execute('pay', { account: 'ann', cents: 1 })
    await first.close()
    expect(await failure(openReplica(shop, { log: logsOf(shardFiles('shop', 3)), data, strategy: 'leader' }))).toMatchObject({
      code: 'log-other',
    })
  })
})

test('tenants live where their name hashes to, and everything finds them there', async () => {
  const files = shardFiles('shop', 3)
  const data = join(temporaryFolder(), 'data')
  const tenants = tenantsOn(3, 5)
  const first = await open(files, { data })
  for (const [n, tenant] of tenants.entries()) {
    for (let k = 0; k <= n; k++) await first.execute('pay', { account: 'ann', cents: 1 }, { tenant, id: `${tenant}-${k}` })
  }
  for (const [partition, file] of files.entries()) {
    const homes = new Set(file.entries.flatMap(({ tenant }) => (tenant === null ? [] : [partitionOf(tenant, 3)])))
    expect([...homes]).toEqual([partition])
  }
  const check = async (replica: Replica) => {
    for (const [n, tenant] of tenants.entries()) {
      expect(await replica.query('total', undefined, { tenant, read: 'linearizable' })).toBe(n + 1)
      expect(await replica.digest(tenant)).toMatchObject({ version: n + 1 })
      expect(await replica.sql('SELECT count(*) AS n FROM entry', [], { tenant })).toEqual([{ n: n + 1 }])
      await using past = await replica.at(1, { tenant })
      expect(past.query('total')).toBe(1)
      for await (const event of replica.events({ tenant, from: 1 })) {
        expect(event).toMatchObject({ tenant, id: `${tenant}-${event.version - 1}` })
        if (event.version === n + 1) break
      }
      expect(await replica.execute('pay', { account: 'ann', cents: 1 }, { tenant, id: `${tenant}-0` })).toMatchObject({
        duplicate: true,
        version: 1,
      })
    }
  }
  await check(first)
  const status = await first.status()
  expect(status.shards).toHaveLength(3)
  expect(status).toMatchObject({ role: 'leader', sealed: false, failure: null, foreign: 0 })
  expect(status.shards!.map(({ partition, role, term }) => [partition, role, term.number])).toEqual([
    [0, 'leader', 1],
    [1, 'leader', 1],
    [2, 'leader', 1],
  ])
  expect(status.position).toBe(status.shards!.reduce((sum, { position }) => sum + position, 0))
  expect(status.records).toBe(files.reduce((sum, { entries }) => sum + entries.length, 0))
  expect(Object.keys(status.tenants).sort()).toEqual([...tenants].sort())
  await first.close()
  const again = await open(files, { data })
  expect((await again.status()).records).toBeLessThan(10)
  await check(again)
})

test('with one shard the status is as it was', async () => {
  const replica = await open([new MemoryFile()])
  expect(await replica.status()).not.toHaveProperty('shards')
})

test('a record of a tenant that lives elsewhere: no effect, counted, and no database is made for it', async () => {
  const files = shardFiles('shop', 3)
  const data = join(temporaryFolder(), 'data')
  const replica = await open(files, { data, strategy: 'first-wins' })
  const [home, stranger] = tenantsOn(3, 1)
  await replica.execute('pay', { account: 'ann', cents: 1 }, { tenant: home! })
  const shard = partitionOf(home!, 3)
  const own = decode(files[shard]!.entries.at(-1)!.value)
  if (own.kind !== 'data') throw new Error('no data record')
  const other = logsOf(files)
  const value = encodeRecord({ ...own, tenant: stranger! }, own.decisions.map(encodeDecision))
  await other.shards[shard]!.append([{ value, tenant: stranger!, time: own.time }])
  await replica.execute('pay', { account: 'ann', cents: 1 }, { tenant: home! })
  const { shards, tenants } = await replica.status()
  expect(shards!.map(({ foreign }) => foreign)).toEqual([0, 1, 2].map(partition => (partition === shard ? 1 : 0)))
  expect(Object.keys(tenants)).toEqual([home])
  expect(existsSync(join(folderOf(data, 'shop', revision(shop)), `${stranger}.db`))).toBe(false)
  expect((await replica.digest(stranger)).version).toBe(0)
})

test('however many tenants there are, few databases are open', async () => {
  const files = shardFiles('shop', 8)
  const data = join(temporaryFolder(), 'data')
  const replica = await open(files, { data })
  const tenants = Array.from({ length: 200 }, (_, n) => `t${n}`)
  await Promise.all(tenants.map(tenant => replica.execute('pay', { account: 'ann', cents: 1 }, { tenant, timeout: 50_000 })))
  await expect
    .poll(async () => Object.values((await replica.status()).tenants).filter(({ status }) => status === 'open').length, { timeout: 20_000 })
    .toBeLessThanOrEqual(64)
  expect(readdirSync(folderOf(data, 'shop', revision(shop))).filter(name => name.endsWith('.db'))).toHaveLength(200)
})

describe('over a network', () => {
  const network = (files: readonly MemoryFile[]): Logs => {
    const { description, shards, roster } = logsOf(files)
    return { description, shards, roster, spans: 'network', close: async () => {} }
  }
  const join2 = (files: readonly MemoryFile[], listen: Listen, timeout = 10_000) =>
    open(files, { log: network(files), data: join(temporaryFolder(), 'data'), listen, timeout })

  test('commands are passed on by HTTP, to the address in the term', async () => {
    const files = shardFiles('shop', 2)
    const leader = await join2(files, { secret: 'same' })
    const follower = await join2(files, { secret: 'same' })
    const tenants = tenantsOn(2, 2)
    for (const tenant of tenants) {
      expect(await leader.execute('pay', { account: 'ann', cents: 5 }, { tenant })).toMatchObject({ version: 1 })
      expect(await follower.execute('pay', { account: 'ann', cents: 5 }, { tenant, id: 'one' })).toMatchObject({ version: 2 })
      expect(await follower.execute('take', { account: 'ann', cents: 50 }, { tenant })).toMatchObject({ status: 'rejected' })
      expect(await follower.query('total', undefined, { tenant })).toBe(10)
      expect(await failure(follower.execute('pay', { account: 'ann', cents: 6 }, { tenant, id: 'one' }))).toMatchObject({
        code: 'id-reused',
      })
    }
    for (const { term } of (await follower.status()).shards!) expect(term.address).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect((await leader.status()).members.map(({ address }) => address).every(address => address?.startsWith('http:'))).toBe(true)
  })

  test('a leader that is gone: the next one takes over', async () => {
    const files = shardFiles('shop', 2)
    const leader = await join2(files, {})
    const follower = await join2(files, {})
    await leader.execute('pay', { account: 'ann', cents: 5 })
    const running = Array.from({ length: 50 }, () => follower.execute('pay', { account: 'ann', cents: 1 }))
    await leader.close()
    expect((await Promise.all(running)).every(({ status }) => status === 'accepted')).toBe(true)
    expect(await follower.query('total', undefined, { read: 'linearizable' })).toBe(55)
  })

  test('another secret: nobody is let in, and it is said', async () => {
    const files = shardFiles('shop', 2)
    const leader = await join2(files, { secret: 'right' })
    await leader.execute('pay', { account: 'ann', cents: 5 })
    const stranger = await join2(files, { secret: 'wrong' }, 500)
    expect(await failure(stranger.execute('pay', { account: 'ann', cents: 5 }))).toMatchObject({ code: 'not-leader', retry: 'safe' })
    expect((await stranger.status()).notices.join()).toMatch(/refuses our secret/)
    expect(await leader.query('total')).toBe(5)
  })

  test('without a secret it is not opened to others', async () => {
    const files = shardFiles('shop', 2)
    const error = await failure(openReplica(shop, { log: network(files), strategy: 'leader', listen: { host: '0.0.0.0' } }))
    expect(error).toMatchObject({ code: 'invalid-option' })
    expect(error.message).toMatch(/MAINSTEM_SECRET/)
    await using first = await join2(files, {})
    const port = Number(new URL((await first.status()).members[0]!.address!).port)
    const taken = openReplica(shop, { log: network(files), strategy: 'leader', listen: { port } })
    expect(await failure(taken)).toMatchObject({ code: 'invalid-option', message: expect.stringMatching(/EADDRINUSE/) })
  })

  test('a log that is not shared between machines opens no port', async () => {
    const replica = await open(shardFiles('shop', 2), { data: join(temporaryFolder(), 'data') })
    await replica.execute('pay', { account: 'ann', cents: 5 })
    for (const { term } of (await replica.status()).shards!) expect(term.address ?? 'none').not.toMatch(/^http/)
  })
})

describe('leadership is spread', () => {
  const shares = async (replicas: readonly Replica[]) => {
    const { shards } = await replicas[0]!.status()
    const owners = shards!.map(({ term }) => term.owner)
    const ids = await Promise.all(replicas.map(async replica => (await replica.status()).incarnation))
    return ids.map(id => owners.filter(owner => owner === id).length)
  }

  test('three replicas, eight shards: each gets its share while commands run; one leaves, and the others share what it had', async () => {
    const files = shardFiles('shop', 8)
    const tenants = tenantsOn(8, 2)
    const replicas = [await open(files), await open(files), await open(files)]
    let paid = 0
    let slowest = 0
    let stop = false
    const clients = Array.from({ length: 6 }, async (_, client) => {
      for (let n = 0; !stop; n++) {
        const start = performance.now()
        const tenant = tenants[(n * 6 + client) % tenants.length]!
        await replicas[n % replicas.length]!.execute('pay', { account: 'ann', cents: 1 }, { tenant })
        paid++
        slowest = Math.max(slowest, performance.now() - start)
        await new Promise(resolve => setTimeout(resolve, 5))
      }
    })
    await expect.poll(async () => (await shares(replicas)).sort((a, b) => a - b), { timeout: 30_000, interval: 200 }).toEqual([2, 3, 3])
    // It stays so.
    const terms = (await replicas[0]!.status()).shards!.map(({ term }) => term.number)
    await new Promise(resolve => setTimeout(resolve, 1_500))
    expect((await replicas[0]!.status()).shards!.map(({ term }) => term.number)).toEqual(terms)
    const [gone] = replicas.splice(2, 1)
    await gone!.close()
    await expect.poll(async () => await shares(replicas), { timeout: 30_000, interval: 200 }).toEqual([4, 4])
    stop = true
    await Promise.all(clients)
    // Nobody waited for a deadline.
    expect(slowest).toBeLessThan(4_000)
    expect(paid).toBeGreaterThan(100)
    let total = 0
    for (const tenant of tenants) total += (await replicas[0]!.query('total', undefined, { tenant, read: 'linearizable' })) as number
    expect(total).toBe(paid)
  })

  test.concurrent(
    'one that would own nothing is given nothing',
    beside(async () => {
      const files = shardFiles('shop', 4)
      const leader = await open(files)
      const writer = await open(files, { strategy: 'first-wins' })
      await Promise.all(tenantsOn(4, 1).map(tenant => leader.execute('pay', { account: 'ann', cents: 1 }, { tenant })))
      await new Promise(resolve => setTimeout(resolve, 7_000))
      expect(await shares([leader, writer])).toEqual([4, 0])
      expect((await leader.status()).shards!.map(({ term }) => term.number)).toEqual([1, 1, 1, 1])
    }),
  )

  test.concurrent(
    'with one shard nobody moves',
    beside(async () => {
      const file = new MemoryFile()
      const one = await openReplica(shop, { log: new MemoryLog('', file), strategy: 'leader' })
      atEnd(() => one.close())
      await one.execute('pay', { account: 'ann', cents: 1 })
      const two = await openReplica(shop, { log: new MemoryLog('', file), strategy: 'leader' })
      atEnd(() => two.close())
      await new Promise(resolve => setTimeout(resolve, 7_000))
      expect((await two.status()).term).toMatchObject({ number: 1, owner: (await one.status()).incarnation })
    }),
  )
})
