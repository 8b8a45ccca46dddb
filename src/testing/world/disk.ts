/**
 * The disk of one replica: its databases in memory, in SQLite as always. They outlive a process that is killed, as files do; when the power
 * fails, of each database that is lost which was committed behind the last sync, or a part of it: whole commits, the last ones.
 */
import { DatabaseSync } from 'node:sqlite'
import type { Database, Standing, Store } from '../../database.ts'
import { inMemory, openStore } from '../../database/sqlite.ts'
import type { Position } from '../../log.ts'
import type { Databases, Intake } from '../../replica/data.ts'
import type { Advance, Progress, ProgressStore } from '../../replica/progress.ts'

interface File {
  readonly name: string
  /** Keeps it there while nobody has it open. */
  readonly keeper: DatabaseSync
  /** What a power cut cannot take; undefined: nothing. */
  synced: Uint8Array | undefined
  /** What was committed since, oldest first. */
  commits: Uint8Array[]
  /** Of the tenant's window. */
  floor: number
}

let files = 0

export class Disk {
  readonly #files = new Map<string, File>()
  readonly #open = new Set<Store>()
  readonly #halts = new Map<string, string>()
  readonly #progress = new Map<number, Progress & { readonly tenants: Map<string, Position> }>()
  readonly #power: boolean
  readonly #label: string

  /** @param power whether it may ever fail: then every commit is kept apart */
  constructor(label: string, power: boolean) {
    this.#label = label
    this.#power = power
  }

  /** As a process sees it that starts now. */
  mount(): Databases {
    const progress: ProgressStore = {
      load: partition => structuredClone(this.#progress.get(partition)),
      position: (partition, tenant) => this.#progress.get(partition)?.tenants.get(tenant) ?? 0,
      save: advances => this.#save(advances),
      forget: partition => void this.#progress.delete(partition),
    }
    return {
      path: this.#label,
      progress,
      open: (database, tenant) => this.#openStore(database, tenant),
      tenants: () => [...this.#files.keys()].sort(),
      scratch: () => ':memory:',
      intake: () => this.#intake(),
      discard: tenant => {
        this.#drop(tenant)
        this.#halts.delete(tenant)
      },
      halt: (tenant, why) => void this.#halts.set(tenant, why),
      halted: tenant => this.#halts.get(tenant),
      close: () => {},
    }
  }

  /** The process is gone: open transactions are undone. */
  unmount(): void {
    for (const store of this.#open) store.close()
    this.#open.clear()
  }

  /** @param random decides how much of what was not synced is lost, of each database by itself */
  powerCut(random: () => number): void {
    this.unmount()
    for (const [tenant, file] of Array.from(this.#files)) {
      const left = Math.floor(random() * (file.commits.length + 1))
      const image = left === 0 ? file.synced : file.commits[left - 1]
      this.#drop(tenant)
      if (image) this.#files.set(tenant, restored(image))
    }
  }

  /** How far its shards have come, as it was stored last. */
  stored(): Map<number, Advance> {
    return structuredClone(this.#progress)
  }

  /** The databases as they are committed now. One that is just being written is left out. */
  images(database: Database): Map<string, { readonly image: Uint8Array; readonly standing: Standing }> {
    const images = new Map<string, { readonly image: Uint8Array; readonly standing: Standing }>()
    for (const [tenant, { keeper }] of this.#files) {
      let image: Uint8Array
      try {
        image = keeper.serialize()
      } catch {
        continue
      }
      const file = restored(image)
      const store = openStore(database, `memory:${file.name}`)
      images.set(tenant, { image, standing: store.standing })
      store.close()
      file.keeper.close()
    }
    return images
  }

  /** The floor of a tenant's window, as it was committed last. */
  floor(tenant: string): number {
    return this.#files.get(tenant)?.floor ?? 0
  }

  destroy(): void {
    this.unmount()
    for (const tenant of this.#files.keys()) this.#drop(tenant)
  }

  #save(advances: ReadonlyMap<number, Advance>): void {
    for (const [partition, { tenants, ...progress }] of advances) {
      const known = this.#progress.get(partition)?.tenants ?? new Map<string, Position>()
      for (const [name, position] of tenants) known.set(name, position)
      this.#progress.set(partition, { ...structuredClone(progress), tenants: known })
    }
  }

  #intake(): Intake {
    const waiting = new Map<string, File>()
    const discard = () => {
      for (const { keeper } of waiting.values()) keeper.close()
      waiting.clear()
    }
    return {
      path: tenant => {
        const file = empty()
        waiting.set(tenant, file)
        return file.name
      },
      standing: (database, tenant) => {
        const store = openStore(database, `memory:${waiting.get(tenant)!.name}`)
        const { standing } = store
        store.close()
        return standing
      },
      adopt: () => {
        for (const [tenant, file] of waiting) this.#files.set(tenant, { ...file, synced: file.keeper.serialize() })
        waiting.clear()
      },
      discard,
    }
  }

  #openStore(database: Database, tenant: string): Store {
    let file = this.#files.get(tenant)
    if (!file) this.#files.set(tenant, (file = empty()))
    const { keeper } = file
    const store = openStore(database, `memory:${file.name}`)
    file.floor = store.standing.floor
    const [commit, close] = [store.commit.bind(store), store.close.bind(store)]
    store.commit = next => {
      commit(next)
      file.floor = next.floor
      if (this.#power) file.commits.push(keeper.serialize())
    }
    store.sync = () => {
      file.synced = file.commits.at(-1) ?? file.synced
      file.commits = []
    }
    store.close = lazily => {
      close(lazily)
      this.#open.delete(store)
    }
    this.#open.add(store)
    return store
  }

  #drop(tenant: string): void {
    this.#files.get(tenant)?.keeper.close()
    this.#files.delete(tenant)
  }
}

function empty(): File {
  const name = `simulated-${++files}`
  return { name, keeper: new DatabaseSync(inMemory(name)), synced: undefined, commits: [], floor: 0 }
}

function restored(image: Uint8Array): File {
  const file = empty()
  put(image, file.name)
  return { ...file, synced: image }
}

/** @param name where somebody keeps an empty one */
export function put(image: Uint8Array, name: string): void {
  const source = new DatabaseSync(':memory:')
  source.deserialize(image)
  source.exec(`VACUUM INTO '${inMemory(name)}'`)
  source.close()
}
