/**
 * What the app's SQL may do, judged by whose code runs it. `decide` reads, projections also write the app's own rows, and both must
 * come to the same on every replica: no clock, no chance, nothing that belongs to one connection. Queries are free to read the clock.
 * SQLite asks `refusal` whenever it compiles a statement; values are judged when a function is called, for 'now' may be a parameter.
 */
import { constants as sqlite, DatabaseSync, type StatementSync } from 'node:sqlite'
import type { Sql } from './handles.ts'

/** Whose SQL runs: the engine's own, the definition of tables, or the app's code. */
export type Mode = 'engine' | 'define' | 'decide' | 'project' | 'query'

/** Thrown by a function that refuses its arguments. */
export class Refused extends Error {}

const may = {
  define: 'a definition may hold CREATE TABLE, INDEX, VIEW and TRIGGER only',
  decide: 'decide may only read; emit an event and let its projection write',
  project: "a projection may only read and write rows of the app's own tables; transactions and tables are the engine's matter",
  query: 'a query may only read; emit an event in a command and let its projection write',
}

const clock = 'reads the clock. Use a time that is kept: from the event, its meta.at, or ctx.now in decide'
const connection = 'depends on what else this connection did. Use RETURNING'
const build = 'differs between replicas'
const impure: Record<string, string> = {
  random: "gives every replica another number. Keep the number in the event's data",
  randomblob: "gives every replica other bytes. Keep the bytes in the event's data",
  current_timestamp: clock,
  current_date: clock,
  current_time: clock,
  last_insert_rowid: connection,
  changes: connection,
  total_changes: connection,
  sqlite_version: build,
  sqlite_source_id: build,
  sqlite_compileoption_get: build,
  sqlite_compileoption_used: build,
}
/** Never, in no mode of the app. */
const harmful = new Set(['load_extension', 'fts3_tokenizer'])

const describing = new Set(['table_info', 'table_xinfo', 'table_list', 'index_list', 'index_info', 'index_xinfo', 'foreign_key_list'])
const creating = new Set([
  sqlite.SQLITE_CREATE_TABLE,
  sqlite.SQLITE_CREATE_INDEX,
  sqlite.SQLITE_CREATE_VIEW,
  sqlite.SQLITE_CREATE_TRIGGER,
  sqlite.SQLITE_REINDEX,
])

/** Why this action is refused, undefined if it is allowed. The arguments are those of SQLite's authorizer. */
export function refusal(mode: Exclude<Mode, 'engine'>, action: number, first: string | null, second: string | null): string | undefined {
  switch (action) {
    case sqlite.SQLITE_RECURSIVE:
      return undefined
    case sqlite.SQLITE_SELECT:
      return mode === 'define' ? may.define : undefined
    case sqlite.SQLITE_READ:
      return mode === 'define' ? undefined : untouchable(mode, first)
    case sqlite.SQLITE_FUNCTION:
      return uncallable(mode, second)
    case sqlite.SQLITE_INSERT:
    case sqlite.SQLITE_UPDATE:
    case sqlite.SQLITE_DELETE:
      if (mode === 'define') return first === 'sqlite_master' ? undefined : may.define
      if (mode !== 'project') return may[mode]
      return String(first).startsWith('sqlite_') ? may.project : untouchable(mode, first)
    case sqlite.SQLITE_PRAGMA:
      return mode === 'query' && describing.has(String(first).toLowerCase()) ? undefined : may[mode]
  }
  return mode === 'define' && creating.has(action) ? undefined : may[mode]
}

function untouchable(mode: Mode, table: string | null): string | undefined {
  const name = String(table).toLowerCase()
  if (name.startsWith('mainstem_')) return `table ${table} belongs to the engine`
  if (mode === 'query') return undefined
  // How a file is laid out depends on its own past, not on the log alone.
  return name.startsWith('sqlite_') || name.startsWith('pragma_') || name === 'dbstat' ? `table ${table} belongs to SQLite` : undefined
}

function uncallable(mode: Mode, name: string | null): string | undefined {
  const called = String(name).toLowerCase()
  if (harmful.has(called)) return `${called}() is not available`
  return mode !== 'query' && Object.hasOwn(impure, called) ? `${called}() ${impure[called]}` : undefined
}

// --- Functions ------------------------------------------------------------------------------------------------------------------

/** SQLite's functions that read the clock or the time zone if their arguments say so. By name: where the first time value stands. */
const dateFunctions: Record<string, number> = { date: 0, time: 0, datetime: 0, julianday: 0, unixepoch: 0, timediff: 0, strftime: 1 }

export const isDateFunction = (name: string): boolean => Object.hasOwn(dateFunctions, name)

/** Why a date function may not be called like this, undefined if it may. */
export function impureDate(name: string, args: readonly Sql[]): string | undefined {
  const first = dateFunctions[name]!
  if (args.length <= first) return `${name}() without a time ${clock}`
  for (let i = first; i < args.length; i++) {
    const text = words(args[i]!)
    if (text === 'now' || (i === first && (text === 'subsec' || text === 'subsecond'))) return `${name}('${text}') ${clock}`
    if (text === 'localtime' || text === 'utc')
      return `${name}() with '${text}' depends on the time zone of the machine. Keep times in UTC, and convert for display in queries`
  }
  return undefined
}

/** As SQLite will read it: also a blob, and no further than a NUL. */
function words(value: Sql): string | undefined {
  if (value === null || typeof value === 'number' || typeof value === 'bigint') return undefined
  const text = typeof value === 'string' ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1')
  const end = text.indexOf('\0')
  return (end < 0 ? text : text.slice(0, end)).toLowerCase()
}

/**
 * Replaces the functions that give other values on other replicas: column defaults call them without asking the authorizer.
 * Date functions answer as SQLite's own do, which a connection kept apart for them is asked for.
 */
export function makeDeterministic(db: DatabaseSync): void {
  for (const name of Object.keys(impure)) db.function(name, { varargs: true }, () => refuse(`${name}() ${impure[name]}`))
  for (const name of Object.keys(dateFunctions))
    db.function(name, { varargs: true, deterministic: true, useBigIntArguments: true }, (...args) => {
      const why = impureDate(name, args)
      return why === undefined ? original(name, args) : refuse(why)
    })
}

function refuse(why: string): never {
  throw new Refused(why)
}

let apart: DatabaseSync | undefined
const calls = new Map<string, StatementSync>()

function original(name: string, args: Sql[]): Sql {
  const key = `${name}/${args.length}`
  let call = calls.get(key)
  if (!call) {
    apart ??= new DatabaseSync(':memory:')
    // As bigints, for a number would become a REAL on its way back.
    call = apart.prepare(`SELECT ${name}(${args.map(() => '?').join()}) AS value`, { readBigInts: true })
    calls.set(key, call)
  }
  return call.get(...args)!['value']!
}
