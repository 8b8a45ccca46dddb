/** Who should own which shard: fair, with as few changes as that takes, and calm when members come and go. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Crew, fairOwners } from '../../src/consistency.ts'
import { Spread } from '../../src/replica/spread.ts'
import type { Member, MemberInfo } from '../../src/roster.ts'

const names = ['a', 'b', 'c', 'd', 'e', 'f']
const situation = fc.record({
  members: fc.shuffledSubarray(names, { minLength: 1 }),
  // g and h are gone.
  owners: fc.array(fc.constantFrom(...names, 'g', 'h', null), { minLength: 1, maxLength: 24 }),
})

const counts = (members: readonly string[], owners: readonly (string | null | undefined)[]) =>
  members.map(member => owners.filter(owner => owner === member).length)

describe('fair owners', () => {
  test('as many each as can be, of the members only', () => {
    fc.assert(
      fc.property(situation, ({ members, owners }) => {
        const fair = fairOwners(members, owners)
        for (const owner of fair) expect(members).toContain(owner)
        const each = counts(members, fair)
        expect(Math.max(...each) - Math.min(...each)).toBeLessThanOrEqual(1)
      }),
    )
  })

  test('as few changes as that takes', () => {
    fc.assert(
      fc.property(situation, ({ members, owners }) => {
        const fair = fairOwners(members, owners)
        const kept = fair.filter((owner, shard) => owner === owners[shard]).length
        // Whoever has most keeps the larger share.
        const share = Math.floor(owners.length / members.length)
        const more = owners.length % members.length
        const held = counts(members, owners).sort((a, b) => b - a)
        expect(kept).toBe(held.reduce((sum, count, rank) => sum + Math.min(count, share + (rank < more ? 1 : 0)), 0))
      }),
    )
  })

  test('the same for everybody, and nothing changes once it is so', () => {
    fc.assert(
      fc.property(situation, ({ members, owners }) => {
        const fair = fairOwners(members, owners)
        expect(fairOwners([...members].reverse(), owners)).toEqual(fair)
        expect(fairOwners(members, fair as string[])).toEqual(fair)
      }),
    )
  })

  test('step by step, in any order, it comes to an end', () => {
    fc.assert(
      fc.property(situation, fc.infiniteStream(fc.nat()), ({ members, owners }, dice) => {
        const now = [...owners]
        for (let step = 0; ; step++) {
          expect(step).toBeLessThanOrEqual(owners.length)
          const fair = fairOwners(members, now)
          const wrong = fair.flatMap((owner, shard) => (owner === now[shard] ? [] : [shard]))
          if (wrong.length === 0) break
          const shard = wrong[(dice.next().value as number) % wrong.length]!
          now[shard] = fair[shard]!
        }
      }),
    )
  })

  test('one shard stays where it is, and so do those of whom there are too few', () => {
    expect(fairOwners(['a', 'b', 'c'], ['c'])).toEqual(['c'])
    expect(fairOwners(['a', 'b', 'c', 'd'], ['d', 'c'])).toEqual(['d', 'c'])
    expect(fairOwners(['a', 'b', 'c', 'd'], ['d', 'd'])).toEqual(['d', 'a'])
    expect(fairOwners(['b', 'a'], [null])).toEqual(['a'])
    expect(fairOwners([], ['a'])).toEqual([undefined])
  })
})

/** Beats as they come, every 250 ms. */
class Beating {
  now = 0
  readonly #alive = new Set<string>()
  readonly #members = new Map<string, number>()

  join(...who: string[]): void {
    for (const each of who) this.#alive.add(each)
  }

  /** It falls silent; the roster still has it. */
  die(who: string): void {
    this.#alive.delete(who)
  }

  members(): Member[] {
    return [...this.#members].map(([id, beat]) => ({ id, beat, address: null, seen: 0, reigns: id !== 'watcher' }))
  }

  run(ms: number, look: () => void): void {
    for (const end = this.now + ms; this.now < end; this.now += 250) {
      for (const who of this.#alive) this.#members.set(who, (this.#members.get(who) ?? 0) + 1)
      look()
    }
  }
}

describe('a crew', () => {
  test('takes its time with those who are new, and those who come and go', () => {
    const crew = new Crew()
    const beating = new Beating()
    const look = () => crew.observe(new Map(beating.members().map(({ id, beat }) => [id, beat])), beating.now)
    beating.join('a', 'b')
    beating.run(4_000, look)
    expect(crew.settled(beating.now)).toEqual([])
    beating.run(2_000, look)
    expect(crew.settled(beating.now)).toEqual(['a', 'b'])
    beating.die('b')
    beating.run(1_000, look)
    expect(crew.settled(beating.now)).toEqual(['a', 'b'])
    beating.run(1_000, look)
    expect(crew.settled(beating.now)).toEqual(['a'])
    beating.join('b')
    beating.run(4_000, look)
    expect(crew.settled(beating.now)).toEqual(['a'])
    beating.run(2_000, look)
    expect(crew.settled(beating.now)).toEqual(['a', 'b'])
  })

  test('never takes those in who are in the roster, but dead', () => {
    const crew = new Crew()
    for (let now = 0; now < 20_000; now += 250) {
      crew.observe(new Map([['dead', 77]]), now)
      expect(crew.settled(now)).toEqual([])
    }
  })
})

describe('a spread', () => {
  test('lets all go of one that steps down, to those who have been there for a while, once they have heard of it', () => {
    const beating = new Beating()
    const [one, many] = [new Spread('a', true), new Spread('a', true)]
    beating.join('a', 'b', 'watcher')
    beating.run(6_000, () => {
      expect(one.preferred(beating.members(), ['a'], beating.now)).toEqual([undefined])
      many.preferred(beating.members(), ['a', 'a', 'b'], beating.now)
    })
    const since = beating.now
    expect(one.preferred(beating.members(), ['a'], since, since)).toEqual([undefined])
    beating.join('c')
    beating.run(500, () => {})
    expect(one.preferred(beating.members(), ['a'], beating.now, since)).toEqual(['b'])
    expect(many.preferred(beating.members(), ['a', 'a', 'b'], beating.now, since)).toEqual(['b', 'b', 'b'])
  })

  test('of one shard: the heir is the same for all, one who has been there for a while, of the own release, and not the owner', () => {
    const beating = new Beating()
    const spreads = ['b', 'c', 'late'].map(me => new Spread(me, true))
    beating.join('a', 'b', 'c', 'watcher')
    const look = () => spreads.map(spread => (spread.preferred(beating.members(), ['a'], beating.now), heirOf(spread)))
    const heirOf = (spread: Spread) => spread.heir(beating.members(), ['a'], beating.now, 'any')
    beating.run(4_000, look)
    expect(look()).toEqual([undefined, undefined, undefined])
    beating.run(2_000, look)
    expect(look()).toEqual(['b', 'b', 'b'])
    const [spread] = spreads as [Spread]
    expect(spread.heir(beating.members(), [null], beating.now, 'any')).toBe('a')
    expect(spread.heir(beating.members(), ['b'], beating.now, 'any')).toBeUndefined()
    expect(spread.heir(beating.members(), ['a', 'a'], beating.now, 'any')).toBeUndefined()
    const info = { release: 'blue' } as MemberInfo
    const blue = beating.members().map(member => (member.id === 'b' ? { ...member, info } : member))
    expect(spread.heir(blue, ['a'], beating.now, 'green')).toBe('c')
  })

  test('keeps what one that steps down has where there is nobody else', () => {
    const beating = new Beating()
    const spread = new Spread('a', true)
    beating.join('a', 'watcher')
    beating.run(8_000, () => {
      expect(spread.preferred(beating.members(), ['a', null], beating.now, 0)).toEqual([undefined, undefined])
    })
  })

  test('lets one shard go at a time, and the next when that has an owner', () => {
    const beating = new Beating()
    const spread = new Spread('a', true)
    const owners: (string | null)[] = ['a', 'a', 'a', 'a', 'a', 'a']
    let preferred: readonly (string | undefined)[] = []
    const look = () => {
      preferred = spread.preferred(beating.members(), owners, beating.now)
    }
    const leaving = () => preferred.flatMap((owner, shard) => (owner !== 'a' && owners[shard] === 'a' ? [`${shard} to ${owner}`] : []))
    beating.join('a', 'b', 'watcher')
    beating.run(4_000, look)
    expect(preferred.every(owner => owner === undefined)).toBe(true)
    beating.run(2_000, look)
    expect(leaving()).toEqual(['3 to b'])
    // Handed over, not taken yet.
    owners[3] = null
    beating.run(1_000, look)
    expect(leaving()).toEqual([])
    expect(preferred[3]).toBe('b')
    owners[3] = 'b'
    beating.run(250, look)
    expect(leaving()).toEqual(['4 to b'])
    owners[4] = owners[5] = 'b'
    beating.run(500, look)
    expect(preferred).toEqual(['a', 'a', 'a', 'b', 'b', 'b'])
    // One that is silent has nothing to wait for.
    beating.die('b')
    beating.run(2_000, look)
    expect(preferred).toEqual(['a', 'a', 'a', 'a', 'a', 'a'])
  })

  test('goes on with another shard where nobody takes the first', () => {
    const beating = new Beating()
    const spread = new Spread('a', true)
    const owners = ['a', 'a', 'a', 'a']
    const left = new Set<number>()
    beating.join('a', 'b')
    beating.run(20_000, () => {
      const preferred = spread.preferred(beating.members(), owners, beating.now)
      for (const [shard, owner] of preferred.entries()) if (owner === 'b') left.add(shard)
    })
    expect([...left]).toEqual([2, 3])
  })

  test('has no say where there is one shard, or for one that would own none', () => {
    const beating = new Beating()
    const one = new Spread('a', true)
    const watcher = new Spread('watcher', false)
    beating.join('a', 'b', 'watcher')
    beating.run(10_000, () => {
      expect(one.preferred(beating.members(), ['b'], beating.now)).toEqual([undefined])
      expect(watcher.preferred(beating.members(), ['b', 'b'], beating.now)).toEqual([undefined, undefined])
    })
  })

  test('blames nobody for the time in which this process itself stood still', () => {
    const beating = new Beating()
    const spread = new Spread('a', true)
    const owners = ['a', 'b']
    const look = () => spread.preferred(beating.members(), owners, beating.now)
    beating.join('a', 'b')
    beating.run(8_000, look)
    beating.now += 60_000
    expect(look()).toEqual(['a', 'b'])
  })
})
