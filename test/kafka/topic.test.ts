/** The topic is not what it was, or not what it must be: deleted, made anew, grown, of another app, or stricter than a record is large. */
import { join } from 'node:path'
import { createPartitionsV3, incrementalAlterConfigsV1 } from '@platformatic/kafka'
import { describe, expect, onTestFinished, test } from 'vitest'
import { deleteTopics } from '../../src/log/kafka/calls.ts'
import { KafkaClient } from '../../src/log/kafka/client.ts'
import { kafkaSettings } from '../../src/log/kafka/settings.ts'
import { openLogs } from '../../src/log/open.ts'
import { openReplica, type Replica, type ReplicaOptions } from '../../src/replica.ts'
import { connect } from '../support/kafka/raw.ts'
import { bootstrap, makeLog, makeTopic, newUrl } from '../support/kafka.ts'
import { refused } from '../support/ledger.ts'
import { temporaryFolder } from '../support/logs.ts'
import shop from '../support/shop.ts'
import { kafkaLanes } from '../support/ways.ts'

async function open(log: string, data: string, options: Partial<ReplicaOptions> = {}): Promise<Replica> {
  const replica = (await openReplica(shop, { log, data, timeout: 30_000, ...options })) as unknown as Replica
  onTestFinished(() => replica.close())
  return replica
}

async function deleteTopic(url: string): Promise<void> {
  const { settings, topic: name } = kafkaSettings(url)
  const client = new KafkaClient(settings)
  try {
    const { brokers } = await client.metadata()
    const conn = await client.connect(brokers[0]!.id, 'delete')
    const [answer] = await deleteTopics(conn, { topics: [{ name }], timeout: 10_000 })
    if (answer?.error !== 'NONE') throw new Error(`${answer?.error} ${answer?.message}`)
    while ((await client.metadata(name)).topic?.error !== 'UNKNOWN_TOPIC_OR_PARTITION')
      await new Promise(resolve => setTimeout(resolve, 20))
  } finally {
    client.close()
  }
}

/** Far below what a command waits: nothing is on its way that could come to an end. */
async function closesAtOnce(replica: Replica): Promise<void> {
  const from = performance.now()
  await replica.close()
  expect(performance.now() - from).toBeLessThan(15_000)
}

const nameOf = (url: string): string => kafkaSettings(url).topic

describe.each(kafkaLanes)('$strategy $fencing', way => {
  test('deleted and made anew: another log; the replica halts and says so, also when it is started again', async () => {
    const log = newUrl()
    const folder = temporaryFolder()
    await makeLog(log, 'shop')
    const data = join(folder, 'data')
    const replica = await open(log, data, way)
    await replica.execute('pay', { account: 'ann', cents: 10 })
    await deleteTopic(log)
    await makeLog(log, 'shop')
    // Whatever is asked while it finds out: nothing goes into the new topic.
    const early = await refused(replica.execute('pay', { account: 'ann', cents: 10 }, { timeout: 20_000 }))
    expect(['log-other', 'outcome-unknown']).toContain(early.code)
    await expect.poll(async () => (await replica.status()).failure, { timeout: 20_000 }).toMatch(/was deleted and made anew/)
    expect(await refused(replica.execute('pay', { account: 'ann', cents: 10 }))).toMatchObject({ code: 'log-other', retry: 'no' })
    expect(await refused(replica.query('total', undefined, { read: 'linearizable' }))).toMatchObject({ code: 'log-other' })
    // What is here can be looked at.
    expect(await replica.query('total')).toBe(10)
    await closesAtOnce(replica)

    expect(await refused(open(log, data, way))).toMatchObject({
      code: 'log-other',
      message: expect.stringMatching(/were built from log .* Give the right log or another data directory/),
    })
    const fresh = await open(log, join(folder, 'another'), way)
    expect(await fresh.query('total', undefined, { read: 'linearizable' })).toBe(0)
    expect(await fresh.execute('pay', { account: 'ann', cents: 10 })).toMatchObject({ version: 1 })
  })
})

test('deleted: the replica says so, and closes at once', async () => {
  const log = newUrl()
  await makeLog(log, 'shop')
  const replica = await open(log, join(temporaryFolder(), 'data'))
  await replica.execute('pay', { account: 'ann', cents: 10 })
  await deleteTopic(log)
  await expect.poll(async () => (await replica.status()).failure, { timeout: 30_000 }).toMatch(/does not exist any more/)
  expect(await refused(replica.execute('pay', { account: 'ann', cents: 10 }))).toMatchObject({ code: 'log-other' })
  expect(await replica.query('total')).toBe(10)
  await closesAtOnce(replica)
})

test('not there, and of another app: refused before anything is done', async () => {
  const data = join(temporaryFolder(), 'data')
  expect(await refused(open(newUrl(), data))).toMatchObject({ code: 'log-unusable', message: expect.stringMatching(/create-log/) })
  const other = newUrl()
  await makeLog(other, 'bank')
  expect(await refused(open(other, data))).toMatchObject({
    code: 'log-other-app',
    message: expect.stringMatching(/the log of the app bank, not of shop/),
  })
})

test('empty: nobody makes a log of it, for it may be the beginning of a copy', async () => {
  const url = newUrl()
  await makeTopic(url)
  const error = await refused(openReplica(shop, { log: url, data: join(temporaryFolder(), 'data') }))
  expect(error).toMatchObject({ code: 'log-unusable', message: expect.stringMatching(/no manifest.*create-log.*log copy/) as string })
  const logs = await openLogs(url, { as: 'reader' })
  onTestFinished(() => logs.close())
  expect(await logs.shards[0]!.head()).toBe(0)
})

test('grown: the next start is refused, and those who run go on', async () => {
  const log = newUrl()
  await makeLog(log, 'shop', 2)
  const folder = temporaryFolder()
  const replica = await open(log, join(folder, 'one'))
  await replica.execute('pay', { account: 'ann', cents: 10 })
  const connection = await connect(bootstrap())
  await createPartitionsV3.api.async(connection, [{ name: nameOf(log), count: 3, assignments: null }], 10_000, false)
  await expect
    .poll(async () => (await refused(open(log, join(folder, 'two')))).message, { timeout: 20_000, interval: 200 })
    .toMatch(/made with 2 shards, but there are 3|shard 2 of 3 has no manifest/)
  expect(await replica.execute('pay', { account: 'ann', cents: 10 })).toMatchObject({ version: 2 })
})

describe.each(kafkaLanes)('$strategy $fencing', way => {
  test('a record that the topic does not take: record-too-large, and the others go on', async () => {
    const log = newUrl()
    await makeLog(log, 'shop')
    const replica = await open(log, join(temporaryFolder(), 'data'), way)
    await replica.execute('note', { text: 'x'.repeat(50_000) })
    const connection = await connect(bootstrap())
    const configs = [{ name: 'max.message.bytes', configOperation: 0 as const, value: '20000' }]
    await incrementalAlterConfigsV1.api.async(connection, [{ resourceType: 2, resourceName: nameOf(log), configs }], false)
    // It takes a moment until the broker goes by it.
    const large = async (n: number) => (await replica.execute('note', { text: 'x'.repeat(50_000) }, { id: `large-${n}` })).status
    let n = 0
    const error = await refused(
      (async () => {
        while (n < 200) expect(await large(n++)).toBe('accepted')
      })(),
    )
    expect(error).toMatchObject({ code: 'record-too-large', retry: 'no', message: expect.stringMatching(/max\.message\.bytes/) })
    const answers = await Promise.allSettled(
      Array.from({ length: 40 }, (_, m) =>
        m % 20 === 7
          ? replica.execute('note', { text: 'x'.repeat(50_000) }, { tenant: 'big' })
          : replica.execute('note', { text: 'x'.repeat(3_000) }, { tenant: `t${m % 3}` }),
      ),
    )
    for (const [m, answer] of answers.entries())
      expect(answer).toMatchObject(
        m % 20 === 7
          ? { status: 'rejected', reason: { code: 'record-too-large' } }
          : { status: 'fulfilled', value: { status: 'accepted' } },
      )
    expect(await replica.status()).toMatchObject({ failure: null })
  })
})
