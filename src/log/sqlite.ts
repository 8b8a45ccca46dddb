/**
 * The embedded log: one SQLite file in WAL mode, one synchronous commit per append, shared by several processes of one machine.
 *
 * The write lock is held for one append only, so that a stopped process stops nobody for longer than that. An append that failed
 * while committing is `unknown`, and the writer stops for good: a failed fsync may surface later, after the recovery of the file.
 */
import { randomUUID } from 'node:crypto'
import { accessSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import { EngineError } from '../errors.ts'
import type { AppendOptions, Appended, Chunk, Log, NewRecord, Position, ReadOptions, Stored } from '../log.ts'

/** 'msl' and the format's number: tells our files from other SQLite files. */
const APPLICATION_ID = 0x6d736c01
/** A chunk ends at this many records or bytes, whichever comes first: small enough to keep the event loop alive. */
const CHUNK_RECORDS = 512
const CHUNK_BYTES = 1 << 20
/** How often a waiting reader looks for records of other processes, ms. */
const POLL = 5
/** How long an open waits for others that open or make the same log, ms. */
const OPEN_PATIENCE = 5_000
/** How often it is looked whether the file is still there, ms. */
const FILE_CHECK = 100
/** How long an append tries to get the write lock, ms. */
const LOCK_PATIENCE = 500

/** The default tenant is left out of the index: it is found by its positions, and an app without tenants pays for no index. */
const SCHEMA = `
CREATE TABLE log (place TEXT NOT NULL) STRICT;
CREATE TABLE record (position INTEGER PRIMARY KEY, tenant TEXT, barrier INTEGER NOT NULL, time INTEGER NOT NULL, value ANY NOT NULL) STRICT;
CREATE INDEX record_by_tenant ON record (tenant) WHERE tenant IS NOT 'default';`

interface Row {
  position: number
  tenant: string | null
  value: string | Uint8Array
}

export class SqliteLog implements Log {
  readonly description: string
  readonly place: string
  readonly conditional = true
  readonly freshHead = true
  readonly selective = true
  readonly tails = false
  readonly #db: DatabaseSync
  readonly #insert: StatementSync
  readonly #head: StatementSync
  readonly #behind: StatementSync
  readonly #all: StatementSync
  readonly #ofDefault: StatementSync
  readonly #ofTenant: StatementSync
  readonly #version: StatementSync
  readonly #waiting = new Set<() => void>()
  /** The end of the log as of the data version `#seen`. */
  #last: Position = 0
  #seen = -1
  #failure: EngineError | undefined
  #closed = false
  readonly #path: string
  readonly #inode: number
  #checkedAt = 0

  /** @param path of the file; made when it is not there. @throws EngineError log-unusable */
  constructor(path: string) {
    this.description = `file:${path}`
    this.#path = path
    this.#db = open(path)
    this.#inode = statSync(path).ino
    try {
      this.place = (this.#db.prepare('SELECT place FROM log').get() as { place: string }).place
      this.#insert = this.#db.prepare('INSERT INTO record (tenant, barrier, time, value) VALUES (?, ?, ?, ?)')
      this.#head = this.#db.prepare(
        `SELECT iif(head >= ${Number.MAX_SAFE_INTEGER}, -1, head) AS head FROM (SELECT max(position) AS head FROM record)`,
      )
      this.#behind = this.#db.prepare(
        'SELECT 1 FROM record WHERE position > ? AND (tenant = ? OR (tenant IS NULL AND barrier = 0)) LIMIT 1',
      )
      // A number that somebody else put there is foreign, and must not be too great for JavaScript.
      const row = "SELECT position, tenant, iif(typeof(value) IN ('text', 'blob'), value, CAST(value AS BLOB)) AS value FROM record"
      const select = `${row} WHERE position > ?1 AND position <= ?2`
      this.#all = this.#db.prepare(`${select} ORDER BY position`)
      this.#ofDefault = this.#db.prepare(`${select} AND (tenant = 'default' OR tenant IS NULL) ORDER BY position`)
      // No more than a chunk's worth: else all that a tenant ever wrote would be gathered for each chunk.
      const next = (of: string): string =>
        `SELECT position FROM (SELECT position FROM record INDEXED BY record_by_tenant
         WHERE tenant IS NOT 'default' AND ${of} AND position > ?1 AND position <= ?2 ORDER BY position LIMIT ${CHUNK_RECORDS})`
      this.#ofTenant = this.#db.prepare(
        `${row} WHERE position IN (${next('tenant = ?3')} UNION ALL ${next('tenant IS NULL')}) ORDER BY position`,
      )
      this.#version = this.#db.prepare('PRAGMA data_version')
    } catch (cause) {
      // It bears our mark, but what every log has cannot be read.
      this.#db.close()
      throw new EngineError('log-unusable', `cannot use ${path} as a log: ${DAMAGED}`, { cause })
    }
  }

  async head(): Promise<Position> {
    return this.#legibly(() => this.#headNow())
  }

  async read(from: Position | (() => Position), options: ReadOptions = {}): Promise<Chunk> {
    const { upTo = Number.MAX_SAFE_INTEGER, signal } = options
    for (;;) {
      const after = typeof from === 'number' ? from : from()
      if (this.#closed || signal?.aborted) return { records: [], reached: after }
      const seen = this.#dataVersion()
      // Nobody else has written since the end was seen last.
      if (!options.wait && seen === this.#seen && after >= this.#last) return { records: [], reached: after }
      const chunk = this.#legibly(() => this.#readNow(after, upTo, options.tenant))
      if (chunk.reached > after || !options.wait) return chunk
      await this.#change(seen, signal)
    }
  }

  /** Whether the file is still the one at the path: what is written into a deleted file is gone when it is closed. */
  #checkFile(): void {
    const now = performance.now()
    if (now - this.#checkedAt < FILE_CHECK) return
    this.#checkedAt = now
    if (statSync(this.#path, { throwIfNoEntry: false })?.ino === this.#inode) return
    this.#fail(new Error('the file was deleted or replaced'))
  }

  async append(records: readonly NewRecord[], { after, signal }: AppendOptions = {}): Promise<readonly Appended[]> {
    this.#checkFile()
    if (this.#failure || this.#closed) return all(records, { status: 'not-written', cause: this.#failure, fatal: true })
    if (!(await this.#lock(signal))) return all(records, { status: 'not-written', cause: new Error('another process holds the log') })
    const answers: Appended[] = []
    let last: Position
    try {
      const seen = this.#dataVersion()
      let previous = seen === this.#seen ? this.#last : this.#headNow()
      this.#seen = seen
      const checked = after !== undefined && after < previous
      for (const record of records) {
        if (checked && this.#behind.get(after, record.tenant)) {
          answers.push({ status: 'conflict' })
          continue
        }
        const position = Number(this.#insert.run(record.tenant, record.barrier ? 1 : 0, record.time, record.value).lastInsertRowid)
        answers.push({ status: 'written', position, previous })
        previous = position
      }
      last = previous
    } catch (cause) {
      this.#fail(cause)
      this.#rollback()
      return all(records, { status: 'not-written', cause: this.#failure, fatal: true })
    }
    try {
      this.#db.exec('COMMIT')
    } catch (cause) {
      this.#fail(cause)
      // For the lock on the file: others may go on.
      this.#rollback()
      return answers.map(answer =>
        answer.status === 'conflict' ? answer : { status: 'unknown' as const, cause: this.#failure, fatal: true },
      )
    }
    this.#last = last
    // No waiting reader is woken: this process knows what it wrote.
    return answers
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const wake of this.#waiting) wake()
    this.#db.close()
  }

  #legibly<T>(read: () => T): T {
    try {
      return read()
    } catch (cause) {
      const code = primaryCode(cause)
      if (code !== 11 && code !== 26) throw cause
      throw this.#damaged(cause)
    }
  }

  #damaged(cause?: unknown): EngineError {
    return new EngineError('log-unusable', `cannot read ${this.description}: ${DAMAGED}`, { cause })
  }

  #headNow(): Position {
    const head = (this.#head.get() as { head: number | null }).head ?? 0
    if (head >= 0) return head
    throw new EngineError('log-unusable', `cannot use ${this.description}: ${OUT_OF_RANGE}`)
  }

  #dataVersion(): number {
    return (this.#version.get() as { data_version: number }).data_version
  }

  #readNow(after: Position, upTo: Position, tenant: string | null | undefined): Chunk {
    const records: Stored[] = []
    let bytes = 0
    let reached = after
    const rows =
      tenant === undefined
        ? this.#all.iterate(after, upTo)
        : tenant === 'default'
          ? this.#ofDefault.iterate(after, upTo)
          : this.#ofTenant.iterate(after, upTo, tenant)
    for (const row of rows as Iterable<unknown> as Iterable<Row>) {
      // SQLite does not look whether what a damaged page says is possible.
      if ((row.value as unknown) === null || row.position <= reached) throw this.#damaged()
      records.push(row)
      reached = row.position
      bytes += row.value.length
      if (records.length >= CHUNK_RECORDS || bytes >= CHUNK_BYTES) return { records, reached }
    }
    return { records, reached }
  }

  /** Resolves when another process wrote, the signal fired or the log was closed. */
  #change(seen: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        clearInterval(timer)
        this.#waiting.delete(done)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const look = () => {
        try {
          if (this.#dataVersion() === seen) return
        } catch {
          // The reader will meet it, and may throw; a timer may not.
        }
        done()
      }
      const timer = setInterval(look, POLL)
      this.#waiting.add(done)
      signal?.addEventListener('abort', done)
    })
  }

  /** BEGIN IMMEDIATE without SQLite's own busy handler, which sleeps a millisecond at least: first short naps, then the event loop runs between. */
  async #lock(signal: AbortSignal | undefined): Promise<boolean> {
    const until = performance.now() + LOCK_PATIENCE
    for (let tries = 0; ; tries++) {
      if (this.#closed) return false
      try {
        this.#db.exec('BEGIN IMMEDIATE')
        return true
      } catch (cause) {
        if (primaryCode(cause) !== SQLITE_BUSY) {
          this.#fail(cause)
          return false
        }
      }
      if (signal?.aborted || performance.now() > until) return false
      if (tries < 16) Atomics.wait(NAP, 0, 0, 0.1 + Math.random() * 0.2)
      else await pause(1 + Math.random() * 3)
    }
  }

  #rollback(): void {
    try {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
    } catch {
      // The failure before it is the one to tell.
    }
  }

  #fail(cause: unknown): void {
    this.#failure ??= new EngineError(
      'log-failed',
      `the log ${this.description} could not be written: ${explain(cause)}. Nothing more is written by this process; mend the cause and start it again`,
      { cause },
    )
  }
}

const NAP = new Int32Array(new SharedArrayBuffer(4))
const SQLITE_BUSY = 5

/** SQLite's primary result code of an error thrown by node:sqlite. */
function primaryCode(cause: unknown): number | undefined {
  const code = (cause as { errcode?: unknown } | undefined)?.errcode
  return typeof code === 'number' ? code & 0xff : undefined
}

function explain(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause)
  const code = primaryCode(cause)
  if (code === 13) return `the disk is full (${text})`
  if (code === 8) return `it is read-only (${text})`
  if (code === 10) return `the disk reports an error (${text})`
  return text
}

function all(records: readonly NewRecord[], answer: Appended): Appended[] {
  return records.map(() => answer)
}

/** Where several processes make a log at once, SQLite refuses some of them without waiting (the change to WAL must not deadlock): they try again. */
function open(path: string): DatabaseSync {
  const until = performance.now() + OPEN_PATIENCE
  for (;;) {
    const db = tryOpen(path, performance.now() < until)
    if (db) return db
    Atomics.wait(NAP, 0, 0, 2 + Math.random() * 20)
  }
}

/** @returns undefined if the file is locked, and it may be tried again */
function tryOpen(path: string, again: boolean): DatabaseSync | undefined {
  const refuse = (why: string, cause?: unknown): EngineError =>
    new EngineError('log-unusable', `cannot use ${path} as a log: ${why}`, { cause })
  const why = unfit(path)
  if (why) throw refuse(why)
  let db: DatabaseSync | undefined
  try {
    db = new DatabaseSync(path, { timeout: 1_000 })
    // One statement, one state: another process may be making it at this moment.
    const found = db
      .prepare('SELECT (SELECT application_id FROM pragma_application_id) AS application, (SELECT count(*) FROM sqlite_schema) AS objects')
      .get() as { application: number; objects: number }
    const isNew = found.application !== APPLICATION_ID
    if (isNew && found.objects > 0) throw refuse('it is an SQLite database, but not a log of Mainstem. Give another path')
    // A short -wal: once filled it is written over and grows no more, and then an fsync takes half the time.
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000')
    if (isNew) create(db)
    db.exec('PRAGMA busy_timeout = 0')
    return db
  } catch (cause) {
    db?.close()
    if (cause instanceof EngineError) throw cause
    const code = primaryCode(cause)
    if (code === SQLITE_BUSY && again) return undefined
    if (code === SQLITE_BUSY) throw refuse('another process keeps it locked. End that process, then try again', cause)
    if (code === 26) throw refuse('it is some other kind of file. Give another path', cause)
    if (code === 14) throw refuse(`it cannot be opened or made. Does the folder ${dirname(path)} exist, and may you write there?`, cause)
    if (code === 8) throw refuse(READ_ONLY, cause)
    if (code === 11) throw refuse(DAMAGED, cause)
    throw refuse(explain(cause), cause)
  }
}

/** No log of ours counts that far: somebody has put it there by hand. What is written behind it could not be read back. */
const OUT_OF_RANGE = `a record stands at position ${Number.MAX_SAFE_INTEGER} or beyond. End all replicas and delete it, or restore a backup (mainstem restore)`
const DAMAGED = 'it is damaged. Restore a backup (mainstem restore)'

function create(db: DatabaseSync): void {
  db.exec('BEGIN EXCLUSIVE')
  const { application_id } = db.prepare('PRAGMA application_id').get() as { application_id: number }
  // Another process may have made it while this one waited for the lock.
  if (application_id !== APPLICATION_ID) {
    db.exec(SCHEMA)
    db.prepare('INSERT INTO log VALUES (?)').run(randomUUID())
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
  }
  db.exec('COMMIT')
}

/** What is wrong with the file, as far as SQLite would not say, or would do harm before it does. */
function unfit(path: string): string | undefined {
  const file = statSync(path, { throwIfNoEntry: false })
  if (!file) return undefined
  if (file.isDirectory()) return 'it is a directory. Give another path'
  try {
    accessSync(path, constants.W_OK)
  } catch {
    // SQLite would open it for reading without a word, and leave a -wal and a -shm behind that nobody may write, either.
    return READ_ONLY
  }
  return cutOff(path, file.size)
}

const READ_ONLY = 'it is read-only. Give this user the right to write the file and its folder'

/** An SQLite file says how many pages it has (file format, 1.3.8): fewer bytes than that, and its end is missing. */
function cutOff(path: string, size: number): string | undefined {
  // One that was killed while it moved pages from the -wal into the file leaves it like that. They are still there, and are moved again.
  if (size === 0 || (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0) return undefined
  const header = Buffer.alloc(100)
  const file = openSync(path, 'r')
  try {
    if (readSync(file, header, 0, 100, 0) < 100)
      return `it has ${size} bytes only: it is cut off, or some other kind of file. Restore a backup (mainstem restore), or give another path`
  } finally {
    closeSync(file)
  }
  if (!header.toString('latin1').startsWith('SQLite format 3\0')) return 'it is some other kind of file. Give another path'
  const stated = header.readUInt16BE(16)
  const pageSize = stated === 1 ? 65_536 : stated
  const pages = header.readUInt32BE(28)
  return pages * pageSize > size
    ? `it is cut off: ${size} of ${pages * pageSize} bytes are there. Restore a backup (mainstem restore)`
    : undefined
}
