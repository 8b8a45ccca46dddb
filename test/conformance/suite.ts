/** What a replica promises, over any log and any strategy: run by the files beside it. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test as plainTest, vi } from 'vitest'
import { revision } from '../../src/app.ts'
import { emptyShard } from '../../src/accept.ts'
import { EngineError } from '../../src/errors.ts'
import { folderOf } from '../../src/replica/data.ts'
import type { LoggedEvent, Status, Replica } from '../../src/replica.ts'
import { switchShard } from '../../src/rollout.ts'
import { makeSnapshot } from '../../src/snapshot/make.ts'
import { seeded } from '../../src/random.ts'
import { beside } from '../support/end.ts'
import { type LogKind, Stage } from '../support/logs.ts'
import newerShop from '../support/newer-shop.ts'
import shop from '../support/shop.ts'
import green from '../support/shop-green.ts'
import { type Way, wayName } from '../support/ways.ts'

async function failure(promise: Promise<unknown>): Promise<EngineError> {
  const error = await promise.then(
    value => expect.unreachable(`expected an error, got ${JSON.stringify(value)}`),
    (cause: unknown) => cause,
  )
  expect(error).toBeInstanceOf(EngineError)
  return error as EngineError
}

async function take<T>(from: AsyncIterable<T>, count: number): Promise<T[]> {
  const taken: T[] = []
  for await (const item of from) if (taken.push(item) === count) break
  return taken
}

type Pays = Pick<Replica<any, any, any>, 'execute'>

/** All that a closed replica has of a tenant: rows, ids, history, standing. */
function everything(data: string, tenant: string): object {
  const db = new DatabaseSync(join(folderOf(data, shop.name, revision(shop)), `${tenant}.db`), { readOnly: true })
  try {
    const tables = ['account', 'entry', 'mainstem_standing', 'mainstem_id', 'mainstem_history']
    return Object.fromEntries(tables.map(table => [table, db.prepare(`SELECT * FROM ${table} ORDER BY 1`).all()]))
  } finally {
    db.close()
  }
}

/** Of all shards. */
const activeOf = ({ activeRelease, shards }: Status): (string | null)[] => [
  ...new Set(shards?.map(shard => shard.activeRelease) ?? [activeRelease]),
]

const PATIENCE = { timeout: 30_000 }

interface WayOnLog extends Way {
  readonly log: LogKind
}

export const conformance = (ways: readonly WayOnLog[]): void => {
  // They wait more than they work.
  for (const way of ways) describe.concurrent(`${wayName(way)} on ${way.log}`, () => suite(way))
}

const test = (name: string, work: () => Promise<void>): void => plainTest(name, beside(work))

function suite({ log, ...how }: WayOnLog): void {
  test('accepts, rejects, answers', async () => {
    const replica = await new Stage(log).open(shop, how)
    const paid = await replica.execute('pay', { account: 'ann', cents: 100 })
    expect(paid).toEqual({
      status: 'accepted',
      version: 1,
      token: 'default@1',
      events: [{ type: 'Paid', data: { account: 'ann', cents: 100 } }],
      result: undefined,
      duplicate: false,
    })
    expect(await replica.execute('take', { account: 'ann', cents: 30 })).toMatchObject({
      status: 'accepted',
      version: 2,
      result: { left: 70 },
    })
    expect(await replica.execute('take', { account: 'ann', cents: 71 })).toMatchObject({
      status: 'rejected',
      code: 'too-little',
      details: { has: 70 },
      token: 'default@2',
      duplicate: false,
    })
    expect(await replica.execute('nothing')).toMatchObject({ status: 'accepted', version: 2, events: [], result: 'nothing' })
    expect(await replica.query('balance', { account: 'ann' })).toBe(70)
    expect(await replica.query('balance', { account: 'ann' }, { read: 'linearizable' })).toBe(70)
  })

  test('a repeated id hears the first answer, and another input an error that names the first', async () => {
    const stage = new Stage(log)
    const replica = await stage.open(shop, how)
    const first = await replica.execute('pay', { account: 'ann', cents: 100 }, { id: 'one' })
    expect(await replica.execute('pay', { account: 'ann', cents: 100 }, { id: 'one' })).toEqual({ ...first, duplicate: true })
    const no = await replica.execute('take', { account: 'ann', cents: 500 }, { id: 'two' })
    expect(no).toMatchObject({ status: 'rejected', duplicate: false })
    await replica.execute('pay', { account: 'ann', cents: 900 })
    expect(await replica.execute('take', { account: 'ann', cents: 500 }, { id: 'two' })).toEqual({ ...no, duplicate: true })
    expect(await failure(replica.execute('pay', { account: 'ann', cents: 1 }, { id: 'one' }))).toMatchObject({
      code: 'id-reused',
      retry: 'no',
      id: 'one',
      message: expect.stringMatching(/pay, accepted at version 1/),
    })
    // The same id twice in one batch, and on another replica.
    const [a, b] = await Promise.all([
      replica.execute('pay', { account: 'bob', cents: 5 }, { id: 'three' }),
      replica.execute('pay', { account: 'bob', cents: 5 }, { id: 'three' }),
    ])
    expect(new Set([a, b].map(answer => answer.status === 'accepted' && answer.duplicate))).toEqual(new Set([false, true]))
    const other = await stage.open(shop, how)
    expect(await other.execute('pay', { account: 'ann', cents: 100 }, { id: 'one' })).toEqual({ ...first, duplicate: true })
    expect(await other.query('balance', { account: 'bob' }, { read: 'linearizable' })).toBe(5)
  })

  test('who did it stands beside the events, also of a command that was passed on', async () => {
    const stage = new Stage(log)
    const replicas = [await stage.open(shop, how), await stage.open(shop, how)]
    const meta = { principal: 'till-1', correlation: 'request-7', trace: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' }
    for (const replica of replicas) await replica.execute('pay', { account: 'ann', cents: 100 }, { meta })
    await replicas[0]!.execute('takeIfRich', { account: 'ann', cents: 1, total: 0 })
    const logged = await take(replicas[0]!.events({ from: 1 }), 3)
    expect(logged.map(({ meta, tags }) => ({ meta, tags }))).toEqual([
      { meta, tags: ['ann'] },
      { meta, tags: ['ann'] },
      { meta: undefined, tags: [] },
    ])
    const { answer, token } = await replicas[1]!.ask('balance', { account: 'ann' }, { read: 'linearizable' })
    expect({ answer, token }).toEqual({ answer: 199, token: 'default@3' })
    for (const wrong of [{ principal: 'two\nlines' }, { principal: '' }, { who: 'x' }] as object[])
      expect(await failure(replicas[0]!.execute('pay', { account: 'ann', cents: 1 }, { meta: wrong }))).toMatchObject({
        code: 'invalid-option',
      })
  })

  test('several replicas, contended: nothing below zero, equal digests, every answer stands in the log once', async () => {
    const seed = 4711
    const random = seeded(seed)
    const stage = new Stage(log)
    const replicas = [await stage.open(shop, how), await stage.open(shop, how), await stage.open(shop, how)]
    const accounts = ['ann', 'bob', 'cid']
    for (const account of accounts) await replicas[0]!.execute('pay', { account, cents: 100 })
    const answers = await Promise.all(
      Array.from({ length: 150 }, async (_, n) => {
        const replica = replicas[n % 3]!
        const account = accounts[Math.floor(random() * 3)]!
        const cents = 1 + Math.floor(random() * 20)
        const id = `command-${n}`
        const answer =
          n % 5 === 0
            ? await replica.execute('takeIfRich', { account, cents, total: 50 }, { id, timeout: 30_000 })
            : await replica.execute('take', { account, cents }, { id, timeout: 30_000 })
        return { id, answer }
      }),
    )
    const accepted = answers.filter(({ answer }) => answer.status === 'accepted').map(({ id }) => id)
    expect(accepted.length, `seed ${seed}`).toBeGreaterThan(10)
    expect(accepted.length, `seed ${seed}`).toBeLessThan(150)
    await replicas[0]!.query('total', undefined, { read: 'linearizable' })
    const { version } = await replicas[0]!.digest()
    const logged = await take(replicas[0]!.events({ from: 1 }), version)
    const ids = logged.map(({ id }) => id).filter(id => id.startsWith('command-'))
    expect(new Set(ids).size).toBe(ids.length)
    expect([...ids].sort()).toEqual([...accepted].sort())
    const digests = []
    for (const replica of replicas) {
      await replica.query('total', undefined, { read: 'linearizable' })
      digests.push(await replica.digest())
      expect(await replica.sql('SELECT id FROM account WHERE cents < 0')).toEqual([])
      expect(await replica.sql('SELECT sum(cents) AS sum FROM entry')).toEqual(await replica.sql('SELECT sum(cents) AS sum FROM account'))
    }
    expect(new Set(digests.map(({ digest }) => digest)).size).toBe(1)
    // What won is what each client was told: balances follow from the answers alone.
    const taken = answers.reduce((sum, { answer }) => {
      if (answer.status !== 'accepted') return sum
      return sum + answer.events.reduce((all, event) => all + event.data.cents, 0)
    }, 0)
    expect(await replicas[1]!.query('total')).toBe(300 - taken)
  })

  test('a token reads its own write on any replica; linearizable sees what was acknowledged', async () => {
    const stage = new Stage(log)
    const one = await stage.open(shop, how)
    const two = await stage.open(shop, how)
    for (let n = 1; n <= 20; n++) {
      const answer = await one.execute('pay', { account: 'ann', cents: 1 })
      if (n % 2) expect(await two.query('total', undefined, { read: { atLeast: answer.token } })).toBe(n)
      else expect(await two.query('total', undefined, { read: 'linearizable' })).toBe(n)
    }
    expect(await failure(two.query('total', undefined, { read: { atLeast: 'rubbish' } }))).toMatchObject({ code: 'invalid-token' })
    expect(await failure(two.query('total', undefined, { read: { atLeast: 'other@1' } }))).toMatchObject({ code: 'invalid-token' })
    expect(await failure(two.query('total', undefined, { read: { atLeast: 'default@999' }, timeout: 60 }))).toMatchObject({
      code: 'not-ready',
    })
  })

  test('who executed reads its own write, on the leader or not', async () => {
    const stage = new Stage(log)
    const replicas = [await stage.open(shop, how), await stage.open(shop, how)]
    for (let n = 1; n <= 10; n++) {
      const replica = replicas[n % 2]!
      await replica.execute('pay', { account: 'ann', cents: 1 })
      expect(await replica.query('total')).toBe(n)
    }
  })

  test('events: from the start, then live, in order', async () => {
    const stage = new Stage(log)
    const one = await stage.open(shop, how)
    const two = await stage.open(shop, how)
    await Promise.all(Array.from({ length: 10 }, () => one.execute('pay', { account: 'ann', cents: 1 })))
    const stop = new AbortController()
    const seen: LoggedEvent[] = []
    const reader = (async () => {
      for await (const event of two.events({ from: 3, signal: stop.signal })) {
        seen.push(event)
        if (event.version === 20) stop.abort()
      }
    })()
    await Promise.all(Array.from({ length: 10 }, () => one.execute('pay', { account: 'bob', cents: 2 })))
    await reader
    expect(seen.map(({ version }) => version)).toEqual(Array.from({ length: 18 }, (_, n) => n + 3))
    expect(seen[17]).toMatchObject({ tenant: 'default', type: 'Paid', data: { account: 'bob', cents: 2 }, command: 'pay' })
  })

  test('tenants are apart', async () => {
    const stage = new Stage(log)
    const one = await stage.open(shop, how)
    const two = await stage.open(shop, how)
    const answers = await Promise.all(
      ['a', 'b', 'c'].flatMap(tenant =>
        Array.from({ length: 5 }, (_, n) => (n % 2 ? one : two).execute('pay', { account: 'ann', cents: 1 }, { tenant, id: `same-${n}` })),
      ),
    )
    expect(answers.every(({ status }) => status === 'accepted')).toBe(true)
    for (const tenant of ['a', 'b', 'c']) expect(await two.query('total', undefined, { tenant, read: 'linearizable' })).toBe(5)
    expect(await two.query('total', undefined, { tenant: 'd' })).toBe(0)
    expect(await failure(one.execute('nothing', undefined, { tenant: '../x' }))).toMatchObject({ code: 'invalid-tenant' })
  })

  test('opened again, and replayed from nothing: the same database', async () => {
    const stage = new Stage(log)
    const data = join(stage.folder, 'mine')
    const first = await stage.open(shop, { ...how, data })
    const watcher = await stage.open(shop, how)
    for (let n = 0; n < 20; n++) await first.execute('pay', { account: `a${n % 3}`, cents: n + 1 })
    const entries = await first.query('entries')
    const digest = await first.digest()
    await first.close()
    const again = await stage.open(shop, { ...how, data })
    expect(await again.digest()).toEqual(digest)
    expect(await again.query('entries')).toEqual(entries)
    expect(await again.execute('pay', { account: 'z', cents: 1 })).toMatchObject({ version: 21 })
    await again.close()
    rmSync(data, { recursive: true })
    const anew = await stage.open(shop, { ...how, data })
    expect((await anew.query('entries', undefined, { read: 'linearizable' })).slice(0, 20)).toEqual(entries)
    expect(await anew.digest()).toEqual(await again.digest().catch(() => watcher.digest()))
  })

  test('started from a snapshot: the same as replayed from the beginning', async () => {
    const stage = new Stage(log)
    const tenants = ['default', 'other', 'late']
    const source = join(stage.folder, 'source')
    const snapshots = join(stage.folder, 'snapshots')
    const pay = (replica: Pays, n: number, tenant: string) =>
      replica.execute('pay', { account: `a${n % 3}`, cents: n + 1 }, { tenant, id: `${tenant}-${n}` })
    let first = await stage.open(shop, { ...how, data: source })
    const answer = await pay(first, 7, 'other')
    const no = await first.execute('take', { account: 'ann', cents: 500 }, { id: 'no' })
    const pays = (from: number, to: number, tenant: (n: number) => string) =>
      Promise.all(Array.from({ length: to - from }, (_, n) => pay(first, from + n, tenant(from + n))))
    await pays(10, 20, n => tenants[n % 2]!)
    await first.close()
    // Made while others write: in front of the cursor's end, behind it, and of a tenant that it knows nothing of.
    first = await stage.open(shop, { ...how, data: source })
    await pays(20, 25, () => 'default')
    await pays(25, 30, () => 'default')
    await makeSnapshot(shop, source, snapshots)
    await pays(30, 40, n => tenants[n % 3]!)

    const [begun, replayed] = ['begun', 'replayed'].map(name => join(stage.folder, name)) as [string, string]
    const started = await stage.open(shop, { ...how, data: begun, snapshots })
    expect((await started.status()).notices.join()).toMatch(/started from the snapshot shop-/)
    const other = await stage.open(shop, { ...how, data: replayed })
    expect(await pay(started, 7, 'other')).toEqual({ ...answer, duplicate: true })
    expect(await started.execute('take', { account: 'ann', cents: 500 }, { id: 'no' })).toEqual({ ...no, duplicate: true })
    await pay(started, 40, 'default')
    for (const tenant of tenants) {
      for (const replica of [started, other]) await replica.query('total', undefined, { tenant, read: 'linearizable' })
      expect(await started.digest(tenant)).toEqual(await other.digest(tenant))
    }
    await using past = await started.at(18)
    await using same = await other.at(18)
    expect({ entries: past.query('entries'), at: past.at, digest: past.digest }).toEqual({
      entries: same.query('entries'),
      at: same.at,
      digest: same.digest,
    })
    await started.close()
    await other.close()
    for (const tenant of tenants) expect(everything(begun, tenant)).toEqual(everything(replayed, tenant))
  })

  test('the past: as of a version, inside a batch, and as of a moment', async () => {
    const replica = await new Stage(log).open(shop, how)
    await Promise.all(Array.from({ length: 10 }, (_, n) => replica.execute('pay', { account: 'ann', cents: n + 1 })))
    const between = new Date()
    await new Promise(resolve => setTimeout(resolve, 5))
    await replica.execute('pay', { account: 'ann', cents: 1_000 })
    for (const version of [0, 1, 4, 10, 11]) {
      await using past = await replica.at(version)
      expect(past.version).toBe(version)
      const entries = await replica.query('entries')
      expect(past.query('entries')).toEqual(entries.slice(0, version))
    }
    await using then = await replica.at(between)
    expect(then.version).toBe(10)
    expect(then.query('total')).toBe(55)
    expect(await failure(replica.at(12))).toMatchObject({ code: 'no-such-version' })
    expect(await failure(replica.at(new Date(Date.now() + 60_000)))).toMatchObject({ code: 'no-such-version' })
  })

  test('a projection or decide that throws harms its own command only', async () => {
    const replica = await new Stage(log).open(shop, how)
    const answers = await Promise.allSettled([
      replica.execute('pay', { account: 'ann', cents: 1 }),
      replica.execute('breakProjection', { how: 'bang' }),
      replica.execute('pay', { account: 'ann', cents: 2 }),
      replica.execute('breakDecide', { how: 'boom' }),
      replica.execute('breakProjection', { how: 'bang again' }),
      replica.execute('pay', { account: 'ann', cents: 4 }),
    ])
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected', 'rejected', 'fulfilled'])
    expect(answers.flatMap(answer => (answer.status === 'rejected' ? [(answer.reason as EngineError).code] : []))).toEqual([
      'projection-failed',
      'decide-failed',
      'projection-failed',
    ])
    expect(await replica.query('total')).toBe(7)
    expect(await replica.sql("SELECT * FROM account WHERE id = 'half'")).toEqual([])
  })

  test('misuse is told before anything happens', async () => {
    const replica = await new Stage(log).open(shop, { ...how, maxRecordBytes: 8_192 })
    const loose = replica as unknown as { execute(...args: unknown[]): Promise<unknown>; query(...args: unknown[]): Promise<unknown> }
    expect(await failure(loose.execute('pey', {}))).toMatchObject({ code: 'unknown-command', message: expect.stringContaining('pay') })
    expect(await failure(loose.query('totl'))).toMatchObject({ code: 'unknown-query' })
    expect(await failure(loose.execute('pay', { account: 1, cents: -5 }))).toMatchObject({
      code: 'invalid-input',
      message: expect.stringMatching(/account[\s\S]*cents/),
    })
    expect(await failure(replica.execute('pay', { account: 'a', cents: 1 }, { id: 'with space' }))).toMatchObject({ code: 'invalid-id' })
    // A missing value is not the wish for a new id.
    expect(await failure(replica.execute('pay', { account: 'a', cents: 1 }, { id: null as unknown as string }))).toMatchObject({
      code: 'invalid-id',
    })
    expect(await failure(replica.execute('big', { size: 10_000 }))).toMatchObject({ code: 'record-too-large' })
    expect(await failure(replica.execute('pay', { account: 'a', cents: 1 }, { signal: AbortSignal.abort() }))).toMatchObject({
      code: 'aborted',
    })
    expect((await replica.digest()).version).toBe(0)
    // Many that fit one by one, but not into one record.
    const many = await Promise.all(Array.from({ length: 60 }, () => replica.execute('pay', { account: 'y'.repeat(250), cents: 1 })))
    expect(many.every(({ status }) => status === 'accepted')).toBe(true)
  })

  test('events of an earlier version of their schema are lifted as they are read, and those of a newer one refuse the earlier app', async () => {
    const stage = new Stage(log)
    const pay = { account: 'ann', cents: 100 }
    const earlier = await stage.open(shop, how)
    await earlier.execute('pay', pay, { id: 'first' })
    await earlier.execute('take', { account: 'ann', cents: 30 })
    const digest = await earlier.digest()
    await earlier.close()
    const newer = await stage.open(newerShop, how)
    expect(await newer.query('balance', { account: 'ann' }, { read: 'linearizable' })).toBe(70)
    expect(await newer.digest()).toEqual(digest)
    expect(await newer.execute('pay', pay, { id: 'first' })).toMatchObject({ version: 1, duplicate: true })
    expect(await newer.execute('pay', pay)).toMatchObject({ version: 3, events: [{ data: { amount: { cents: 100, currency: 'EUR' } } }] })
    // The log keeps each as it was written.
    expect((await take(newer.events({ from: 1 }), 3)).map(({ data }) => data)).toMatchObject([
      { cents: 100 },
      { cents: 30 },
      { amount: { cents: 100 } },
    ])
    const both = await newer.digest()
    await newer.close()
    const anew = await stage.open(newerShop, how)
    expect(await anew.query('balance', { account: 'ann' }, { read: 'linearizable' })).toBe(170)
    expect(await anew.digest()).toEqual(both)
    expect(await failure(stage.open(shop, how))).toMatchObject({
      code: 'unknown-event',
      message: expect.stringMatching(/'Paid' of schema version 2, app 'shop' knows 1/),
    })
  })

  test('a roll-out to other tables, back, and again, while commands come to both: none is lost, doubled, or refused', async () => {
    const seed = 4712
    const random = seeded(seed)
    const stage = new Stage(log)
    const blue = await stage.open(shop, { ...how, release: 'blue' })
    await vi.waitFor(async () => expect(activeOf(await blue.status())).toEqual([(await blue.status()).release]), PATIENCE)
    const tenants = ['a', 'b', 'c']
    for (const tenant of tenants) await blue.execute('pay', { account: 'ann', cents: 100 }, { tenant })
    const next = await stage.open(green, { ...how, release: 'green' })
    expect(await next.status()).toMatchObject({ role: 'follower', activeRelease: (await blue.status()).release, ready: { ready: true } })
    const logs = await stage.logs()
    const answers: { id: string; tenant: string; cents: number }[] = []
    const goal = { switches: 0 }
    const client = async (who: number) => {
      const replica = who % 2 === 0 ? blue : next
      for (let n = 0; goal.switches < 3 || n < 10; n++) {
        const tenant = tenants[Math.floor(random() * 3)]!
        const id = `command-${who}-${n}`
        const cents = 1 + Math.floor(random() * 9)
        const name = n % 2 === 0 ? 'pay' : 'take'
        const answer = await replica.execute(name, { account: 'ann', cents }, { id, tenant, timeout: 30_000 })
        if (answer.status === 'accepted') answers.push({ id, tenant, cents: name === 'pay' ? cents : -cents })
      }
    }
    const clients = Promise.all([0, 1, 2, 3].map(client))
    for (const to of [next, blue, next]) {
      const { release } = await to.status()
      const before = answers.length
      await vi.waitFor(() => expect(answers.length).toBeGreaterThan(before + 4), PATIENCE)
      for (const shard of logs.shards)
        await switchShard(shard, { cursor: 0, state: emptyShard }, release, () => Date.now(), AbortSignal.timeout(30_000))
      await vi.waitFor(async () => expect(activeOf(await to.status())).toEqual([release]), PATIENCE)
      goal.switches++
    }
    await clients
    for (const tenant of tenants) {
      const { version } = await next.digest(tenant)
      await next.query('total', undefined, { tenant, read: 'linearizable' })
      await blue.query('total', undefined, { tenant, read: 'linearizable' })
      const digest = await next.digest(tenant)
      expect(digest.version).toBeGreaterThanOrEqual(version)
      expect(await blue.digest(tenant), `seed ${seed}`).toEqual(digest)
      const ids = (await take(next.events({ from: 1, tenant }), digest.version)).map(({ id }) => id).filter(id => id.startsWith('command-'))
      const told = answers.filter(answer => answer.tenant === tenant)
      expect([...ids].sort()).toEqual(told.map(({ id }) => id).sort())
      const left = told.reduce((sum, { cents }) => sum + cents, 100)
      for (const replica of [blue, next]) expect(await replica.query('balance', { account: 'ann' }, { tenant })).toBe(left)
      expect(await next.query('entries', undefined, { tenant })).toEqual(await blue.query('entries', undefined, { tenant }))
    }
    expect(blue.readiness()).toEqual({ ready: false, reasons: ['superseded'] })
    expect(next.readiness()).toEqual({ ready: true, reasons: [] })
  })

  test('closing finishes what is on its way and refuses the rest', async () => {
    const stage = new Stage(log)
    const replica = await stage.open(shop, how)
    const running = Array.from({ length: 20 }, () => replica.execute('pay', { account: 'ann', cents: 1 }))
    const closed = replica.close()
    expect(await failure(replica.execute('pay', { account: 'ann', cents: 1 }))).toMatchObject({ code: 'closed' })
    expect((await Promise.all(running)).every(({ status }) => status === 'accepted')).toBe(true)
    await closed
    const next = await stage.open(shop, how)
    expect(await next.query('total', undefined, { read: 'linearizable' })).toBe(20)
  })
}
