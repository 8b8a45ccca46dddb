/**
 * Who is alive, and where. Heartbeats only: the roster is a hint for those who wonder whether a leader is gone, and safety never rests
 * on it. For an embedded log it is a second SQLite file beside it, which may be deleted at any time; for a log in memory, a map.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite'

/** How often a replica beats, ms. */
export const BEAT = 250

export interface Member {
  readonly id: string
  readonly address: string | null
  /** Grows with every beat. */
  readonly beat: number
  /** Wall clock of the last beat, ms, for people. */
  readonly seen: number
}

export interface Roster {
  beat(id: string, address: string | null): void
  members(): Member[]
  leave(id: string): void
  close(): void
}

/** A member that was silent for so long is struck off, ms. */
const FORGOTTEN = 3_600_000

export class FileRoster implements Roster {
  readonly #db: DatabaseSync
  readonly #upsert: StatementSync
  readonly #all: StatementSync
  readonly #remove: StatementSync

  constructor(path: string) {
    this.#db = new DatabaseSync(path, { timeout: 250 })
    this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF')
    this.#db.exec('CREATE TABLE IF NOT EXISTS member (id TEXT PRIMARY KEY, address TEXT, beat INTEGER NOT NULL, seen INTEGER NOT NULL) STRICT')
    this.#db.prepare('DELETE FROM member WHERE seen < ?').run(Date.now() - FORGOTTEN)
    this.#upsert = this.#db.prepare(
      'INSERT INTO member VALUES (?1, ?2, 1, ?3) ON CONFLICT (id) DO UPDATE SET beat = beat + 1, address = excluded.address, seen = excluded.seen',
    )
    this.#all = this.#db.prepare('SELECT id, address, beat, seen FROM member ORDER BY id')
    this.#remove = this.#db.prepare('DELETE FROM member WHERE id = ?')
  }

  beat(id: string, address: string | null): void {
    this.#upsert.run(id, address, Date.now())
  }

  members(): Member[] {
    return this.#all.all() as unknown as Member[]
  }

  leave(id: string): void {
    this.#remove.run(id)
  }

  close(): void {
    this.#db.close()
  }
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

  beat(id: string, address: string | null): void {
    this.#members.set(id, { id, address, beat: (this.#members.get(id)?.beat ?? 0) + 1, seen: Date.now() })
  }

  members(): Member[] {
    return [...this.#members.values()]
  }

  leave(id: string): void {
    this.#members.delete(id)
  }

  close(): void {}
}
