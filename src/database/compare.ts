/**
 * Compares what the app has in two databases, row by row: for `verify`, for `db diff`, and for tests that two replicas agree. The
 * engine's own tables are left out; how a file is laid out does not matter. SQLite does the comparing, so that a million rows take
 * about a second and no memory to speak of. Values are equal if they are the same and of the same type: 1 is not 1.0, and 'a' is not 'A'.
 */
import { createHash } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'
import { fileFailure, readingUri } from './connection.ts'
import type { Sql } from './handles.ts'

/** Integers beyond 2^53 are bigints. */
export type Row = Readonly<Record<string, Sql>>

export interface Difference {
  readonly table: string
  /** The row's primary key; null where the table has none, or where the tables themselves differ. */
  readonly key: Row | null
  /** The row in the first and in the second database, null where it is missing. Of tables that differ: their `columns`. */
  readonly a: Row | null
  readonly b: Row | null
  readonly message: string
}

export type Comparison = { readonly equal: true; readonly tables: number; readonly rows: number } | ({ readonly equal: false } & Difference)

/**
 * The first difference, by name of the table and primary key. Rows without a primary key are compared in the order of all their
 * columns, however many times each is there.
 */
export function compare(pathA: string, pathB: string): Comparison {
  return withBoth(pathA, pathB, db => {
    let rows = 0
    const pairs = tablePairs(db)
    for (const pair of pairs) {
      if (pair.a && pair.b && sameColumns(pair.a, pair.b)) {
        const count = quicklyEqual(db, pair.a)
        if (count !== undefined) {
          rows += count
          continue
        }
      }
      for (const difference of differences(db, pair, 1)) return { equal: false, ...difference }
      rows += countOf(db, 'a', pair.a!)
    }
    return { equal: true, tables: pairs.length, rows }
  })
}

/** All differences, up to a limit, in the same order. */
export function* diff(pathA: string, pathB: string, limit: number = Number.MAX_SAFE_INTEGER): Generator<Difference, void, undefined> {
  const db = openBoth(pathA, pathB)
  try {
    let left = limit
    for (const pair of tablePairs(db)) {
      if (left <= 0) return
      for (const difference of differences(db, pair, left)) {
        yield difference
        left--
      }
    }
  } catch (error) {
    throw fileFailure(`${pathA} or ${pathB}`, error) ?? error
  } finally {
    db.close()
  }
}

/** sha256 (base64url) over all rows of the app's tables: equal if and only if `compare` finds no difference. */
export function contentDigest(path: string): string {
  return withBoth(path, undefined, db => {
    const hash = createHash('sha256')
    for (const table of tablesOf(db, 'a')) {
      let text = `${JSON.stringify([table.name, table.columns])}\n`
      const order = hasKey(db, table, ['a']) ? table.key.map(quoted) : ordered(table.columns)
      const select = `SELECT ${table.columns.map(quoted).join()} FROM a.${quoted(table.name)} ORDER BY ${order.join()}`
      for (const row of arrays(db, select)) {
        for (const value of row) text += canonical(value)
        if (text.length < 65_536) continue
        hash.update(text)
        text = ''
      }
      hash.update(text)
    }
    return hash.digest('base64url')
  })
}

/** No two rows of as many columns give the same text: each value says its type and where it ends. */
function canonical(value: Sql): string {
  if (typeof value === 'string') return `t${value.length}:${value}`
  if (typeof value === 'bigint') return `i${value};`
  if (typeof value === 'number') return `r${value};`
  return value === null ? 'n' : `b${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')};`
}

// --- Files and tables -----------------------------------------------------------------------------------------------------------

type Side = 'a' | 'b'

interface Table {
  readonly name: string
  readonly columns: readonly string[]
  readonly key: readonly string[]
  /** Names and types, to be compared. */
  readonly described: string
}

interface Pair {
  readonly name: string
  readonly a: Table | undefined
  readonly b: Table | undefined
}

function withBoth<T>(pathA: string, pathB: string | undefined, use: (db: DatabaseSync) => T): T {
  const db = openBoth(pathA, pathB)
  try {
    return use(db)
  } catch (error) {
    throw fileFailure(pathB === undefined ? pathA : `${pathA} or ${pathB}`, error) ?? error
  } finally {
    db.close()
  }
}

/** Both in one read transaction, so that writers may go on meanwhile. */
function openBoth(pathA: string, pathB: string | undefined): DatabaseSync {
  const db = new DatabaseSync(':memory:', { timeout: 1000 })
  try {
    db.prepare('ATTACH ? AS a').run(readingUri(pathA))
    if (pathB !== undefined) db.prepare('ATTACH ? AS b').run(readingUri(pathB))
    db.exec('PRAGMA query_only = ON; BEGIN')
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

function tablesOf(db: DatabaseSync, side: Side): Table[] {
  // sqlite_sequence too: the next AUTOINCREMENT of a replica depends on it.
  const names = db
    .prepare(
      `SELECT name FROM ${side}.sqlite_schema WHERE type = 'table' AND (name NOT LIKE 'sqlite\\_%' ESCAPE '\\' OR name = 'sqlite_sequence')
         AND name NOT LIKE 'mainstem\\_%' ESCAPE '\\' ORDER BY name`,
    )
    .all() as { name: string }[]
  const columnsOf = db.prepare('SELECT name, type, pk FROM pragma_table_xinfo(?, ?) WHERE hidden <> 1 ORDER BY cid')
  return names.map(({ name }) => {
    const columns = columnsOf.all(name, side) as { name: string; type: string; pk: number }[]
    const key = columns.filter(({ pk }) => pk > 0).sort((x, y) => x.pk - y.pk)
    return {
      name,
      columns: columns.map(column => column.name),
      key: key.map(column => column.name),
      described: columns.map(column => `${column.name} ${column.type}${column.pk ? ` key ${column.pk}` : ''}`).join(', '),
    }
  })
}

function tablePairs(db: DatabaseSync): Pair[] {
  const a = new Map(tablesOf(db, 'a').map(table => [table.name, table]))
  const b = new Map(tablesOf(db, 'b').map(table => [table.name, table]))
  return [...new Set([...a.keys(), ...b.keys()])].sort().map(name => ({ name, a: a.get(name), b: b.get(name) }))
}

const sameColumns = (a: Table, b: Table): boolean => a.described === b.described

/** SQLite lets keys be NULL, any number of times, unless they are declared otherwise: then they tell no row from another. */
function hasKey(db: DatabaseSync, { name, key }: Table, sides: readonly Side[]): boolean {
  if (key.length === 0) return false
  const isNull = key.map(column => `${quoted(column)} IS NULL`).join(' OR ')
  return sides.every(side => db.prepare(`SELECT 1 FROM ${side}.${quoted(name)} WHERE ${isNull} LIMIT 1`).get() === undefined)
}

const countOf = (db: DatabaseSync, side: Side, { name }: Table): number =>
  Number(db.prepare(`SELECT count(*) AS n FROM ${side}.${quoted(name)}`).get()!['n'])

// --- Rows -----------------------------------------------------------------------------------------------------------------------

/** How many rows both have, if it takes one pass to see that they are equal; undefined if it has to be looked at closely. */
function quicklyEqual(db: DatabaseSync, table: Table): number | undefined {
  const count = countOf(db, 'a', table)
  if (count !== countOf(db, 'b', table)) return undefined
  if (count === 0) return 0
  if (!hasKey(db, table, ['a', 'b'])) return undefined
  return db.prepare(`SELECT 1 ${differingInA(table)} LIMIT 1`).get() === undefined ? count : undefined
}

/** Rows x of a that b has not, or has otherwise, as y. */
const differingInA = ({ name, columns, key }: Table): string =>
  `FROM a.${quoted(name)} AS x LEFT JOIN b.${quoted(name)} AS y ON ${joined(key)}
   WHERE y.${quoted(key[0]!)} IS NULL OR NOT (${columns.map(same).join(' AND ')})`

const joined = (key: readonly string[]): string => key.map(column => `x.${quoted(column)} = y.${quoted(column)}`).join(' AND ')

/** By no collation, and by type: both would call more things equal. */
const same = (column: string): string =>
  `x.${quoted(column)} IS y.${quoted(column)} COLLATE BINARY AND typeof(x.${quoted(column)}) = typeof(y.${quoted(column)})`

function differences(db: DatabaseSync, { name, a, b }: Pair, limit: number): Iterable<Difference> {
  if (!a || !b || !sameColumns(a, b)) return [tableDifference(name, a, b)]
  return hasKey(db, a, ['a', 'b']) ? keyedDifferences(db, a, limit) : looseDifferences(db, a, limit)
}

function tableDifference(table: string, a: Table | undefined, b: Table | undefined): Difference {
  const row = (side: Table | undefined) => side && { columns: side.described }
  const message =
    a && b ? `table ${table} has other columns: ${a.described} in A, ${b.described} in B` : `table ${table} is missing in ${a ? 'B' : 'A'}`
  return { table, key: null, a: row(a) ?? null, b: row(b) ?? null, message }
}

function* keyedDifferences(db: DatabaseSync, table: Table, limit: number): Iterable<Difference> {
  const { name, columns, key } = table
  const of = (alias: string, names: readonly string[]) => names.map(column => `${alias}.${quoted(column)}`).join()
  const isNull = (alias: string) => `${alias}.${quoted(key[0]!)} IS NULL`
  const found = arrays(
    db,
    `SELECT ${of('x', key)}, 1, NOT ${isNull('y')}, ${of('x', columns)}, ${of('y', columns)} ${differingInA(table)}
     UNION ALL
     SELECT ${of('y', key)}, 0, 1, ${columns.map(() => 'NULL').join()}, ${of('y', columns)}
     FROM b.${quoted(name)} AS y LEFT JOIN a.${quoted(name)} AS x ON ${joined(key)} WHERE ${isNull('x')}
     ORDER BY ${key.map((_, i) => i + 1).join()} LIMIT ?`,
    limit,
  )
  for (const row of found) {
    const at = key.length + 2
    const a = row[key.length] === 1n ? record(columns, row, at) : null
    const b = row[key.length + 1] === 1n ? record(columns, row, at + columns.length) : null
    const keyRow = record(key, row, 0)
    yield { table: name, key: plain(keyRow), a: plain(a), b: plain(b), message: `table ${name}, row ${listed(keyRow)}: ${compared(a, b)}` }
  }
}

function* looseDifferences(db: DatabaseSync, { name, columns }: Table, limit: number): Iterable<Difference> {
  const names = columns.map(quoted).join()
  const groups = ordered(columns).join()
  const found = arrays(
    db,
    `SELECT sum(n), ${names} FROM (SELECT 1 AS n, ${names} FROM a.${quoted(name)} UNION ALL SELECT -1, ${names} FROM b.${quoted(name)})
     GROUP BY ${groups} HAVING sum(n) <> 0 ORDER BY ${groups} LIMIT ?`,
    limit,
  )
  let left = limit
  for (const [surplus, ...values] of found) {
    const row = record(columns, values, 0)
    const [a, b] = (surplus as bigint) > 0n ? [row, null] : [null, row]
    for (let copies = Math.abs(Number(surplus)); copies > 0 && left > 0; copies--, left--)
      yield { table: name, key: null, a: plain(a), b: plain(b), message: `table ${name}: ${compared(a, b)}` }
  }
}

/** Rows that are alike stand together, also where SQLite would not tell 1 from 1.0. */
const ordered = (columns: readonly string[]): string[] =>
  columns.flatMap(column => [`${quoted(column)} COLLATE BINARY`, `typeof(${quoted(column)})`])

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

function arrays(db: DatabaseSync, sql: string, ...params: Sql[]): Iterable<Sql[]> {
  return db.prepare(sql, { returnArrays: true, readBigInts: true }).iterate(...params) as unknown as Iterable<Sql[]>
}

/** As SQLite has it: each INTEGER is a bigint, each number a REAL. */
const record = (columns: readonly string[], values: readonly Sql[], start: number): Row =>
  Object.fromEntries(columns.map((column, i) => [column, values[start + i]!]))

function plain<R extends Row | null>(row: R): R {
  return row && (Object.fromEntries(Object.entries(row).map(([column, value]) => [column, isSafe(value) ? Number(value) : value])) as R)
}

const isSafe = (value: Sql): boolean => typeof value === 'bigint' && Number.isSafeInteger(Number(value))

// --- Words ----------------------------------------------------------------------------------------------------------------------

function compared(a: Row | null, b: Row | null): string {
  if (a === null) return `only in B: ${listed(b!)}`
  if (b === null) return `only in A: ${listed(a)}`
  return Object.keys(a)
    .filter(column => !alike(a[column]!, b[column]!))
    .map(column => `${column} is ${shown(a[column]!)} in A, ${shown(b[column]!)} in B`)
    .join('; ')
}

function alike(a: Sql, b: Sql): boolean {
  return a instanceof Uint8Array && b instanceof Uint8Array ? Buffer.compare(a, b) === 0 : Object.is(a, b)
}

const listed = (row: Row): string =>
  `(${Object.entries(row)
    .map(([column, value]) => `${column} ${shown(value)}`)
    .join(', ')})`

function shown(value: Sql): string {
  if (value === null) return 'NULL'
  if (value instanceof Uint8Array) return `x'${Buffer.from(value.subarray(0, 32)).toString('hex')}'${value.length > 32 ? '...' : ''}`
  if (typeof value === 'number') return /^-?\d+$/.test(String(value)) ? `${value}.0` : String(value)
  if (typeof value === 'bigint') return String(value)
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}...` : value)
}
