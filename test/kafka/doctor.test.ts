/**
 * The doctor on a real broker: each setting that is unsafe is really set, named, refused, accepted by name, and well again once what the
 * command says was done. (test/long/kafka runs the commands themselves, and what needs three brokers.)
 */
import { Connection, incrementalAlterConfigsV1 } from '@platformatic/kafka'
import { describe, expect, it, vi } from 'vitest'
import { examineLog } from '../../src/log/examine.ts'
import type { Finding } from '../../src/log/finding.ts'
import type { CheckName } from '../../src/log/kafka/checks.ts'
import { KafkaClient } from '../../src/log/kafka/client.ts'
import { kafkaSettings } from '../../src/log/kafka/settings.ts'
import { Topic } from '../../src/log/kafka/topic.ts'
import { KafkaLogs } from '../../src/log/kafka.ts'
import { openLogs } from '../../src/log/open.ts'
import { encodeControl } from '../../src/record.ts'
import { failure } from '../support/failures.ts'
import { bootstrap, makeLog, makeTopic, newUrl } from '../support/kafka.ts'

const doctor = (url: string, scan = false): Promise<Finding[]> =>
  examineLog(url, { scan, onProgress: () => {}, signal: AbortSignal.timeout(30_000) })
const named = async (url: string, name: CheckName, scan = false) => (await doctor(url, scan)).find(each => each.name === name)

/** Does what a command of kafka-configs.sh says. */
async function alter(command: string): Promise<void> {
  const [, name, pairs] =
    /^kafka-configs\.sh --bootstrap-server \S+ --alter --entity-type topics --entity-name (\S+) --add-config (\S+)/.exec(command)!
  const configs = pairs!.split(',').map(pair => ({ name: pair.split('=')[0]!, configOperation: 0 as const, value: pair.split('=')[1]! }))
  const { hostname, port } = new URL(`kafka://${bootstrap().split(',')[0]}`)
  const connection = new Connection('mainstem-test')
  try {
    await connection.connect(hostname, Number(port))
    await incrementalAlterConfigsV1.api.async(connection, [{ resourceType: 2, resourceName: name!, configs }], false)
  } finally {
    await connection.close()
  }
}

describe('a setting that is not safe is named, refused, accepted by name, and mended:', () => {
  it.concurrent.each<[CheckName, 'unsafe' | 'risk', Record<string, string>]>([
    ['min-insync-above-replicas', 'unsafe', { 'min.insync.replicas': '4' }],
    ['unclean-leader-election', 'unsafe', { 'unclean.leader.election.enable': 'true' }],
    ['retention', 'unsafe', { 'retention.ms': '604800000', 'retention.bytes': '1000000' }],
    ['compaction', 'unsafe', { 'cleanup.policy': 'compact' }],
    ['max-message-bytes', 'unsafe', { 'max.message.bytes': '100000' }],
    ['timestamp-type', 'risk', { 'message.timestamp.type': 'LogAppendTime' }],
    ['timestamp-ahead', 'risk', { 'message.timestamp.after.max.ms': '9223372036854775807' }],
    ['timestamp-before', 'risk', { 'message.timestamp.before.max.ms': '1000' }],
  ])('%s', async (name, level, config) => {
    const url = newUrl()
    await makeTopic(url, 1, config)
    const fault = (await named(url, name))!
    expect(fault.level).toBe(level)
    if (level === 'unsafe') {
      const error = await failure(KafkaLogs.open(url))
      expect(error).toMatchObject({ code: 'log-unsafe', message: expect.stringContaining(fault.mend) })
      const logs = await KafkaLogs.open(url, { accept: [name] })
      expect(logs.notices.join('\n')).toContain(`accepted (${name})`)
      await logs.close()
    }
    await alter(fault.mend)
    await vi.waitFor(async () => expect([undefined, 'ok']).toContain((await named(url, name))?.level), { timeout: 10_000, interval: 50 })
    await (await KafkaLogs.open(url)).close()
  })

  it('of the roster', async () => {
    const url = newUrl()
    await makeTopic(url)
    expect(await named(url, 'roster-missing')).toMatchObject({ level: 'risk' })
    await makeTopic(`${url}-roster`)
    expect(await named(url, 'roster-missing')).toMatchObject({ level: 'ok' })
    const fault = (await named(url, 'roster-compaction'))!
    expect(fault.level).toBe('risk')
    await alter(fault.mend)
    await vi.waitFor(async () => expect(await named(url, 'roster-compaction')).toMatchObject({ level: 'ok' }), 10_000)
  })
})

it('a name that is no check is refused before anything is asked', async () => {
  expect(await failure(KafkaLogs.open('kafka://127.0.0.1:1/t', { accept: ['retenton'] }))).toMatchObject({ code: 'invalid-option' })
})

it('a record that must fit decides what the topic must take', async () => {
  const url = newUrl()
  await makeLog(url, 'seats')
  expect((await failure(KafkaLogs.open(url, { maxRecordBytes: 4_000_000 }))).message).toContain('max-message-bytes')
})

describe('what stands in the topic', () => {
  it('is judged record by record when it is scanned, and only then', async () => {
    const url = newUrl()
    await makeLog(url, 'seats', 2)
    expect((await doctor(url)).map(({ name }) => name)).not.toContain('foreign-records')
    expect(await named(url, 'foreign-records', true)).toMatchObject({ level: 'ok' })
    const logs = await openLogs(url)
    const term = encodeControl({ kind: 'term', log: 'another', time: 1, number: 1, owner: 'x', address: null })
    for (const value of ['rubbish', term]) await logs.shards[1]!.append([{ value, tenant: null, time: Date.now() }])
    await logs.close()
    expect(await named(url, 'foreign-records', true)).toMatchObject({
      level: 'risk',
      cause: '2 of 4 records have no effect: 1 × it is not JSON in UTF-8, 1 × it belongs to another log',
    })
  })

  it('is looked at for manifests: a part without one, and parts of two logs', async () => {
    const url = newUrl()
    await makeTopic(url, 2)
    expect(await named(url, 'manifest-missing')).toMatchObject({ level: 'unsafe', cause: expect.stringContaining('2 partitions of 2') })
    const logs = await openLogs(url)
    for (const partition of [0, 1]) {
      const manifest = { kind: 'manifest', app: 'seats', partitions: 2, partition, rules: 1, window: 9, generation: 1, time: 1 } as const
      await logs.shards[partition]!.append([
        { value: encodeControl({ ...manifest, log: `log-${partition}` }), tenant: null, time: Date.now() },
      ])
    }
    await logs.close()
    expect(await named(url, 'manifest-missing')).toMatchObject({ level: 'ok' })
    expect(await named(url, 'manifests-disagree')).toMatchObject({
      level: 'unsafe',
      cause: expect.stringContaining('partition 1 is of log log-1'),
    })
  })

  it('clocks are compared by the beats of the roster', async () => {
    const url = newUrl()
    await makeLog(url, 'seats')
    expect(await named(url, 'clock')).toMatchObject({ level: 'unknown' })
    const logs = await openLogs(url)
    const { now } = Date
    Date.now = () => now() - 90_000
    try {
      logs.roster.beat('slow-clock', null)
    } finally {
      Date.now = now
    }
    await vi.waitFor(
      async () =>
        expect(await named(url, 'clock')).toMatchObject({ level: 'risk', cause: expect.stringMatching(/slow-clock 9\d\.\d s behind/) }),
      10_000,
    )
    await logs.close()
  })
})

it('nothing is written, made or fenced by looking', async () => {
  const url = newUrl()
  await makeTopic(url)
  await doctor(url, true)
  const { settings, topic: name } = kafkaSettings(url)
  const client = new KafkaClient(settings)
  try {
    expect((await client.metadata(`${name}-roster`)).topic?.error).toBe('UNKNOWN_TOPIC_OR_PARTITION')
    expect((await Topic.open(client, name)).partitions).toBe(1)
    const logs = await openLogs(url)
    expect(await logs.shards[0]!.head()).toBe(0)
    await logs.close()
  } finally {
    client.close()
  }
})
