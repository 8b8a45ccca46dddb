/** A snapshot of one replica's disk for another: how far it has come is looked at first, its databases are taken when they are wanted. */
import type { Database } from '../../database.ts'
import type { DatabasePart, ShardPart, Snapshot } from '../../snapshot.ts'
import type { Offer, Source } from '../../snapshot/source.ts'
import { type Disk, put } from './disk.ts'

/** `lacking`: without one of its databases. `swapped`: two tenants have each other's; nobody may start from it. */
export const conditions = ['whole', 'lacking', 'swapped'] as const
export type Condition = (typeof conditions)[number]

interface About {
  readonly app: string
  readonly revision: string
  readonly database: Database
  readonly condition: Condition
}

export class DiskSnapshot implements Source {
  readonly description: string
  readonly #disk: Disk
  readonly #shards: readonly ShardPart[]
  readonly #about: About

  constructor(name: string, disk: Disk, about: About) {
    this.description = name
    this.#disk = disk
    this.#about = about
    this.#shards = [...disk.stored()].map(([partition, { place, cursor, state, types, tenants }]) => {
      return { partition, place, cursor, state, types: [...types], tenants: [...tenants] }
    })
  }

  async *offers(): AsyncIterable<Offer> {
    const [shard] = this.#shards
    if (!shard) return
    const { app, revision, database, condition } = this.#about
    const images = this.#disk.images(database)
    const { log, generation } = shard.state
    const of = (tenant: string): DatabasePart => {
      const { position, version, floor, digest, time, recordHash } = images.get(tenant)!.standing
      return { tenant, partition: 0, bytes: 0, sha256: '', position, version, floor, digest, time, recordHash }
    }
    const tenants = [...images.keys()].filter(tenant => images.get(tenant)!.standing.position > 0)
    const there = condition === 'lacking' ? tenants.slice(1) : tenants
    const source = new Map(there.map(tenant => [tenant, tenant]))
    if (condition === 'swapped' && there.length > 1) {
      source.set(there[0]!, there[1]!)
      source.set(there[1]!, there[0]!)
    }
    const databases = there.map(tenant => ({ ...of(source.get(tenant)!), tenant }))
    const snapshot: Snapshot = { format: 1, app, revision, log: log!, generation, made: 0, whole: true, shards: this.#shards, databases }
    yield { name: 'of its disk', snapshot, bring: async ({ tenant }, to) => put(images.get(source.get(tenant)!)!.image, to) }
  }
}
