/**
 * Spreads the shards of a log over the replicas that would own them. Each of them looks at the same heartbeats and terms, and so comes to the
 * same; nobody commands. Only one shard at a time leaves a replica, so that most tenants never wait.
 */
import { Crew, fairOwners } from '../consistency.ts'
import { BEAT, type Member } from '../roster.ts'

/** Beats are looked at far more often: a longer silence means that this process was stopped or busy, ms. */
const STALL = 1_000
/** So long a shard that was to be handed over is waited for before the next one, ms. */
const HANDING_OVER = 5_000
/** So long after it has said that it would not lead any more the others have heard of it, and reckon without it, ms. */
const HEARD = 2 * BEAT

export class Spread {
  readonly #me: string
  readonly #reigns: boolean
  readonly #crew = new Crew()
  #looked = 0
  #leaving: { readonly shard: number; readonly since: number } | undefined

  /** @param reigns whether this replica would own shards */
  constructor(me: string, reigns: boolean) {
    this.#me = me
    this.#reigns = reigns
  }

  /**
   * Who should own each shard, as it is to be told to the shards now.
   * @param owners as the terms have it
   * @param now monotonic, ms
   * @param steppedDown since when this replica would own none, monotonic, ms
   * @param releases the active one of each shard: only who is of it may own the shard; null: anybody
   */
  preferred(
    members: readonly Member[],
    owners: readonly (string | null)[],
    now: number,
    steppedDown?: number,
    releases: readonly (string | null)[] = owners.map(() => null),
  ): readonly (string | undefined)[] {
    const nobody = owners.map(() => undefined)
    if (!this.#reigns) return nobody
    if (this.#looked > 0 && now - this.#looked > STALL) this.#crew.excuse(now - this.#looked)
    this.#looked = now
    this.#crew.observe(new Map(members.filter(({ reigns }) => reigns !== false).map(({ id, beat }) => [id, beat])), now)
    const settled = this.#crew.settled(now)
    if (steppedDown !== undefined) {
      // All at once: nothing is gained by leaving some of them for later.
      return now - steppedDown < HEARD
        ? nobody
        : byRelease(
            members,
            settled.filter(member => member !== this.#me),
            owners,
            releases,
          )
    }
    // With one shard nobody moves.
    if (owners.length === 1) return nobody
    if (!settled.includes(this.#me)) return nobody
    const fair = byRelease(members, settled, owners, releases)
    const leaving = this.#next(fair, owners, now)
    return fair.map((owner, shard) => (owners[shard] === this.#me && shard !== leaving ? this.#me : owner))
  }

  /**
   * Of a log with one shard, where nobody moves: who is next when its owner lays it down, as all others who would own it come to. As of the last
   * call of `preferred`.
   * @param release of this replica: its owner may lay it down for that
   */
  heir(members: readonly Member[], owners: readonly (string | null)[], now: number, release: string): string | undefined {
    const [owner] = owners
    if (owners.length > 1 || owner === this.#me) return undefined
    const may = new Set(members.filter(({ info }) => info === undefined || info.release === release).map(({ id }) => id))
    const [next] = fairOwners(
      this.#crew.settled(now).filter(member => member !== owner && may.has(member)),
      [null],
    )
    return next
  }

  /** The one of my shards that is to go. */
  #next(fair: readonly (string | undefined)[], owners: readonly (string | null)[], now: number): number | undefined {
    if (this.#leaving) {
      const { shard, since } = this.#leaving
      const owner = owners[shard]
      const over = owner !== this.#me && owner !== null
      if (!over && fair[shard] !== this.#me && now - since < HANDING_OVER) return shard
    }
    const excess = (shard: number) => owners[shard] === this.#me && fair[shard] !== this.#me
    // After one that nobody took, another one.
    const from = this.#leaving ? this.#leaving.shard + 1 : 0
    const shard = owners.map((_, index) => (from + index) % owners.length).find(excess)
    this.#leaving = shard === undefined ? undefined : { shard, since: now }
    return shard
  }
}

/** Each shard among those who may own it. */
function byRelease(
  members: readonly Member[],
  settled: readonly string[],
  owners: readonly (string | null)[],
  releases: readonly (string | null)[],
): readonly (string | undefined)[] {
  const fair: (string | undefined)[] = owners.map(() => undefined)
  for (const release of new Set(releases)) {
    const may = new Set(members.filter(({ info }) => release === null || info?.release === release).map(({ id }) => id))
    const shards = owners.map((_, shard) => shard).filter(shard => releases[shard] === release)
    const given = fairOwners(
      settled.filter(member => may.has(member)),
      shards.map(shard => owners[shard] ?? null),
    )
    for (const [index, shard] of shards.entries()) fair[shard] = given[index]
  }
  return fair
}
