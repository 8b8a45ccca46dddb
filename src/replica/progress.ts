/**
 * How far a replica has followed its shards, in one small SQLite file beside the databases. Stored now and then, after the databases
 * behind it were synced; read when the next run starts. It may be deleted at any time: then the log tells it all again.
 *
 * A log that can be searched by tenant tells what a database has missed. One that must be scanned for it does not: there it is kept
 * for each tenant how far its database must have come at least, so that it is seen when one is missing, or is an older copy of itself.
 */
import { existsSync, rmSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { emptyShard, type ShardState } from '../accept.ts'
import type { Position } from '../log.ts'

/** Of one shard. */
export interface Progress {
  readonly place: string
  readonly cursor: Position
  readonly state: ShardState
  /** Event types that stand in the log up to the cursor, each with the newest schema version that it was written with. */
  readonly types: ReadonlyMap<string, number>
}

/** Of one shard, to be stored. */
export interface Advance extends Progress {
  /** The tenants that had records since the last time, and the position of the last one. */
  readonly tenants: ReadonlyMap<string, Position>
}

const SCHEMA = `
CREATE TABLE IF NOT EXISTS shard (partition INTEGER PRIMARY KEY, place TEXT NOT NULL, cursor INTEGER NOT NULL, state TEXT NOT NULL, types TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS tenant (partition INTEGER NOT NULL, name TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (partition, name)) STRICT, WITHOUT ROWID;`

interface Opened {
  readonly db: DatabaseSync
  readonly load: StatementSync
  readonly save: StatementSync
  readonly position: StatementSync
  readonly move: StatementSync
}

export interface ProgressStore {
  /** Undefined if there is nothing that can be understood. */
  load(partition: number): Progress | undefined
  /** The position that a tenant's database must have reached; 0 if nothing is known of it. */
  position(partition: number, tenant: string): Position
  /** All of it, or nothing. */
  save(advances: ReadonlyMap<number, Advance>): void
  /** What is known of a shard is of another log, or of another generation of this one. */
  forget(partition: number): void
}

export class ProgressFile implements ProgressStore {
  readonly #path: string
  #opened: Opened | undefined

  constructor(path: string) {
    this.#path = path
  }

  load(partition: number): Progress | undefined {
    if (!this.#opened && !existsSync(this.#path)) return undefined
    const row = this.#use(({ load }) => load.get(partition)) as Row | undefined
    return row && progressOf(row)
  }

  position(partition: number, tenant: string): Position {
    return this.#use(({ position }) => (position.get(partition, tenant) as { position: Position } | undefined)?.position ?? 0)
  }

  save(advances: ReadonlyMap<number, Advance>): void {
    this.#use(({ db, save, move }) => {
      db.exec('BEGIN IMMEDIATE')
      try {
        for (const [partition, { place, cursor, state, types, tenants }] of advances) {
          save.run(partition, place, cursor, JSON.stringify(state), JSON.stringify(Object.fromEntries(types)))
          for (const [name, position] of tenants) move.run(partition, name, position)
        }
        db.exec('COMMIT')
      } catch (error) {
        if (db.isTransaction) db.exec('ROLLBACK')
        throw error
      }
    })
  }

  forget(partition: number): void {
    if (!this.#opened && !existsSync(this.#path)) return
    this.#use(({ db }) => {
      db.prepare('DELETE FROM shard WHERE partition = ?').run(partition)
      db.prepare('DELETE FROM tenant WHERE partition = ?').run(partition)
    })
  }

  close(): void {
    this.#opened?.db.close()
    this.#opened = undefined
  }

  #use<T>(work: (opened: Opened) => T): T {
    try {
      return work((this.#opened ??= open(this.#path)))
    } catch (error) {
      if (!isSpoilt(error)) throw error
      this.close()
      for (const suffix of ['', '-wal', '-shm']) rmSync(this.#path + suffix, { force: true })
      return work((this.#opened = open(this.#path)))
    }
  }
}

type Row = { readonly [K in keyof Progress]: unknown }

/** Undefined if it cannot be understood. */
function progressOf({ place, cursor, state: stateText, types: typesText }: Row): Progress | undefined {
  try {
    const state = JSON.parse(stateText as string) as ShardState | null
    // A list, as it was kept before, does not tell the versions: the log does, when it is read again.
    const types = JSON.parse(typesText as string) as unknown
    if (!Number.isSafeInteger(cursor) || (cursor as number) < 0 || typeof state?.generation !== 'number') return undefined
    if (typeof types !== 'object' || types === null || Array.isArray(types)) return undefined
    const versions = Object.entries(types)
    if (!versions.every(([, version]) => Number.isSafeInteger(version))) return undefined
    return {
      place: place as string,
      cursor: cursor as number,
      state: { ...emptyShard, ...state },
      types: new Map(versions as [string, number][]),
    }
  } catch {
    return undefined
  }
}

/** All that is stored, as it was at one moment, also while its replica runs. @throws an error of SQLite */
export function readProgress(path: string): Map<number, Advance> {
  const stored = new Map<number, Advance>()
  if (!existsSync(path)) return stored
  const db = new DatabaseSync(path, { readOnly: true, timeout: 5_000 })
  try {
    db.exec('BEGIN')
    for (const { partition, ...row } of db.prepare('SELECT partition, place, cursor, state, types FROM shard').all()) {
      const progress = progressOf(row as unknown as Row)
      if (progress) stored.set(Number(partition), { ...progress, tenants: new Map() })
    }
    for (const { partition, name, position } of db.prepare('SELECT partition, name, position FROM tenant').all()) {
      const tenants = stored.get(Number(partition))?.tenants as Map<string, Position> | undefined
      tenants?.set(String(name), Number(position))
    }
    return stored
  } finally {
    db.close()
  }
}

function open(path: string): Opened {
  const db = new DatabaseSync(path)
  try {
    // What a power cut takes off the end is read again from the log.
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    db.exec(SCHEMA)
    return {
      db,
      load: db.prepare('SELECT place, cursor, state, types FROM shard WHERE partition = ?'),
      save: db.prepare('INSERT OR REPLACE INTO shard VALUES (?, ?, ?, ?, ?)'),
      position: db.prepare('SELECT position FROM tenant WHERE partition = ? AND name = ?'),
      move: db.prepare('INSERT OR REPLACE INTO tenant VALUES (?, ?, ?)'),
    }
  } catch (error) {
    db.close()
    throw error
  }
}

/** SQLITE_CORRUPT, SQLITE_NOTADB; or tables that are not ours. */
function isSpoilt(error: unknown): boolean {
  const { errcode = 0 } = error as { errcode?: number }
  return [1, 11, 26].includes(errcode & 0xff)
}
