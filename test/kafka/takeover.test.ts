/**
 * The leader's process is killed or stopped, with work on its way: somebody else goes on, those who ask the others see a delay and no error,
 * and nothing that a deposed leader still adds counts. Under optimistic nobody leads: a process that is stopped with its transaction open
 * holds the others up no longer than it takes to end it.
 */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { bootstrap, makeLog, newUrl } from '../support/kafka.ts'
import { END_TXN, onRecord } from '../support/kafka/requests.ts'
import { Ledger } from '../support/ledger.ts'
import { atEnd, beside } from '../support/end.ts'
import { temporaryFolder } from '../support/logs.ts'
import { Puppet } from '../support/processes.ts'
import { startProxy } from '../support/proxy.ts'
import { kafkaWays, type Way } from '../support/ways.ts'

class Cast {
  readonly ledger = new Ledger()
  readonly log = newUrl()
  readonly #folder = temporaryFolder()
  #count = 0

  /** @param log the same one by another address */
  join(way: Way, log = this.log): Promise<Puppet> {
    return Puppet.open({ ...way, log, data: join(this.#folder, `data-${++this.#count}`), timeout: 50_000 })
  }

  async check(...puppets: Puppet[]): Promise<void> {
    for (const puppet of puppets) await puppet.query('total', null, { read: 'linearizable', timeout: 50_000 })
    const digests = await this.ledger.check(this.log)
    for (const puppet of puppets) {
      const { version, digest } = await puppet.digest()
      expect(`${version} ${digest}`).toBe(digests.get('default'))
      expect(await puppet.status()).toMatchObject({ failure: null, foreign: 0 })
    }
  }
}

/** Pays one after the other until it is told to stop: no command may fail. */
function payer(ledger: Ledger, puppet: Puppet, account: string): { stop(): Promise<number> } {
  let going = true
  const work = (async () => {
    let count = 0
    while (going) {
      expect((await ledger.pay(puppet, account)).status).toBe('accepted')
      count++
    }
    return count
  })()
  work.catch(() => {})
  return {
    stop: () => {
      going = false
      return work
    },
  }
}

describe.concurrent.each(kafkaWays.filter(({ strategy }) => strategy === 'leader'))('$strategy $fencing', way => {
  test.concurrent(
    'killed, then the next one stopped and continued: those who ask the others notice nothing but the wait',
    beside(async ({ annotate }) => {
      const cast = new Cast()
      const { ledger } = cast
      await makeLog(cast.log, 'shop')
      const first = await cast.join(way)
      await ledger.pay(first)
      const [one, two] = await Promise.all([cast.join(way), cast.join(way)])
      expect((await first.status()).role).toBe('leader')
      const payers = [payer(ledger, one, 'one'), payer(ledger, two, 'two')]
      await Promise.all([ledger.pay(one), ledger.pay(two)])

      let start = performance.now()
      await first.kill()
      await Promise.all([ledger.pay(one, 'ann', { id: 'after-kill-1' }), ledger.pay(two, 'ann', { id: 'after-kill-2' })])
      await annotate(`from the kill to an accepted command: ${Math.round(performance.now() - start)} ms`)
      const states = await Promise.all([one.status(), two.status()])
      expect(states.map(({ role }) => role).sort()).toEqual(['follower', 'leader'])
      const [leader, follower] = states[0].role === 'leader' ? [one, two] : [two, one]

      const { term } = await follower.status()
      leader.stop()
      // It still takes itself for the leader when it goes on: this is the first that it does.
      const asked = Array.from({ length: 10 }, (_, n) => ledger.pay(leader, 'late', { id: `late-${n}` }))
      start = performance.now()
      await ledger.pay(follower, 'ann', { id: 'after-stop' })
      await annotate(`from the stop to an accepted command: ${Math.round(performance.now() - start)} ms`)
      expect((await follower.status()).term.number).toBeGreaterThan(term.number)
      leader.continue()
      for (const answer of await Promise.all(asked)) expect(answer.status).toBe('accepted')
      for (const each of payers) expect(await each.stop()).toBeGreaterThan(0)
      await cast.check(one, two)
    }),
  )

  test.concurrent.each([
    ['a record on its way, which arrives when somebody else reigns', 'late'],
    // It ends it when it wakes.
    ...(way.fencing === 'transactions'
      ? ([['a transaction open, of which it was not told yet that it has its record', 'open']] as const)
      : []),
  ] as const)(
    'a leader that was stopped with %s: it adds nothing',
    beside(async (_, how) => {
      const cast = new Cast()
      const { ledger } = cast
      await makeLog(cast.log, 'shop')
      await using proxy = await startProxy(bootstrap())
      const old = await cast.join(way, `kafka://${proxy.bootstrap}/${cast.log.split('/').at(-1)}`)
      await ledger.pay(old)
      const next = await cast.join(way)
      const rule =
        how === 'open'
          ? onRecord(proxy, 'reply', 'hold')
          : way.fencing === 'transactions'
            ? proxy.on({ api: END_TXN, direction: 'request' }, 'hold')
            : onRecord(proxy, 'request', 'hold')
      const flying = ledger.pay(old, 'late', { id: 'flying' })
      await rule.fired()
      old.stop()
      await ledger.pay(next)
      const { term, foreign } = await next.status()
      expect(await next.status()).toMatchObject({ role: 'leader', foreign: 0 })
      rule.release()
      // Behind whatever arrived late.
      await ledger.pay(next)
      const before = await next.query('balance', { account: 'late' }, { read: 'linearizable' })
      expect(before).toBe(0)
      old.continue()
      expect((await flying).status).toBe('accepted')
      expect((await ledger.pay(old, 'late', { id: 'flying' })).duplicate).toBe(true)
      expect(await next.query('balance', { account: 'late' }, { read: 'linearizable' })).toBe(1)
      expect((await next.status()).term).toEqual(term)
      expect((await next.status()).foreign).toBe(foreign)
      await cast.check(old, next)
    }),
  )
})

test.concurrent(
  'optimistic: one that is stopped with its transaction open is fenced; the others go on, and its client hears the truth',
  beside(async ({ annotate }) => {
    const way = { strategy: 'optimistic' } as const
    const cast = new Cast()
    const { ledger } = cast
    await makeLog(cast.log, 'shop')
    await using proxy = await startProxy(bootstrap())
    atEnd(() => proxy.heal())
    const stopped = await cast.join(way, `kafka://${proxy.bootstrap}/${cast.log.split('/').at(-1)}`)
    await ledger.pay(stopped)
    const other = await cast.join(way)
    await ledger.pay(other)
    for (const how of ['lost', 'late', 'unsent'] as const) {
      // The batch stands in the open transaction; its end does not arrive, or when it was ended by somebody else, or is sent only then.
      const rule =
        how === 'unsent'
          ? onRecord(proxy, 'reply', 'hold')
          : proxy.on({ api: END_TXN, direction: 'request', nth: 1 }, how === 'lost' ? 'cut' : 'hold')
      const flying = ledger.pay(stopped, 'ann', { id: how })
      await rule.fired()
      stopped.stop()
      const start = performance.now()
      for (let n = 0; n < 5; n++) expect((await ledger.pay(other)).status).toBe('accepted')
      await annotate(`from the stop to five accepted commands of the other: ${Math.round(performance.now() - start)} ms`)
      rule.remove()
      for (let n = 0; n < 5; n++) expect((await ledger.pay(other)).status).toBe('accepted')
      stopped.continue()
      expect((await flying).status).toBe('accepted')
      await cast.check(stopped, other)
    }
  }),
)
