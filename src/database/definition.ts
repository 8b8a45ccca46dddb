/**
 * What an app may declare as its tables. Checked when it is declared, on a database in memory, so that what would differ between
 * replicas, or fail only after a record is in the log, fails before there is a log.
 */
import { EngineError } from '../errors.ts'
import { Connection } from './connection.ts'
import { impureDate, isDateFunction, type Mode } from './guard.ts'

/** @throws EngineError invalid-app */
export function checkDefinition(ddl: string): void {
  checkWords(ddl)
  const connection = new Connection('the definition', ':memory:')
  try {
    connection.guard({ deterministic: true })
    attempt(connection, 'define', 'The tables cannot be created', ddl, () => connection.db.exec(ddl))
    checkObjects(connection)
  } finally {
    connection.db.close()
  }
}

interface Named {
  readonly type: string
  readonly name: string
  readonly sql: string
}

/** SQLite compiles defaults, triggers and views when they are used, so each is used here as its use will be. */
function checkObjects(connection: Connection): void {
  const { db } = connection
  const objects = db
    .prepare(`SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'`)
    .all() as unknown as Named[]
  for (const { type, name, sql } of objects) {
    const what = `${type} ${name}`
    if (type !== 'view') checkDates(what, sql)
    if (type !== 'view' && type !== 'table') continue

    if (type === 'view') {
      const rows = `SELECT * FROM ${quoted(name)}`
      attempt(connection, 'query', `The ${what} cannot be read`, rows, () => db.prepare(rows))
    }
    const columns = db.prepare('SELECT name, hidden, dflt_value AS byDefault FROM pragma_table_xinfo(?)').all(name)
    const settable = columns.filter(column => column['hidden'] === 0).map(column => quoted(String(column['name'])))
    for (const { name: column, byDefault } of columns) {
      if (byDefault === null) continue
      const value = `SELECT (${String(byDefault)})`
      attempt(connection, 'decide', `The default of ${name}.${String(column)} cannot be used`, value, () => db.prepare(value).get())
    }
    // With their triggers and foreign keys.
    const writes = [
      `INSERT INTO ${quoted(name)} (${settable.join()}) VALUES (${settable.map(() => 'NULL').join()})`,
      `UPDATE ${quoted(name)} SET ${settable.map(column => `${column} = NULL`).join()}`,
      `DELETE FROM ${quoted(name)}`,
    ]
    for (const write of writes)
      attempt(connection, 'project', `The rows of ${what} cannot be written`, write, () => db.prepare(write), type === 'view')
  }
}

/** @param optional whether an error of SQLite's own is to be passed over, so that only what is forbidden counts */
function attempt(connection: Connection, mode: Mode, failing: string, sql: string, run: () => unknown, optional = false): void {
  connection.mode = mode
  try {
    run()
  } catch (error) {
    const failure = connection.failure(error, sql)
    if (optional && !(failure instanceof EngineError)) return
    throw invalid(`${failing}: ${failure instanceof Error ? failure.message : String(failure)}`, error)
  } finally {
    connection.mode = 'engine'
  }
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

const invalid = (message: string, cause?: unknown): EngineError => new EngineError('invalid-app', message, { cause })

// --- Words ----------------------------------------------------------------------------------------------------------------------

const token = /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[\p{L}\d_$]+|\S/gu

/** Words in lower case and without quotes, literals with a leading quote, signs; no comments. */
function words(sql: string): string[] {
  const found: string[] = []
  for (const [text] of sql.matchAll(token)) {
    if (text.startsWith('--') || text.startsWith('/*')) continue
    const plain = /^["`[]/.test(text) && text.length > 1 ? text.slice(1, -1) : text.startsWith("'") ? text.slice(0, -1) : text
    found.push(plain.toLowerCase())
  }
  return found
}

function checkWords(ddl: string): void {
  if (ddl.includes('\0')) throw invalid('The definition holds a NUL, behind which SQLite would not read on. Take it out')
  const all = words(ddl)
  const reserved = all.find(word => word.startsWith('mainstem_'))
  if (reserved) throw invalid(`The name ${reserved} is reserved: tables of the engine begin with mainstem_. Choose another name`)
  const has = (...sequence: string[]) => all.some((_, i) => sequence.every((word, j) => all[i + j] === word))
  if (has('initially', 'deferred'))
    throw invalid(
      'INITIALLY DEFERRED is judged when the transaction commits, and then the events are in the log already. Leave it away: foreign keys are checked by each statement',
    )
  if (has('conflict', 'rollback') || has('or', 'rollback') || has('raise', '(', 'rollback'))
    throw invalid('ROLLBACK as an answer to a conflict would undo other commands of the same batch. Use ABORT, which is the default')
}

/** Date functions that read the clock by what is written here. What only their values tell is found when they run. */
function checkDates(what: string, sql: string): void {
  const all = words(sql)
  for (const [at, name] of all.entries()) {
    if (!isDateFunction(name) || all[at + 1] !== '(' || ['table', 'exists', 'on', 'into', 'references'].includes(all[at - 1]!)) continue
    const why = impureDate(name, literals(all, at + 2))
    if (why) throw invalid(`${what}: ${why}`)
  }
}

/** The arguments that begin at `start`, as far as they are literals; null for any other. */
function literals(all: readonly string[], start: number): (string | null)[] {
  const args: (string | null)[] = []
  let depth = 0
  for (let i = start; i < all.length; i++) {
    const word = all[i]!
    if (word === ')' && depth-- === 0) break
    if (word === '(') depth++
    if (depth > 0 || word === ',') continue
    const alone = (all[i - 1] === ',' || i === start) && (all[i + 1] === ',' || all[i + 1] === ')')
    if (i === start || all[i - 1] === ',') args.push(alone && word.startsWith("'") ? word.slice(1) : null)
  }
  return args
}
