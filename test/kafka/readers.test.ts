/** Whoever reads the topic without us: Kafka's own console consumer and another client library find records that speak for themselves. */
import { Kafka, logLevel } from 'kafkajs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openReplica, type Replica } from '../../src/replica.ts'
import { startCluster } from '../support/brokers.ts'
import { bootstrap, makeLog, newUrl } from '../support/kafka.ts'
import { recordsOf } from '../support/ledger.ts'
import { temporaryFolder } from '../support/logs.ts'
import shop from '../support/shop.ts'
import { kafkaWays, type Way } from '../support/ways.ts'

interface Read {
  readonly key: string | null
  readonly headers: Readonly<Record<string, string>>
  readonly value: { readonly mainstem: number; readonly kind: string; readonly [member: string]: unknown }
}

/** Some commands of two tenants, one by one so that each has a record of its own. */
async function write(log: string, way: Way): Promise<void> {
  await using replica = (await openReplica(shop, {
    ...way,
    log,
    data: join(temporaryFolder(), 'data'),
    timeout: 50_000,
  })) as unknown as Replica
  await replica.execute('pay', { account: 'ann', cents: 10 }, { id: 'one' })
  await replica.execute('take', { account: 'ann', cents: 3 }, { id: 'two', tenant: 'default' })
  await replica.execute('pay', { account: 'zoë', cents: 5 }, { id: 'three', tenant: 'other' })
  await replica.execute('take', { account: 'ann', cents: 300 }, { id: 'no' })
}

/** What stands there in the end, whoever reads it. */
function expectRecords(read: readonly Read[]): void {
  const data = read.filter(({ value }) => value.kind === 'data')
  const controls = read.filter(({ value }) => value.kind !== 'data')
  expect(data.map(({ key }) => key)).toEqual(['default', 'default', 'other', 'default'])
  for (const { headers, value } of read) {
    expect(headers['mainstem']).toBe('1')
    expect(value.mainstem).toBe(1)
  }
  expect(data.map(({ headers }) => headers['kinds'])).toEqual(['Paid', 'Taken', 'Paid', ''])
  for (const { headers } of data) expect(headers['app']).toBe('shop')
  for (const { key, headers, value } of controls) expect([key, headers['kinds']]).toEqual([null, value.kind])
  expect(controls[0]!.value.kind).toBe('manifest')
  expect(data[2]!.value['decisions']).toMatchObject([
    { id: 'three', command: 'pay', events: [{ type: 'Paid', data: { account: 'zoë', cents: 5 } }] },
  ])
  expect(data[3]!.value['decisions']).toMatchObject([{ id: 'no', events: [], rejection: { code: 'too-little' } }])
}

describe.each(kafkaWays)('$strategy $fencing', way => {
  test('another client library reads what is committed', async () => {
    const log = newUrl()
    await makeLog(log, 'shop')
    await write(log, way)
    const topic = log.split('/').at(-1)!
    const kafka = new Kafka({ clientId: 'reader', brokers: bootstrap().split(','), logLevel: logLevel.NOTHING })
    const consumer = kafka.consumer({ groupId: topic, readUncommitted: false })
    const read: Read[] = []
    const done = Promise.withResolvers<void>()
    try {
      await consumer.connect()
      await consumer.subscribe({ topic, fromBeginning: true })
      await consumer.run({
        eachMessage: ({ message: { key, value, headers } }) => {
          read.push({
            key: key === null ? null : key.toString(),
            headers: Object.fromEntries(Object.entries(headers ?? {}).map(([name, text]) => [name, String(text)])),
            value: JSON.parse(value!.toString()) as Read['value'],
          })
          // The last of the four commands.
          if (value!.includes('"too-little"')) done.resolve()
          return Promise.resolve()
        },
      })
      await done.promise
    } finally {
      await consumer.disconnect()
    }
    expectRecords(read)
  })
})

test("Kafka's own console consumer reads what is committed", async () => {
  await using cluster = await startCluster()
  for (const way of [{ strategy: 'leader' }, { strategy: 'optimistic' }] as const) {
    const topic = `shop-${way.strategy}`
    const log = `kafka://${cluster.bootstrap}/${topic}`
    await makeLog(log, 'shop')
    await write(log, way)
    const { length } = await recordsOf(log)
    const args = ['--topic', topic, '--from-beginning', '--max-messages', String(length), '--isolation-level', 'read_committed']
    const formats = ['print.key=true', 'print.headers=true', 'null.literal=-', 'key.separator=|', 'headers.separator=;'].flatMap(each => [
      '--formatter-property',
      each,
    ])
    const text = await cluster.tool('org.apache.kafka.tools.consumer.ConsoleConsumer', [...args, ...formats])
    const read = text
      .split('\n')
      .filter(line => line.startsWith('mainstem:'))
      .map((line): Read => {
        const [headers, key, ...value] = line.split('|') as [string, string, ...string[]]
        return {
          key: key === '-' ? null : key,
          headers: Object.fromEntries(headers.split(';').map(each => each.split(/:(.*)/s).slice(0, 2) as [string, string])),
          value: JSON.parse(value.join('|')) as Read['value'],
        }
      })
    expectRecords(read)
  }
})
