/**
 * A connection to a tenant's database and the handles on it that the app's code gets. The connection knows whose SQL runs at the
 * moment, so that SQLite's authorizer, which is also asked when SQLite compiles a cached statement anew, judges by the right rules.
 */
import { existsSync } from 'node:fs'
import { DatabaseSync, type DatabaseSyncOptions, constants as sqlite, type StatementSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { EngineError, type ErrorCode } from '../errors.ts'
import { type Mode, makeDeterministic, Refused, refusal } from './guard.ts'
import type { Reader, Sql, Writer } from './handles.ts'

type Rows = ReturnType<StatementSync['iterate']>

const codeOf = {
  engine: 'internal',
  define: 'invalid-app',
  decide: 'decide-failed',
  project: 'projection-failed',
  query: 'query-failed',
} as const satisfies Record<Mode, ErrorCode>

/** Statements kept per handle. Apps have dozens; more means that values stand in the SQL text. */
const kept = 512

export class Connection {
  readonly db: DatabaseSync
  /** For messages. */
  readonly path: string
  mode: Mode = 'engine'
  /** Between the engine's BEGIN and its COMMIT or ROLLBACK. */
  inTransaction = false
  /** What made SQLite end the transaction behind the engine's back. */
  lost: unknown
  /** Of `each`, not yet read to their end. */
  readonly reading = new Set<Rows>()
  #refused: string | undefined

  constructor(path: string, location: string, options: DatabaseSyncOptions = {}) {
    this.path = path
    try {
      this.db = new DatabaseSync(location, options)
    } catch (error) {
      throw fileFailure(path, error) ?? error
    }
  }

  /** From now on the app's SQL is judged. */
  guard(options: { readonly deterministic: boolean }): void {
    if (options.deterministic) makeDeterministic(this.db)
    this.db.setAuthorizer((action, first, second) => {
      if (this.mode === 'engine') return sqlite.SQLITE_OK
      const why = refusal(this.mode, action, first, second)
      if (why === undefined) return sqlite.SQLITE_OK
      this.#refused = why
      return sqlite.SQLITE_DENY
    })
  }

  /** Ends what `each` has not read to its end: its rows must not be read beyond the transaction. */
  endReading(): void {
    if (this.reading.size === 0) return
    for (const rows of this.reading) rows.return?.()
    this.reading.clear()
  }

  /** The error to be thrown for one that came out of SQLite, which is itself where the app's SQL is at fault. */
  failure(error: unknown, sql: string): unknown {
    if (this.inTransaction && this.lost === undefined && !this.db.isTransaction) this.lost = error
    const why = error instanceof Refused ? error.message : this.#refused
    this.#refused = undefined
    if (why !== undefined) return new EngineError(codeOf[this.mode], `${why}\nSQL: ${shown(sql)}`, { cause: error })
    return fileFailure(this.path, error) ?? error
  }

  /** @throws EngineError if SQLite has ended the transaction by itself. */
  checkLost(): void {
    if (this.lost === undefined) return
    const failure = fileFailure(this.path, this.lost)
    if (failure) throw failure
    throw new EngineError(
      'projection-failed',
      `${(this.lost as Error).message}, and with it the transaction was rolled back. ROLLBACK as a conflict clause is not available: leave it away`,
      { cause: this.lost },
    )
  }
}

/** Reads, in one mode; what it has prepared cannot be reached in another. */
export class ReadHandle implements Reader {
  protected readonly connection: Connection
  protected readonly mode: Exclude<Mode, 'engine'>
  /** Whether `each` reads row by row. */
  readonly #streams: boolean
  private readonly statements = new Map<string, StatementSync>()

  constructor(connection: Connection, mode: Exclude<Mode, 'engine'>, streams: boolean) {
    this.connection = connection
    this.mode = mode
    this.#streams = streams
  }

  get<R>(sql: string, ...params: Sql[]): R | undefined {
    const { connection } = this
    if (connection.lost !== undefined) connection.checkLost()
    connection.mode = this.mode
    try {
      return this.prepared(sql).get(...whole(params)) as R | undefined
    } catch (error) {
      throw connection.failure(error, sql)
    } finally {
      connection.mode = 'engine'
    }
  }

  all<R>(sql: string, ...params: Sql[]): R[] {
    const { connection } = this
    if (connection.lost !== undefined) connection.checkLost()
    connection.mode = this.mode
    try {
      return this.prepared(sql).all(...whole(params)) as R[]
    } catch (error) {
      throw connection.failure(error, sql)
    } finally {
      connection.mode = 'engine'
    }
  }

  each<R>(sql: string, ...params: Sql[]): Iterable<R> {
    return this.#streams ? this.#stream<R>(sql, whole(params)) : this.all<R>(sql, ...params)
  }

  *#stream<R>(sql: string, params: Sql[]): Iterable<R> {
    const { connection } = this
    if (connection.lost !== undefined) connection.checkLost()
    // Taken out of the cache: inside the loop the same SQL may be run again.
    const statement = this.#judged(sql, () => this.prepared(sql))
    this.statements.delete(sql)
    const rows = this.#judged(sql, () => statement.iterate(...params))
    connection.reading.add(rows)
    try {
      for (;;) {
        if (!connection.reading.has(rows))
          throw new EngineError(
            codeOf[this.mode],
            `rows of each() were read after the function they were given to had returned\nSQL: ${shown(sql)}`,
          )
        const row = this.#judged(sql, () => rows.next())
        if (row.done) return
        yield row.value as R
      }
    } finally {
      if (connection.reading.delete(rows)) {
        rows.return?.()
        this.statements.set(sql, statement)
      }
    }
  }

  #judged<T>(sql: string, run: () => T): T {
    this.connection.mode = this.mode
    try {
      return run()
    } catch (error) {
      throw this.connection.failure(error, sql)
    } finally {
      this.connection.mode = 'engine'
    }
  }

  protected prepared(sql: string): StatementSync {
    const found = this.statements.get(sql)
    if (found) return found
    const statement = this.connection.db.prepare(sql)
    // SQLite stops reading behind the first statement and would leave the others undone without a word.
    if (statement.sourceSQL.length < sql.length && beyond(sql.slice(statement.sourceSQL.length)))
      throw new EngineError(codeOf[this.mode], `one statement per call; the second would not be run\nSQL: ${shown(sql)}`)
    if (this.statements.size >= kept) this.statements.clear()
    this.statements.set(sql, statement)
    return statement
  }
}

/** Also writes, inside the engine's transactions. `each` reads all rows first: those that are written meanwhile must not be among them by chance. */
export class WriteHandle extends ReadHandle implements Writer {
  constructor(connection: Connection) {
    super(connection, 'project', false)
  }

  override get<R>(sql: string, ...params: Sql[]): R | undefined {
    this.#check(sql)
    return super.get<R>(sql, ...params)
  }

  override all<R>(sql: string, ...params: Sql[]): R[] {
    this.#check(sql)
    return super.all<R>(sql, ...params)
  }

  run(sql: string, ...params: Sql[]): void {
    const { connection } = this
    this.#check(sql)
    if (connection.lost !== undefined) connection.checkLost()
    connection.mode = 'project'
    try {
      // Unlike `run`, it makes no object that says how many rows were changed, which nobody asks here.
      this.prepared(sql).get(...whole(params))
    } catch (error) {
      throw connection.failure(error, sql)
    } finally {
      connection.mode = 'engine'
    }
  }

  /** Without a transaction a write would be committed at once, and stay. */
  #check(sql: string): void {
    if (this.connection.inTransaction) return
    throw new EngineError('projection-failed', `the handle of a projection was used after it had returned\nSQL: ${shown(sql)}`)
  }
}

/**
 * Whole numbers go in as INTEGER, in place. Node would make each number a REAL, so that 5 becomes '5.0' in a TEXT column, and 5 / 2
 * is 2.5; and what it makes of them must not change with its version, or replicas would differ. Other objects than bytes it would
 * take for names and values of all parameters, and bind the rest one place further to the left.
 */
function whole(params: Sql[]): Sql[] {
  for (let i = 0; i < params.length; i++) {
    const value = params[i]!
    if (typeof value === 'number') {
      if (Number.isSafeInteger(value)) params[i] = BigInt(value)
    } else if (typeof value !== 'string' && typeof value !== 'bigint' && value !== null && !isBytes(value)) {
      const what = typeof value === 'object' ? ((value as object).constructor?.name ?? 'object') : typeof value
      throw new TypeError(
        `parameter ${i + 1} is of type ${what}: only string, number, bigint, null and Uint8Array have a place in a column`,
      )
    }
  }
  return params
}

/** Also of another realm, as test runners have them. */
const isBytes = (value: unknown): boolean => ArrayBuffer.isView(value) && (value as Uint8Array)[Symbol.toStringTag] === 'Uint8Array'

/** Whether there is more than blanks and comments. */
const beyond = (rest: string): boolean => rest.replace(/--[^\n]*|\/\*[\s\S]*?(\*\/|$)|[\s;]/g, '') !== ''

const shown = (sql: string): string => {
  const line = sql.replace(/\s+/g, ' ').trim()
  return line.length > 300 ? `${line.slice(0, 300)}...` : line
}

/** SQLite's primary result codes (sqlite3.h) that speak of the file or the machine, not of the SQL. */
const ofTheFile: Record<number, string> = {
  3: 'give the user who runs this the right to write there',
  7: 'give the process more memory',
  8: 'make the file and its folder writable for the user who runs this',
  10: 'look after the disk',
  11: 'delete the file: it is built anew from the log',
  13: 'make room on the disk',
  14: 'check that the folder exists and may be written by the user who runs this',
  15: 'do not keep it on a network file system',
  22: 'keep it on another file system',
  26: 'it is no SQLite database; move it away, or give another data directory',
}

/** An error that is not the SQL's fault, as ours. Undefined for any other. */
export function fileFailure(path: string, error: unknown): EngineError | undefined {
  const { errcode } = error as { errcode?: unknown }
  if (!(error instanceof Error) || typeof errcode !== 'number') return undefined
  const code = errcode & 0xff
  if (code === 5 || code === 6)
    return new EngineError('data-in-use', `${path} is locked by somebody else (${error.message})`, { cause: error })
  const way = ofTheFile[code]
  return way === undefined
    ? undefined
    : new EngineError('data-unusable', `${path}: ${error.message} (SQLite ${errcode}). Way out: ${way}`, { cause: error })
}

/**
 * Where to read an existing file from. Not with SQLite's mode=ro: such a reader creates the -wal and -shm that it needs and leaves them behind;
 * `PRAGMA query_only` keeps it from writing. In a folder that may not be written it cannot have them, and nobody can write.
 */
export function readingUri(path: string): string {
  if (!existsSync(path)) throw new EngineError('data-unusable', `${path} does not exist`)
  const uri = pathToFileURL(path).href
  const { db } = new Connection(path, `${uri}?mode=rw`, { timeout: 1000 })
  try {
    db.exec('SELECT 1 FROM sqlite_schema')
    return `${uri}?mode=rw`
  } catch (error) {
    // CANTOPEN or READONLY: the -shm can neither be opened nor created.
    const code = ((error as { errcode?: number }).errcode ?? 0) & 0xff
    if ((code !== 14 && code !== 8) || existsSync(`${path}-wal`)) throw fileFailure(path, error) ?? error
    return `${uri}?immutable=1`
  } finally {
    db.close()
  }
}
