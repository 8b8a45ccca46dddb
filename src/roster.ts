/**
 * Who is alive, where, and how far. Heartbeats only: the roster is a hint for those who wonder whether a leader is gone, and safety never
 * rests on it. For an embedded log it is a second SQLite file beside it, which may be deleted at any time; for a log in memory, a map.
 */
import { rmSync, statSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'

/** How often a replica beats, ms. */
export const BEAT = 250

/** How far a replica is behind its log. */
export interface Lag {
  /** Positions between it and the end of the log as last heard of: at most so many records. */
  readonly records: number
  /** How old the last record is that it has read, s; 0 if there is none behind it, null if it has read none yet. */
  readonly seconds: number | null
}

/** What a member tells of itself. */
export interface MemberInfo {
  readonly release: string
  /** The sum over its shards, as in `lag`. */
  readonly position: number
  readonly lag: Lag
  readonly role: 'leader' | 'follower' | 'writer'
  /** It has read the log to its end, and no tenant of it has halted: it could take over. */
  readonly caughtUp: boolean
  readonly ready: boolean
  /** Why it is not. */
  readonly reasons: readonly string[]
  /** While it still reads: how long that may take, s. */
  readonly eta?: number
}

export interface Member {
  readonly id: string
  readonly address: string | null
  /** Grows with every beat. */
  readonly beat: number
  /** Wall clock of the last beat, ms, for people. */
  readonly seen: number
  /** Whether it would own shards; left out by a roster of one shard, where it does not matter. */
  readonly reigns?: boolean
  /** Left out by replicas of an older version of this package. */
  readonly info?: MemberInfo
}

export interface Roster {
  /** @param reigns whether it would own shards now */
  beat(id: string, address: string | null, reigns?: boolean, info?: MemberInfo): void
  members(): Member[]
  leave(id: string): void
  close(): void | Promise<void>
}

/** What a member tells of itself, as it came from elsewhere; undefined if it is nothing of ours. */
export function infoIn(value: unknown): MemberInfo | undefined {
  const { release, position, lag, role, caughtUp, ready, reasons, eta } = (value ?? {}) as { readonly [K in keyof MemberInfo]?: unknown }
  const { records, seconds } = (lag ?? {}) as { readonly [K in keyof Lag]?: unknown }
  const isNumber = (each: unknown): each is number => Number.isFinite(each)
  if (typeof release !== 'string' || !isNumber(position) || !isNumber(records) || !(seconds === null || isNumber(seconds))) return undefined
  if ((role !== 'leader' && role !== 'follower' && role !== 'writer') || typeof caughtUp !== 'boolean' || typeof ready !== 'boolean')
    return undefined
  if (!Array.isArray(reasons) || !reasons.every(reason => typeof reason === 'string')) return undefined
  const info: MemberInfo = { release, position, lag: { records, seconds }, role, caughtUp, ready, reasons }
  return isNumber(eta) ? { ...info, eta } : info
}

/** A member that was silent for so long is struck off, ms. */
const FORGOTTEN = 3_600_000

/** How long a beat may wait for somebody else's, ms: others wait meanwhile, and the next beat comes soon. */
const LOCK_PATIENCE = 20

/** Of the file; raised when its table changes. */
const SHAPE = 1

interface Opened {
  readonly db: DatabaseSync
  readonly inode: number | undefined
  readonly upsert: StatementSync
  readonly all: StatementSync
  readonly remove: StatementSync
}

/**
 * Opened when first used. What is wrong with the file is told by the calls, and the next call tries again; a file that was deleted, or
 * spoilt by a power cut (it is never synced), is made anew. No WAL, for that would live beside a file that was deleted, and be taken for
 * the new one's.
 */
export class FileRoster implements Roster {
  readonly #path: string
  #opened: Opened | undefined

  constructor(path: string) {
    this.#path = path
  }

  beat(id: string, address: string | null, reigns = true, info?: MemberInfo): void {
    this.#use(({ upsert }) => upsert.run(id, address, Date.now(), JSON.stringify({ reigns, info })))
  }

  members(): Member[] {
    return this.#use(({ all }) => all.all().map(memberIn))
  }

  leave(id: string): void {
    this.#use(({ remove }) => remove.run(id))
  }

  close(): void {
    this.#opened?.db.close()
    this.#opened = undefined
  }

  #use<T>(work: (opened: Opened) => T): T {
    if (this.#opened && this.#opened.inode !== inodeOf(this.#path)) this.close()
    try {
      return work((this.#opened ??= open(this.#path)))
    } catch (error) {
      if (!isSpoilt(error)) throw error
      this.close()
      for (const suffix of ['', '-journal']) rmSync(this.#path + suffix, { force: true })
      return work((this.#opened = open(this.#path)))
    }
  }
}

function open(path: string): Opened {
  const db = new DatabaseSync(path, { timeout: LOCK_PATIENCE })
  try {
    db.exec('PRAGMA synchronous = OFF')
    // What another version of this package has left is made anew.
    if (db.prepare('PRAGMA user_version').get()!['user_version'] !== SHAPE)
      db.exec(`BEGIN IMMEDIATE; DROP TABLE IF EXISTS member; PRAGMA user_version = ${SHAPE}; COMMIT`)
    // In one tree: a power cut may leave any page of it as it was before, and an index of its own would lend the beats of one to another, dead one.
    db.exec(
      'CREATE TABLE IF NOT EXISTS member (id TEXT PRIMARY KEY, address TEXT, beat INTEGER NOT NULL, seen INTEGER NOT NULL, said TEXT NOT NULL) STRICT, WITHOUT ROWID',
    )
    db.prepare('DELETE FROM member WHERE seen < ?').run(Date.now() - FORGOTTEN)
    return {
      db,
      inode: inodeOf(path),
      upsert: db.prepare(
        'INSERT INTO member VALUES (?1, ?2, 1, ?3, ?4) ON CONFLICT (id) DO UPDATE SET beat = beat + 1, address = excluded.address, seen = excluded.seen, said = excluded.said',
      ),
      all: db.prepare('SELECT * FROM member ORDER BY id'),
      remove: db.prepare('DELETE FROM member WHERE id = ?'),
    }
  } catch (error) {
    db.close()
    throw error
  }
}

/** Who stands in the roster of an embedded log, without touching it. */
export function readRoster(path: string): Member[] {
  if (inodeOf(path) === undefined) return []
  const db = new DatabaseSync(path, { readOnly: true, timeout: 1_000 })
  try {
    return db.prepare('SELECT * FROM member ORDER BY id').all().map(memberIn)
  } finally {
    db.close()
  }
}

/** From its row. */
function memberIn({ id, address, beat, seen, said }: Record<string, unknown>): Member {
  const { reigns, info } = parsedObject(said)
  const told = infoIn(info)
  const member = { id, address, beat, seen, reigns: reigns !== false } as Member
  return told ? { ...member, info: told } : member
}

function parsedObject(text: unknown): { readonly reigns?: unknown; readonly info?: unknown } {
  try {
    return (JSON.parse(String(text)) ?? {}) as object
  } catch {
    return {}
  }
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino
}

/** SQLITE_CORRUPT, SQLITE_NOTADB. */
function isSpoilt(error: unknown): boolean {
  const { errcode = 0 } = error as { errcode?: number }
  return (errcode & 0xff) === 11 || (errcode & 0xff) === 26
}

const rooms = new Map<string, Map<string, Member>>()

export class MemoryRoster implements Roster {
  readonly #members: Map<string, Member>

  /** @param place of the log: replicas of one log share a roster. */
  constructor(place: string) {
    const members = rooms.get(place) ?? new Map<string, Member>()
    rooms.set(place, members)
    this.#members = members
  }

  beat(id: string, address: string | null, reigns = true, info?: MemberInfo): void {
    const beat = (this.#members.get(id)?.beat ?? 0) + 1
    this.#members.set(id, { id, address, beat, seen: Date.now(), reigns, ...(info ? { info } : {}) })
  }

  members(): Member[] {
    return [...this.#members.values()]
  }

  leave(id: string): void {
    this.#members.delete(id)
  }

  close(): void {}
}
