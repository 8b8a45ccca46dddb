import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync, StatementSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Reader, Writer } from '../../src/database/handles.ts'
import { openStore, sqlite } from '../../src/database/sqlite.ts'
import type { HistoryEntry, IdEntry, Standing, Store } from '../../src/database.ts'
import { EngineError } from '../../src/errors.ts'
import { uuidv7, uuidv7Time } from '../../src/ids.ts'

type SqlStore = Store<Reader, Writer>

const database = sqlite(`
  CREATE TABLE account (id TEXT PRIMARY KEY, cents INTEGER NOT NULL CHECK (cents >= 0)) STRICT, WITHOUT ROWID;
  CREATE TABLE booking (id INTEGER PRIMARY KEY, account TEXT NOT NULL REFERENCES account, cents INTEGER NOT NULL) STRICT`)

let folder: string
const opened: SqlStore[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mainstem-database-'))
})
afterEach(() => {
  for (const store of opened.splice(0)) store.close()
  rmSync(folder, { recursive: true, force: true })
})

const open = (path = join(folder, 'a.db'), options?: Parameters<typeof openStore>[2]): SqlStore => {
  const store = openStore(database, path, options)
  opened.push(store)
  return store
}

const caught = (run: () => unknown): EngineError => {
  try {
    run()
  } catch (error) {
    return error as EngineError
  }
  throw new Error('nothing was thrown')
}

const standing = (version: number, over: Partial<Standing> = {}): Standing => ({
  position: version * 10,
  version,
  floor: 0,
  digest: `digest ${version}`,
  time: 1000 + version,
  recordHash: `hash ${version}`,
  place: 'file:a',
  generation: 1,
  ...over,
})
const entry = (end: number, over: Partial<HistoryEntry> = {}): HistoryEntry => ({
  end,
  position: end * 10,
  time: 1000 + end,
  digest: `digest ${end}`,
  verdicts: null,
  writes: [`tag:${end}`],
  ...over,
})
const idEntry = (version: number, over: Partial<IdEntry> = {}): IdEntry => ({ position: version * 10, version, ...over })

/** One record with one event. */
const step = (store: SqlStore, version: number, over: Partial<Standing> = {}): void => {
  store.begin()
  store.write.run('INSERT INTO account VALUES (?, ?)', `a${version}`, version)
  store.enterIds([`id-${version}`], idEntry(version))
  store.enterHistory(entry(version))
  store.commit(standing(version, over))
}
const count = (reader: Reader): number => reader.get<{ n: number }>('SELECT count(*) AS n FROM account')!.n

describe.each(['file', 'memory'])('in a %s', where => {
  const openHere = () => open(where === 'memory' ? ':memory:' : undefined)

  test('a new database stands at the beginning', () => {
    const store = openHere()
    expect(store.standing).toEqual({ position: 0, version: 0, floor: 0, digest: '', time: 0, recordHash: '', place: '', generation: 0 })
    expect(store.window()).toEqual([])
    expect(store.historyAt(0)).toBeUndefined()
    expect(store.known('id-1')).toBeUndefined()
  })

  test('a commit moves rows, standing, ids and history together', () => {
    const store = openHere()
    step(store, 1)
    expect(store.standing).toEqual(standing(1))
    expect(count(store.read)).toBe(1)
    expect(store.known('id-1')).toEqual(idEntry(1))
    expect(store.window()).toEqual([entry(1)])
  })

  test('a rollback leaves nothing: no row, id, history, standing', () => {
    const store = openHere()
    step(store, 1)
    store.begin()
    store.write.run('INSERT INTO account VALUES (?, ?)', 'b', 2)
    store.write.run('DELETE FROM account WHERE id = ?', 'a1')
    store.enterIds(['id-2'], idEntry(2))
    store.enterHistory(entry(2))
    expect(count(store.read)).toBe(1)
    expect(store.known('id-2')).toBeDefined()
    store.rollback()
    expect(store.read.all('SELECT id FROM account')).toEqual([{ id: 'a1' }])
    expect(store.known('id-2')).toBeUndefined()
    expect(store.window()).toEqual([entry(1)])
    expect(store.standing).toEqual(standing(1))
    // And the next one is not disturbed.
    step(store, 2)
    expect(store.window()).toEqual([entry(1), entry(2)])
  })

  test('a rollback without a transaction does nothing', () => {
    const store = openHere()
    store.rollback()
    step(store, 1)
    store.rollback()
    expect(store.standing.version).toBe(1)
  })

  test('queries see what is committed, while a transaction is open too', () => {
    const store = openHere()
    step(store, 1)
    store.begin()
    store.write.run('INSERT INTO account VALUES (?, ?)', 'b', 2)
    expect(count(store.read)).toBe(2)
    expect(count(store.queries)).toBe(1)
    store.enterHistory(entry(2))
    store.commit(standing(2))
    expect(count(store.queries)).toBe(2)
    store.begin()
    store.write.run('DELETE FROM account')
    expect([...store.queries.each('SELECT id FROM account ORDER BY id')]).toEqual([{ id: 'a1' }, { id: 'b' }])
    store.rollback()
    expect(count(store.queries)).toBe(2)
  })

  test('a large transaction stays apart and can be undone', () => {
    const store = openHere()
    step(store, 1)
    store.begin()
    store.write.run(
      "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 200000) INSERT INTO account SELECT printf('x%020d', i), i FROM c",
    )
    expect(count(store.queries)).toBe(1)
    store.rollback()
    expect(count(store.read)).toBe(1)
    expect(count(store.queries)).toBe(1)
    // In memory it would wait a second for its own reader whenever it spills.
    const { db } = (store as unknown as { connection: { db: DatabaseSync } }).connection
    if (where === 'memory') expect(db.prepare('PRAGMA cache_spill').get()).toEqual({ cache_spill: 0 })
  })

  test('rows of a query that are not read to their end do not hold up a commit', () => {
    const store = openHere()
    step(store, 1)
    step(store, 2)
    const rows = store.queries.each<{ id: string }>('SELECT id FROM account ORDER BY id')[Symbol.iterator]()
    expect(rows.next().value).toEqual({ id: 'a1' })
    step(store, 3)
    expect(rows.next().value).toEqual({ id: 'a2' })
    expect(rows.next().done).toBe(true)
  })

  test('one transaction at a time, and nothing of it outside', () => {
    const store = openHere()
    expect(caught(() => store.enterIds(['id'], idEntry(1))).message).toMatch(/no transaction is open/)
    expect(caught(() => store.enterHistory(entry(1))).message).toMatch(/no transaction is open/)
    expect(caught(() => store.commit(standing(1))).message).toMatch(/no transaction is open/)
    const outside = caught(() => store.write.run('INSERT INTO account VALUES (?, ?)', 'a', 1))
    expect(outside.code).toBe('projection-failed')
    expect(outside.message).toMatch(/used after it had returned/)
    store.begin()
    expect(caught(() => store.begin()).message).toMatch(/open already/)
    expect(caught(() => store.thin()).message).toMatch(/a transaction is open/)
    expect(caught(() => store.forget(1)).message).toMatch(/a transaction is open/)
    store.rollback()
    expect(store.known('id')).toBeUndefined()
  })

  test('a failed statement undoes itself alone, and its error comes as it is', () => {
    const store = openHere()
    step(store, 1)
    store.begin()
    store.write.run('INSERT INTO account VALUES (?, ?)', 'b', 5)
    const error = caught(() => store.write.run('UPDATE account SET cents = cents - 3')) as unknown as {
      code: string
      errcode: number
      message: string
    }
    expect(error).not.toBeInstanceOf(EngineError)
    expect(error).toMatchObject({ code: 'ERR_SQLITE_ERROR', errcode: 275, message: 'CHECK constraint failed: cents >= 0' })
    expect(caught(() => store.write.run('INSERT INTO booking (account, cents) VALUES (?, ?)', 'nobody', 1)).message).toBe(
      'FOREIGN KEY constraint failed',
    )
    expect(store.read.all('SELECT * FROM account ORDER BY id')).toEqual([
      { id: 'a1', cents: 1 },
      { id: 'b', cents: 5 },
    ])
    store.commit(standing(2))
    expect(count(store.queries)).toBe(2)
  })

  test('a statement that rolls the whole transaction back is found out, and nothing more is written', () => {
    const store = openHere()
    step(store, 1)
    store.begin()
    store.write.run('INSERT INTO account VALUES (?, ?)', 'b', 5)
    expect(caught(() => store.write.run('INSERT OR ROLLBACK INTO account VALUES (?, ?)', 'b', 6)).message).toMatch(/UNIQUE/)
    for (const use of [
      () => store.write.run('INSERT INTO account VALUES (?, ?)', 'c', 5),
      () => store.write.get('SELECT 1'),
      () => store.read.get('SELECT 1'),
      () => store.read.all('SELECT 1'),
      () => [...store.read.each('SELECT 1')],
      () => store.enterIds(['id-2'], idEntry(2)),
      () => store.enterHistory(entry(2)),
      () => store.commit(standing(2)),
    ]) {
      const error = caught(use)
      expect(error.code).toBe('projection-failed')
      expect(error.message).toMatch(/UNIQUE constraint failed.*the transaction was rolled back/)
    }
    store.rollback()
    expect(store.standing).toEqual(standing(1))
    expect(store.read.all('SELECT id FROM account')).toEqual([{ id: 'a1' }])
    step(store, 2)
    expect(count(store.queries)).toBe(2)
  })

  test('ids are kept in runs, and each is found', () => {
    const store = openHere()
    const made = Array.from({ length: 300 }, (_, n) => uuidv7(1_700_000_000_000 + Math.floor(n / 10)))
    const ids = ['order:1', ...made.slice(0, 100), '0'.repeat(36), ...made.slice(200), ...made.slice(100, 200), 'Z']
    store.begin()
    store.enterIds(ids, idEntry(7))
    store.commit(standing(7))
    for (const id of ids) expect(store.known(id), id).toEqual(idEntry(7))
    for (const id of made.map(id => `${id.slice(0, -1)}${id.endsWith('0') ? '1' : '0'}`)) expect(store.known(id), id).toBeUndefined()
    expect(store.queries).toBeDefined()
  })

  test('window, historyAt, historyBefore', () => {
    const store = openHere()
    store.begin()
    const all = [
      entry(2),
      entry(3, { writes: '*', verdicts: ['accepted', 'conflict'] }),
      entry(7, { writes: [], time: 1003 }),
      entry(9, { writes: ['ä', 'b'], time: 2000 }),
    ]
    for (const one of all) store.enterHistory(one)
    store.commit(standing(9, { floor: 3 }))
    expect(store.window()).toStrictEqual(all.slice(1))
    expect(store.historyAt(0)).toStrictEqual(all[0])
    expect(store.historyAt(2)).toStrictEqual(all[0])
    expect(store.historyAt(3)).toStrictEqual(all[1])
    expect(store.historyAt(4)).toStrictEqual(all[2])
    expect(store.historyAt(9)).toStrictEqual(all[3])
    expect(store.historyAt(10)).toBeUndefined()
    expect(store.historyBefore(1001)).toBeUndefined()
    expect(store.historyBefore(1002)).toStrictEqual(all[0])
    expect(store.historyBefore(1003)).toStrictEqual(all[2])
    expect(store.historyBefore(1999)).toStrictEqual(all[2])
    expect(store.historyBefore(1e15)).toStrictEqual(all[3])
  })

  test('thin drops the writes below the floor, and nothing else', () => {
    const store = openHere()
    store.begin()
    for (let end = 1; end <= 10; end++) store.enterHistory(entry(end))
    store.commit(standing(10, { floor: 4 }))
    const writes = () => Array.from({ length: 10 }, (_, i) => store.historyAt(i + 1)!.writes !== null)
    store.thin()
    expect(writes()).toEqual([false, false, false, true, true, true, true, true, true, true])
    expect(store.historyAt(2)).toEqual(entry(2, { writes: null }))
    store.begin()
    store.enterHistory(entry(11))
    store.commit(standing(11, { floor: 6 }))
    store.thin()
    store.thin()
    expect(writes()).toEqual([false, false, false, false, false, true, true, true, true, true])
    expect(store.window().every(one => one.writes !== null)).toBe(true)
  })

  test('forget drops the UUIDv7 ids that are older, and no other id', () => {
    const store = openHere()
    const old = uuidv7(1_000_000_000_000)
    const time = uuidv7Time(old)!
    const at = (ms: number) =>
      `${ms
        .toString(16)
        .padStart(12, '0')
        .replace(/^(.{8})/, '$1-')}-7abc-8def-0123456789ab`
    const kept = [
      at(time + 1000),
      at(time + 1001),
      // The same time in other shapes.
      old.replace(/-7/, '-4'),
      old.replace(/-[89ab](...)-/, '-c$1-'),
      old.toUpperCase().replace(/-/g, '_'),
      '0',
      '0100',
      'order:1',
      `${old}0`,
    ]
    const dropped = [old, at(0), at(1), at(time + 980)]
    store.begin()
    for (const id of [...kept, ...dropped]) store.enterIds([id], idEntry(1))
    store.commit(standing(1))
    for (const nothing of [0, -1, Number.NaN]) store.forget(nothing)
    for (const id of [...kept, ...dropped]) expect(store.known(id), id).toBeDefined()
    store.forget(time + 1000)
    for (const id of kept) expect(store.known(id), id).toBeDefined()
    for (const id of dropped) expect(store.known(id), id).toBeUndefined()
    store.begin()
    store.enterIds([at(2 ** 47)], idEntry(2))
    store.commit(standing(2))
    store.forget(2 ** 60)
    expect(store.known(at(time + 1000))).toBeUndefined()
    expect(store.known(at(2 ** 47))).toBeUndefined()
    expect(store.known('0100')).toBeDefined()
  })
})

describe('known', () => {
  // With a UUIDv7 above all others it answers without a look, so each way to that bound is walked here.
  const rising = Array.from({ length: 40 }, (_, i) => uuidv7(1_700_000_000_000 + i))
  const enter = (store: SqlStore, id: string, version: number) => {
    store.begin()
    store.enterIds([id], idEntry(version))
    store.commit(standing(version))
  }
  const looks = (run: () => void): number => {
    const spies = (['get', 'all', 'iterate'] as const).map(name => vi.spyOn(StatementSync.prototype, name))
    run()
    const looked = spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0)
    for (const spy of spies) spy.mockRestore()
    return looked
  }

  test('after a rollback an id that was entered is unknown, and then known when it is entered again', () => {
    const store = open(':memory:')
    expect(store.known(rising[0]!)).toBeUndefined()
    enter(store, rising[1]!, 1)
    store.begin()
    store.enterIds([rising[5]!], idEntry(2))
    expect(store.known(rising[5]!)).toEqual(idEntry(2))
    store.rollback()
    for (const id of rising.slice(2)) expect(store.known(id)).toBeUndefined()
    enter(store, rising[5]!, 2)
    expect(store.known(rising[5]!)).toEqual(idEntry(2))
    expect(store.known(rising[4]!)).toBeUndefined()
  })

  test('first asked inside a transaction that is then rolled back', () => {
    const store = open(':memory:')
    store.begin()
    store.enterIds([rising[3]!], idEntry(1))
    expect(store.known(rising[3]!)).toBeDefined()
    store.rollback()
    enter(store, rising[2]!, 1)
    expect(store.known(rising[2]!)).toBeDefined()
    expect(store.known(rising[3]!)).toBeUndefined()
  })

  test('out of order, mixed with other ids, and after opening it again', () => {
    const ids = [
      '0',
      '~',
      'f'.repeat(36),
      'order:1',
      `0${'9'.repeat(35)}`,
      rising[7]!.replace(/-7/, '-4'),
      rising[9]!,
      rising[2]!,
      rising[30]!,
      rising[3]!,
    ]
    let store = open()
    for (const [i, id] of ids.entries()) {
      expect(store.known(id), id).toBeUndefined()
      enter(store, id, i + 1)
      for (const entered of ids.slice(0, i + 1)) expect(store.known(entered), entered).toBeDefined()
    }
    store.close()
    store = open()
    for (const id of ids) expect(store.known(id), id).toBeDefined()
    for (const id of rising.filter(one => !ids.includes(one))) expect(store.known(id), id).toBeUndefined()
  })

  test('a lower id is entered first after opening it again', () => {
    let store = open()
    enter(store, rising[30]!, 1)
    store.close()
    store = open()
    enter(store, rising[3]!, 2)
    expect(store.known(rising[30]!)).toBeDefined()
    expect(store.known(rising[3]!)).toBeDefined()
    expect(store.known(rising[20]!)).toBeUndefined()
  })

  test('takes no look at an id above all others', () => {
    const store = open(':memory:')
    store.known(rising[0]!)
    enter(store, rising[1]!, 1)
    expect(looks(() => rising.slice(2).map(id => store.known(id)))).toBe(0)
    expect(looks(() => store.known(rising[0]!))).toBe(1)
    expect(looks(() => store.known('order:1'))).toBe(1)
  })
})

describe('the file', () => {
  test('holds all of it when it is opened again', () => {
    let store = open()
    step(store, 1)
    step(store, 2)
    store.close()
    store.close()
    store = open()
    expect(store.standing).toEqual(standing(2))
    expect(store.window()).toEqual([entry(1), entry(2)])
    expect(store.known('id-2')).toEqual(idEntry(2))
    expect(count(store.read)).toBe(2)
    step(store, 3)
  })

  test('an open transaction is gone when it is closed', () => {
    let store = open()
    step(store, 1)
    store.begin()
    store.write.run('DELETE FROM account')
    store.close()
    store = open()
    expect(count(store.read)).toBe(1)
  })

  test('close leaves one file, whatever was open', () => {
    const store = open()
    step(store, 1)
    step(store, 2)
    store.queries.each('SELECT * FROM account')[Symbol.iterator]().next()
    store.read.each('SELECT * FROM account')[Symbol.iterator]().next()
    expect(readdirSync(folder).sort()).toEqual(['a.db', 'a.db-shm', 'a.db-wal'])
    store.close()
    expect(readdirSync(folder)).toEqual(['a.db'])
  })

  test('is created anew where its creation was interrupted', () => {
    const path = join(folder, 'a.db')
    writeFileSync(path, '')
    open(path).close()
    rmSync(path)
    const halfway = new DatabaseSync(path)
    halfway.exec('PRAGMA journal_mode = WAL')
    halfway.close()
    expect(statSync(path).size).toBeGreaterThan(0)
    step(open(path), 1)
  })

  test('what was synced survives the loss of everything that was not', () => {
    const store = open()
    step(store, 1)
    store.begin()
    store.write.run('INSERT INTO account VALUES (?, ?)', 'open', 1)
    // In the middle of a speculation, and while a query reads.
    store.queries.each('SELECT * FROM account')[Symbol.iterator]().next()
    store.sync()
    store.sync()
    const copy = join(folder, 'copy.db')
    for (const end of ['', '-wal']) copyFileSync(join(folder, `a.db${end}`), `${copy}${end}`)
    store.rollback()
    const after = open(copy)
    expect(after.standing).toEqual(standing(1))
    expect(count(after.read)).toBe(1)
  })

  test('sync of a database in memory, for reading, or without a commit', () => {
    const memory = open(':memory:')
    step(memory, 1)
    memory.sync()
    const store = open()
    store.sync()
    store.close()
    open(undefined, { mode: 'read' }).sync()
  })

  test.each([
    ['text', (path: string) => writeFileSync(path, 'seats for sale\n'.repeat(1000)), /file is not a database.*move it away/],
    ['another SQLite file', (path: string) => new DatabaseSync(path).exec('CREATE TABLE t (x)'), /belongs to another program/],
    [
      'a file of another application',
      (path: string) => new DatabaseSync(path).exec('PRAGMA application_id = 7; CREATE TABLE mainstem_standing (one)'),
      /belongs to another program/,
    ],
    ['a folder', (path: string) => mkdirSync(path), /cannot be opened|unable to open|illegal operation on a directory/],
  ])('%s is refused and left as it is', (_, make, message) => {
    const path = join(folder, 'foreign.db')
    make(path)
    const before = statSync(path).size
    for (const mode of ['write', 'read'] as const) {
      const error = caught(() => open(path, { mode }))
      expect(error).toBeInstanceOf(EngineError)
      expect(error.code).toBe('data-unusable')
      if (mode === 'write') expect(error.message).toMatch(message)
      expect(error.message).toContain(path)
    }
    expect(statSync(path).size).toBe(before)
    expect(readdirSync(folder).filter(name => name.startsWith('foreign.db-'))).toEqual([])
  })

  test('of a newer format is refused', () => {
    open().close()
    new DatabaseSync(join(folder, 'a.db')).exec('PRAGMA user_version = 2')
    const error = caught(() => open())
    expect(error).toMatchObject({ code: 'data-unusable', message: expect.stringMatching(/has format 2, this release knows 1/) })
  })

  test('of another definition is refused', () => {
    open().close()
    const error = caught(() => openStore(sqlite('CREATE TABLE other (x)'), join(folder, 'a.db')))
    expect(error).toMatchObject({ code: 'data-unusable', message: expect.stringMatching(/tables of another revision/) })
  })

  test('in a folder that does not exist', () => {
    const error = caught(() => open(join(folder, 'no', 'a.db')))
    expect(error).toMatchObject({
      code: 'data-unusable',
      message: expect.stringMatching(/no such file or directory.*check that its folder exists/),
    })
  })

  test('whose engine table is gone', () => {
    open().close()
    const path = join(folder, 'a.db')
    new DatabaseSync(path).exec('DELETE FROM mainstem_standing')
    expect(caught(() => open())).toMatchObject({ code: 'data-unusable', message: expect.stringMatching(/Delete it/) })
  })

  test('that is damaged', () => {
    const store = open()
    for (let version = 1; version < 20; version++) step(store, version)
    store.close()
    const path = join(folder, 'a.db')
    const raw = new DatabaseSync(path)
    const pages = raw.prepare(`SELECT pageno FROM dbstat WHERE name = 'account'`).all() as { pageno: number }[]
    raw.close()
    const bytes = new Uint8Array(4096).fill(0xee)
    const { openSync, writeSync, closeSync } = process.getBuiltinModule('node:fs')
    const fd = openSync(path, 'r+')
    for (const { pageno } of pages) writeSync(fd, bytes, 0, 4096, (pageno - 1) * 4096)
    closeSync(fd)
    const damaged = open()
    for (const read of [damaged.read, damaged.queries])
      expect(caught(() => read.all('SELECT * FROM account'))).toMatchObject({
        code: 'data-unusable',
        message: expect.stringMatching(/malformed.*delete the file: it is built anew/),
      })
  })

  test('that somebody is writing', () => {
    open().close()
    const other = new DatabaseSync(join(folder, 'a.db'))
    other.exec('BEGIN IMMEDIATE')
    expect(caught(() => open())).toMatchObject({
      code: 'data-in-use',
      retry: 'safe',
      message: expect.stringMatching(/locked by somebody else/),
    })
    other.exec('ROLLBACK')
    const store = open()
    other.exec('BEGIN IMMEDIATE')
    expect(caught(() => store.begin())).toMatchObject({ code: 'data-in-use' })
    other.exec('ROLLBACK')
    other.close()
    step(store, 1)
  })
})

describe('a commit is guarded', () => {
  test.each([
    ['version', (other: SqlStore) => step(other, 2)],
    [
      'position alone',
      (other: SqlStore) => {
        other.begin()
        other.commit(standing(1, { position: 11 }))
      },
    ],
  ])('somebody else moved the %s', (_, move) => {
    const store = open()
    step(store, 1)
    move(open())
    store.begin()
    store.write.run('INSERT INTO account VALUES (?, ?)', 'mine', 1)
    store.enterIds(['mine'], idEntry(2))
    store.enterHistory(entry(7))
    const error = caught(() => store.commit(standing(2)))
    expect(error).toMatchObject({
      code: 'diverged',
      message: expect.stringMatching(/this replica left it at version 1, position 10: somebody else.*Way out/),
    })
    expect(store.standing).toEqual(standing(1))
    expect(store.read.get('SELECT 1 FROM account WHERE id = ?', 'mine')).toBeUndefined()
    expect(store.known('mine')).toBeUndefined()
    expect(store.historyAt(7)).toBeUndefined()
    store.rollback()
    store.begin()
    expect(caught(() => store.commit(standing(2))).code).toBe('diverged')
  })
})

describe('trouble with the disk', () => {
  /** Stands in for a full disk: SQLite gives the same error. */
  const full = (store: SqlStore, free: number) => {
    const { db } = (store as unknown as { connection: { db: DatabaseSync } }).connection
    const { page_count: pages } = db.prepare('PRAGMA page_count').get() as { page_count: number }
    db.exec(`PRAGMA max_page_count = ${pages + free}`)
  }

  test.each(['file', 'memory'])('a full disk (%s) says so, and nothing was written', where => {
    const store = open(where === 'memory' ? ':memory:' : undefined)
    step(store, 1)
    full(store, 2)
    store.begin()
    const error = caught(() => {
      for (let i = 0; i < 10_000; i++) store.write.run('INSERT INTO account VALUES (?, ?)', `x${i}`, i)
    })
    expect(error).toBeInstanceOf(EngineError)
    expect(error).toMatchObject({
      code: 'data-unusable',
      message: expect.stringMatching(/database or disk is full.*make room on the disk/),
    })
    expect(error.message).toContain(where === 'memory' ? ':memory:' : folder)
    // SQLite may have rolled back or not: neither way may the rest go in alone.
    store.rollback()
    expect(count(store.read)).toBe(1)
    full(store, 1000)
    step(store, 2)
    expect(count(store.queries)).toBe(2)
  })

  test('a file that has become read-only', () => {
    const store = open()
    const { db } = (store as unknown as { connection: { db: DatabaseSync } }).connection
    // As if it were: SQLite gives the same error.
    db.exec('PRAGMA query_only = ON')
    expect(caught(() => store.begin())).toMatchObject({
      code: 'data-unusable',
      message: expect.stringMatching(/readonly database.*make the file and its folder writable/),
    })
    expect(caught(() => store.thin())).toMatchObject({ code: 'data-unusable' })
    db.exec('PRAGMA query_only = OFF')
    step(store, 1)
  })

  test("the engine's own rows do not fit", () => {
    const store = open()
    step(store, 1)
    full(store, 0)
    store.begin()
    const error = caught(() => {
      for (let i = 0; i < 1000; i++) store.enterIds([`id-${i}-${'x'.repeat(80)}`], idEntry(2))
    })
    expect(error).toMatchObject({ code: 'data-unusable' })
    store.rollback()
    expect(store.standing).toEqual(standing(1))
  })

  // As root may write everywhere, somebody else tries.
  const script = `
    import { openStore, sqlite } from ${JSON.stringify(new URL('../../src/database/sqlite.ts', import.meta.url).href)}
    const [folder, definition] = process.argv.slice(1)
    if (process.getuid() === 0) process.setgid(65534), process.setuid(65534)
    const said = {}
    const say = (name, run) => {
      try { said[name] = run() } catch (error) { said[name] = error.code + ': ' + error.message }
    }
    say('new', () => openStore(sqlite(definition), folder + '/new.db').standing.version)
    say('write', () => openStore(sqlite(definition), folder + '/a.db').standing.version)
    say('read', () => openStore(sqlite(definition), folder + '/a.db', { mode: 'read' }).standing.version)
    say('rows', () => openStore(sqlite(definition), folder + '/a.db', { mode: 'read' }).queries.get('SELECT count(*) AS n FROM account').n)
    console.log(JSON.stringify(said))`
  test.runIf(process.getuid !== undefined)('a folder that may not be written: reading goes on', () => {
    open().close()
    chmodSync(join(folder, 'a.db'), 0o444)
    chmodSync(folder, 0o555)
    try {
      const said = execFileSync(process.execPath, ['--input-type=module', '-e', script, folder, database.definition], { encoding: 'utf8' })
      expect(JSON.parse(said)).toEqual({
        new: expect.stringMatching(/^data-unusable: .*permission denied.*folder/),
        write: expect.stringMatching(/^data-unusable: .*permission denied.*folder/),
        read: 0,
        rows: 0,
      })
    } finally {
      chmodSync(folder, 0o755)
    }
  })
})

describe('for reading', () => {
  test('gives all there is, and writes nothing', () => {
    step(open(), 1)
    const store = open(undefined, { mode: 'read' })
    expect(store.standing).toEqual(standing(1))
    expect(count(store.read)).toBe(1)
    expect(count(store.queries)).toBe(1)
    expect(store.known('id-1')).toEqual(idEntry(1))
    expect(store.window()).toEqual([entry(1)])
    for (const use of [() => store.begin(), () => store.thin(), () => store.forget(5)])
      expect(caught(use).message).toMatch(/opened for reading/)
  })

  test('a file that does not exist is not created', () => {
    const path = join(folder, 'none.db')
    expect(caught(() => open(path, { mode: 'read' }))).toMatchObject({
      code: 'data-unusable',
      message: expect.stringMatching(/does not exist/),
    })
    expect(existsSync(path)).toBe(false)
    writeFileSync(path, '')
    expect(caught(() => open(path, { mode: 'read' }))).toMatchObject({ code: 'data-unusable', message: expect.stringMatching(/is empty/) })
  })
})

test('databases in memory are apart', () => {
  const [a, b] = [open(':memory:'), open(':memory:')]
  step(a, 1)
  expect(count(b.read)).toBe(0)
  expect(count(b.queries)).toBe(0)
})
