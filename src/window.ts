/**
 * The window: what a tenant remembers of its last accepted records, so that a decision made a little while ago can still be judged.
 * It answers two questions: with which digest did a record end at this version, and was this tag written after that one. It reaches
 * back to the floor; below it nobody may ask.
 */
import type { Tags } from './record.ts'

/** An accepted record with events. */
export interface WindowEntry {
  /** The tenant's version after it. */
  readonly end: number
  readonly digest: string
  /** Null only where nobody asks any more: not above the floor. */
  readonly writes: Tags | null
}

export class Window {
  /** In order of `end`; those before `#first` were evicted. */
  #entries: WindowEntry[] = []
  #first = 0
  /**
   * By tag: the end of the last record that wrote it, for the entries before `#indexed`. The others are entered when a verdict asks: a writer
   * whose decisions are never stale never does, and pays for no index.
   */
  readonly #lastWrite = new Map<string, number>()
  #lastWriteToAll = 0
  #indexed = 0
  #older: (() => readonly WindowEntry[]) | undefined

  /** @param older the entries before those that will be pushed, oldest first; asked once, when first needed, so that idle tenants cost little */
  constructor(older: () => readonly WindowEntry[]) {
    this.#older = older
  }

  /** The digest after the record that ended at `version`; undefined if none did. */
  digestAt(version: number): string | undefined {
    this.#load()
    let low = this.#first
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#entries[middle]!.end < version) low = middle + 1
      else high = middle
    }
    const entry = this.#entries[low]
    return entry?.end === version ? entry.digest : undefined
  }

  /** Whether one of the tags, or everything, was written by a record that ended after `version`. */
  writtenAfter(version: number, tags: readonly string[]): boolean {
    this.#load()
    this.#index()
    return this.#lastWriteToAll > version || tags.some(tag => (this.#lastWrite.get(tag) ?? 0) > version)
  }

  /** Adds the newest entry. */
  push(entry: WindowEntry): void {
    this.#entries.push(entry)
  }

  /** Drops what ended below `floor`. */
  evict(floor: number): void {
    for (let entry = this.#entries[this.#first]; entry && entry.end < floor; entry = this.#entries[++this.#first]) {
      if (entry.writes === '*' || this.#first >= this.#indexed) continue
      for (const tag of entry.writes ?? []) if (this.#lastWrite.get(tag) === entry.end) this.#lastWrite.delete(tag)
    }
    // Evicted entries are let go in one sweep when they are the half: constant time per entry.
    if (this.#first > 64 && this.#first * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first)
      this.#indexed = Math.max(0, this.#indexed - this.#first)
      this.#first = 0
    }
  }

  #index(): void {
    for (let i = Math.max(this.#first, this.#indexed); i < this.#entries.length; i++) {
      const { end, writes } = this.#entries[i]!
      if (writes === '*') this.#lastWriteToAll = end
      else for (const tag of writes ?? []) this.#lastWrite.set(tag, end)
    }
    this.#indexed = this.#entries.length
  }

  #load(): void {
    if (!this.#older) return
    const pushed = this.#entries.slice(this.#first)
    const older = this.#older()
    this.#older = undefined
    this.#entries = [...older, ...pushed]
    this.#first = 0
    this.#indexed = 0
  }
}
