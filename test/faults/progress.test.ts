/**
 * A log that must be scanned for one tenant's records, as Kafka's: a replica that goes on reads nothing twice, and yet misses nothing. A database
 * that is missing, or an older copy of itself, is seen and healed.
 */
import { copyFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { app, revision, sqlite } from '../../src/index.ts'
import { MemoryFile, MemoryLog, type MemoryOptions } from '../../src/log/memory.ts'
import { oneShard } from '../../src/log/open.ts'
import type { Chunk, Position, ReadOptions } from '../../src/log.ts'
import { decode, encodeControl } from '../../src/record.ts'
import { folderOf } from '../../src/replica/data.ts'
import { openReplica, type Replica } from '../../src/replica.ts'
import { failure } from '../support/failures.ts'
import { asKafka, shardFiles, temporaryFolder } from '../support/logs.ts'
import shop from '../support/shop.ts'

interface Looked {
  readonly after: Position
  readonly reached: Position
}

/** Remembers what it was asked for, but for single records. */
class WatchedLog extends MemoryLog {
  readonly looked: Looked[] = []

  override async read(from: Position | (() => Position), options: ReadOptions = {}): Promise<Chunk> {
    const chunk = await super.read(from, options)
    const after = typeof from === 'number' ? from : from()
    // The manifest is looked for in the first one.
    if ((options.upTo !== after + 1 || after === 0) && chunk.reached > after) this.looked.push({ after, reached: chunk.reached })
    return chunk
  }

  /** How often it was read from the beginning. */
  get scans(): number {
    return this.looked.filter(({ after }) => after === 0).length
  }
}

class Scene {
  readonly file: MemoryFile
  readonly data = join(temporaryFolder(), 'data')
  readonly folder = folderOf(this.data, 'shop', revision(shop))

  constructor(file: MemoryFile = shardFiles('shop', 1)[0]!) {
    this.file = file
  }

  async open(options: MemoryOptions = {}, data = this.data): Promise<{ replica: Replica; log: WatchedLog }> {
    const log = new WatchedLog('scanned', this.file, { ...asKafka, ...options })
    const replica = (await openReplica(shop, { log: oneShard(log), data, strategy: 'first-wins' })) as unknown as Replica
    onTestFinished(() => replica.close())
    return { replica, log }
  }

  path(tenant: string): string {
    return join(this.folder, `${tenant}.db`)
  }

  remove(tenant: string): void {
    for (const suffix of ['', '-wal', '-shm']) rmSync(this.path(tenant) + suffix, { force: true })
  }
}

const tenants = ['ann', 'bob', 'cid']

/** So many records that a read of the beginning brings few of them. */
async function fill(replica: Replica, rounds = 300): Promise<void> {
  for (let n = 0; n < rounds; n++) {
    await Promise.all(tenants.map(tenant => replica.execute('pay', { account: 'till', cents: 1 }, { tenant, id: `${tenant}-${n}` })))
  }
}

/** A closed replica with three tenants at version 300. */
async function filled(): Promise<Scene> {
  const scene = new Scene()
  const { replica } = await scene.open()
  await fill(replica)
  await replica.close()
  return scene
}

const total = (replica: Replica, tenant: string) => replica.query('total', undefined, { tenant, read: 'linearizable' })

test('it goes on where it stopped: only the manifest is read again', async () => {
  const scene = await filled()
  const end = scene.file.last()
  const { replica, log } = await scene.open()
  for (const tenant of tenants) expect(await total(replica, tenant)).toBe(300)
  // Repeats are answered from single records.
  expect(await replica.execute('pay', { account: 'till', cents: 1 }, { tenant: 'ann', id: 'ann-7' })).toMatchObject({
    version: 8,
    duplicate: true,
  })
  for (const tenant of tenants) await replica.execute('pay', { account: 'till', cents: 1 }, { tenant })
  expect(log.looked.filter(({ reached }) => reached <= end)).toHaveLength(1)
  expect(log.scans).toBe(1)
  expect((await replica.status()).notices).toEqual([])
})

test('what was written meanwhile is read, and nothing before it', async () => {
  const scene = await filled()
  const { replica: other } = await scene.open({}, `${scene.data}-other`)
  const end = scene.file.last()
  for (const tenant of ['ann', 'dan']) await other.execute('pay', { account: 'till', cents: 5 }, { tenant })
  const { replica, log } = await scene.open()
  expect(await Promise.all(['ann', 'bob', 'cid', 'dan'].map(tenant => total(replica, tenant)))).toEqual([305, 300, 300, 5])
  expect(log.looked.filter(({ reached }) => reached <= end)).toHaveLength(1)
})

test('tenants that are new cost no scan', async () => {
  const scene = await filled()
  const { replica, log } = await scene.open()
  await Promise.all(Array.from({ length: 50 }, (_, n) => replica.execute('pay', { account: 'till', cents: 1 }, { tenant: `new-${n}` })))
  expect(await total(replica, 'new-49')).toBe(1)
  expect(await total(replica, 'never')).toBe(0)
  expect(log.scans).toBe(1)
})

describe('healed:', () => {
  test('databases that were deleted, by one scan for all of them', async () => {
    const scene = await filled()
    scene.remove('ann')
    scene.remove('bob')
    const { replica, log } = await scene.open()
    const digests = await Promise.all(tenants.map(tenant => replica.digest(tenant)))
    expect(digests.map(({ version }) => version)).toEqual([300, 300, 300])
    expect(await Promise.all(tenants.map(tenant => total(replica, tenant)))).toEqual([300, 300, 300])
    expect(log.scans).toBe(2)
    expect((await replica.status()).notices.map(notice => /tenant (\w+) is not there/.exec(notice)?.[1])).toEqual(['ann', 'bob'])
    expect(await replica.execute('pay', { account: 'till', cents: 1 }, { tenant: 'ann', id: 'ann-299' })).toMatchObject({ duplicate: true })
    expect(await replica.execute('pay', { account: 'till', cents: 1 }, { tenant: 'ann' })).toMatchObject({ version: 301 })
    const { replica: fresh } = await scene.open({}, `${scene.data}-fresh`)
    await total(fresh, 'ann')
    expect(await fresh.digest('ann')).toEqual(await replica.digest('ann'))
  })

  test('a database that is an older copy of itself', async () => {
    const scene = new Scene()
    const first = await scene.open()
    await fill(first.replica, 5)
    await first.replica.close()
    copyFileSync(scene.path('ann'), join(scene.folder, 'kept'))
    const second = await scene.open()
    await fill(second.replica, 300)
    await second.replica.close()
    scene.remove('ann')
    copyFileSync(join(scene.folder, 'kept'), scene.path('ann'))
    const { replica, log } = await scene.open()
    expect(await replica.execute('pay', { account: 'till', cents: 1 }, { tenant: 'ann' })).toMatchObject({ version: 301 })
    expect(await total(replica, 'ann')).toBe(301)
    expect(log.scans).toBe(2)
    expect((await replica.status()).notices.join()).toMatch(/tenant ann is an older copy of itself, at version 5/)
  })

  test('a database that was deleted while it was closed, in a running replica', async () => {
    const scene = await filled()
    const { replica } = await scene.open()
    // Of eve nothing has been stored yet.
    for (const tenant of ['ann', 'eve']) await replica.execute('pay', { account: 'till', cents: 1 }, { tenant })
    for (let n = 0; n < 80; n++) await replica.execute('pay', { account: 'till', cents: 1 }, { tenant: `t${n}` })
    for (const [tenant, version] of [
      ['ann', 302],
      ['eve', 2],
    ] as const) {
      await expect.poll(async () => (await replica.status()).tenants[tenant]?.status, { timeout: 20_000 }).toBe('closed')
      scene.remove(tenant)
      expect(await replica.execute('pay', { account: 'till', cents: 1 }, { tenant })).toMatchObject({ version })
      expect(await total(replica, tenant)).toBe(version)
    }
  })

  test('what a tenant missed while its database could not be opened', async () => {
    const scene = await filled()
    const { replica: other } = await scene.open({}, `${scene.data}-other`)
    renameSync(scene.path('ann'), join(scene.folder, 'away'))
    writeFileSync(scene.path('ann'), 'Dear diary,\n'.repeat(1_000))
    const { replica: blind } = await scene.open()
    await other.execute('pay', { account: 'till', cents: 1 }, { tenant: 'ann' })
    expect(await failure(total(blind, 'ann'))).toMatchObject({ code: 'data-unusable' })
    await blind.close()
    scene.remove('ann')
    renameSync(join(scene.folder, 'away'), scene.path('ann'))
    const { replica } = await scene.open()
    expect(await replica.query('total', undefined, { tenant: 'ann' })).toBe(301)
  })

  test('what a tenant missed while it was halted', async () => {
    const files = shardFiles('fragile', 1)
    const folder = temporaryFolder()
    const open = async (breaks: boolean, data: string) => {
      const log = new MemoryLog('scanned', files[0], asKafka)
      const replica = await openReplica(fragile(breaks), { log: oneShard(log), data: join(folder, data), strategy: 'first-wins' })
      onTestFinished(() => replica.close())
      return replica
    }
    const writer = await open(false, 'writer')
    const broken = await open(true, 'broken')
    for (const n of [1, 2, 3, 4, 5]) {
      await Promise.all([writer.execute('put', { n: n + 100 }, { tenant: 'red' }), writer.execute('put', { n }, { tenant: 'blue' })])
    }
    expect(await broken.query('sum', undefined, { tenant: 'blue', read: 'linearizable' })).toBe(15)
    await expect
      .poll(() => failure(broken.query('sum', undefined, { tenant: 'red' })), { timeout: 20_000 })
      .toMatchObject({ code: 'halted' })
    await broken.close()
    const mended = await open(false, 'broken')
    expect(await mended.query('sum', undefined, { tenant: 'red' })).toBe(515)
    expect(await mended.query('sum', undefined, { tenant: 'blue' })).toBe(15)
  })
})

test('without what was stored of it, everything is read once', async () => {
  const scene = await filled()
  for (const suffix of ['', '-wal', '-shm']) rmSync(join(scene.folder, `progress.sqlite${suffix}`), { force: true })
  const { replica, log } = await scene.open()
  expect(await Promise.all(tenants.map(tenant => total(replica, tenant)))).toEqual([300, 300, 300])
  // The manifest, and the run.
  expect(log.scans).toBe(2)
})

test('what was stored of another log counts for nothing', async () => {
  const scene = await filled()
  const copy = new MemoryFile()
  for (const entry of scene.file.entries) copy.entries.push({ ...entry })
  const db = new DatabaseSync(join(scene.folder, 'progress.sqlite'))
  db.exec("UPDATE tenant SET position = 1000000; INSERT INTO tenant VALUES (0, 'dan', 1000000)")
  db.close()
  const moved = new Scene(copy)
  const { replica, log } = await moved.open({}, scene.data)
  expect(await Promise.all([...tenants, 'dan'].map(tenant => total(replica, tenant)))).toEqual([300, 300, 300, 0])
  expect(log.scans).toBe(2)
})

test('databases on another generation of the log are built anew by the run itself', async () => {
  const scene = await filled()
  const copy = new MemoryFile()
  copy.write({ value: 'something else', tenant: null, time: 0 })
  for (const { value, tenant } of scene.file.entries) {
    const record = decode(value)
    copy.write({ value: record.kind === 'manifest' ? encodeControl({ ...record, generation: 2 }) : value, tenant, time: 0 })
  }
  const { replica, log } = await new Scene(copy).open({}, scene.data)
  expect(await Promise.all(tenants.map(tenant => total(replica, tenant)))).toEqual([300, 300, 300])
  expect(await replica.execute('pay', { account: 'till', cents: 1 }, { tenant: 'bob', id: 'bob-7' })).toMatchObject({ duplicate: true })
  expect(await replica.execute('pay', { account: 'till', cents: 1 }, { tenant: 'bob' })).toMatchObject({ version: 301 })
  expect(log.scans).toBe(2)
  const { replica: fresh } = await new Scene(copy).open()
  await total(fresh, 'bob')
  for (const tenant of tenants) expect(await fresh.digest(tenant)).toEqual(await replica.digest(tenant))
})

test('a log that shows its end later than it tells of it is waited for', async () => {
  const scene = await filled()
  let asked = 0
  // The end is told at once; the last records are shown only after a while.
  const lag = () => (asked++ < 3 || asked > 60 ? 0 : 400)
  const { replica } = await scene.open({ lag }, `${scene.data}-late`)
  expect(asked).toBeGreaterThan(60)
  expect((await Promise.all(tenants.map(tenant => replica.digest(tenant)))).map(({ version }) => version)).toEqual([300, 300, 300])
})

test('an end that is told too early is no reason to stop', async () => {
  const scene = await filled()
  let asked = 0
  const { replica } = await scene.open({ lag: () => (asked++ < 5 ? 400 : 0) })
  expect(await total(replica, 'ann')).toBe(300)
})

test('a log that has lost its end is told', async () => {
  const scene = await filled()
  scene.file.entries.splice(-10)
  const log = new MemoryLog('scanned', scene.file, asKafka)
  const opening = openReplica(shop, { log: oneShard(log), data: scene.data, strategy: 'first-wins', timeout: 200 })
  expect(await failure(opening)).toMatchObject({ code: 'log-behind' })
})

const number = z.object({ n: z.number() })

/** Its projection of 103 may throw: the same revision, so the same database. */
function fragile(breaks: boolean) {
  return app('fragile', {
    events: { Put: number },
    database: sqlite('CREATE TABLE put (n INTEGER) STRICT'),
    project: {
      Put: (db, { n }) => {
        if (breaks && n === 103) throw new Error('no')
        db.run('INSERT INTO put VALUES (?)', n)
      },
    },
    commands: { put: { input: number, decide: (input, { emit }) => emit('Put', input) } },
    queries: { sum: { run: (_, { db }) => db.get<{ sum: number }>('SELECT coalesce(sum(n), 0) AS sum FROM put')!.sum } },
  })
}
