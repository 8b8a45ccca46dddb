/**
 * A network that loses what it is told to: one reply, one request, everything for a while. Whoever asked hears the truth, late perhaps;
 * nothing is doubled, and nothing that was written is reported as not written.
 */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openReplica, type Replica } from '../../src/replica.ts'
import { bootstrap, makeLog, newUrl } from '../support/kafka.ts'
import { END_TXN, FETCH, INIT_PRODUCER_ID, onRecord, PRODUCE } from '../support/kafka/requests.ts'
import { Ledger } from '../support/ledger.ts'
import { atEnd, beside } from '../support/end.ts'
import { temporaryFolder } from '../support/logs.ts'
import { type Proxy, type Rule, startProxy } from '../support/proxy.ts'
import shop from '../support/shop.ts'
import { kafkaWays, type Way } from '../support/ways.ts'

/** A log, a way to it through a proxy, and one past it. */
class Net {
  readonly ledger = new Ledger()
  readonly proxy: Proxy
  readonly log: string
  readonly #through: string
  readonly #folder = temporaryFolder()
  #count = 0

  private constructor(proxy: Proxy, log: string) {
    this.proxy = proxy
    this.log = log
    this.#through = `kafka://${proxy.bootstrap}/${log.split('/').at(-1)}`
  }

  static async make(): Promise<Net> {
    const proxy = await startProxy(bootstrap())
    atEnd(() => proxy.close())
    const log = newUrl()
    await makeLog(log, 'shop')
    return new Net(proxy, log)
  }

  /** @param how `through` the proxy, or past it */
  async open(how: 'through' | 'past', way: Way): Promise<Replica> {
    const data = join(this.#folder, `data-${++this.#count}`)
    const replica = await openReplica(shop, { ...way, log: how === 'through' ? this.#through : this.log, data, timeout: 50_000 })
    atEnd(() => replica.close())
    return replica
  }

  /** All replicas have come to what the log says. */
  async check(...replicas: Replica[]): Promise<void> {
    for (const replica of replicas) await replica.query('total', undefined, { read: 'linearizable' })
    const digests = await this.ledger.check(this.log)
    for (const replica of replicas) {
      const { version, digest } = await replica.digest()
      expect(`${version} ${digest}`).toBe(digests.get('default'))
      expect(await replica.status()).toMatchObject({ failure: null, foreign: 0 })
    }
  }
}

const transactional = ({ strategy, fencing }: Way): boolean => strategy === 'optimistic' || fencing === 'transactions'

describe.concurrent.each(kafkaWays)('$strategy $fencing', way => {
  test.concurrent.each([
    ['the reply to a Produce', PRODUCE, 'reply'],
    ['a Produce', PRODUCE, 'request'],
    ...(transactional(way)
      ? ([
          ['the reply to an EndTxn', END_TXN, 'reply'],
          ['an EndTxn', END_TXN, 'request'],
        ] as const)
      : []),
  ] as const)(
    '%s is lost: the command is accepted once, and so is what comes behind it',
    beside(async (_, api, direction) => {
      const net = await Net.make()
      // Under a leader it is this one that reigns: its requests go through the proxy.
      const replica = await net.open('through', way)
      await net.ledger.pay(replica)
      const other = await net.open('past', way)
      const rule = api === PRODUCE ? onRecord(net.proxy, direction, 'cut') : net.proxy.on({ api, direction, nth: 1 }, 'cut')
      const answers = Array.from({ length: 10 }, (_, n) => net.ledger.pay(replica, `a${n}`, { id: `in-${n}` }))
      await rule.fired()
      expect(await net.ledger.pay(other, 'bob')).toMatchObject({ status: 'accepted', duplicate: false })
      for (const answer of await Promise.all(answers)) expect(answer.status).toBe('accepted')
      expect(await net.ledger.pay(replica, 'a3', { id: 'in-3' })).toMatchObject({ status: 'accepted', duplicate: true })
      await net.check(replica, other)
    }),
  )

  test.concurrent.each([
    ['no reply', 'hold'],
    ['no connection, and then nothing to read,', 'cut'],
  ] as const)(
    '%s for longer than the command waits: outcome-unknown, and the same id is accepted once',
    beside(async (_, how) => {
      const net = await Net.make()
      const replica = await net.open('through', way)
      await net.ledger.pay(replica)
      // From when it is sent: the record is written, of which nobody hears here, nor is anything read.
      const held: Rule[] = []
      const watch = net.proxy.on({ api: PRODUCE, direction: 'request', where: ({ bytes }) => bytes.includes('"lost"') && hold() }, 'drop')
      const hold = () => {
        watch.remove()
        held.push(net.proxy.on({ direction: 'reply', api: transactional(way) ? END_TXN : PRODUCE }, how))
        held.push(net.proxy.on({ direction: 'reply', api: FETCH }, 'hold'))
        return false
      }
      const error = await net.ledger.pay(replica, 'ann', { id: 'lost', timeout: 500 }).catch((cause: unknown) => cause)
      expect(error).toMatchObject({ code: 'outcome-unknown', retry: 'safe', id: 'lost' })
      for (const rule of held) rule.remove()
      expect(await net.ledger.pay(replica, 'ann', { id: 'lost' })).toMatchObject({ status: 'accepted', duplicate: true, version: 2 })
      await net.check(replica)
    }),
  )

  test.concurrent(
    'all connections are cut for a while: nobody hears more than a delay',
    beside(async () => {
      const net = await Net.make()
      // Under a leader this is the one that reigns; and then the other.
      const replica = await net.open('through', way)
      await net.ledger.pay(replica)
      const other = await net.open('past', way)
      await net.ledger.pay(other)
      const before = Array.from({ length: 10 }, () => net.ledger.pay(replica))
      net.proxy.partition('cut')
      const during = Array.from({ length: 10 }, () => net.ledger.pay(replica))
      // Somebody else goes on, without those who are cut off.
      for (let n = 0; n < 5; n++) expect((await net.ledger.pay(other)).status).toBe('accepted')
      net.proxy.heal()
      for (const answer of await Promise.all([...before, ...during])) expect(answer.status).toBe('accepted')
      expect((await net.ledger.pay(replica)).status).toBe('accepted')
      await net.check(replica, other)
    }),
  )
})

describe.concurrent.each(kafkaWays.filter(({ strategy, fencing = 'epoch' }: Way) => strategy !== 'first-wins' && fencing !== 'term'))(
  '$strategy $fencing',
  way => {
    test.concurrent.each(['reply', 'request'] as const)(
      '%s of an InitProducerId is lost: asked again',
      beside(async direction => {
        const net = await Net.make()
        const rule = net.proxy.on({ api: INIT_PRODUCER_ID, direction, nth: 1 }, 'cut')
        const replica = await net.open('through', way)
        await net.ledger.pay(replica)
        expect(rule.count).toBe(1)
        const other = await net.open('past', way)
        await net.ledger.pay(other)
        await net.check(replica, other)
      }),
    )
  },
)

/** Two optimistic writers; the EndTxn of one, or the reply to it, is held up. */
async function withHeldEnd(direction: 'request' | 'reply') {
  const way = { strategy: 'optimistic' } as const
  const net = await Net.make()
  const slow = await net.open('through', way)
  const quick = await net.open('past', way)
  await net.ledger.pay(slow)
  const rule = net.proxy.on({ api: END_TXN, direction, nth: 1 }, 'hold')
  const answer = net.ledger.pay(slow, 'ann', { id: 'slow' })
  await rule.fired()
  return { net, slow, quick, rule, answer }
}

test.concurrent(
  'an EndTxn that arrives after a rival has taken over: its records do not count, and the command is accepted behind the rival',
  beside(async () => {
    const { net, slow, quick, rule, answer } = await withHeldEnd('request')
    // It takes the id over, and ends the transaction of the other.
    expect(await net.ledger.pay(quick)).toMatchObject({ status: 'accepted', version: 2 })
    rule.release()
    expect(await answer).toMatchObject({ status: 'accepted', version: 3, duplicate: false })
    await net.check(slow, quick)
  }),
)

test.concurrent(
  'an EndTxn whose reply comes after a rival has taken over: it stands',
  beside(async () => {
    const { net, slow, quick, rule, answer } = await withHeldEnd('reply')
    expect(await net.ledger.pay(quick)).toMatchObject({ status: 'accepted', version: 3 })
    // It was read back: that is the answer, whatever becomes of the reply.
    expect(await answer).toMatchObject({ status: 'accepted', version: 2, duplicate: false })
    rule.release()
    expect(await net.ledger.pay(slow)).toMatchObject({ status: 'accepted', version: 4 })
    await net.check(slow, quick)
  }),
)
