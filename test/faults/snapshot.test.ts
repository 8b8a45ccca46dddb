/**
 * Snapshots that are torn, damaged, forged, or of something else: each is refused with a notice, and the replica comes to the same by reading its
 * log from the beginning. And what a snapshot lacks is found.
 */
import { appendFileSync, cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { definitionOf } from '../../src/app.ts'
import { machine } from '../../src/clock.ts'
import { app, revision, sqlite } from '../../src/index.ts'
import { manifestValue } from '../../src/log/manifest.ts'
import { MemoryFile, MemoryLog, type MemoryOptions } from '../../src/log/memory.ts'
import { oneShard } from '../../src/log/open.ts'
import type { Chunk, Position, ReadOptions } from '../../src/log.ts'
import { seeded } from '../../src/random.ts'
import { type DataRecord, decode, encodeControl, encodeDecision, encodeRecord } from '../../src/record.ts'
import { DataDirectory, folderOf } from '../../src/replica/data.ts'
import { HttpLinkServer } from '../../src/replica/http-link.ts'
import { openReplica, type Replica } from '../../src/replica.ts'
import { makeSnapshot, type Made } from '../../src/snapshot/make.ts'
import { Offers, Peer } from '../../src/snapshot/peer.ts'
import { startFromSnapshot } from '../../src/snapshot/start.ts'
import { encodeSnapshot, type Snapshot } from '../../src/snapshot.ts'
import { asKafka, temporaryFolder } from '../support/logs.ts'
import shop from '../support/shop.ts'

/** Remembers from where it was read, but for single records. */
class WatchedLog extends MemoryLog {
  readonly reads: Position[] = []

  override async read(from: Position | (() => Position), options: ReadOptions = {}): Promise<Chunk> {
    const after = typeof from === 'number' ? from : from()
    if (options.upTo !== after + 1) this.reads.push(after)
    return super.read(from, options)
  }
}

const scanned: MemoryOptions = asKafka
const searched: MemoryOptions = { conditional: false }
const tenants = ['ann', 'bob']
const pay = (replica: Replica, tenant: string, n: number) =>
  replica.execute('pay', { account: 'till', cents: n }, { tenant, id: `${tenant}-${n}` })

/** Where a test works: a copy of what was made before. */
class Scene {
  readonly folder = temporaryFolder()
  readonly snapshots = join(this.folder, 'snapshots')
  readonly file: MemoryFile

  constructor(file: MemoryFile = copyOf(origin.file)) {
    this.file = file
    cpSync(origin.made.path, this.path, { recursive: true })
  }

  get path(): string {
    return join(this.snapshots, origin.made.name)
  }

  get manifest(): string {
    return join(this.path, 'snapshot.json')
  }

  /** Says something else, with a checksum that is right. */
  forge(change: (snapshot: any) => void): void {
    const { snapshot } = JSON.parse(readFileSync(this.manifest, 'utf8')) as { snapshot: Snapshot }
    change(snapshot)
    writeFileSync(this.manifest, encodeSnapshot(snapshot))
  }

  async open(options: MemoryOptions = scanned, data = 'data', snapshots: string | undefined = this.snapshots) {
    return open(this.file, join(this.folder, data), options, snapshots)
  }

  /** Opens a replica that finds nothing but what was made wrong. */
  async refused(why: RegExp, options: MemoryOptions = scanned): Promise<Replica> {
    const { replica } = await this.open(options)
    const { notices } = await replica.status()
    expect(notices.join('\n')).toMatch(why)
    expect(notices.join('\n')).not.toMatch(/started from/)
    await same(replica, this)
    await replica.close()
    return replica
  }
}

async function open(file: MemoryFile, data: string, options: MemoryOptions, snapshots?: string) {
  const log = new WatchedLog('watched', file, options)
  const replica = (await openReplica(shop, {
    log: oneShard(log),
    data,
    strategy: 'first-wins',
    timeout: 400,
    ...(snapshots === undefined ? {} : { snapshots }),
  })) as unknown as Replica
  onTestFinished(() => replica.close())
  return { replica, log }
}

function copyOf({ entries, place }: MemoryFile): MemoryFile {
  const copy = Object.assign(new MemoryFile(), { place })
  for (const entry of entries) copy.entries.push({ ...entry })
  return copy
}

/** It is as a replica is that has read everything. */
async function same(replica: Replica, scene: Scene): Promise<void> {
  const all = isUntouched(scene.file) ? (whole ??= await readAll(scene)) : await readAll(scene)
  for (const [tenant, { digest, entries }] of all) {
    await replica.query('total', undefined, { tenant, read: 'linearizable', timeout: 5_000 })
    expect(await replica.digest(tenant)).toEqual(digest)
    expect(await replica.query('entries', undefined, { tenant })).toEqual(entries)
  }
}

type All = Map<string, { readonly digest: unknown; readonly entries: unknown }>
/** Of the log as it was made. */
let whole: All | undefined

async function readAll(scene: Scene): Promise<All> {
  const { replica } = await open(scene.file, join(scene.folder, `whole-${Math.random()}`), searched)
  const all: All = new Map()
  for (const tenant of [...tenants, 'cid']) {
    await replica.query('total', undefined, { tenant, read: 'linearizable', timeout: 5_000 })
    all.set(tenant, { digest: await replica.digest(tenant), entries: await replica.query('entries', undefined, { tenant }) })
  }
  await replica.close()
  return all
}

/** Whoever reads may have left barriers. */
const isUntouched = ({ entries }: MemoryFile): boolean =>
  origin.file.entries.every(({ position, value }, n) => entries[n]?.position === position && entries[n].value === value) &&
  entries.slice(origin.file.entries.length).every(({ tenant }) => tenant === null)

let origin: { readonly file: MemoryFile; readonly made: Made; readonly data: string; readonly folder: string }
/** Versions and digests of ann's, by her versions. */
const digests: string[] = []
/** How far a decision may lie back. */
const WINDOW = 3

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mainstem-test-'))
  const file = new MemoryFile()
  file.write({
    value: manifestValue({ log: 'the-log', app: 'shop', partitions: 1, partition: 0, window: WINDOW }),
    tenant: null,
    time: 0,
  })
  const data = join(folder, 'data')
  const log = () => oneShard(new MemoryLog('origin', file, searched))
  let replica = (await openReplica(shop, { log: log(), data, strategy: 'first-wins' })) as unknown as Replica
  for (let n = 1; n <= 8; n++) {
    for (const tenant of tenants) await pay(replica, tenant, n)
    digests[n] = (await replica.digest('ann')).digest
  }
  await replica.close()
  const made = await makeSnapshot(shop, data, join(folder, 'snapshots'))
  replica = await openReplica(shop, { log: log(), data, strategy: 'first-wins' })
  for (let n = 9; n <= 11; n++) for (const tenant of [...tenants, 'cid']) await pay(replica, tenant, n)
  await replica.close()
  origin = { file, made, data, folder }
})
afterAll(() => rmSync(origin.folder, { recursive: true, force: true }))

test('one that fits is started from: what stands in front of it is not read', async () => {
  for (const options of [scanned, searched]) {
    const scene = new Scene()
    const { replica, log } = await scene.open(options)
    const { notices } = await replica.status()
    expect(notices).toEqual([expect.stringMatching(/^started from the snapshot shop-\w+-\w+ of .*snapshots, at position \d+$/)])
    await same(replica, scene)
    const { cursor } = origin.made.snapshot.shards[0]!
    // The manifest of the log is looked for at its beginning; and where control records can be had alone, they are.
    if (options === scanned) expect(log.reads.filter(after => after > 0 && after < cursor)).toEqual([])
    expect(await pay(replica, 'ann', 3)).toMatchObject({ version: 3, duplicate: true })
    expect(await pay(replica, 'ann', 12)).toMatchObject({ version: 12, duplicate: false })
  }
})

describe('refused:', () => {
  test('databases torn anywhere, and what says nothing of it', async () => {
    const { bytes } = origin.made.snapshot.databases[0]!
    for (const left of [0, 4_096, bytes - 1]) {
      const scene = new Scene()
      truncateSync(join(scene.path, 'ann.db'), left)
      await scene.refused(/the database of tenant ann is torn/)
    }
    const longer = new Scene()
    appendFileSync(join(longer.path, 'bob.db'), 'x')
    await longer.refused(/the database of tenant bob is torn/)
    const less = new Scene()
    rmSync(join(less.path, 'bob.db'))
    await less.refused(/ENOENT/)
  })

  test('its own words torn anywhere', async () => {
    const size = readFileSync(origin.made.path + '/snapshot.json').length
    for (const left of [0, 1, Math.floor(size / 2), size - 3]) {
      const scene = new Scene()
      truncateSync(scene.manifest, left)
      await scene.refused(/it is torn, or none/)
    }
  })

  test('bytes flipped anywhere', async () => {
    const random = seeded(7)
    for (let n = 0; n < 12; n++) {
      const scene = new Scene()
      const path = n % 2 ? scene.manifest : join(scene.path, 'ann.db')
      const bytes = readFileSync(path)
      const at = Math.floor(random() * (bytes.length - 2))
      bytes[at]! ^= 1 << Math.floor(random() * 8)
      writeFileSync(path, bytes)
      await scene.refused(n % 2 ? /damaged|torn|tells of no|not JSON/ : /tenant ann is damaged/)
    }
  })

  test.each<[what: string, why: RegExp, change: (snapshot: any) => void]>([
    ['of another app', /it is of the app shack/, snapshot => (snapshot.app = 'shack')],
    ['of another revision', /it is of revision abc, this is/, snapshot => (snapshot.revision = 'abc')],
    ['of another log', /it is of the log another, this is the-log/, snapshot => (snapshot.log = 'another')],
    ['of another generation', /it is of generation 7 .* this is 1/, snapshot => (snapshot.generation = 7)],
    ['of another place', /its positions are not those of this one/, snapshot => (snapshot.shards[0].place = 'elsewhere')],
    ['of another format', /it has format 2/, snapshot => (snapshot.format = 2)],
    ['of one tenant alone', /it is of one tenant alone/, snapshot => (snapshot.whole = false)],
    ['that lacks a shard', /it lacks a shard/, snapshot => (snapshot.shards = [])],
    ['that names files elsewhere', /whose name is not legal/, snapshot => (snapshot.databases[0].tenant = '../../ann')],
    [
      'with the databases of others',
      /holds another record at position \d+ than the database of tenant/,
      snapshot => {
        const [ann, bob] = snapshot.databases
        ;[ann.tenant, bob.tenant] = [bob.tenant, ann.tenant]
      },
    ],
    ['whose databases say something else', /says version 8, its snapshot 7/, snapshot => (snapshot.databases[1].version = 7)],
    [
      'at another digest than the next record',
      /the next record of tenant ann was made at another digest/,
      snapshot => {
        snapshot.databases[0].digest = 'wrong'
      },
    ],
  ])('one %s', async (_, why, change) => {
    const scene = new Scene()
    scene.forge(change)
    await scene.refused(why)
  })

  test('where the control records come to something else, on a log that tells them', async () => {
    const scene = new Scene()
    scene.forge(snapshot => (snapshot.shards[0].state.term = { number: 3, owner: 'nobody', address: null }))
    await scene.refused(/what the log's own records come to/, searched)
  })

  test('one that is newer than its log', async () => {
    const { cursor } = origin.made.snapshot.shards[0]!
    for (const options of [scanned, searched]) {
      const scene = new Scene()
      scene.file.entries.splice(scene.file.entries.findIndex(({ position }) => position >= cursor))
      await scene.refused(/it stands at position \d+, but the log ends at \d+/, options)
    }
  })

  test('where the log was altered: at its place, and behind it', async () => {
    const at = origin.made.snapshot.databases[0]!.position
    const alter = (scene: Scene, which: (position: number) => boolean, change: (record: DataRecord) => DataRecord) => {
      const index = scene.file.entries.findIndex(({ position, tenant }) => tenant === 'ann' && which(position))
      const entry = scene.file.entries[index]!
      const record = change(decode(entry.value) as DataRecord)
      scene.file.entries[index] = { ...entry, value: encodeRecord(record, record.decisions.map(encodeDecision)) }
    }
    const there = new Scene()
    alter(
      there,
      position => position === at,
      record => ({ ...record, time: record.time + 1 }),
    )
    await there.refused(/holds another record at position/)
    const behind = new Scene()
    alter(
      behind,
      position => position > at,
      record => ({ ...record, digest: digests[1]! }),
    )
    await behind.refused(/the next record of tenant ann was made at another digest/)
  })

  test('one from before a restore, which raised the generation', async () => {
    const scene = new Scene()
    const [first] = scene.file.entries
    const manifest = decode(first!.value)
    if (manifest.kind === 'manifest') scene.file.entries[0] = { ...first!, value: encodeControl({ ...manifest, generation: 2 }) }
    await scene.refused(/it is of generation 1 of its log, which was restored or copied since: this is 2/)
  })
})

test('an alien record behind it that was made at another digest does not make it wrong, as one of ours follows', async () => {
  const scene = new Scene()
  const { cursor } = origin.made.snapshot.shards[0]!
  const { entries } = scene.file
  const next = entries.find(({ position, tenant }) => tenant === 'ann' && position > cursor)!
  const record = decode(next.value) as DataRecord
  const decisions = record.decisions.map(each => encodeDecision({ ...each, id: 'alien' }))
  const value = encodeRecord({ ...record, digest: digests[1]! }, decisions)
  const behind = entries.filter(({ position }) => position > cursor).map(entry => ({ ...entry, position: entry.position + 10 }))
  entries.splice(0, Infinity, ...entries.filter(({ position }) => position <= cursor), { ...next, position: cursor + 5, value }, ...behind)
  const { replica } = await scene.open()
  expect((await replica.status()).notices.join()).toMatch(/started from/)
  await same(replica, scene)
})

test('the newest that fits is taken, not only the newest', async () => {
  const scene = new Scene()
  cpSync(scene.path, `${scene.path}-2`, { recursive: true })
  const older = scene.manifest
  scene.forge(snapshot => (snapshot.made += 1_000))
  truncateSync(join(scene.path, 'bob.db'), 5_000)
  expect(existsSync(older)).toBe(true)
  const { replica } = await scene.open()
  const { notices } = await replica.status()
  expect(notices[0]).toMatch(/bob is torn/)
  expect(notices[1]).toMatch(/started from the snapshot .*-2 of/)
  expect(readdirSync(join(folderOf(join(scene.folder, 'data'), 'shop', revision(shop)), 'scratch'))).toEqual([])
  await same(replica, scene)
})

test('without any it reads from the beginning and says so; where there is something already, none is looked for', async () => {
  const scene = new Scene()
  const { replica } = await scene.open(scanned, 'data', join(scene.folder, 'nowhere'))
  expect((await replica.status()).notices).toEqual([expect.stringMatching(/no snapshot came from .*nowhere: ENOENT.*from its beginning/)])
  await same(replica, scene)
  await replica.close()
  const { replica: again } = await scene.open()
  expect((await again.status()).notices).toEqual([])
  await again.close()
  const { replica: empty } = await scene.open(scanned, 'other', scene.folder)
  expect((await empty.status()).notices).toEqual([expect.stringMatching(/holds no snapshot for log the-log/)])
})

test('what a snapshot lacks is found: a tenant that was halted, or is behind', async () => {
  for (const options of [scanned, searched]) {
    const scene = new Scene()
    // What was stored of a log that must be scanned says how far each has come.
    const source = join(scene.folder, 'source')
    const { replica: first } = await scene.open(options, 'source', undefined)
    await same(first, scene)
    await first.close()
    const folder = folderOf(source, 'shop', revision(shop))
    writeFileSync(join(folder, 'ann.halted'), 'it must not be used')
    rmSync(scene.snapshots, { recursive: true })
    const { snapshot } = await makeSnapshot(shop, source, scene.snapshots)
    expect(snapshot.databases.map(({ tenant }) => tenant)).toEqual(['bob', 'cid'])
    const { replica } = await scene.open(options)
    expect((await replica.status()).notices[0]).toMatch(/started from/)
    await same(replica, scene)
    const healed = (await replica.status()).notices.filter(notice => /tenant ann is not there/.test(notice))
    expect(healed).toHaveLength(options === scanned ? 1 : 0)
  }
})

test('a start that was cut off while the databases were put in their places', async () => {
  const scene = new Scene()
  const data = join(scene.folder, 'data')
  const home = folderOf(data, 'shop', revision(shop))
  cpSync(join(scene.path, 'ann.db'), join(home, 'ann.db'), { recursive: true })
  const { replica } = await scene.open()
  await same(replica, scene)
})

test('verdicts at the floor of the window are the same', async () => {
  const scene = new Scene()
  const former = decode(scene.file.entries.find(({ tenant }) => tenant === 'ann')!.value) as DataRecord
  const record = (base: number, id: string) => {
    const decisions = former.decisions.map(each => encodeDecision({ ...each, id, reads: [id], writes: [id] }))
    return { value: encodeRecord({ ...former, base, digest: digests[base]!, time: 5 }, decisions), tenant: 'ann', time: 5 }
  }
  const entries = scene.file.entries.filter(({ position }) => position <= origin.made.snapshot.shards[0]!.cursor)
  scene.file.entries.splice(0, Infinity, ...entries)
  for (const [base, id] of [
    [8 - WINDOW, 'at'],
    [8 - WINDOW, 'now below'],
    [7, 'above'],
    [8 - WINDOW - 1, 'below'],
  ] as const)
    scene.file.write(record(base, id.replace(' ', '-')))
  const { replica } = await scene.open()
  expect((await replica.status()).notices[0]).toMatch(/started from/)
  await same(replica, scene)
  expect((await replica.digest('ann')).version).toBe(10)
})

describe('from another replica', () => {
  /** @param spoil what becomes of its bytes on their way */
  async function peer(secret?: string, spoil: (bytes: Buffer) => Buffer = bytes => bytes) {
    const scratch = join(temporaryFolder(), 'scratch')
    const offers = new Offers(shop, origin.data, scratch)
    const send = async (wanted: unknown) => {
      const sent = await offers.send(wanted)
      const chunks = async function* () {
        yield spoil(await buffer(sent.stream))
      }
      return { ...sent, stream: Readable.from(chunks()) }
    }
    const server = await HttpLinkServer.listen(secret === undefined ? {} : { secret }, async () => {}, send)
    onTestFinished(() => server.close())
    return { url: server.url, scratch }
  }

  const begin = async (url: string, secret?: string) => {
    const scene = new Scene()
    const source = new Peer(url, secret, revision(shop))
    const shard = new MemoryLog('origin', scene.file, scanned)
    const data = new DataDirectory(join(scene.folder, 'data'), 'shop', revision(shop))
    const notices: string[] = []
    const wanted = { app: 'shop', revision: revision(shop), log: 'the-log', generation: 1, places: [shard.place] }
    const notice = (text: string) => void notices.push(text)
    const { database } = definitionOf(shop)
    const { signal } = new AbortController()
    await startFromSnapshot({ database, source, data, shards: [shard], wanted, clock: machine, patience: 400, signal, notice })
    data.close()
    const { replica } = await scene.open(scanned, 'data', undefined)
    await same(replica, scene)
    await replica.close()
    return notices
  }

  test('made when it is asked for, and gone when those who asked have it', async () => {
    const { url, scratch } = await peer('hush')
    const all = await Promise.all([begin(url, 'hush'), begin(`${url}/`, 'hush')])
    for (const notices of all) expect(notices).toEqual([expect.stringMatching(/^started from the snapshot just made of http:/)])
    await expect.poll(() => readdirSync(scratch)).toEqual([])
  })

  test('only for who knows the secret, has the same revision, and can reach it', async () => {
    const { url } = await peer('hush')
    expect(await begin(url, 'guessed')).toEqual([expect.stringMatching(/it answers 401.*The log is read from its beginning/)])
    const body = JSON.stringify({ revision: 'another' })
    const headers = { 'content-type': 'application/json', authorization: 'Bearer hush' }
    const other = await fetch(`${url}/mainstem/snapshot`, { method: 'POST', headers, body })
    expect([other.status, await other.text()]).toEqual([
      409,
      expect.stringMatching(/this replica has revision \w+, and another one is asked for/),
    ])
    expect((await fetch(`${url}/mainstem/snapshot`, { headers })).status).toBe(404)
    expect(await begin('http://127.0.0.1:9')).toEqual([expect.stringMatching(/nobody answers there/)])
  })

  test('torn or damaged on its way', async () => {
    const flip = (at: number) => (bytes: Buffer) => (bytes.writeUInt8(bytes[at]! ^ 1, at), bytes)
    for (const [spoil, why] of [
      [bytes => bytes.subarray(0, 100), /terminated|torn/],
      [bytes => bytes.subarray(0, bytes.length - 1), /terminated|cid is torn/],
      [flip(200), /damaged|not JSON/],
      [bytes => flip(bytes.length - 10)(bytes), /cid is damaged/],
    ] as [(bytes: Buffer) => Buffer, RegExp][]) {
      const { url, scratch } = await peer(undefined, spoil)
      expect((await begin(url)).join('\n')).toMatch(why)
      await expect.poll(() => readdirSync(scratch)).toEqual([])
    }
  })
})

describe('looks at the past', () => {
  test('begin at the nearest snapshot, and come to the same', async () => {
    for (const options of [scanned, searched]) {
      const scene = new Scene()
      const { replica, log } = await scene.open(options)
      const { replica: whole } = await scene.open(options, 'whole', undefined)
      const { cursor } = origin.made.snapshot.shards[0]!
      for (const version of [3, 8, 9, 11]) {
        log.reads.length = 0
        await using past = await replica.at(version, { tenant: 'ann' })
        await using full = await whole.at(version, { tenant: 'ann' })
        expect(past.query('entries')).toEqual(full.query('entries'))
        expect([past.version, past.digest, past.at]).toEqual([full.version, full.digest, full.at])
        if (options === scanned) expect(log.reads.includes(cursor), `version ${version}`).toBe(version > 8)
      }
      await using then = await replica.at(new Date(), { tenant: 'ann' })
      expect(then.version).toBe(11)
    }
  })

  test('pass over what is damaged', async () => {
    const scene = new Scene()
    const { replica } = await scene.open()
    truncateSync(join(scene.path, 'ann.db'), 9_000)
    await using past = await replica.at(10, { tenant: 'ann' })
    expect(past.query('total')).toBe(55)
    writeFileSync(scene.manifest, 'nothing')
    await using again = await replica.at(10, { tenant: 'ann' })
    expect(again.query('total')).toBe(55)
  })
})

describe('made', () => {
  test('while somebody commits all the time: it comes to an end, and is of one moment', async () => {
    const scene = new Scene()
    rmSync(scene.snapshots, { recursive: true })
    const first = await scene.open(searched, 'data', undefined)
    const long = (n: number) =>
      first.replica.execute('pay', { account: `${n}`.padEnd(200, 'y'), cents: 1 }, { tenant: 'ann', timeout: 30_000 })
    await Promise.all(Array.from({ length: 1_500 }, (_, n) => long(n)))
    await first.replica.close()
    const { replica } = await scene.open(searched, 'data', undefined)
    let making = true
    const writing = (async () => {
      while (making) await pay(replica, 'ann', 4_000 + scene.file.entries.length)
    })()
    const before = (await replica.digest('ann')).version
    const { snapshot } = await makeSnapshot(shop, join(scene.folder, 'data'), scene.snapshots).finally(() => {
      making = false
    })
    await writing
    expect(snapshot.databases[0]!.bytes).toBeGreaterThan(800_000)
    expect(snapshot.databases[0]!.version).toBeGreaterThanOrEqual(before)
    expect(snapshot.databases[0]!.version).toBeLessThan((await replica.digest('ann')).version)
    const { replica: started } = await scene.open(scanned, 'started')
    expect((await started.status()).notices[0]).toMatch(/started from/)
    await same(started, scene)
  })

  test('of one tenant, of all; the oldest of their kind go', async () => {
    const folder = temporaryFolder()
    const make = (tenant?: string, keep?: number) => makeSnapshot(shop, origin.data, folder, { tenant, keep })
    const [first, ann] = [await make(), await make('ann')]
    await make('bob')
    expect(ann.snapshot).toMatchObject({ whole: false, databases: [{ tenant: 'ann', version: 11 }] })
    await make()
    const last = await make(undefined, 2)
    expect(last.pruned).toEqual([first.name])
    expect((await make('ann', 1)).pruned).toEqual([ann.name])
    expect(readdirSync(folder)).toHaveLength(4)
  })

  test('refused where there is nothing, and nothing is left behind', async () => {
    const folder = temporaryFolder()
    await expect(makeSnapshot(shop, join(folder, 'nothing'), folder)).rejects.toMatchObject({ code: 'not-ready' })
    await expect(makeSnapshot(shop, origin.data, folder, { tenant: 'dan' })).rejects.toMatchObject({ code: 'data-unusable' })
    const other = app('shop', {
      events: { Noted: z.object({}) },
      database: sqlite('CREATE TABLE other (id INTEGER PRIMARY KEY)'),
      project: { Noted: () => {} },
      commands: {},
      queries: {},
    })
    await expect(makeSnapshot(other, origin.data, folder)).rejects.toMatchObject({ code: 'not-ready' })
    expect(readdirSync(folder)).toEqual([])
  })
})
