/**
 * What others write into the topic: bytes, forgeries, another log's records, transactions of their own. Nobody stops, nothing has an effect,
 * all of it is counted.
 */
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { encodeControl, encodeDecision, encodeRecord, type DataRecord } from '../../src/record.ts'
import { openReplica, type Replica } from '../../src/replica.ts'
import { Alien } from '../support/alien.ts'
import { makeLog, newUrl } from '../support/kafka.ts'
import { refused } from '../support/ledger.ts'
import { temporaryFolder } from '../support/logs.ts'
import shop from '../support/shop.ts'
import { kafkaWays, type Way } from '../support/ways.ts'

interface Scene {
  readonly replicas: readonly [Replica, Replica]
  readonly alien: Alien
  open(): Promise<Replica>
}

async function scene(way: Way): Promise<Scene> {
  const log = newUrl()
  const folder = temporaryFolder()
  await makeLog(log, 'shop')
  let count = 0
  const open = async () => {
    const replica = await openReplica(shop, { ...way, log, data: join(folder, `data-${++count}`), timeout: 50_000 })
    onTestFinished(() => replica.close())
    return replica as unknown as Replica
  }
  const replicas = [await open(), await open()] as const
  for (let n = 0; n < 4; n++) await replicas[n % 2]!.execute('pay', { account: 'ann', cents: 10 })
  return { replicas, alien: await Alien.come(log), open }
}

/** A data record that would be accepted, but for what is changed. */
function forged(record: DataRecord, change: Partial<DataRecord>): string {
  const events = [{ type: 'Paid', schema: 1, data: { account: 'alien', cents: 1_000 } }]
  const decision = { ...record.decisions[0]!, id: `alien-${Math.random()}`, events }
  return encodeRecord({ ...record, ...change }, [encodeDecision(decision)])
}

const control = encodeControl

/** How many of them are counted as foreign, and how many as refused. */
interface Counted {
  readonly foreign: number
  readonly refused: number
}

/** All that somebody may write, and what each counts as. */
function rubbish(
  record: DataRecord & { readonly value: string },
  term: number,
): readonly (readonly [key: string | null, value: string | Buffer | null, as: 'foreign' | 'refused' | 'nothing'])[] {
  const { log, base, digest } = record
  return [
    ['default', Buffer.from([0xff, 0, 0x80]), 'foreign'],
    [null, Buffer.from([1, 2, 3]), 'foreign'],
    [null, null, 'foreign'],
    ['default', null, 'foreign'],
    ['default', '', 'foreign'],
    [null, '{"hello":"world"}', 'foreign'],
    ['default', '{"mainstem":2}', 'foreign'],
    ['default', '{"mainstem":1,"kind":"data"}', 'foreign'],
    ['default', '['.repeat(50_000), 'foreign'],
    ['default', forged(record, { log: 'another' }), 'foreign'],
    ['other', forged(record, {}), 'foreign'],
    [null, forged(record, {}), 'foreign'],
    ['DEFAULT', forged(record, { tenant: 'DEFAULT' }), 'foreign'],
    // Terms that are not, an owner who never was, a base that is not, rules to come; and the last record once more.
    ['default', forged(record, { term: { number: term + 1, owner: 'alien' } }), 'refused'],
    ['default', forged(record, { term: { number: term + 5, owner: 'alien' } }), 'refused'],
    ['default', forged(record, { base: base + 1, digest }), 'refused'],
    ['default', forged(record, { base: base + 100 }), 'refused'],
    ['default', forged(record, { rules: 2 }), 'refused'],
    ['default', record.value, 'refused'],
    // Control records that do not fit: of another log, filed under a tenant, with a number that is not the next.
    [null, control({ kind: 'seal', log: 'another', time: 1 }), 'foreign'],
    ['default', control({ kind: 'seal', log, time: 1 }), 'foreign'],
    ['default', control({ kind: 'term', log, time: 1, number: term + 1, owner: 'alien', address: 'nowhere' }), 'foreign'],
    [null, control({ kind: 'term', log, time: 1, number: term + 7, owner: 'alien', address: 'nowhere' }), 'nothing'],
    [null, control({ kind: 'term', log, time: 1, number: 0, owner: 'alien', address: 'nowhere' }), 'foreign'],
    [null, control({ kind: 'barrier', log, time: 1, nonce: 'nobody' }), 'nothing'],
  ]
}

const tally = (all: ReturnType<typeof rubbish>): Counted => ({
  foreign: all.filter(([, , as]) => as === 'foreign').length,
  refused: all.filter(([, , as]) => as === 'refused').length,
})

describe.each(kafkaWays)('$strategy $fencing', way => {
  test('rubbish and forgeries: no effect, counted, nobody stops', async () => {
    const { replicas, alien, open } = await scene(way)
    const before = await Promise.all(replicas.map(replica => replica.status()))
    const all = rubbish(await alien.last(), before[0]!.term.number)
    for (const [n, [key, value]] of all.entries()) {
      await alien.write(
        key,
        value,
        n % 2 === 0
          ? []
          : [
              ['mainstem', 'not one'],
              ['barrier', '1'],
            ],
      )
      // Right behind it: the condition of an append must see it as what it is.
      if (n % 5 === 0) expect(await replicas[n % 2]!.execute('pay', { account: 'ann', cents: 10 })).toMatchObject({ status: 'accepted' })
    }
    const fresh = await open()
    const digests = []
    for (const replica of [...replicas, fresh]) {
      expect(await replica.query('total', undefined, { read: 'linearizable' })).toBe(90)
      expect(await replica.query('balance', { account: 'alien' })).toBe(0)
      digests.push((await replica.digest()).digest)
      const status = await replica.status()
      expect(status.failure).toBeNull()
      expect(status.sealed).toBe(false)
      expect(status.tenants['default']).toMatchObject({ status: 'open', version: 9 })
    }
    expect(new Set(digests).size).toBe(1)
    const { foreign, refused } = tally(all)
    for (const [n, replica] of replicas.entries()) {
      const status = await replica.status()
      expect(status.foreign - before[n]!.foreign).toBe(foreign)
      // Others may lose, too, where they contend.
      expect(status.refused - before[n]!.refused).toBeGreaterThanOrEqual(refused)
    }
    // No end of terms, or of a log, was forged.
    expect((await replicas[0].status()).term).toEqual(before[0]!.term)
  })

  test('a transaction of somebody else: aborted, it was never there; open, it holds up what is behind it until it is over', async () => {
    const { replicas, alien } = await scene(way)
    const [one, two] = replicas
    const { foreign } = await one.status()
    const last = await alien.last()
    // Aborted: what would have been accepted is not even seen.
    const { version, digest } = await one.digest()
    await alien.begin('default', forged(last, { base: version, digest }), 60_000)
    await alien.end(false)
    expect(await one.execute('pay', { account: 'ann', cents: 10 })).toMatchObject({ status: 'accepted', version: 5 })
    expect((await one.status()).foreign).toBe(foreign)

    await alien.begin('default', 'rubbish', 60_000)
    const error = await refused(one.execute('pay', { account: 'ann', cents: 10 }, { id: 'held', timeout: 700 }))
    // It may be written, or not yet: whichever it is, the same id is accepted once.
    expect(error).toMatchObject({ retry: 'safe', id: 'held', code: expect.stringMatching(/^(outcome-unknown|timeout)$/) })
    // What is here can be read all the time; what asks for the newest is told that it cannot be had.
    expect(await one.query('total')).toBe(50)
    expect(await refused(two.query('total', undefined, { read: 'linearizable', timeout: 300 }))).toMatchObject({ code: 'not-ready' })
    const waiting = one.execute('pay', { account: 'ann', cents: 10 }, { id: 'waiting' })
    await alien.end(true)
    expect(await one.execute('pay', { account: 'ann', cents: 10 }, { id: 'held' })).toMatchObject({ status: 'accepted' })
    expect(await waiting).toMatchObject({ status: 'accepted' })
    expect(await two.query('total', undefined, { read: 'linearizable' })).toBe(70)
    expect((await one.status()).foreign).toBe(foreign + 1)
  })
})

test('a transaction that somebody left open ends by its time-out, and what waited is answered', async () => {
  const { replicas, alien } = await scene({ strategy: 'first-wins' })
  const [one] = replicas
  await alien.begin('default', 'rubbish', 1_000)
  // The coordinator looks for such ones every ten seconds.
  expect(await one.execute('pay', { account: 'ann', cents: 10 })).toMatchObject({ status: 'accepted', version: 5 })
  expect((await one.status()).foreign).toBe(0)
})
