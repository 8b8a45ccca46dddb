/**
 * A tenant's database in SQLite: one file in WAL mode, or memory for tests. One connection writes and sees its open transaction, another one, opened
 * when first used, answers queries from what was committed.
 *
 *   mainstem_standing   one row: how far the log was applied; the app's definition
 *   mainstem_id         the ids of accepted decisions and what they came to
 *   mainstem_history    the accepted records with events
 *
 * These move in the same transaction as the app's rows. synchronous=NORMAL: a power cut may undo the last commits, whole and in order,
 * and they are read from the log again; `sync` draws a line that nothing before it is lost.
 */
import { createHash, randomUUID } from 'node:crypto'
import { closeSync, fsyncSync, openSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import type { Database, HistoryEntry, IdEntry, Standing, Store } from '../database.ts'
import { highestIn, keyBefore, lowestKey, runsOf, tailOf } from './ids.ts'
import { EngineError } from '../errors.ts'
import { Connection, fileFailure, ReadHandle, readingUri, WriteHandle } from './connection.ts'
import { checkDefinition } from './definition.ts'
import type { Reader, Writer } from './handles.ts'

/**
 * Declares an app's tables in SQL: CREATE TABLE, INDEX, VIEW and TRIGGER.
 * @throws EngineError invalid-app, if SQLite refuses it or replicas could come to different rows
 */
export function sqlite(ddl: string): Database<Reader, Writer> {
  checkDefinition(ddl)
  return { kind: 'sqlite', definition: ddl }
}

export interface StoreOptions {
  /** Default 'write': the file is created if it does not exist. 'read': of an existing file, nothing but reading. */
  readonly mode?: 'write' | 'read'
  /** How many KiB of pages each connection may keep; what was never read takes none. Default 2048. With 256, a hundred busy tenants fit into 100 MiB. */
  readonly cache?: number
}

/**
 * Opens a tenant's database, or creates it. ':memory:' is a database of its own each time, 'memory:NAME' one that is there as long as somebody
 * has it open.
 * @throws EngineError data-unusable: the file cannot be used or is something else; data-in-use: somebody else holds it
 */
export function openStore(database: Database, path: string, options: StoreOptions = {}): Store<Reader, Writer> {
  return new SqliteStore(database, path, options)
}

const NAMED = 'memory:'
/** Where SQLite keeps it. */
export const inMemory = (name: string): string => `file:/${name}?vfs=memdb`

/** A -wal of so many bytes may be left to the next one: ten thousand tenants have some. */
const little = 262_144

// 'MnSt'. `file` knows it at offset 68, and no other program's file has it.
const application = 0x4d6e5374
/** Of the engine's tables. */
const format = 1

const engineTables = `
CREATE TABLE mainstem_standing (one INTEGER PRIMARY KEY, position INTEGER, version INTEGER, floor INTEGER, digest TEXT, time INTEGER,
  recordHash TEXT, place TEXT, generation INTEGER, definition TEXT);
CREATE TABLE mainstem_id (first TEXT PRIMARY KEY, more TEXT, position INTEGER, version INTEGER) WITHOUT ROWID;
CREATE TABLE mainstem_history ("end" INTEGER PRIMARY KEY, position INTEGER, time INTEGER, digest TEXT, verdicts TEXT, writes TEXT);`

const sql = {
  begin: 'BEGIN IMMEDIATE',
  commit: 'COMMIT',
  rollback: 'ROLLBACK',
  // The position too, so that a record without events that somebody else entered is noticed as well.
  move: `UPDATE mainstem_standing SET position = ?, version = ?, floor = ?, digest = ?, time = ?, recordHash = ?, place = ?, generation = ?
    WHERE one = 1 AND version = ? AND position = ?`,
  enterIds: 'INSERT INTO mainstem_id VALUES (?, ?, ?, ?)',
  enterHistory: 'INSERT INTO mainstem_history VALUES (?, ?, ?, ?, ?, ?)',
  known: 'SELECT position, version FROM mainstem_id WHERE first >= ?1 AND first <= ?2 AND (first = ?2 OR instr(more, ?3) > 0)',
  newest: `SELECT first FROM mainstem_id WHERE first >= '0' AND first < '1' AND first GLOB '0${'?'.repeat(13)}7${'?'.repeat(21)}' ORDER BY first DESC LIMIT 1`,
  window: 'SELECT * FROM mainstem_history WHERE "end" >= ? ORDER BY "end"',
  at: 'SELECT * FROM mainstem_history WHERE "end" >= ? ORDER BY "end" LIMIT 1',
  before: 'SELECT * FROM mainstem_history WHERE time <= ? ORDER BY "end" DESC LIMIT 1',
  // Those without writes are the older ones, so it looks no further than it has to.
  thin: `UPDATE mainstem_history SET writes = NULL WHERE "end" < ?1 AND "end" >
    coalesce((SELECT "end" FROM mainstem_history WHERE "end" < ?1 AND writes IS NULL ORDER BY "end" DESC LIMIT 1), -1)`,
  forget: 'DELETE FROM mainstem_id WHERE first < ? AND first GLOB ?',
} as const

const x = '[0-9a-f]'
/** As `uuidv7Time` in ids.ts has it: nothing may be forgotten here that the fold does not call expired. */
const uuidv7 = `${x.repeat(8)}-${x.repeat(4)}-7${x.repeat(3)}-[89ab]${x.repeat(3)}-${x.repeat(12)}`
/** Ids whose greatest is kept in memory: UUIDv7 up to the year 2527, and whatever looks like them at a glance. `sql.newest` looks the same way. */
const rises = (id: string): boolean => id.length === 36 && id.charCodeAt(0) === 48 && id.charCodeAt(14) === 55

class SqliteStore implements Store<Reader, Writer> {
  standing: Standing
  readonly read: Reader
  readonly write: Writer
  readonly #path: string
  readonly #location: string
  readonly #readOnly: boolean
  readonly #inMemory: boolean
  readonly #cache: number
  // Not #: tests fill its disk.
  private readonly connection: Connection
  readonly #statements = new Map<string, StatementSync>()
  #queryConnection: Connection | undefined
  #queries: Reader | undefined
  /** The greatest rising id in the id table, or a greater one: what is above it is unknown, without a look. Undefined: not looked up yet. */
  #newest: string | undefined
  #newestBefore: string | undefined
  /** Held open next to SQLite's own, which it does not lend: closing it any earlier would drop SQLite's locks on the file. */
  #file: number | undefined
  #fileSynced = false
  #synced = false
  #closed = false

  constructor(database: Database, path: string, { mode = 'write', cache = 2_048 }: StoreOptions) {
    this.#path = path
    this.#readOnly = mode === 'read'
    const name = path === ':memory:' ? randomUUID() : path.startsWith(NAMED) ? path.slice(NAMED.length) : undefined
    this.#inMemory = name !== undefined
    this.#cache = cache
    if (!this.#readOnly && !this.#inMemory) this.#file = openFile(path)
    try {
      this.#location = name !== undefined ? inMemory(name) : this.#readOnly ? readingUri(path) : path
      this.connection = new Connection(path, this.#location, { timeout: 1000 })
      try {
        this.standing = this.#prepare(database)
        this.connection.guard({ deterministic: true })
        if (this.#readOnly) this.connection.db.exec('PRAGMA query_only = ON')
        // Here, not in the first batch: a file that cannot be written, or that another process is writing.
        if (!this.#readOnly) this.connection.db.exec('BEGIN IMMEDIATE; ROLLBACK')
        this.read = new ReadHandle(this.connection, 'decide', true)
        this.write = new WriteHandle(this.connection)
        // In memory a connection cannot begin to read while the other one writes: it has to be there before.
        if (this.#inMemory) this.#openQueries()
      } catch (error) {
        this.connection.db.close()
        throw fileFailure(path, error) ?? error
      }
    } catch (error) {
      if (this.#file !== undefined) closeSync(this.#file)
      throw error
    }
  }

  get queries(): Reader {
    return (this.#queries ??= this.#openQueries())
  }

  begin(): void {
    const { db } = this.connection
    if (this.#readOnly) throw this.#misuse('it was opened for reading')
    if (this.connection.inTransaction) throw this.#misuse('a transaction is open already')
    this.connection.endReading()
    try {
      this.#hold()
      this.#sql(sql.begin).run()
    } catch (error) {
      this.#letGo()
      throw this.connection.failure(error, sql.begin)
    }
    if (!db.isTransaction) throw this.#misuse('BEGIN began nothing')
    this.connection.inTransaction = true
    this.#newestBefore = this.#newest
  }

  enterIds(ids: readonly string[], { position, version }: IdEntry): void {
    this.#checkOpen()
    try {
      for (const { first, more } of runsOf(ids)) this.#sql(sql.enterIds).run(first, more, position, version)
    } catch (error) {
      throw this.connection.failure(error, sql.enterIds)
    }
    if (this.#newest !== undefined) for (const id of ids) if (id > this.#newest && rises(id)) this.#newest = id
  }

  enterHistory({ end, position, time, digest, verdicts, writes }: HistoryEntry): void {
    this.#checkOpen()
    try {
      this.#sql(sql.enterHistory).run(end, position, time, digest, verdicts && JSON.stringify(verdicts), writes && JSON.stringify(writes))
    } catch (error) {
      throw this.connection.failure(error, sql.enterHistory)
    }
  }

  commit(next: Standing): void {
    this.#checkOpen()
    const { version, position } = this.standing
    const { db } = this.connection
    this.connection.endReading()
    try {
      const { changes } = this.#sql(sql.move).run(
        next.position,
        next.version,
        next.floor,
        next.digest,
        next.time,
        next.recordHash,
        next.place,
        next.generation,
        version,
        position,
      )
      if (changes !== 1) throw this.#diverged()
      this.#letGo()
      this.#sql(sql.commit).run()
    } catch (error) {
      const failure = this.connection.failure(error, sql.commit)
      this.#undo(failure)
      throw failure
    }
    if (db.isTransaction) throw this.#misuse('COMMIT ended nothing')
    this.connection.inTransaction = false
    this.#synced = false
    this.standing = next
  }

  rollback(): void {
    if (this.connection.inTransaction) this.#undo()
  }

  known(id: string): IdEntry | undefined {
    this.#newest ??= this.#newestStored()
    if (id > this.#newest && rises(id)) return undefined
    return this.#first(sql.known, lowestKey(id), id, tailOf(id)) as IdEntry | undefined
  }

  window(): HistoryEntry[] {
    try {
      return this.#sql(sql.window).all(this.standing.floor).map(historyEntry)
    } catch (error) {
      throw this.connection.failure(error, sql.window)
    }
  }

  historyAt(version: number): HistoryEntry | undefined {
    const row = this.#first(sql.at, version)
    return row && historyEntry(row)
  }

  historyBefore(time: number): HistoryEntry | undefined {
    const row = this.#first(sql.before, time)
    return row && historyEntry(row)
  }

  thin(): void {
    this.#alone(sql.thin, this.standing.floor)
  }

  forget(before: number): void {
    if (before > 0) this.#alone(sql.forget, keyBefore(before), uuidv7)
  }

  /**
   * Also inside a transaction. The log of SQLite (-wal) is synced, not merged into the file: that is one wait for the disk instead of three,
   * and a query that is being read cannot be in its way.
   */
  sync(): void {
    if (this.#file === undefined || this.#synced) return
    try {
      if (!this.#fileSynced) {
        // The file was created without a wait for the disk. Later on SQLite syncs it itself before it drops anything from the -wal.
        fsyncSync(this.#file)
        syncPath(dirname(resolve(this.#path)))
        this.#fileSynced = true
      }
      syncPath(`${this.#path}-wal`)
    } catch (error) {
      throw new EngineError(
        'data-unusable',
        `${this.#path} could not be synced to disk: ${(error as Error).message}. Way out: look after the disk`,
        { cause: error },
      )
    }
    this.#synced = true
  }

  close(lazily = false): void {
    if (this.#closed) return
    this.#closed = true
    this.#queryConnection?.endReading()
    this.connection.endReading()
    this.connection.inTransaction = false
    // Readers first: it is the last writer to leave that merges the -wal into the file and removes it, and waits for the disk three times.
    // To leave that to the next one, a reader goes last.
    const last = lazily && this.#littleInWal() ? new DatabaseSync(this.#path, { readOnly: true }) : undefined
    last?.exec('SELECT 1 FROM sqlite_schema')
    this.#queryConnection?.db.close()
    this.connection.db.close()
    last?.close()
    if (this.#file !== undefined) closeSync(this.#file)
  }

  #littleInWal(): boolean {
    if (this.#readOnly || this.#inMemory) return false
    const { size = 0 } = statSync(`${this.#path}-wal`, { throwIfNoEntry: false }) ?? {}
    return size > 0 && size <= little
  }

  /** Creates the tables or checks that they are the right ones. */
  #prepare(database: Database): Standing {
    const { db } = this.connection
    const definition = createHash('sha256').update(database.definition).digest('base64url')
    const found = db
      .prepare(
        `SELECT (SELECT application_id FROM pragma_application_id) AS application, (SELECT user_version FROM pragma_user_version) AS format,
           (SELECT count(*) FROM sqlite_schema) AS objects`,
      )
      .get() as { application: number; format: number; objects: number }
    const isNew = found.application === 0 && found.format === 0 && found.objects === 0
    if (isNew && this.#readOnly) throw this.#unusable('is empty')
    if (!isNew && found.application !== application)
      throw this.#unusable('belongs to another program. Move it away, or give another data directory')
    if (!isNew && found.format !== format)
      throw this.#unusable(
        `has format ${found.format}, this release knows ${format}. Delete it to have it built anew from the log, or run the release that wrote it`,
      )
    if (isNew) this.#create(database, definition)
    db.exec(
      `PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -${this.#cache}; PRAGMA recursive_triggers = OFF`,
    )

    const row = db.prepare('SELECT * FROM mainstem_standing WHERE one = 1').get() as (Standing & { definition: string }) | undefined
    if (row === undefined) throw this.#unusable('says nothing of how far it has come. Delete it: it is built anew from the log')
    if (row.definition !== definition)
      throw this.#unusable('holds the tables of another revision. Delete it to have it built anew from the log')
    const { position, version, floor, digest, time, recordHash, place, generation } = row
    return { position, version, floor, digest, time, recordHash, place, generation }
  }

  /** Without any wait for the disk: until `sync` there is nothing to lose that the log does not have. */
  #create(database: Database, definition: string): void {
    const { db } = this.connection
    // Before the journal is chosen: that writes to the file already.
    db.exec('PRAGMA synchronous = OFF')
    const { journal_mode: journal } = db.prepare('PRAGMA journal_mode = WAL').get() as { journal_mode: string }
    // A large transaction would try to write early, and wait for the readers that `#hold` holds.
    if (this.#inMemory) db.exec('PRAGMA cache_spill = OFF')
    else if (journal !== 'wal') throw this.#unusable('cannot have a write-ahead log. Keep it on a local file system')
    db.exec(`BEGIN IMMEDIATE; PRAGMA application_id = ${application}; PRAGMA user_version = ${format}; ${engineTables}`)
    db.prepare(`INSERT INTO mainstem_standing VALUES (1, 0, 0, 0, '', 0, '', '', 0, ?)`).run(definition)
    db.exec(database.definition)
    db.exec('COMMIT')
  }

  #openQueries(): Reader {
    const connection = new Connection(this.#path, this.#location, { timeout: 1000 })
    connection.db.exec(`PRAGMA query_only = ON; PRAGMA cache_size = -${this.#cache}`)
    connection.guard({ deterministic: false })
    this.#queryConnection = connection
    // In memory a row still to be read would be in the way of the next commit.
    return (this.#queries = new ReadHandle(connection, 'query', !this.#inMemory))
  }

  /** In memory: keeps what was committed readable while a transaction is open. Files have a -wal for that. */
  #hold(): void {
    if (this.#inMemory) this.#queryConnection!.db.exec('BEGIN; SELECT 1 FROM sqlite_schema')
  }

  #letGo(): void {
    if (this.#inMemory && this.#queryConnection!.db.isTransaction) this.#queryConnection!.db.exec('COMMIT')
  }

  /** @param failure already to be thrown: then another one is only its consequence */
  #undo(failure?: unknown): void {
    const connection = this.connection
    connection.endReading()
    connection.inTransaction = false
    connection.lost = undefined
    this.#newest = this.#newestBefore
    try {
      this.#letGo()
      // SQLite may have rolled back by itself.
      if (connection.db.isTransaction) this.#sql(sql.rollback).run()
    } catch (error) {
      if (failure === undefined) throw connection.failure(error, sql.rollback)
    }
  }

  #newestStored(): string {
    const first = this.#first(sql.newest)?.['first'] as string | undefined
    if (first === undefined) return ''
    // It may be no UUIDv7, and above all that begin like it.
    const highest = highestIn(first)
    return first > highest ? first : highest
  }

  /** A statement that is a transaction of its own. */
  #alone(statement: string, ...params: (string | number)[]): void {
    if (this.#readOnly) throw this.#misuse('it was opened for reading')
    if (this.connection.inTransaction) throw this.#misuse('a transaction is open')
    try {
      this.#sql(statement).run(...params)
    } catch (error) {
      throw this.connection.failure(error, statement)
    }
  }

  #first(statement: string, ...params: (string | number)[]): Record<string, unknown> | undefined {
    try {
      return this.#sql(statement).get(...params)
    } catch (error) {
      throw this.connection.failure(error, statement)
    }
  }

  #sql(text: string): StatementSync {
    let statement = this.#statements.get(text)
    if (statement === undefined) {
      statement = this.connection.db.prepare(text)
      this.#statements.set(text, statement)
    }
    return statement
  }

  #checkOpen(): void {
    if (!this.connection.inTransaction) throw this.#misuse('no transaction is open')
    this.connection.checkLost()
  }

  #diverged(): EngineError {
    const expected = this.standing
    const found = this.#sql('SELECT version, position FROM mainstem_standing').get() as Pick<Standing, 'version' | 'position'> | undefined
    const where = (at: typeof found) => (at ? `version ${at.version}, position ${at.position}` : 'nothing')
    return new EngineError(
      'diverged',
      `${this.#path} stands at ${where(found)}, this replica left it at ${where(expected)}: somebody else has written into it. ` +
        'Nothing was changed. Way out: one replica per data directory; then open it again',
      { details: { expected, found } },
    )
  }

  #unusable(what: string): EngineError {
    return new EngineError('data-unusable', `${this.#path} ${what}`)
  }

  #misuse(what: string): EngineError {
    return new EngineError('internal', `${this.#path}: ${what}`)
  }
}

function historyEntry(row: Record<string, unknown>): HistoryEntry {
  const { end, position, time, digest, verdicts, writes } = row as Record<string, string & number>
  return {
    end: end!,
    position: position!,
    time: time!,
    digest: digest!,
    verdicts: verdicts === null ? null : (JSON.parse(verdicts!) as HistoryEntry['verdicts']),
    writes: writes === null ? null : (JSON.parse(writes!) as HistoryEntry['writes']),
  }
}

/** For `fsync`. Creates the file if it does not exist: then an error says better than SQLite's what is wrong with its folder. */
function openFile(path: string): number {
  try {
    return openSync(path, 'a')
  } catch (error) {
    throw new EngineError(
      'data-unusable',
      `${path} cannot be opened: ${(error as Error).message}. Way out: check that its folder exists and may be written`,
      { cause: error },
    )
  }
}

function syncPath(path: string): void {
  // Windows cannot sync a folder, and need not.
  if (process.platform === 'win32' && !path.endsWith('-wal')) return
  const file = openSync(path, process.platform === 'win32' ? 'r+' : 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
