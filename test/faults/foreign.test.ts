/** What others write into the log: bytes, forgeries, stale digests, the wrong place. Nobody stops, nothing has an effect, all of it is counted. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { decode, encodeControl, encodeDecision, encodeRecord, type DataRecord } from '../../src/record.ts'
import { openReplica, type Replica } from '../../src/replica.ts'
import { failure } from '../support/failures.ts'
import { Stage } from '../support/logs.ts'
import shop from '../support/shop.ts'

type Row = { tenant: string | null; barrier?: 0 | 1; value: unknown }

/** Writes into the file, past the engine. */
class Alien {
  readonly #db: DatabaseSync

  constructor(stage: Stage) {
    this.#db = new DatabaseSync(join(stage.folder, 'test.log'), { timeout: 5_000 })
  }

  write({ tenant, barrier = 0, value }: Row): number {
    const insert = this.#db.prepare('INSERT INTO record (tenant, barrier, time, value) VALUES (?, ?, 0, ?)')
    return Number(insert.run(tenant, barrier, value as string).lastInsertRowid)
  }

  /** The last data record of a tenant. */
  last(tenant = 'default'): DataRecord & { readonly value: string } {
    const { value } = this.#db.prepare('SELECT value FROM record WHERE tenant = ? ORDER BY position DESC LIMIT 1').get(tenant) as {
      value: string
    }
    const record = decode(value)
    if (record.kind !== 'data') throw new Error('no data record')
    return { ...record, value }
  }

  close(): void {
    this.#db.close()
  }
}

/** A data record that would be accepted, but for what is changed. */
function forged(record: DataRecord, change: Partial<DataRecord>, id = `alien-${Math.random()}`): string {
  const decision = { ...record.decisions[0]!, id, events: [{ type: 'Paid', schema: 1, data: { account: 'alien', cents: 1_000 } }] }
  return encodeRecord({ ...record, ...change }, [encodeDecision(decision)])
}

async function everywhere(stage: Stage, replicas: readonly Replica[], tenant = 'default'): Promise<void> {
  const fresh = await openReplica(shop, { log: stage.log, data: join(stage.folder, `fresh-${Math.random()}`), strategy: 'first-wins' })
  const digests = []
  for (const replica of [...replicas, fresh as unknown as Replica]) {
    await replica.query('total', undefined, { tenant, read: 'linearizable' })
    digests.push(await replica.digest(tenant))
    expect((await replica.status()).tenants[tenant]).toMatchObject({ status: 'open' })
  }
  expect(new Set(digests.map(({ digest }) => digest)).size).toBe(1)
  await fresh.close()
}

const envelope = (members: object): string => JSON.stringify({ mainstem: 1, ...members })

test.each<[what: string, row: (record: DataRecord, value: string) => Row]>([
  ['bytes', () => ({ tenant: 'default', value: new Uint8Array([0xff, 0, 0x80]) })],
  ['bytes that hold a record', (_, value) => ({ tenant: 'elsewhere', value: Buffer.from(value) })],
  ['bytes without a tenant', () => ({ tenant: null, value: new Uint8Array([1, 2, 3]) })],
  ['an empty text', () => ({ tenant: 'default', value: '' })],
  ['a number', () => ({ tenant: 'default', value: 5 })],
  ['a number beyond those of JavaScript', () => ({ tenant: 'default', value: 2n ** 60n })],
  ['JSON of something else', () => ({ tenant: null, value: '{"hello":"world"}' })],
  ['an envelope of a format to come', () => ({ tenant: 'default', value: '{"mainstem":2}' })],
  ['an envelope without its fields', () => ({ tenant: 'default', value: envelope({ kind: 'data' }) })],
  ['a record of another log', record => ({ tenant: 'default', value: forged(record, { log: 'another' }) })],
  ['a record that is filed under another tenant', record => ({ tenant: 'other', value: forged(record, {}) })],
  ['a record that is filed under no tenant', record => ({ tenant: null, value: forged(record, {}) })],
  [
    'a term that is filed under a tenant',
    record => ({
      tenant: 'default',
      value: encodeControl({ kind: 'term', log: record.log, time: 1, number: 1, owner: 'alien', address: 'nowhere' }),
    }),
  ],
  [
    'a seal that is filed under a tenant',
    record => ({ tenant: 'default', value: encodeControl({ kind: 'seal', log: record.log, time: 1 }) }),
  ],
  ['a seal of another log', () => ({ tenant: null, value: encodeControl({ kind: 'seal', log: 'another', time: 1 }) })],
])('%s: no effect, counted, nobody stops', async (_, row) => {
  const stage = new Stage('sqlite')
  const replicas = [await stage.open(shop), await stage.open(shop, { strategy: 'first-wins' })] as unknown as Replica[]
  await replicas[0]!.execute('pay', { account: 'ann', cents: 10 })
  const alien = new Alien(stage)
  const { value, ...record } = alien.last()
  alien.write(row(record, value))
  // Right behind it, and again: the condition of an append must see it as what it is.
  for (let n = 0; n < 4; n++)
    expect(await replicas[n % 2]!.execute('pay', { account: 'ann', cents: 10 }, { timeout: 3_000 })).toMatchObject({
      status: 'accepted',
      version: n + 2,
    })
  alien.write(row(record, value))
  await everywhere(stage, replicas)
  for (const replica of replicas) {
    expect(await replica.query('total')).toBe(50)
    expect(await replica.status()).toMatchObject({ foreign: 2, sealed: false, failure: null })
    await using past = await replica.at(3)
    expect(past.query('total')).toBe(30)
  }
  alien.close()
})

test.each<[what: string, change: (record: DataRecord) => Partial<DataRecord>]>([
  ['an old digest at the newest version', ({ base, digest }) => ({ base: base + 1, digest })],
  ['a version that is not reached', ({ base, digest }) => ({ base: base + 100, digest })],
  ['a term that is not', () => ({ term: { number: 7, owner: 'alien' } })],
  ['rules that are not', () => ({ rules: 2 })],
])('a record with %s: its decisions are refused, nobody halts', async (_, change) => {
  const stage = new Stage('sqlite')
  const replicas = [await stage.open(shop), await stage.open(shop, { strategy: 'first-wins' })] as unknown as Replica[]
  for (let n = 0; n < 3; n++) await replicas[0]!.execute('pay', { account: 'ann', cents: 10 })
  const alien = new Alien(stage)
  const { value: _value, ...record } = alien.last()
  alien.write({ tenant: 'default', value: forged(record, change(record)) })
  for (let n = 0; n < 4; n++) expect(await replicas[n % 2]!.execute('pay', { account: 'ann', cents: 10 })).toMatchObject({ version: n + 4 })
  alien.write({ tenant: 'default', value: forged(record, change(record)) })
  await everywhere(stage, replicas)
  for (const replica of replicas) {
    expect(await replica.query('balance', { account: 'alien' })).toBe(0)
    const { refused, foreign } = await replica.status()
    expect(refused).toBeGreaterThanOrEqual(2)
    expect(foreign).toBe(0)
  }
  alien.close()
})

test('a forgery that is all right is a record like any other: whoever may write the file may write', async () => {
  const stage = new Stage('sqlite')
  const replica = (await stage.open(shop)) as unknown as Replica
  await replica.execute('pay', { account: 'ann', cents: 10 })
  const alien = new Alien(stage)
  const { value: _, ...record } = alien.last()
  alien.write({ tenant: 'default', value: forged(record, { base: 1, digest: (await replica.digest()).digest }) })
  expect(await replica.query('balance', { account: 'alien' }, { read: 'linearizable' })).toBe(1_000)
  await everywhere(stage, [replica])
  alien.close()
})

test('records behind a seal: no effect, counted; who wants to write hears of the copy', async () => {
  const stage = new Stage('sqlite')
  const replica = (await stage.open(shop)) as unknown as Replica
  await replica.execute('pay', { account: 'ann', cents: 10 })
  const { digest } = await replica.digest()
  const alien = new Alien(stage)
  const { value: _, ...record } = alien.last()
  alien.write({ tenant: null, value: encodeControl({ kind: 'seal', log: record.log, time: Date.now() }) })
  alien.write({ tenant: 'default', value: forged(record, { base: 1, digest }) })
  alien.write({
    tenant: null,
    value: encodeControl({ kind: 'term', log: record.log, time: 1, number: 1, owner: 'alien', address: 'nowhere' }),
  })
  const error = await failure(replica.execute('pay', { account: 'ann', cents: 10 }))
  expect(error).toMatchObject({ code: 'log-sealed', retry: 'no', message: expect.stringMatching(/sealed.*copy.*Open that one/) })
  expect(await replica.query('total', undefined, { read: 'linearizable' })).toBe(10)
  expect(await replica.status()).toMatchObject({ sealed: true, foreign: 2, refused: 0, term: { number: 0 } })
  await everywhere(stage, [replica])
  alien.close()
})

test('a record that stands there twice is accepted once', async () => {
  const stage = new Stage('sqlite')
  const replica = (await stage.open(shop)) as unknown as Replica
  await replica.execute('pay', { account: 'ann', cents: 10 })
  const alien = new Alien(stage)
  alien.write({ tenant: 'default', value: alien.last().value })
  expect(await replica.execute('pay', { account: 'ann', cents: 10 })).toMatchObject({ version: 2 })
  alien.write({ tenant: 'default', value: alien.last().value })
  expect(await replica.query('total', undefined, { read: 'linearizable' })).toBe(20)
  await everywhere(stage, [replica])
  alien.close()
})
