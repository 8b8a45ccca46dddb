/**
 * Copies of an embedded log that are torn or spoilt. What SQLite calls the end of its -wal stands in the -shm (file format of the WAL
 * index, 2.3: mxFrame, and in 2.1 nBackfill): up to there all is committed and synced, behind it anything may stand.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect } from 'vitest'
import { strategies } from '../../src/consistency.ts'
import { EngineError } from '../../src/errors.ts'
import { openReplica, type Replica } from '../../src/index.ts'
import type { Stored } from '../../src/log.ts'
import { decode } from '../../src/record.ts'
import { judge } from './judge.ts'
import { recordsOf } from './ledger.ts'
import { seeded } from '../../src/random.ts'
import { folderInMemory } from './logs.ts'
import { type Order, orderOf } from './orders.ts'
import shop from './shop.ts'

const ACCOUNTS = 5
const PAGE = 4_096

/** A log as its file and its -wal hold it. */
interface Files {
  readonly main: Buffer
  readonly wal: Buffer
  /** Where the -wal ends, bytes. */
  readonly end: number
}

/** One that was used by some replicas, at a moment and somewhat later. */
interface Used {
  readonly folder: string
  /** All of whose records were acknowledged. */
  readonly now: Files
  readonly records: readonly Stored[]
  /** The same file, and a -wal with more in it. */
  readonly later: Files
  /** What the file becomes when the -wal of `now` is moved into it. */
  readonly moved: Buffer
  readonly orders: ReadonlyMap<string, Order>
  /** Decisions in `now` that came to nothing. */
  readonly refused: number
  /** Of `now`. */
  readonly digest: string
}

interface Opened {
  readonly digest: { readonly version: number; readonly digest: string }
  /** What it says that an operator should know. */
  readonly told: string[]
  readonly refused: number
}

function filesOf(path: string): Files {
  const shm = readFileSync(`${path}-shm`)
  return { main: readFileSync(path), wal: readFileSync(`${path}-wal`), end: 32 + shm.readUInt32LE(16) * (PAGE + 24) }
}

/** @returns the path of the log */
function write(folder: string, main: Buffer, wal?: Buffer): string {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  const path = join(folder, 'shop.log')
  writeFileSync(path, main)
  if (wal) writeFileSync(`${path}-wal`, wal)
  return path
}

/** Moves the -wal into the file. */
function checkpoint(path: string): void {
  const db = new DatabaseSync(path)
  db.exec('PRAGMA wal_checkpoint(PASSIVE)')
  db.close()
}

async function used(random: () => number): Promise<Used> {
  const folder = folderInMemory()
  const path = join(folder, 'shop.log')
  const orders = new Map<string, Order>()
  const replicas: Replica[] = []
  let seed = 0
  const work = async (count: number): Promise<void> => {
    await Promise.all(
      replicas.map(async replica => {
        const own = ++seed
        for (let n = 0; n < count; n++) {
          const order = orderOf(own, n, ACCOUNTS)
          orders.set(order.id, order)
          await (replica as { execute(...args: unknown[]): Promise<unknown> }).execute(order.command, order.input, { id: order.id })
        }
      }),
    )
  }
  const strategy = strategies[Math.floor(random() * strategies.length)]!
  const count = 1 + Math.floor(random() * 3)
  try {
    for (let n = 0; n < count; n++)
      replicas.push(await openReplica(shop, { log: `file:${path}`, data: join(folder, `data-${n}`), strategy }))
    await work(5 + Math.floor(random() * 30))
    // Perhaps some of it stands in the file, and the -wal was begun anew.
    if (random() < 0.6) {
      checkpoint(path)
      await work(1 + Math.floor(random() * 20))
    }
    const now = filesOf(path)
    const records = await recordsOf(`file:${path}`)
    await work(1 + Math.floor(random() * 4))
    const later = filesOf(path)
    expect(later.main.equals(now.main), 'the -wal was moved meanwhile').toBe(true)
    const whole = write(join(folder, 'whole'), now.main, now.wal.subarray(0, now.end))
    checkpoint(whole)
    const moved = readFileSync(whole)
    const { refused, told, digest } = await opened(whole, join(folder, 'seen'))
    expect(told).toEqual([])
    return { folder, now, records, later, moved, orders, refused, digest: digest.digest }
  } finally {
    for (const replica of replicas) await replica.close()
  }
}

/** What a replica says that reads such a log. @throws EngineError */
async function opened(path: string, data: string): Promise<Opened> {
  await using replica = await openReplica(shop, { log: `file:${path}`, data, strategy: 'first-wins' })
  await replica.query('total', undefined, { read: 'linearizable' })
  const { notices, foreign, refused, tenants } = await replica.status()
  const halted = Object.values(tenants).flatMap(({ error }) => error ?? [])
  return { digest: await replica.digest(), told: [...notices, ...halted, ...(foreign > 0 ? [`${foreign} foreign`] : [])], refused }
}

/** Spoils some of the bytes from a place on. */
function spoil(bytes: Buffer, from: number, random: () => number): Buffer {
  const copy = Buffer.from(bytes)
  const at = from + Math.floor(random() * (copy.length - from))
  const length = Math.min(copy.length - at, 1 + Math.floor(random() ** 3 * 3 * PAGE))
  const kind = Math.floor(random() * 5)
  if (kind === 0) return copy.subarray(0, at)
  if (kind === 1) copy.fill(0, at, at + length)
  else if (kind === 2) for (let n = 0; n < length; n++) copy[at + n] = Math.floor(random() * 256)
  else if (kind === 3) for (let n = 0; n < 8; n++) flip(copy, from + Math.floor(random() * (copy.length - from)), random)
  else flip(copy, at, random)
  return copy
}

function flip(bytes: Buffer, at: number, random: () => number): void {
  bytes[at]! ^= 1 << Math.floor(random() * 8)
}

/** A file of which a part was written over, sector by sector or byte by byte. */
function mixed(one: Buffer, other: Buffer, random: () => number): Buffer {
  const copy = Buffer.from(
    random() < 0.5 && other.length > one.length ? Buffer.concat([one, Buffer.alloc(other.length - one.length)]) : one,
  )
  const step = [1 + Math.floor(random() * 100), 512, PAGE][Math.floor(random() * 3)]!
  for (let at = 0; at < other.length; at += step) if (random() < 0.5) other.copy(copy, at, at, Math.min(at + step, copy.length))
  return copy
}

const same = (one: Stored, other: Stored): boolean =>
  one.position === other.position && one.tenant === other.tenant && one.value === other.value

export interface Torn {
  readonly copies: number
  /** What stood in them that was acknowledged, counted once each. */
  readonly accepted: number
}

/** Copies that a crash may leave: all that was acknowledged is there, and whoever reads it comes to the same. */
export async function tornCopies({ seed, copies }: { readonly seed: number; readonly copies: number }): Promise<Torn> {
  const random = seeded(seed)
  const { folder, now, records, later, moved, orders } = await used(random)
  let accepted = 0
  for (let n = 0; n < copies; n++) {
    const note = `seed ${seed}, copy ${n}`
    // Behind the end anything may stand: what was being written, or nothing, or what the disk made of it.
    const wal = spoil(random() < 0.8 ? later.wal : Buffer.concat([now.wal, Buffer.alloc(3 * PAGE)]), now.end, random)
    // As long as all of it still stands in the -wal, the file may be written over.
    const main = random() < 0.4 ? mixed(now.main, moved, random) : now.main
    const path = write(join(folder, 'copy'), main, wal)
    // What was shared memory may be gone, or be anything.
    if (random() < 0.3) writeFileSync(`${path}-shm`, Buffer.from(Array.from({ length: 32_768 }, () => Math.floor(random() * 256))))
    const found = await recordsOf(`file:${path}`)
    expect(found.length, note).toBeGreaterThanOrEqual(records.length)
    for (const [index, record] of records.entries()) expect(same(found[index]!, record), `${note}: record ${index}`).toBe(true)
    const { problems, digests, accepted: there } = judge(found, id => orders.get(id)!)
    expect(problems, note).toEqual([])
    const { digest, told } = await opened(path, join(folder, 'copy', 'data'))
    expect(told, note).toEqual([])
    expect(`${digest.version} ${digest.digest}`, note).toBe(digests.get('default'))
    accepted = Math.max(accepted, there.size)
  }
  return { copies, accepted }
}

/**
 * What became of copies that were spoilt where all was synced: `whole` (the damage hit nothing that is read), `refused` (with an error), `told`
 * (in the status of whoever reads it); or not noticed by who reads the file alone: `short` (the last records are missing, as if they had never
 * been written), `altered` (a rejection, which no digest covers, or the last record that has events).
 */
export type Spoilt = Record<'whole' | 'refused' | 'told' | 'short' | 'altered', number>

/** Copies that no crash leaves, but a bad disk, or `cp` while somebody writes. @throws where something is wrong that nobody says */
export async function spoiltCopies({ seed, copies }: { readonly seed: number; readonly copies: number }): Promise<Spoilt> {
  const random = seeded(seed)
  const all = await used(random)
  const ends: Spoilt = { whole: 0, refused: 0, told: 0, short: 0, altered: 0 }
  for (let n = 0; n < copies; n++) {
    const { now, later, moved } = all
    const kind = Math.floor(random() * 4)
    const path =
      kind === 0
        ? write(join(all.folder, 'copy'), spoil(moved, 0, random))
        : kind === 1
          ? write(join(all.folder, 'copy'), spoil(now.main, 0, random), now.wal)
          : kind === 2
            ? write(join(all.folder, 'copy'), now.main, spoil(now.wal.subarray(0, now.end), 0, random))
            : write(join(all.folder, 'copy'), mixed(now.main, moved, random), later.wal.subarray(0, Math.floor(random() * now.end)))
    ends[await endOf(path, all, `seed ${seed}, copy ${n}, kind ${kind}`)]++
  }
  return ends
}

async function endOf(path: string, { folder, records, refused, digest }: Used, note: string): Promise<keyof Spoilt> {
  let found: Stored[]
  let fresh: Opened
  try {
    found = await recordsOf(`file:${path}`)
    fresh = await opened(path, join(folder, 'copy', 'data'))
  } catch (error) {
    if (!(error instanceof EngineError)) throw error
    expect(['log-unusable', 'halted'], `${note}: ${error.message}`).toContain(error.code)
    return 'refused'
  }
  const differs = records.findIndex((record, index) => found[index] === undefined || !same(found[index], record))
  const end =
    differs < 0 ? 'whole' : fresh.told.length > 0 || fresh.refused > refused ? 'told' : found.length <= differs ? 'short' : 'altered'
  // The digest of events covers events; and the next record that has some tells of it.
  const last = records.findLastIndex(hasEvents)
  if (end === 'altered') expect(fresh.digest.digest === digest || differs >= last, `${note}: record ${differs}`).toBe(true)
  // Who has seen what is missing does not go on without it.
  if (end === 'short' && differs <= last) {
    cpSync(join(folder, 'seen'), join(folder, 'copy', 'seen'), { recursive: true })
    const error = await opened(path, join(folder, 'copy', 'seen')).then(
      () => undefined,
      (error: unknown) => error,
    )
    // Where nothing is left, it takes it for another log.
    expect(['log-behind', 'log-other'], `${note}: ${(error as Error | undefined)?.message}`).toContain(
      (error as EngineError | undefined)?.code,
    )
  }
  return end
}

const hasEvents = ({ value }: Stored): boolean => {
  const record = decode(value)
  return record.kind === 'data' && record.decisions.some(({ events }) => events.length > 0)
}
