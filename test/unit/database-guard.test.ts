import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Reader, Sql, Writer } from '../../src/database/handles.ts'
import { openStore, sqlite } from '../../src/database/sqlite.ts'
import type { Standing, Store } from '../../src/database.ts'
import { EngineError } from '../../src/errors.ts'

const database = sqlite(`
  CREATE TABLE item (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, n INTEGER, any_value ANY) STRICT;
  CREATE TABLE loose (a, t TEXT);
  CREATE TABLE dated (at TEXT, day TEXT AS (date(at)) STORED, CHECK (strftime('%Y', at) >= '1900'));
  CREATE INDEX dated_month ON dated (strftime('%m', at));
  CREATE TABLE audit (item INTEGER, at TEXT);
  CREATE TRIGGER audited AFTER UPDATE ON item BEGIN INSERT INTO audit VALUES (new.id, date(new.name)); END;
  CREATE VIEW late AS SELECT at FROM dated WHERE at < datetime('now')`)

const standing: Standing = { position: 1, version: 1, floor: 0, digest: '', time: 0, recordHash: '', place: '', generation: 1 }

let store: Store<Reader, Writer>
beforeEach(() => {
  store = openStore(database, ':memory:')
  store.begin()
  store.write.run('INSERT INTO item (name, n) VALUES (?, ?), (?, ?)', 'a', 1, 'b', 2)
})
afterEach(() => store.close())

const caught = (run: () => unknown): EngineError => {
  try {
    run()
  } catch (error) {
    return error as EngineError
  }
  throw new Error('nothing was thrown')
}

/** Each way a statement can be run. */
const ways: [string, (handle: Reader, sql: string, ...params: Sql[]) => unknown][] = [
  ['get', (handle, sql, ...params) => handle.get(sql, ...params)],
  ['all', (handle, sql, ...params) => handle.all(sql, ...params)],
  ['each', (handle, sql, ...params) => [...handle.each(sql, ...params)]],
]
const items = () => store.read.all('SELECT * FROM item ORDER BY id')

const forbiddenToAll = [
  'BEGIN',
  'COMMIT',
  'END',
  'ROLLBACK',
  'SAVEPOINT s',
  'RELEASE s',
  "ATTACH ':memory:' AS other",
  'DETACH main',
  'PRAGMA foreign_keys = OFF',
  'PRAGMA defer_foreign_keys = ON',
  'PRAGMA writable_schema = ON',
  'PRAGMA query_only = OFF',
  'REINDEX',
  'ANALYZE',
  'CREATE TABLE t (x)',
  'CREATE TEMP TABLE t (x)',
  'CREATE TABLE t AS SELECT 1 AS x',
  'CREATE INDEX i ON item (n)',
  'CREATE VIEW v AS SELECT 1',
  'CREATE TEMP TRIGGER t AFTER INSERT ON item BEGIN SELECT 1; END',
  'CREATE VIRTUAL TABLE f USING fts5 (x)',
  'ALTER TABLE item ADD COLUMN y',
  'DROP TABLE item',
  "SELECT load_extension('x')",
  "SELECT fts3_tokenizer('x')",
  'SELECT * FROM mainstem_standing',
  'SELECT count(*) FROM mainstem_id',
  'SELECT i.id FROM item AS i JOIN "MAINSTEM_ID" AS m ON m.version = i.n',
  'SELECT (SELECT max("end") FROM mainstem_history)',
  'WITH x AS (SELECT * FROM mainstem_id) SELECT count(*) FROM x',
]
const writing = [
  "INSERT INTO item (name) VALUES ('x')",
  "INSERT INTO item (name) VALUES ('x') RETURNING id",
  "WITH x (name) AS (VALUES ('x')) INSERT INTO item (name) SELECT name FROM x RETURNING id",
  "REPLACE INTO item (id, name) VALUES (1, 'x')",
  'UPDATE item SET n = 5 RETURNING id',
  'WITH x AS (SELECT 1) UPDATE item SET n = 5 FROM x RETURNING n',
  'DELETE FROM item RETURNING id',
  'DELETE FROM item',
  'INSERT INTO item (id) VALUES (1) ON CONFLICT DO UPDATE SET n = 9 RETURNING id',
  'EXPLAIN DELETE FROM item',
]
const ofTheEngine = [
  'INSERT INTO mainstem_id VALUES (1, 2, 3, 4, 5)',
  'UPDATE mainstem_standing SET version = 7',
  'UPDATE main."Mainstem_Standing" SET version = 7 RETURNING version',
  'DELETE FROM mainstem_history',
  'INSERT INTO item (name) SELECT digest FROM mainstem_standing',
  'UPDATE item SET n = (SELECT version FROM mainstem_standing)',
]

describe.each(ways)('by %s', (_, run) => {
  test.each([...forbiddenToAll, ...writing, ...ofTheEngine])('decide is refused: %s', sql => {
    const before = items()
    const error = caught(() => run(store.read, sql))
    expect(error).toBeInstanceOf(EngineError)
    expect(error.code).toBe('decide-failed')
    expect(error.message).toMatch(/may only read; emit an event|belongs to the engine|is not available/)
    expect(error.message).toContain(`SQL: ${sql}`)
    expect(items()).toEqual(before)
    // The transaction is still there, and is committed as if nothing had been.
    store.commit(standing)
    expect(store.queries.all('SELECT * FROM item ORDER BY id')).toEqual(before)
  })

  test.each([...forbiddenToAll, ...ofTheEngine])('a projection is refused: %s', sql => {
    const error = caught(() => run(store.write, sql))
    expect(error).toBeInstanceOf(EngineError)
    expect(error.code).toBe('projection-failed')
    expect(error.message).toMatch(/may only read and write rows of the app's own tables|belongs to the engine|is not available/)
    store.commit(standing)
    expect(store.standing.version).toBe(1)
  })

  test.each([...forbiddenToAll, ...writing, ...ofTheEngine])('a query is refused: %s', sql => {
    store.commit(standing)
    const error = caught(() => run(store.queries, sql))
    expect(error).toBeInstanceOf(EngineError)
    expect(error.code).toBe('query-failed')
  })

  test.each([
    'SELECT * FROM sqlite_schema',
    'SELECT * FROM sqlite_sequence',
    'SELECT * FROM dbstat',
    "SELECT * FROM pragma_table_info('item')",
  ])('layout is not for decide and projections: %s', sql => {
    expect(caught(() => run(store.read, sql))).toMatchObject({ code: 'decide-failed', message: expect.stringMatching(/belongs to SQLite/) })
    expect(caught(() => run(store.write, sql))).toMatchObject({
      code: 'projection-failed',
      message: expect.stringMatching(/belongs to SQLite/),
    })
  })
})

test.each(writing.slice(0, -1))('a projection may: %s', sql => {
  store.write.run(sql)
  expect(items()).not.toEqual([
    { id: 1, name: 'a', n: 1, any_value: null },
    { id: 2, name: 'b', n: 2, any_value: null },
  ])
})

test('run is refused like the others', () => {
  for (const sql of [...forbiddenToAll, ...ofTheEngine]) expect(caught(() => store.write.run(sql)).code, sql).toBe('projection-failed')
})

test('a copy of the database cannot be made', () => {
  expect(() => store.read.get('VACUUM')).toThrow(/cannot VACUUM from within a transaction/)
  store.commit(standing)
  for (const sql of ['VACUUM', "VACUUM INTO '/tmp/mainstem-copy.db'"]) {
    expect(caught(() => store.read.get(sql))).toMatchObject({ code: 'decide-failed', message: expect.stringMatching(/may only read/) })
    expect(caught(() => store.queries.get(sql))).toMatchObject({ code: 'query-failed', message: expect.stringMatching(/may only read/) })
  }
  expect(existsSync('/tmp/mainstem-copy.db')).toBe(false)
})

test.each([
  "UPDATE sqlite_sequence SET seq = 100 WHERE name = 'item'",
  'DELETE FROM sqlite_sequence',
  'INSERT INTO sqlite_schema VALUES (1, 2, 3, 4, 5)',
])('a projection may not write: %s', sql => {
  expect(caught(() => store.write.run(sql))).toMatchObject({
    code: 'projection-failed',
    message: expect.stringMatching(/rows of the app's own tables/),
  })
})

test('what a projection has prepared cannot be run by decide', () => {
  const sql = 'DELETE FROM item WHERE id = 1 RETURNING id'
  expect(store.write.get(sql)).toEqual({ id: 1 })
  expect(caught(() => store.read.get(sql)).code).toBe('decide-failed')
  expect(items()).toHaveLength(1)
})

test('a statement that SQLite compiles anew is judged as before', () => {
  const { db } = (store as unknown as { connection: { db: DatabaseSync } }).connection
  const read = 'SELECT n FROM item WHERE id = 1'
  const write = 'UPDATE item SET n = n + 1 WHERE id = 1'
  const rows = store.read.each<{ id: number }>('SELECT id FROM item ORDER BY id')[Symbol.iterator]()
  store.read.get(read)
  store.write.run(write)
  rows.next()
  store.commit(standing)
  db.exec('CREATE INDEX later ON item (n)')
  store.begin()
  expect(store.read.get(read)).toEqual({ n: 2 })
  store.write.run(write)
  expect(store.read.get(read)).toEqual({ n: 3 })
  store.enterIds(['id'], { position: 1, version: 1 })
  store.commit({ ...standing, version: 2 })
})

describe('the same on every replica', () => {
  const impure: [string, Sql[], RegExp][] = [
    ['SELECT random() IS NULL', [], /random\(\) gives every replica another number/],
    ['SELECT hex(RandomBlob(4))', [], /randomblob\(\) gives every replica other bytes/],
    ['SELECT id FROM item ORDER BY random()', [], /random\(\)/],
    ['SELECT CURRENT_TIMESTAMP', [], /current_timestamp\(\) reads the clock.*ctx\.now/],
    ['SELECT CURRENT_DATE', [], /current_date\(\) reads the clock/],
    ['SELECT current_time', [], /current_time\(\) reads the clock/],
    ['SELECT last_insert_rowid()', [], /last_insert_rowid\(\) depends on .*RETURNING/],
    ['SELECT changes()', [], /changes\(\)/],
    ['SELECT total_changes()', [], /total_changes\(\)/],
    ['SELECT sqlite_version()', [], /sqlite_version\(\) differs between replicas/],
    ['SELECT sqlite_source_id()', [], /differs between replicas/],
    ["SELECT date('now')", [], /date\('now'\) reads the clock/],
    ['SELECT date(?)', ['now'], /date\('now'\) reads the clock/],
    ['SELECT date(?)', ['NOW'], /date\('now'\) reads the clock/],
    ['SELECT date(?)', ['now\0 or never'], /date\('now'\) reads the clock/],
    ['SELECT date(?)', [new TextEncoder().encode('Now')], /date\('now'\) reads the clock/],
    ["SELECT date(x'6e6f77')", [], /date\('now'\) reads the clock/],
    ["SELECT date(cast(x'6e6f770061' AS TEXT))", [], /date\('now'\) reads the clock/],
    ["SELECT date('no' || 'w')", [], /date\('now'\) reads the clock/],
    ["SELECT date((SELECT 'now'))", [], /date\('now'\) reads the clock/],
    ["SELECT DateTime('now', '-1 day')", [], /datetime\('now'\) reads the clock/],
    ["SELECT 1 FROM item WHERE n < unixepoch('now')", [], /unixepoch\('now'\) reads the clock/],
    ['SELECT date()', [], /date\(\) without a time reads the clock/],
    ['SELECT julianday()', [], /julianday\(\) without a time reads the clock/],
    ["SELECT strftime('%s')", [], /strftime\(\) without a time reads the clock/],
    ["SELECT strftime('%s', ?)", ['now'], /strftime\('now'\) reads the clock/],
    ["SELECT time('subsec')", [], /time\('subsec'\) reads the clock/],
    ["SELECT strftime('%f', 'subsecond')", [], /reads the clock/],
    ["SELECT timediff('now', '2020-01-01')", [], /timediff\('now'\) reads the clock/],
    ["SELECT timediff('2020-01-01', ?)", ['now'], /timediff\('now'\) reads the clock/],
    ["SELECT datetime('2024-01-01', 'localtime')", [], /depends on the time zone/],
    ["SELECT datetime('2024-01-01', ?)", ['LocalTime'], /depends on the time zone/],
    ["SELECT datetime('2024-01-01 12:00:00', '+1 day', 'utc')", [], /depends on the time zone/],
    ['SELECT * FROM late', [], /reads the clock/],
  ]
  beforeEach(() => store.write.run("INSERT INTO dated VALUES ('2024-01-01')"))

  test.each(impure)('decide is refused: %s %j', (sql, params, message) => {
    for (const [, run] of ways) {
      const error = caught(() => run(store.read, sql, ...params))
      expect(error).toBeInstanceOf(EngineError)
      expect(error.code).toBe('decide-failed')
      expect(error.message).toMatch(message)
      expect(error.message).toContain(sql)
    }
  })

  test.each(impure)('a projection is refused: %s %j', (sql, params, message) => {
    for (const run of [
      ...ways.map(([, way]) => way),
      (handle: Reader, text: string, ...all: Sql[]) => (handle as Writer).run(`INSERT INTO loose (a) ${text}`, ...all),
    ]) {
      if (sql.includes('*') && !ways.some(([, way]) => way === run)) continue
      const error = caught(() => run(store.write, sql, ...params))
      expect(error.code).toBe('projection-failed')
      expect(error.message).toMatch(message)
    }
    expect(store.read.all('SELECT * FROM loose')).toEqual([])
    store.commit(standing)
  })

  test.each(impure.filter(([sql]) => !sql.includes('fts3')))('a query may: %s %j', (sql, params) => {
    store.commit(standing)
    for (const [, run] of ways) run(store.queries, sql, ...params)
  })

  test('a trigger is refused by the value it meets', () => {
    store.write.run("UPDATE item SET name = '2024-02-03' WHERE id = 1")
    expect(store.read.all('SELECT * FROM audit')).toEqual([{ item: 1, at: '2024-02-03' }])
    const error = caught(() => store.write.run("UPDATE item SET name = 'now' WHERE id = 1"))
    expect(error).toMatchObject({ code: 'projection-failed', message: expect.stringMatching(/date\('now'\) reads the clock/) })
    expect(store.read.get('SELECT name FROM item WHERE id = 1')).toEqual({ name: '2024-02-03' })
  })

  test('and so are a generated column, a check and an index', () => {
    const error = caught(() => store.write.run('INSERT INTO dated (at) VALUES (?)', 'now'))
    expect(error).toMatchObject({ code: 'projection-failed', message: expect.stringMatching(/\('now'\) reads the clock/) })
  })

  test('date functions on given values answer as SQLite does', () => {
    const plain = new DatabaseSync(':memory:')
    const calls: [string, ...Sql[]][] = [
      ['date(?)', '2024-02-29 23:59:59'],
      ['date(?)', null],
      ['date(?)', 'nonsense'],
      ['date(?)', 2460310.5],
      ['date(?, ?)', 1_700_000_000, 'unixepoch'],
      ['date(?, ?)', 1_700_000_000n, 'auto'],
      ['date(?, ?, ?)', '2024-01-31', '+1 month', 'floor'],
      ['time(?)', '12:34'],
      ['time(?, ?)', '12:34:56.789', 'subsec'],
      ['datetime(?, ?, ?)', '2024-01-01', 'start of year', '-1 second'],
      ['julianday(?)', '2024-01-01'],
      ['unixepoch(?)', '2024-01-01'],
      ['unixepoch(?, ?)', '2024-01-01 00:00:00.5', 'subsec'],
      ['strftime(?, ?)', '%Y-%W %s now', '2024-01-01'],
      ['strftime(?, ?)', null, '2024-01-01'],
      ['timediff(?, ?)', '2024-01-01', '2023-02-03'],
    ]
    for (const [call, ...params] of calls) {
      const sql = `SELECT ${call} AS v, typeof(${call}) AS t`
      const native = plain.prepare(sql).get(...[...params, ...params].map(one => (Number.isInteger(one) ? BigInt(one!.toString()) : one)))
      expect(store.read.get(sql, ...params, ...params), call).toEqual(native)
      expect(store.write.get(sql, ...params, ...params), call).toEqual(native)
    }
    expect(store.read.get('SELECT typeof(unixepoch(?)) AS t', '2024-01-01')).toEqual({ t: 'integer' })
    expect(() => store.read.get('SELECT timediff(?)', '2024-01-01')).toThrow(/wrong number of arguments/)
  })

  test('in generated columns, checks and indexes too', () => {
    store.write.run('INSERT INTO dated (at) VALUES (?), (?)', '2024-01-05 10:00', '2024-02-06')
    expect(store.read.all("SELECT day FROM dated INDEXED BY dated_month WHERE strftime('%m', at) = '02'")).toEqual([{ day: '2024-02-06' }])
    expect(caught(() => store.write.run('INSERT INTO dated (at) VALUES (?)', '1800-01-01')).message).toMatch(/CHECK/)
    store.commit(standing)
    expect(store.queries.all("SELECT day FROM dated WHERE strftime('%m', at) = '02'")).toEqual([{ day: '2024-02-06' }])
    expect(store.queries.all('SELECT count(*) AS n FROM late')).toEqual([{ n: 3 }])
  })

  test('a whole number is an INTEGER, whatever Node would make of it', () => {
    store.write.run('INSERT INTO loose (a, t) VALUES (?, ?)', 5, 5)
    expect(store.read.get('SELECT a, typeof(a) AS type, t, ? / 2 AS half, json_array(?) AS json FROM loose', 5, 5)).toEqual({
      a: 5,
      type: 'integer',
      t: '5',
      half: 2,
      json: '[5]',
    })
    expect([...store.read.each('SELECT typeof(?) AS a, typeof(?) AS b, typeof(?) AS c', 5.5, -0, 2 ** 60)]).toEqual([
      { a: 'real', b: 'integer', c: 'real' },
    ])
    expect(store.write.all('INSERT INTO item (name, any_value) VALUES (?, ?) RETURNING typeof(any_value) AS t', 'z', 7)).toEqual([
      { t: 'integer' },
    ])
  })
})

describe('handles', () => {
  test('all kinds of values come back as they went in', () => {
    const values: Sql[] = ['', 'ä\0b', 0, -1, 1.5, 2 ** 53 - 1, null, new Uint8Array([0, 255, 1])]
    for (const value of values) expect(store.read.get<{ v: Sql }>('SELECT ? AS v', value)!.v).toEqual(value)
    expect(store.read.get('SELECT ? = 9007199254740993 AS same', 9007199254740993n)).toEqual({ same: 1 })
    expect(() => store.read.get('SELECT 9007199254740993')).toThrow(/too large/)
  })

  test('rows, one row, none', () => {
    expect(store.read.get('SELECT id FROM item WHERE id = 99')).toBeUndefined()
    expect(store.read.all('SELECT id FROM item WHERE id = 99')).toEqual([])
    expect(store.read.get('SELECT name FROM item ORDER BY id DESC')).toEqual({ name: 'b' })
  })

  test('the same SQL inside its own loop', () => {
    const sql = 'SELECT id FROM item WHERE id >= ? ORDER BY id'
    for (const handle of [store.read, store.write]) {
      const seen: unknown[] = []
      for (const { id } of handle.each<{ id: number }>(sql, 1))
        seen.push(id, ...[...handle.each<{ id: number }>(sql, id)].map(row => -row.id), handle.get(sql, id))
      expect(seen).toEqual([1, -1, -2, { id: 1 }, 2, -2, { id: 2 }])
    }
  })

  test('a loop that is left frees its statement', () => {
    for (let i = 0; i < 3; i++) for (const row of store.read.each('SELECT id FROM item ORDER BY id')) if (row) break
    store.write.run('DELETE FROM item')
    expect([...store.read.each('SELECT id FROM item ORDER BY id')]).toEqual([])
  })

  test('a projection may write what it loops over', () => {
    for (const { id } of store.write.each<{ id: number }>('SELECT id FROM item'))
      store.write.run('INSERT INTO item (name) VALUES (?)', `copy of ${id}`)
    expect(items()).toHaveLength(4)
  })

  test.each([
    ['commit', () => store.commit(standing)],
    ['rollback', () => store.rollback()],
  ])('rows cannot be read beyond the transaction: %s', (_, end) => {
    const rows = store.read.each('SELECT id FROM item ORDER BY id')[Symbol.iterator]()
    rows.next()
    end()
    expect(caught(() => rows.next())).toMatchObject({
      code: 'decide-failed',
      message: expect.stringMatching(/after the function they were given to had returned/),
    })
    expect(rows.next().done).toBe(true)
    store.begin()
    expect([...store.read.each('SELECT 1 AS one')]).toEqual([{ one: 1 }])
  })

  test('one statement per call', () => {
    const error = caught(() => store.write.run("UPDATE item SET n = 1; UPDATE item SET name = 'x'"))
    expect(error).toMatchObject({ code: 'projection-failed', message: expect.stringMatching(/one statement per call/) })
    expect(caught(() => store.read.get('SELECT 1;\0 SELECT 2'))).toMatchObject({ code: 'decide-failed' })
    expect(store.read.get('SELECT 1 AS one; -- and no more\n /* really; */ ;')).toEqual({ one: 1 })
    expect(items()[0]).toMatchObject({ n: 1, name: 'a' })
  })

  test("errors of the app's SQL are SQLite's own", () => {
    for (const run of [
      () => store.read.get('SELECT nothing FROM item'),
      () => store.write.run('INSERT INTO item (id, n) VALUES (1, 1)'),
      () => store.write.run("UPDATE item SET n = 'x'"),
    ]) {
      const error = caught(run)
      expect(error).not.toBeInstanceOf(EngineError)
      expect(error).toMatchObject({ code: 'ERR_SQLITE_ERROR' })
    }
  })

  test('what is no value of a column is refused, and shifts no other value', () => {
    const wrong: [unknown, RegExp][] = [
      [undefined, /parameter 1 is of type undefined/],
      [true, /type boolean/],
      [new Date(0), /type Date/],
      [{ id: 1 }, /type Object/],
      [[1], /type Array/],
      [() => 1, /type function/],
      [new Float64Array(1), /type Float64Array/],
    ]
    for (const [value, message] of wrong) {
      for (const [, run] of ways) expect(() => run(store.read, 'SELECT ? AS a, ? AS b', value as Sql, 1)).toThrow(message)
      expect(() => store.write.run('UPDATE item SET n = ? WHERE id = ?', value as Sql, 1)).toThrow(TypeError)
    }
    expect(() => store.read.get('SELECT ?, ?', 1, new Date(0) as unknown as Sql)).toThrow(/parameter 2 is of type Date/)
    expect(items()[0]).toMatchObject({ n: 1 })
  })

  test('parameters of the last call are not kept', () => {
    expect(store.read.get('SELECT ? AS a, ? AS b', 1, 2)).toEqual({ a: 1, b: 2 })
    expect(store.read.get('SELECT ? AS a, ? AS b', 3)).toEqual({ a: 3, b: null })
  })

  test('values written into the SQL text do not fill the memory', () => {
    for (let i = 0; i < 2000; i++) store.read.get(`SELECT ${i}`)
    const { size } = (store.read as unknown as { statements: Map<string, unknown> }).statements
    expect(size).toBeLessThanOrEqual(512)
  })

  test('queries may describe tables', () => {
    store.commit(standing)
    expect(store.queries.all("SELECT name FROM pragma_table_info('loose')")).toEqual([{ name: 'a' }, { name: 't' }])
    expect(store.queries.all("SELECT name FROM sqlite_schema WHERE type = 'view'")).toEqual([{ name: 'late' }])
  })
})
