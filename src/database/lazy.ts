/**
 * A tenant's database whose file is made when the first transaction begins: whoever asks for a tenant that nobody has written to yet
 * leaves nothing behind. Until then an empty one in memory answers.
 */
import { existsSync } from 'node:fs'
import type { Database, HistoryEntry, IdEntry, Standing, Store } from '../database.ts'
import { openStore } from './sqlite.ts'

/** @throws EngineError as `openStore` does; where there is no file yet, `begin` throws it */
export function openLazily(database: Database, path: string): Store {
  return path === ':memory:' || existsSync(path) ? openStore(database, path) : new LazyStore(database, path)
}

const nothing: Standing = { position: 0, version: 0, floor: 0, digest: '', time: 0, recordHash: '', place: '', generation: 0 }

class LazyStore implements Store {
  readonly #database: Database
  readonly #path: string
  #made: Store | undefined
  #empty: Store | undefined

  constructor(database: Database, path: string) {
    this.#database = database
    this.#path = path
  }

  get standing(): Standing {
    return this.#made ? this.#made.standing : nothing
  }

  get read(): unknown {
    return this.#readable().read
  }

  get write(): unknown {
    return this.#readable().write
  }

  get queries(): unknown {
    return this.#readable().queries
  }

  begin(): void {
    if (!this.#made) {
      this.#made = openStore(this.#database, this.#path)
      this.#empty?.close()
      this.#empty = undefined
    }
    this.#made.begin()
  }

  enterIds(ids: readonly string[], entry: IdEntry): void {
    this.#readable().enterIds(ids, entry)
  }

  enterHistory(entry: HistoryEntry): void {
    this.#readable().enterHistory(entry)
  }

  commit(next: Standing): void {
    this.#readable().commit(next)
  }

  rollback(): void {
    this.#made?.rollback()
  }

  known(id: string): IdEntry | undefined {
    return this.#made?.known(id)
  }

  window(): HistoryEntry[] {
    return this.#made?.window() ?? []
  }

  historyAt(version: number): HistoryEntry | undefined {
    return this.#made?.historyAt(version)
  }

  historyBefore(time: number): HistoryEntry | undefined {
    return this.#made?.historyBefore(time)
  }

  thin(): void {
    this.#made?.thin()
  }

  forget(before: number): void {
    this.#made?.forget(before)
  }

  sync(): void {
    this.#made?.sync()
  }

  close(lazily?: boolean): void {
    this.#made?.close(lazily)
    this.#empty?.close()
  }

  #readable(): Store {
    return this.#made ?? (this.#empty ??= openStore(this.#database, ':memory:'))
  }
}
