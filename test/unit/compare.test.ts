import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { compare, contentDigest, type Difference, diff } from '../../src/database/compare.ts'
import type { Sql } from '../../src/database/handles.ts'
import { openStore, sqlite } from '../../src/database/sqlite.ts'
import { EngineError } from '../../src/errors.ts'

let folder: string
let a: string
let b: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mainstem-compare-'))
  // Names that a URI would read otherwise.
  a = join(folder, 'a b?x=1&mode=rw#%41.db')
  b = join(folder, 'b.db')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

type Rows = readonly (readonly Sql[])[]

const fill = (path: string, ddl: string, rows: Readonly<Record<string, Rows>> = {}): void => {
  const db = new DatabaseSync(path)
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; BEGIN; ${ddl}`)
  for (const [table, all] of Object.entries(rows))
    for (const row of all) db.prepare(`INSERT INTO "${table}" VALUES (${row.map(() => '?').join()})`).run(...row)
  db.exec('COMMIT')
  db.close()
}
/** Both with the same tables. */
const both = (ddl: string, table: string, rowsA: Rows, rowsB: Rows): void => {
  for (const path of [a, b]) rmSync(path, { force: true })
  fill(a, ddl, { [table]: rowsA })
  fill(b, ddl, { [table]: rowsB })
}
const all = (limit?: number): Difference[] => [...diff(a, b, limit)]
const brief = ({ table, key, a: rowA, b: rowB }: Difference) => ({ table, key, a: rowA, b: rowB })

/** All three agree. */
const expectEqual = (tables: number, rows: number): void => {
  expect(compare(a, b)).toEqual({ equal: true, tables, rows })
  expect(all()).toEqual([])
  expect(contentDigest(a)).toBe(contentDigest(b))
}
const expectDifferent = (...differences: ReturnType<typeof brief>[]): Difference => {
  const found = all()
  expect(found.map(brief)).toEqual(differences)
  const first = compare(a, b)
  expect(first).toEqual({ equal: false, ...found[0] })
  expect(contentDigest(a)).not.toBe(contentDigest(b))
  return found[0]!
}

describe('tables with a primary key', () => {
  const ddl = 'CREATE TABLE t (id TEXT PRIMARY KEY, n INTEGER, v ANY) STRICT, WITHOUT ROWID'

  test('equal, however they came to be so', () => {
    both(
      ddl,
      't',
      [
        ['a', 1n, 'x'],
        ['b', 2n, null],
      ],
      [
        ['b', 2n, null],
        ['a', 1n, 'x'],
      ],
    )
    expectEqual(1, 2)
    both(ddl, 't', [], [])
    expectEqual(1, 0)
  })

  test('changed, only here, only there: in the order of the key', () => {
    both(
      ddl,
      't',
      [
        ['a', 1n, null],
        ['c', 3n, null],
        ['d', 4n, null],
        ['f', 6n, null],
      ],
      [
        ['a', 1n, null],
        ['b', 2n, null],
        ['c', 3n, null],
        ['d', 5n, 'x'],
        ['e', 5n, null],
      ],
    )
    const first = expectDifferent(
      { table: 't', key: { id: 'b' }, a: null, b: { id: 'b', n: 2, v: null } },
      { table: 't', key: { id: 'd' }, a: { id: 'd', n: 4, v: null }, b: { id: 'd', n: 5, v: 'x' } },
      { table: 't', key: { id: 'e' }, a: null, b: { id: 'e', n: 5, v: null } },
      { table: 't', key: { id: 'f' }, a: { id: 'f', n: 6, v: null }, b: null },
    )
    expect(first.message).toBe('table t, row (id "b"): only in B: (id "b", n 2, v NULL)')
    expect(all()[1]!.message).toBe('table t, row (id "d"): n is 4 in A, 5 in B; v is NULL in A, "x" in B')
    expect(all()[3]!.message).toBe('table t, row (id "f"): only in A: (id "f", n 6, v NULL)')
  })

  test('one holds all of the other and more', () => {
    both(
      ddl,
      't',
      [['b', 1n, null]],
      [
        ['a', 1n, null],
        ['b', 1n, null],
        ['c', 1n, null],
      ],
    )
    expectDifferent(
      { table: 't', key: { id: 'a' }, a: null, b: { id: 'a', n: 1, v: null } },
      { table: 't', key: { id: 'c' }, a: null, b: { id: 'c', n: 1, v: null } },
    )
    both(
      ddl,
      't',
      [
        ['a', 1n, null],
        ['b', 1n, null],
      ],
      [],
    )
    expect(all().map(one => one.key)).toEqual([{ id: 'a' }, { id: 'b' }])
    expect(compare(a, b)).toMatchObject({ equal: false, key: { id: 'a' } })
  })

  test.each<[Sql, Sql]>([
    [1n, 2n],
    [1n, 1.5],
    [1n, '1'],
    ['1', new Uint8Array([0x31])],
    [null, 0n],
    [null, ''],
    ['', new Uint8Array(0)],
    ['a', 'A'],
    ['a', 'a '],
    ['a\0b', 'a\0c'],
    ['a', 'a\0'],
    ['ä', 'a\u0308'],
    [new Uint8Array([1, 2]), new Uint8Array([1, 3])],
    [2n ** 53n, 2n ** 53n + 1n],
    [2n ** 63n - 1n, 2n ** 63n - 2n],
    [-(2n ** 63n), -(2n ** 63n) + 1n],
    [0.1, 0.1 + Number.EPSILON / 16],
    [9007199254740993n, 2 ** 53],
    [1e300, 1e301],
  ])('%o is not %o, and each is itself', (one, other) => {
    both(ddl, 't', [['k', 1n, one]], [['k', 1n, other]])
    const plain = (value: Sql) => (typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value)
    expectDifferent({ table: 't', key: { id: 'k' }, a: { id: 'k', n: 1, v: plain(one) }, b: { id: 'k', n: 1, v: plain(other) } })
    both(ddl, 't', [['k', 1n, one]], [['k', 1n, one]])
    expectEqual(1, 1)
    // The same among rows without a key, where they decide what comes first.
    const loose = 'CREATE TABLE t (v ANY) STRICT'
    both(loose, 't', [[one], ['z']], [[other], ['z']])
    expect(all().map(brief)).toHaveLength(2)
    expect(all()).toContainEqual(expect.objectContaining({ a: { v: plain(one) }, b: null }))
    expect(all()).toContainEqual(expect.objectContaining({ a: null, b: { v: plain(other) } }))
    expect(contentDigest(a)).not.toBe(contentDigest(b))
    both(loose, 't', [[one], ['z']], [['z'], [one]])
    expectEqual(1, 2)
  })

  test('an INTEGER is not a REAL of the same value, in a value and in a key', () => {
    both('CREATE TABLE t (id INTEGER PRIMARY KEY, v)', 't', [[1n, 5n]], [[1n, 5]])
    expect(expectDifferent({ table: 't', key: { id: 1 }, a: { id: 1, v: 5 }, b: { id: 1, v: 5 } }).message).toMatch(
      /v is 5 in A, 5\.0 in B/,
    )
    both('CREATE TABLE t (id ANY PRIMARY KEY) STRICT, WITHOUT ROWID', 't', [[5n]], [[5]])
    expect(compare(a, b)).toMatchObject({ equal: false, key: { id: 5 } })
    expect(contentDigest(a)).not.toBe(contentDigest(b))
  })

  test('a key of several columns, of other order and collation', () => {
    const odd = 'CREATE TABLE t (v, "b ""q" TEXT COLLATE NOCASE, a INTEGER, PRIMARY KEY (a DESC, "b ""q")) WITHOUT ROWID'
    both(
      odd,
      't',
      [
        ['x', 'k', 1n],
        ['y', 'k', 2n],
      ],
      [
        ['x', 'K', 1n],
        ['z', 'k', 2n],
      ],
    )
    expectDifferent(
      { table: 't', key: { a: 1, 'b "q': 'k' }, a: { v: 'x', 'b "q': 'k', a: 1 }, b: { v: 'x', 'b "q': 'K', a: 1 } },
      { table: 't', key: { a: 2, 'b "q': 'k' }, a: { v: 'y', 'b "q': 'k', a: 2 }, b: { v: 'z', 'b "q': 'k', a: 2 } },
    )
    both(
      odd,
      't',
      [
        ['x', 'k', 1n],
        ['y', 'K', 2n],
      ],
      [
        ['y', 'K', 2n],
        ['x', 'k', 1n],
      ],
    )
    expectEqual(1, 2)
  })

  test('rowids that only SQLite sees do not count', () => {
    both(
      'CREATE TABLE t (id TEXT PRIMARY KEY NOT NULL, v)',
      't',
      [
        ['a', 1n],
        ['b', 2n],
      ],
      [
        ['b', 2n],
        ['a', 1n],
      ],
    )
    expectEqual(1, 2)
  })

  test('generated columns', () => {
    const generated = (factor: number) =>
      `CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, m INTEGER AS (n * ${factor}), s INTEGER AS (n + 1) STORED)`
    fill(a, `${generated(2)}; INSERT INTO t VALUES (1, 5)`)
    fill(b, `${generated(3)}; INSERT INTO t VALUES (1, 5)`)
    expectDifferent({ table: 't', key: { id: 1 }, a: { id: 1, n: 5, m: 10, s: 6 }, b: { id: 1, n: 5, m: 15, s: 6 } })
  })
})

describe('tables without a key', () => {
  const ddl = 'CREATE TABLE t (x, y)'

  test('count each row', () => {
    both(
      ddl,
      't',
      [
        [1n, null],
        [2n, 'b'],
        [1n, null],
        [1n, null],
      ],
      [
        [2n, 'b'],
        [1n, null],
        [1n, null],
        [1n, null],
      ],
    )
    expectEqual(1, 4)
    both(
      ddl,
      't',
      [
        [1n, null],
        [2n, 'b'],
        [2n, 'b'],
        [1n, null],
      ],
      [
        [2n, 'b'],
        [1n, null],
        [1n, null],
        [3n, 'c'],
      ],
    )
    expectDifferent({ table: 't', key: null, a: { x: 2, y: 'b' }, b: null }, { table: 't', key: null, a: null, b: { x: 3, y: 'c' } })
    both(
      ddl,
      't',
      [
        [1n, null],
        [1n, null],
        [1n, null],
      ],
      [[1n, null]],
    )
    const one = { table: 't', key: null, a: { x: 1, y: null }, b: null }
    expectDifferent(one, one)
    expect(all(1).map(brief)).toEqual([one])
  })

  test('tell INTEGER from REAL, however mixed', () => {
    both(
      ddl,
      't',
      [
        [1n, 'a'],
        [1, 'b'],
        [1n, 'b'],
      ],
      [
        [1n, 'b'],
        [1, 'b'],
        [1n, 'a'],
      ],
    )
    expectEqual(1, 3)
    both(
      ddl,
      't',
      [
        [1n, 'a'],
        [1, 'b'],
      ],
      [
        [1, 'a'],
        [1n, 'b'],
      ],
    )
    expect(all()).toHaveLength(4)
    expect(contentDigest(a)).not.toBe(contentDigest(b))
  })

  test('a key that may be NULL, and is, tells no rows apart', () => {
    const nullable = 'CREATE TABLE t (id TEXT PRIMARY KEY, v)'
    both(
      nullable,
      't',
      [
        [null, 1n],
        [null, 2n],
        ['a', 3n],
      ],
      [
        [null, 2n],
        ['a', 3n],
        [null, 1n],
      ],
    )
    expectEqual(1, 3)
    both(
      nullable,
      't',
      [
        [null, 1n],
        [null, 2n],
      ],
      [
        [null, 2n],
        [null, 2n],
      ],
    )
    expectDifferent({ table: 't', key: null, a: { id: null, v: 1 }, b: null }, { table: 't', key: null, a: null, b: { id: null, v: 2 } })
    both(nullable, 't', [['a', 1n]], [[null, 1n]])
    expect(all()).toHaveLength(2)
  })
})

describe('the tables themselves', () => {
  test('missing', () => {
    fill(a, 'CREATE TABLE s (x); CREATE TABLE t (x)')
    fill(b, 'CREATE TABLE t (x); CREATE TABLE u (x)')
    const first = expectDifferent(
      { table: 's', key: null, a: { columns: 'x ' }, b: null },
      { table: 'u', key: null, a: null, b: { columns: 'x ' } },
    )
    expect(first.message).toBe('table s is missing in B')
  })

  test.each([
    ['name', 'CREATE TABLE t (x TEXT)', 'CREATE TABLE t (y TEXT)'],
    ['type', 'CREATE TABLE t (x TEXT)', 'CREATE TABLE t (x BLOB)'],
    ['number', 'CREATE TABLE t (x TEXT)', 'CREATE TABLE t (x TEXT, y TEXT)'],
    ['key', 'CREATE TABLE t (x TEXT, y TEXT)', 'CREATE TABLE t (x TEXT PRIMARY KEY, y TEXT)'],
  ])('other columns: %s', (_, ddlA, ddlB) => {
    fill(a, ddlA)
    fill(b, ddlB)
    expect(compare(a, b)).toMatchObject({
      equal: false,
      table: 't',
      key: null,
      message: expect.stringMatching(/table t has other columns/),
    })
    expect(all()).toHaveLength(1)
  })

  test('only rows of the app count, and the next AUTOINCREMENT', () => {
    const database = sqlite('CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT) STRICT; CREATE INDEX t_v ON t (v)')
    for (const path of [a, b]) {
      const store = openStore(database, path)
      store.begin()
      store.write.run('INSERT INTO t (v) VALUES (?), (?)', 'x', 'y')
      store.enterIds([`id of ${path}`], { position: path.length, version: 1 })
      store.enterHistory({ end: 1, position: 1, time: path.length, digest: path, verdicts: null, writes: '*' })
      store.commit({ ...store.standing, version: 1, place: path })
      store.close()
    }
    expectEqual(2, 3)
    new DatabaseSync(b).exec("INSERT INTO t (v) VALUES ('z'); DELETE FROM t WHERE v = 'z'")
    expectDifferent(
      { table: 'sqlite_sequence', key: null, a: { name: 't', seq: 2 }, b: null },
      { table: 'sqlite_sequence', key: null, a: null, b: { name: 't', seq: 3 } },
    )
  })

  test('names with quotes', () => {
    both('CREATE TABLE "select ""x"" from" ("order" INTEGER PRIMARY KEY, "a""b" TEXT)', 'select ""x"" from', [[1n, 'x']], [[1n, 'y']])
    expectDifferent({ table: 'select "x" from', key: { order: 1 }, a: { order: 1, 'a"b': 'x' }, b: { order: 1, 'a"b': 'y' } })
  })
})

describe('the files', () => {
  test('are neither changed nor kept', () => {
    both('CREATE TABLE t (id INTEGER PRIMARY KEY)', 't', [[1n]], [[1n]])
    const before = readdirSync(folder)
    expectEqual(1, 1)
    for (const _ of diff(a, b)) break
    expect(readdirSync(folder)).toEqual(before)
  })

  test('may be written meanwhile', () => {
    const ddl = 'CREATE TABLE t (id INTEGER PRIMARY KEY); CREATE TABLE u (id INTEGER PRIMARY KEY)'
    fill(a, ddl, { t: [[1n], [2n]], u: [[3n]] })
    fill(b, ddl)
    const rows = diff(a, b)
    expect(rows.next().value).toMatchObject({ key: { id: 1 } })
    const writer = new DatabaseSync(a)
    writer.exec('DELETE FROM t; DELETE FROM u')
    expect([...rows].map(row => row.key)).toEqual([{ id: 2 }, { id: 3 }])
    expect(compare(a, b)).toMatchObject({ equal: true })
    writer.close()
  })

  test('the limit holds over all tables', () => {
    const ddl = 'CREATE TABLE s (id INTEGER PRIMARY KEY); CREATE TABLE t (x)'
    fill(a, ddl, { s: [[1n], [2n]], t: [[1n], [1n], [2n]] })
    fill(b, ddl)
    expect([0, 1, 2, 3, 4, 5, 9].map(limit => all(limit).length)).toEqual([0, 1, 2, 3, 4, 5, 5])
  })

  test('that are none', () => {
    fill(a, 'CREATE TABLE t (x)')
    for (const run of [() => compare(a, b), () => compare(b, a), () => all(), () => contentDigest(b)]) expect(run).toThrow(EngineError)
    expect(() => compare(a, b)).toThrow(/b\.db does not exist/)
    rmSync(folder, { recursive: true })
  })
})

test('a digest tells no more than the rows', () => {
  both('CREATE TABLE t (x, y)', 't', [['a', 'b']], [['a', 'b']])
  const digest = contentDigest(a)
  expect(digest).toMatch(/^[\w-]{43}$/)
  // Values that only their borders tell apart.
  const seen = new Set([digest])
  for (const row of [
    ['ab', ''],
    ['', 'ab'],
    ['a', null],
    [null, 'a'],
    ['t1:a', 'b'],
    [1n, 11n],
    [11n, 1n],
    [1n, '1'],
    [1, 1n],
    ['atb', ''],
    ['a', 'bt'],
  ] as Sql[][]) {
    both('CREATE TABLE t (x, y)', 't', [row], [row])
    seen.add(contentDigest(a))
    expect(contentDigest(b)).toBe(contentDigest(a))
  }
  expect(seen.size).toBe(12)
})
