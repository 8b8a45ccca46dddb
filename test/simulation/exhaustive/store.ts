/** A tenant's database as plain data: what SQLite does for the engine, in a form that is copied, compared and kept as text. */
import type { Database, HistoryEntry, IdEntry, Standing, Store } from '../../../src/database.ts'

/** How many coins lie in each purse. One that nobody has touched holds one. */
export interface Purses {
  coins(purse: string): number
}

export interface OpenPurses extends Purses {
  put(purse: string, coins: number): void
}

export const purses: Database<Purses, OpenPurses> = { kind: 'plain', definition: 'one coin in each purse' }

interface Data {
  rows: Record<string, number>
  ids: Record<string, IdEntry>
  history: HistoryEntry[]
  standing: Standing
}

const empty: Data = {
  rows: {},
  ids: {},
  history: [],
  standing: { position: 0, version: 0, floor: 0, digest: '', time: 0, recordHash: '', place: '', generation: 0 },
}

export class PlainStore implements Store<Purses, OpenPurses> {
  #committed: Data
  #open: Data | undefined

  /** @param text of another one, as it was committed */
  constructor(text?: string) {
    this.#committed = text === undefined ? empty : (JSON.parse(text) as Data)
  }

  /** The rows that were committed, in one order. */
  get rows(): string {
    return JSON.stringify(Object.entries(this.#committed.rows).sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  copy(): PlainStore {
    const copy = new PlainStore()
    copy.#committed = this.#committed
    copy.#open = this.#open && copied(this.#open)
    return copy
  }

  /** All of it. */
  get state(): string {
    return `${this.text} ${JSON.stringify(this.#open)}`
  }

  /** All that was committed. */
  get text(): string {
    return JSON.stringify(this.#committed)
  }

  get standing(): Standing {
    return this.#committed.standing
  }

  readonly read: Purses = { coins: purse => coins(this.#open ?? this.#committed, purse) }
  readonly queries: Purses = { coins: purse => coins(this.#committed, purse) }
  readonly write: OpenPurses = {
    coins: purse => coins(this.#inside, purse),
    put: (purse, coins) => {
      if (coins < 0) throw new Error(`purse ${purse} would hold ${coins} coins`)
      this.#inside.rows[purse] = coins
    },
  }

  get #inside(): Data {
    if (!this.#open) throw new Error('no transaction is open')
    return this.#open
  }

  begin(): void {
    if (this.#open) throw new Error('a transaction is open')
    this.#open = copied(this.#committed)
  }

  enterIds(ids: readonly string[], entry: IdEntry): void {
    for (const id of ids) {
      if (this.#inside.ids[id]) throw new Error(`${id} was entered before`)
      this.#inside.ids[id] = entry
    }
  }

  enterHistory(entry: HistoryEntry): void {
    this.#inside.history.push(entry)
  }

  commit(next: Standing): void {
    this.#committed = { ...this.#inside, standing: next }
    this.#open = undefined
  }

  rollback(): void {
    this.#open = undefined
  }

  known(id: string): IdEntry | undefined {
    return (this.#open ?? this.#committed).ids[id]
  }

  window(): HistoryEntry[] {
    const { history, standing } = this.#open ?? this.#committed
    return history.filter(({ end }) => end >= standing.floor)
  }

  historyAt(version: number): HistoryEntry | undefined {
    return (this.#open ?? this.#committed).history.find(({ end }) => end >= version)
  }

  historyBefore(time: number): HistoryEntry | undefined {
    return (this.#open ?? this.#committed).history.findLast(entry => entry.time <= time)
  }

  thin(): void {}
  forget(): void {}
  sync(): void {}
  close(): void {}
}

const copied = ({ rows, ids, history, standing }: Data): Data => ({ rows: { ...rows }, ids: { ...ids }, history: [...history], standing })
const coins = ({ rows }: Data, purse: string): number => rows[purse] ?? 1
