/** The leader's process is killed, closed, stopped: somebody else goes on, and nobody's command is lost or doubled. */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { StrategyName } from '../../src/consistency.ts'
import { openReplica } from '../../src/index.ts'
import type { Outcome } from '../../src/app.ts'
import { Stopwatch } from '../support/clock.ts'
import { beside } from '../support/end.ts'
import { temporaryFolder } from '../support/logs.ts'
import { Puppet } from '../support/processes.ts'
import shop from '../support/shop.ts'

class Cast {
  readonly folder: string = temporaryFolder()
  readonly log: string = `file:${join(this.folder, 'shop.log')}`
  #count = 0

  join(strategy: StrategyName = 'leader', data: string = `data-${++this.#count}`): Promise<Puppet> {
    return Puppet.open({ log: this.log, data: join(this.folder, data), strategy, timeout: 20_000 })
  }

  /** The leader, and those that follow it. */
  async leaderAndFollowers(size: number): Promise<[Puppet, ...Puppet[]]> {
    const all = [await this.join()]
    await all[0]!.execute('pay', { account: 'ann', cents: 1 }, { id: 'first' })
    while (all.length < size) all.push(await this.join())
    expect((await all[0]!.status()).role).toBe('leader')
    return all as [Puppet, ...Puppet[]]
  }

  /** Each of these ids stands in the log once, at the version that was told, and all others at most once. */
  async check(told: ReadonlyMap<string, number>): Promise<void> {
    await using replica = await openReplica(shop, {
      log: this.log,
      data: join(this.folder, 'checker'),
      strategy: 'first-wins',
      timeout: 20_000,
    })
    await replica.query('total', undefined, { read: 'linearizable' })
    const { version: last } = await replica.digest()
    const found = new Map<string, number>()
    for await (const { id, version } of replica.events({ from: 1 })) {
      expect(found.has(id), `${id} is doubled`).toBe(false)
      found.set(id, version)
      if (version === last) break
    }
    for (const [id, version] of told) expect(found.get(id), id).toBe(version)
  }
}

const versionOf = (answer: Outcome<unknown>): number =>
  answer.status === 'accepted' ? answer.version : expect.unreachable(JSON.stringify(answer))

/** Pays one after the other, as long as it is told to; every command must be accepted. */
class Payer {
  readonly told = new Map<string, number>()
  readonly done: Promise<void>
  #going = true

  constructor(puppet: Puppet, name: string) {
    this.done = this.#run(puppet, name)
    this.done.catch(() => {})
  }

  async stop(): Promise<void> {
    this.#going = false
    await this.done
  }

  async #run(puppet: Puppet, name: string): Promise<void> {
    for (let n = 0; this.#going; n++) {
      const id = `${name}-${n}`
      this.told.set(id, versionOf(await puppet.execute('pay', { account: name, cents: 1 }, { id })))
    }
  }
}

const all = (...payers: Payer[]): Map<string, number> => new Map(payers.flatMap(({ told }) => [...told]))

test.concurrent(
  'killed: a follower executes within 3 s, and those that call followers notice nothing but the wait',
  beside(async ({ annotate }) => {
    const cast = new Cast()
    const [leader, one, two] = (await cast.leaderAndFollowers(3)) as [Puppet, Puppet, Puppet]
    const { term: before } = await one.status()
    const payers = [new Payer(one, 'one'), new Payer(two, 'two')]
    await one.execute('pay', { account: 'ann', cents: 1 })
    const watch = new Stopwatch()
    await leader.kill()
    versionOf(await one.execute('pay', { account: 'ann', cents: 1 }, { id: 'after' }))
    const { elapsed, undisturbed } = watch.stop()
    await annotate(`from the kill of the leader to an accepted command: ${Math.round(elapsed)} ms`)
    expect(undisturbed).toBeLessThan(3_000)
    const { term } = await one.status()
    expect(term.number).toBeGreaterThan(before.number)
    expect(term.owner).not.toBe(before.owner)
    expect([await one.status(), await two.status()].map(({ role }) => role).sort()).toEqual(['follower', 'leader'])
    for (const payer of payers) await payer.stop()
    await cast.check(all(...payers))
  }),
)

test.concurrent(
  'closed: the next one reigns at once',
  beside(async ({ annotate }) => {
    const cast = new Cast()
    const [leader, one] = (await cast.leaderAndFollowers(2)) as [Puppet, Puppet]
    const { term: before } = await one.status()
    const payer = new Payer(one, 'one')
    await one.execute('pay', { account: 'ann', cents: 1 })
    const watch = new Stopwatch()
    await leader.close()
    versionOf(await one.execute('pay', { account: 'ann', cents: 1 }))
    const { elapsed, undisturbed } = watch.stop()
    await annotate(`from the close of the leader to an accepted command: ${Math.round(elapsed)} ms`)
    // Well below the patience with one that is silent.
    expect(undisturbed).toBeLessThan(1_000)
    const { term, role } = await one.status()
    expect(role).toBe('leader')
    // An abdication, and a claim.
    expect(term.number).toBe(before.number + 2)
    await payer.stop()
    await cast.check(payer.told)
  }),
)

test.concurrent(
  'stopped for a while: deposed meanwhile, then a follower; what it was asked is neither lost nor doubled',
  beside(async ({ annotate }) => {
    const cast = new Cast()
    const [leader, one] = (await cast.leaderAndFollowers(2)) as [Puppet, Puppet]
    versionOf(await one.execute('pay', { account: 'ann', cents: 1 }))
    // Nothing is on its way, so it holds no lock on the log.
    leader.stop()
    // These wait in its channel: when it goes on it still takes itself for the leader.
    const asked = Array.from({ length: 20 }, (_, n) => leader.execute('pay', { account: 'ann', cents: 1 }, { id: `asked-${n}` }))
    const watch = new Stopwatch()
    versionOf(await one.execute('pay', { account: 'ann', cents: 1 }, { id: 'meanwhile' }))
    const { elapsed, undisturbed } = watch.stop()
    await annotate(`from the stop of the leader to an accepted command: ${Math.round(elapsed)} ms`)
    expect(undisturbed).toBeLessThan(3_000)
    const { role, term } = await one.status()
    expect(role).toBe('leader')
    leader.continue()
    const answers = await Promise.all(asked)
    expect((await leader.status()).role).toBe('follower')
    expect((await one.status()).term).toEqual(term)
    await cast.check(new Map(answers.map((answer, n) => [`asked-${n}`, versionOf(answer)])))
  }),
)

test.concurrent(
  'a deadline before anybody else reigns: not-leader where it could not be reached, outcome-unknown where it may have acted',
  beside(async () => {
    const cast = new Cast()
    const [first, one] = (await cast.leaderAndFollowers(2)) as [Puppet, Puppet]
    await first.kill()
    await expect(one.execute('pay', { account: 'ann', cents: 1 }, { timeout: 200, id: 'unreached' })).rejects.toMatchObject({
      code: 'not-leader',
      retry: 'safe',
      message: expect.stringMatching(/nothing was written/),
    })
    versionOf(await one.execute('pay', { account: 'ann', cents: 1 }, { id: 'next' }))
    const two = await cast.join()
    versionOf(await two.execute('pay', { account: 'ann', cents: 1 }))
    one.stop()
    await expect(two.execute('pay', { account: 'ann', cents: 1 }, { timeout: 200, id: 'unanswered' })).rejects.toMatchObject({
      code: 'outcome-unknown',
      retry: 'safe',
      message: expect.stringMatching(/may have been written.*same id/),
    })
    // So that its silence is a short one when the next deadline passes, too.
    one.continue()
    versionOf(await two.execute('pay', { account: 'ann', cents: 1 }, { id: 'again' }))
    expect((await one.status()).role).toBe('leader')
    one.stop()
    // It has it, and is gone before it answers; from then on nobody can be reached.
    const lost = two.execute('pay', { account: 'ann', cents: 1 }, { timeout: 500, id: 'lost' })
    for (let n = 0; n < 3; n++) await two.status()
    await one.kill()
    await expect(lost).rejects.toMatchObject({ code: 'outcome-unknown', retry: 'safe' })
    const told = new Map([['next', 2]])
    for (const id of ['unreached', 'unanswered', 'lost'])
      told.set(id, versionOf(await two.execute('pay', { account: 'ann', cents: 1 }, { id })))
    await cast.check(told)
  }),
)

test.concurrent(
  'stopped and continued amid its work: every command is answered, once',
  beside(async () => {
    const cast = new Cast()
    const [leader, one, two] = (await cast.leaderAndFollowers(3)) as [Puppet, Puppet, Puppet]
    const payers = [new Payer(leader, 'old'), new Payer(one, 'one'), new Payer(two, 'two')]
    await one.execute('pay', { account: 'ann', cents: 1 })
    // It may hold the lock on the log, and then nobody can write; or not, and then somebody else reigns soon.
    leader.stop()
    await pause(2_500)
    leader.continue()
    await Promise.all([leader, one, two].map(puppet => puppet.execute('pay', { account: 'ann', cents: 1 })))
    for (const payer of payers) await payer.stop()
    await cast.check(all(...payers))
  }),
)

test.concurrent(
  'two that start at once on a new log: one reigns, both execute',
  beside(async () => {
    const cast = new Cast()
    const both = await Promise.all([cast.join(), cast.join()])
    const answers = await Promise.all(
      both.flatMap((puppet, at) =>
        Array.from({ length: 10 }, (_, n) => puppet.execute('pay', { account: 'ann', cents: 1 }, { id: `${at}-${n}` })),
      ),
    )
    const states = await Promise.all(both.map(puppet => puppet.status()))
    expect(states.map(({ role }) => role).sort()).toEqual(['follower', 'leader'])
    expect(new Set(states.map(({ logId }) => logId)).size).toBe(1)
    await cast.check(new Map(answers.map((answer, n) => [`${Math.floor(n / 10)}-${n % 10}`, versionOf(answer)])))
  }),
)

test.concurrent(
  'the other strategies: pass commands on to a leader that lives, and end the reign of a dead one',
  beside(async () => {
    const both = (['optimistic', 'first-wins'] as const).map(async strategy => {
      const cast = new Cast()
      const [leader] = await cast.leaderAndFollowers(1)
      const other = await cast.join(strategy)
      versionOf(await other.execute('pay', { account: 'ann', cents: 1 }))
      const { incarnation } = await leader.status()
      expect((await other.status()).term.owner).toBe(incarnation)
      expect((await leader.status()).role).toBe('leader')
      await leader.kill()
      const watch = new Stopwatch()
      versionOf(await other.execute('pay', { account: 'ann', cents: 1 }, { id: 'after' }))
      expect(watch.stop().undisturbed, strategy).toBeLessThan(3_000)
      expect(await other.status(), strategy).toMatchObject({ role: 'writer', term: { owner: null, address: null } })
      await cast.check(new Map([['after', 3]]))
    })
    await Promise.all(both)
  }),
)

test.concurrent(
  'killed and started again in the same directory: it reigns again',
  beside(async () => {
    const cast = new Cast()
    const first = await cast.join('leader', 'mine')
    versionOf(await first.execute('pay', { account: 'ann', cents: 1 }, { id: 'first' }))
    await first.kill()
    const again = await cast.join('leader', 'mine')
    expect(await again.execute('pay', { account: 'ann', cents: 1 }, { id: 'first' })).toMatchObject({ version: 1, duplicate: true })
    expect(versionOf(await again.execute('pay', { account: 'ann', cents: 1 }, { id: 'second' }))).toBe(2)
    expect((await again.status()).role).toBe('leader')
  }),
)
