/**
 * The data directory of one replica: its lock, a folder per app and revision with one database file per tenant, and how far the log
 * was followed. Everything in it but the lock can be deleted: it is replayed from the log.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Database, Standing, Store } from '../database.ts'
import { openLazily } from '../database/lazy.ts'
import { standingOf } from '../database/standing.ts'
import { EngineError } from '../errors.ts'
import { sync, syncFolder } from '../log/files.ts'
import { ProgressFile, type ProgressStore } from './progress.ts'

/** Where databases that come from elsewhere wait until all of them are there. */
export interface Intake {
  /** Where to put a tenant's. */
  path(tenant: string): string
  /** Of what was put there, once it is closed by everybody. @throws Error if it is no sound database of this definition */
  standing(database: Database, tenant: string): Standing
  /** They take their places, and are on the disk. */
  adopt(): void
  /** What waits still is thrown away. */
  discard(): void
}

/** What a replica keeps from one run to the next. */
export interface Databases {
  readonly path: string
  readonly progress: ProgressStore
  /** @throws EngineError data-* */
  open(database: Database, tenant: string): Store
  /** Tenants that have a database here. */
  tenants(): string[]
  /** A new path for a database that is thrown away when it is closed. */
  scratch(tenant: string): string
  discard(tenant: string): void
  /** For databases that come from elsewhere, of tenants that have none. */
  intake(): Intake
  /** Keeps across restarts why a tenant's database must not be used. It holds as long as that database is there. */
  halt(tenant: string, why: string): void
  halted(tenant: string): string | undefined
  close(): void
}

/** Tenants' databases end in .db: none can be taken for it. */
export const PROGRESS = 'progress.sqlite'

export class DataDirectory implements Databases {
  readonly path: string
  readonly progress: ProgressFile
  readonly #lock: DatabaseSync
  readonly #folder: string

  /** @throws EngineError data-in-use, data-unusable */
  constructor(path: string, app: string, revision: string) {
    this.path = resolve(path)
    this.#folder = folderOf(this.path, app, revision)
    this.progress = new ProgressFile(join(this.#folder, PROGRESS))
    try {
      makeFolder(this.#folder)
      this.#lock = lock(this.path)
    } catch (cause) {
      if (cause instanceof EngineError) throw cause
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new EngineError(
        'data-unusable',
        `the data directory ${this.path} cannot be used: ${why}. Give a folder that this user may write`,
        { cause },
      )
    }
  }

  /** Where a tenant's database is, or will be. */
  tenant(name: string): string {
    return join(this.#folder, `${name}.db`)
  }

  open(database: Database, tenant: string): Store {
    return openLazily(database, this.tenant(tenant))
  }

  tenants(): string[] {
    return tenantsIn(this.#folder)
  }

  scratch(name: string): string {
    const folder = join(this.#folder, 'scratch')
    mkdirSync(folder, { recursive: true })
    return join(folder, `${name}-${process.pid}-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}.db`)
  }

  discard(name: string): void {
    discardDatabase(this.tenant(name))
    rmSync(this.#note(name), { force: true })
  }

  intake(): Intake {
    const waiting = new Map<string, string>()
    return {
      path: name => {
        const path = this.scratch(name)
        waiting.set(name, path)
        return path
      },
      standing: (database, name) => standingOf(database, waiting.get(name)!, true),
      adopt: () => {
        for (const path of waiting.values()) sync(path)
        for (const [name, path] of waiting) renameSync(path, this.tenant(name))
        syncFolder(join(this.#folder, PROGRESS))
        waiting.clear()
      },
      discard: () => waiting.forEach(discardDatabase),
    }
  }

  halt(name: string, why: string): void {
    writeFileSync(this.#note(name), why)
  }

  halted(name: string): string | undefined {
    const note = this.#note(name)
    if (!existsSync(note)) return undefined
    if (existsSync(this.tenant(name))) return readFileSync(note, 'utf8')
    rmSync(note, { force: true })
    return undefined
  }

  #note(name: string): string {
    return noteOf(this.#folder, name)
  }

  /** What scratch databases a killed run left behind. */
  clean(): void {
    rmSync(join(this.#folder, 'scratch'), { recursive: true, force: true })
  }

  close(): void {
    this.progress.close()
    this.#lock.close()
  }
}

/** As `recursive`, which never ends where a folder cannot be made for reasons of its own, such as below /proc. */
function makeFolder(path: string, withParents = true): void {
  try {
    mkdirSync(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' && statSync(path).isDirectory()) return
    if (code !== 'ENOENT' || !withParents) throw error
    makeFolder(dirname(path))
    makeFolder(path, false)
  }
}

export function folderOf(data: string, app: string, revision: string): string {
  return join(resolve(data), `${app}-${revision.slice(0, 12)}`)
}

const noteOf = (folder: string, tenant: string): string => join(folder, `${tenant}.halted`)

/** Whether a tenant's database in this folder must not be used. */
export const isHalted = (folder: string, tenant: string): boolean => existsSync(noteOf(folder, tenant))

export function tenantsIn(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter(file => file.endsWith('.db'))
    .map(file => file.slice(0, -3))
    .sort()
}

export function discardDatabase(path: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(path + suffix, { force: true })
}

/** An open BEGIN EXCLUSIVE: a crash frees it. */
function lock(path: string): DatabaseSync {
  const db = new DatabaseSync(join(path, 'lock.db'), { timeout: 0 })
  try {
    db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
    return db
  } catch (cause) {
    db.close()
    const busy = ((cause as { errcode?: number }).errcode ?? 0) === 5
    if (!busy) throw cause
    throw new EngineError(
      'data-in-use',
      `another replica owns ${path}. Give each replica a data directory of its own; they may share the log`,
      { cause },
    )
  }
}

/** Where a replica listens: in its data directory, or, as the path of a socket may not pass some 100 bytes, in the system's temp folder. */
export function socketPath(data: string): string {
  const path = join(resolve(data), 'replica.sock')
  if (Buffer.byteLength(path) <= 100) return path
  return join(tmpdir(), `mainstem-${createHash('sha256').update(path).digest('hex').slice(0, 16)}.sock`)
}
