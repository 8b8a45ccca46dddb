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
