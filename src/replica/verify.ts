/**
 * Whether a tenant's database is what its log says: a consistent copy is taken, also while its replica writes, the log is replayed to the
 * very position of the copy, and all rows are compared.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Verdict } from '../accept.ts'
import { type App, definitionOf } from '../app.ts'
import { compare, type Difference } from '../database/compare.ts'
import { openStore } from '../database/sqlite.ts'
import type { Standing } from '../database.ts'
import { EngineError } from '../errors.ts'
import { uuidv7Time } from '../ids.ts'
import { type Astray, astray } from '../log/fold.ts'
import type { Log } from '../log.ts'
import { recordHash } from '../record.ts'
import { type ReplayProgress, replay, shardAt } from './replay.ts'

export interface Verified {
  readonly tenant: string
  /** Where the copy of the database stood. */
  readonly version: number
  readonly position: number
  readonly digest: string
  /** Of the app. */
  readonly tables: number
  readonly rows: number
  /** What is wrong; undefined if all is well. */
  readonly problem?: string
  /** The first row that differs: `a` as it is in the database, `b` as the log has it. */
  readonly difference?: Difference
  /** The log was damaged in its past. A database that was built since is as the log has it, and yet lacks what stood there. */
  readonly astray?: Astray
}

/**
 * @param path of the tenant's database
 * @throws EngineError data-unusable, log-unusable, halted
 */
export async function verifyTenant(
  app: App,
  log: Log,
  tenant: string,
  path: string,
  progress: (progress: ReplayProgress) => void = () => {},
): Promise<Verified> {
  if (!existsSync(path)) throw new EngineError('data-unusable', `there is no database of tenant ${tenant} at ${path}`)
  const folder = mkdtempSync(join(tmpdir(), 'mainstem-verify-'))
  try {
    const living = join(folder, 'living.db')
    const replayed = join(folder, 'replayed.db')
    copyDatabase(path, living)
    const { database } = definitionOf(app)
    const copy = openStore(database, living, { mode: 'read' })
    const { standing } = copy
    copy.close()
    const { version, position, digest } = standing
    const result: Verified = { tenant, version, position, digest, tables: 0, rows: 0 }
    if (position > 0 && !(await holds(log, tenant, standing))) {
      return { ...result, problem: await misplaced(log, standing) }
    }
    const store = openStore(database, replayed)
    let lost: Astray | undefined
    const look = (position: number, verdicts: readonly Verdict[]) => {
      lost = astray(lost, position, verdicts)
    }
    const told = await replay(app, log, tenant, store, { position }, progress, { folded: look }).finally(() => store.close())
    const found: Verified = { ...result, ...(lost ? { astray: lost } : {}) }
    const compared = compare(living, replayed)
    const { forgetBefore } = await shardAt(log, position)
    const inner = compareStandings(standing, told) ?? compareEngine(living, replayed, forgetBefore)
    if (!compared.equal) return { ...found, problem: describe(compared), difference: compared }
    const { tables, rows } = compared
    return { ...found, tables, rows, ...(inner === undefined ? {} : { problem: inner }) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A snapshot, while others write. */
function copyDatabase(path: string, to: string): void {
  const db = new DatabaseSync(path, { readOnly: true, timeout: 5_000 })
  try {
    db.prepare('VACUUM INTO ?').run(to)
  } catch (cause) {
    throw new EngineError('data-unusable', `the database ${path} cannot be read: ${(cause as Error).message}`, { cause })
  } finally {
    db.close()
  }
}

async function misplaced(log: Log, { position, version, generation }: Standing): Promise<string> {
  const now = (await shardAt(log, Number.MAX_SAFE_INTEGER)).generation
  if (generation < now)
    return `it stands at version ${version} of generation ${generation} of its log, which was restored or copied since (${now}): it is built anew when it is next used`
  return `it stands at position ${position} of its log, which does not hold the record that it remembers: the log was replaced. Bring the right one back, or restore a backup`
}

async function holds(log: Log, tenant: string, standing: Standing): Promise<boolean> {
  const { position } = standing
  const { records } = await log.read(position - 1, { tenant, upTo: position })
  const last = records.find(record => record.position === position)
  return last !== undefined && recordHash(last.value) === standing.recordHash
}

function compareStandings(living: Standing, told: Standing): string | undefined {
  for (const key of ['version', 'digest', 'floor', 'time'] as const) {
    if (living[key] !== told[key]) return `its ${key} is ${living[key]}, by the log ${told[key]}`
  }
  return undefined
}

/** The engine's own tables, which repeats and past versions are answered from. */
function compareEngine(living: string, replayed: string, forgetBefore: number): string | undefined {
  const db = new DatabaseSync(':memory:')
  try {
    db.prepare('ATTACH ? AS living').run(living)
    db.prepare('ATTACH ? AS replayed').run(replayed)
    const tables = db.prepare(
      `SELECT name FROM replayed.sqlite_schema WHERE type = 'table' AND name GLOB 'mainstem_*' AND name <> 'mainstem_standing'`,
    )
    const columnsOf = db.prepare(`SELECT name FROM pragma_table_info(?, 'replayed') WHERE name <> 'writes' ORDER BY cid`)
    for (const { name } of tables.all() as { name: string }[]) {
      // Beyond the window it is up to each database when the writes are dropped.
      const columns = (columnsOf.all(name) as { name: string }[]).map(column => `"${column.name}"`).join()
      for (const [has, lacks] of [
        ['living', 'replayed'],
        ['replayed', 'living'],
      ] as const) {
        const rows = db.prepare(`SELECT ${columns} FROM ${has}.${name} EXCEPT SELECT ${columns} FROM ${lacks}.${name} ORDER BY 1`).iterate()
        for (const row of rows as Iterable<unknown> as Iterable<Record<string, unknown>>) {
          const [[key, value] = ['', '']] = Object.entries(row)
          // So is it when forgotten ids go.
          if ((uuidv7Time(String(value)) ?? Infinity) < forgetBefore) continue
          const how = has === 'living' ? 'the log does not have it like that' : 'it is missing, or not as the log has it'
          return `table ${name}, ${key} ${String(value)}: ${how}`
        }
      }
    }
    return undefined
  } finally {
    db.close()
  }
}

/** In words, where the database comes first and its log second. */
function describe({ table, key, a, b, message }: Difference): string {
  if (key === null && a?.['columns'] !== undefined && b?.['columns'] === undefined) return message
  const where = `table ${table}${key === null ? '' : `, row ${listed(key)}`}`
  if (a === null) return `${where} is missing; by the log there is ${listed(b!)}`
  if (b === null) return `${where} is too much; the log knows nothing of ${listed(a)}`
  const columns = Object.keys(a).filter(column => shown(a[column]) !== shown(b[column]))
  return `${where}: ${columns.map(column => `${column} is ${shown(a[column])}, by the log ${shown(b[column])}`).join('; ')}`
}

const listed = (row: Readonly<Record<string, unknown>>) =>
  `(${Object.entries(row)
    .map(([column, value]) => `${column} ${shown(value)}`)
    .join(', ')})`

function shown(value: unknown): string {
  if (ArrayBuffer.isView(value)) return `x'${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex').slice(0, 64)}'`
  if (typeof value === 'bigint') return String(value)
  return JSON.stringify(value) ?? 'nothing'
}
