/**
 * The three strategies. They share one way of a command (`shard.ts`) and one authority (`accept.ts`); all they differ in is said here:
 * whether an append carries a condition, and who may write.
 */
import type { ShardState } from './accept.ts'

export const strategies = ['optimistic', 'leader', 'first-wins'] as const
export type StrategyName = (typeof strategies)[number]

export interface Strategy {
  readonly name: StrategyName
  /** Appends on the condition that nothing stands behind what was read: conflicting writes are never recorded. */
  readonly conditional: boolean
  /** Writes only during a reign of its own. */
  readonly reigns: boolean
}

export const strategyOf: { readonly [K in StrategyName]: Strategy } = {
  optimistic: { name: 'optimistic', conditional: true, reigns: false },
  leader: { name: 'leader', conditional: false, reigns: true },
  'first-wins': { name: 'first-wins', conditional: false, reigns: false },
}

/** What a replica may do with a command now. */
export type Role =
  | { readonly may: 'write' }
  /** Somebody else owns the shard and lives: pass the command on. */
  | { readonly may: 'forward'; readonly owner: string; readonly address: string }
  /** Nobody may, until a term record changes that. `claim`: open a reign; `end`: end a dead one, so that all may write. */
  | { readonly may: 'wait'; readonly campaign: 'claim' | 'end' }

/**
 * Liveness decides here, never safety: a wrong guess about `ownerLives` costs time, for every record carries its term and `accept`
 * compares it. While somebody owns a shard, replicas of every strategy pass commands on; any replica may end a dead reign.
 */
export function roleOf(strategy: Strategy, me: string, term: ShardState['term'], ownerLives: boolean): Role {
  if (term.owner === me) return { may: 'write' }
  if (term.owner === null) return strategy.reigns ? { may: 'wait', campaign: 'claim' } : { may: 'write' }
  if (ownerLives && term.address !== null) return { may: 'forward', owner: term.owner, address: term.address }
  return { may: 'wait', campaign: strategy.reigns ? 'claim' : 'end' }
}

/** Heartbeats as this replica saw them. A beat is a counter; only its changes count, by the clock of whoever watches. */
export class Heartbeats {
  readonly #seen = new Map<string, { beat: number; since: number }>()

  /** @param now monotonic, ms. */
  observe(beats: ReadonlyMap<string, number>, now: number): void {
    for (const [who, beat] of beats) {
      const seen = this.#seen.get(who)
      if (!seen || seen.beat !== beat) this.#seen.set(who, { beat, since: now })
    }
  }

  /** This process itself did not run for so long, ms: nobody else may be blamed for that time. */
  excuse(span: number): void {
    for (const seen of this.#seen.values()) seen.since += span
  }

  /** Whether `who` was ever heard of. */
  knows(who: string): boolean {
    return (this.#seen.get(who)?.beat ?? -1) >= 0
  }

  /** Whether `who` was heard of within `patience` ms. One never heard of is given the benefit of the doubt from the first question on. */
  lives(who: string, now: number, patience: number): boolean {
    let seen = this.#seen.get(who)
    if (!seen) {
      seen = { beat: -1, since: now }
      this.#seen.set(who, seen)
    }
    return now - seen.since < patience
  }
}

/** How long an owner may be silent before others campaign, ms. */
export const PATIENCE = 1_500
/** How long a member must have been alive without a break before a shard is handed over to it, ms: one that comes and goes gets none. */
const SETTLED = 5_000

/** Who of a log's members has been there for a while, as this replica saw them. */
export class Crew {
  readonly #heartbeats = new Heartbeats()
  readonly #since = new Map<string, number>()

  /** @param now monotonic, ms. */
  observe(beats: ReadonlyMap<string, number>, now: number): void {
    this.#heartbeats.observe(beats, now)
    for (const who of this.#since.keys()) if (!beats.has(who)) this.#since.delete(who)
    for (const who of beats.keys()) {
      if (!this.#heartbeats.lives(who, now, PATIENCE)) this.#since.delete(who)
      else if (!this.#since.has(who)) this.#since.set(who, now)
    }
  }

  excuse(span: number): void {
    this.#heartbeats.excuse(span)
  }

  settled(now: number): string[] {
    return [...this.#since].filter(([, since]) => now - since >= SETTLED).map(([who]) => who)
  }
}

/**
 * Who of the members should own each shard: as many each as can be, and as few changes as that takes. With fewer shards than members those
 * who have one keep it. Every replica that sees the same comes to the same.
 * @param owners of the shards, in order; null or no member: to be given
 */
export function fairOwners(members: readonly string[], owners: readonly (string | null)[]): (string | undefined)[] {
  const held = new Map(members.map(member => [member, 0]))
  for (const owner of owners) if (owner !== null && held.has(owner)) held.set(owner, held.get(owner)! + 1)
  // Where the shards cannot be divided evenly, one more is left to those who have most.
  const order = [...members].sort((a, b) => held.get(b)! - held.get(a)! || (a < b ? -1 : 1))
  const share = Math.floor(owners.length / members.length)
  const more = owners.length % members.length
  const room = new Map(order.map((member, rank) => [member, rank < more ? share + 1 : share]))
  const take = (member: string | null): boolean => {
    const left = member === null ? 0 : (room.get(member) ?? 0)
    if (left > 0) room.set(member!, left - 1)
    return left > 0
  }
  const kept = owners.map(owner => (take(owner) ? owner! : undefined))
  return kept.map(owner => {
    if (owner !== undefined || members.length === 0) return owner
    const [next] = [...room].sort(([a, left], [b, right]) => right - left || (a < b ? -1 : 1))[0]!
    take(next)
    return next
  })
}
