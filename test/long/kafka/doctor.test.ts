/**
 * The doctor on three real brokers: each fault is made, named, and gone once the command was run that mends it. The commands are run as
 * they stand, by the tools that come with Kafka.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { examineLog } from '../../../src/log/examine.ts'
import type { Finding } from '../../../src/log/finding.ts'
import { encodeBatch } from '../../../src/log/kafka/batch.ts'
import { addPartitions, initProducerId, produce } from '../../../src/log/kafka/calls.ts'
import { type CheckName, examine } from '../../../src/log/kafka/checks.ts'
import { KafkaClient } from '../../../src/log/kafka/client.ts'
import { createLog } from '../../../src/log/kafka/create.ts'
import { gatherDeepFacts } from '../../../src/log/kafka/facts.ts'
import { kafkaSettings } from '../../../src/log/kafka/settings.ts'
import { Topic } from '../../../src/log/kafka/topic.ts'
import { KafkaLogs } from '../../../src/log/kafka.ts'
import { type Cluster, startCluster } from '../../support/brokers.ts'
import { failure } from '../../support/failures.ts'
import { makeTopic } from '../../support/kafka.ts'

/** This cluster's own fault, where it is not the one in question. */
const accept = ['transaction-log-replication', 'transaction-log-min-insync']

let cluster: Cluster
let topics = 0
const newUrl = () => `kafka://${cluster.bootstrap}/log-${++topics}`
const topicOf = (url: string) => kafkaSettings(url).topic

beforeAll(async () => {
  cluster = await startCluster({
    brokers: 3,
    properties: {
      'auto.create.topics.enable': true,
      'producer.id.expiration.ms': 3_600_000,
      'transactional.id.expiration.ms': 3_600_000,
      'transaction.state.log.replication.factor': 1,
      'transaction.state.log.min.isr': 1,
      'offsets.topic.replication.factor': 1,
    },
  })
}, 120_000)
afterAll(() => cluster?.close())

const classes: Record<string, string> = {
  'kafka-configs.sh': 'kafka.admin.ConfigCommand',
  'kafka-reassign-partitions.sh': 'org.apache.kafka.tools.reassign.ReassignPartitionsCommand',
  'kafka-transactions.sh': 'org.apache.kafka.tools.TransactionsCommand',
}

/** Runs a command as an operator would paste it. */
async function run(command: string): Promise<string> {
  const [, script, servers, rest] = /^(\S+) --bootstrap-server (\S+) (.*)$/s.exec(command) ?? []
  expect(servers).toBe(cluster.bootstrap)
  const args = rest!.replace(/<\(echo '(.*)'\)/s, (_, text: string) => {
    const file = join(cluster.folder, `plan-${++topics}.json`)
    writeFileSync(file, text)
    return file
  })
  return cluster.tool(classes[script!]!, args.split(' '))
}

const doctor = (url: string, scan = false): Promise<Finding[]> =>
  examineLog(url, { scan, onProgress: () => {}, signal: AbortSignal.timeout(60_000) })
const named = async (url: string, name: CheckName): Promise<Finding | undefined> => (await doctor(url)).find(each => each.name === name)
const unsafe = (findings: readonly Finding[]) => findings.filter(({ level }) => level === 'unsafe').map(({ name }) => name)

it('a topic as others make it is told of, all at once, and refused', async () => {
  const url = newUrl()
  const how = ['--partitions', '2', '--replication-factor', '1']
  await cluster.tool('org.apache.kafka.tools.TopicCommand', ['--create', '--topic', topicOf(url), ...how])
  const wrong = ['replication-factor', 'min-insync-above-replicas', 'retention', 'manifest-missing']
  await vi.waitFor(async () => expect(unsafe(await doctor(url))).toEqual(expect.arrayContaining(wrong)), 10_000)
  const error = await failure(KafkaLogs.open(url))
  expect(error).toMatchObject({ code: 'log-unsafe', message: expect.stringContaining('--add-config retention.ms=-1,retention.bytes=-1') })
  expect(await failure(createLog(url, { app: 'seats' }))).toMatchObject({ code: 'log-unsafe' })
})

describe('copies', () => {
  it('too few of the log, its roster, and of the state of transactions become enough', async () => {
    const url = newUrl()
    await makeTopic(url, 2, { 'min.insync.replicas': '1' }, 1)
    await makeTopic(`${url}-roster`, 1, { 'cleanup.policy': 'delete' }, 1)
    // The first transactional id that is looked for makes the topic of their state.
    const client = new KafkaClient(kafkaSettings(url).settings)
    await client.coordinator('first')
    client.close()
    const names: CheckName[] = [
      'replication-factor',
      'min-insync-replicas',
      'roster-compaction',
      'roster-replication',
      'transaction-log-replication',
      'transaction-log-min-insync',
    ]
    for (const name of names) {
      const fault = (await named(url, name))!
      expect(fault.level).not.toBe('ok')
      await run(fault.mend)
    }
    await vi.waitFor(
      async () => {
        const left = (await doctor(url)).filter(({ level }) => level !== 'ok').map(({ name }) => name)
        expect(left.filter(name => names.includes(name as CheckName) || name === 'replicas-lagging')).toEqual([])
      },
      { timeout: 30_000, interval: 200 },
    )
  })

  it('of a new log are three, two of which must have a record', async () => {
    const url = newUrl()
    const created = await createLog(url, { app: 'seats', partitions: 2, accept })
    expect(created).toMatchObject({ replicationFactor: 3, made: { topic: true, roster: true, manifests: 2 } })
    const findings = await doctor(url, true)
    expect(findings.filter(({ level }) => level === 'unsafe').filter(({ name }) => !name.startsWith('transaction-log'))).toEqual([])
    expect(findings.find(({ name }) => name === 'min-insync-replicas')).toMatchObject({ level: 'ok' })
  })
})

describe('the brokers', () => {
  it('that make topics unasked, or forget soon who wrote, are a risk', async () => {
    const url = newUrl()
    await makeTopic(url)
    const findings = await doctor(url)
    for (const name of ['auto-create-topics', 'producer-id-expiry', 'transactional-id-expiry'])
      expect(findings.find(each => each.name === name)).toMatchObject({ level: 'risk' })
    await run(findings.find(({ name }) => name === 'producer-id-expiry')!.mend)
    await vi.waitFor(async () => expect((await named(url, 'producer-id-expiry'))?.level).toBe('ok'), { timeout: 10_000, interval: 100 })
  })
})

describe('what stands in the topic', () => {
  it('a transaction of somebody else that stays open is named, and its end lets readers pass', async () => {
    const url = newUrl()
    await createLog(url, { app: 'seats', accept })
    const { settings, topic: name } = kafkaSettings(url)
    const client = new KafkaClient(settings)
    try {
      const coordinator = await client.connect(await client.coordinator('theirs'), 'begin')
      let me = await initProducerId(coordinator, { transactionalId: 'theirs', timeout: 600_000, producerId: -1n, epoch: -1 })
      while (me.error !== 'NONE') {
        await pause(5)
        me = await initProducerId(coordinator, { transactionalId: 'theirs', timeout: 600_000, producerId: -1n, epoch: -1 })
      }
      const own = { transactionalId: 'theirs', producerId: me.producerId, epoch: me.epoch }
      const topic = await Topic.open(client, name)
      expect(await addPartitions(coordinator, { ...own, topic: name, partitions: [0] })).toMatchObject({ error: 'NONE' })
      const leader = (await topic.connect(0, 'write'))!
      const time = Date.now()
      const batch = encodeBatch([{ key: 'x', value: 'not ours', time }], { ...own, sequence: 0, transactional: true })
      const where = { topic: name, topicId: topic.id, partition: 0, timeout: 5_000 }
      expect(await produce(leader, { version: 11, ...where, batch, transactionalId: 'theirs' })).toMatchObject({ error: 'NONE' })

      const logs = await KafkaLogs.open(url, { accept })
      const end = await logs.shards[0]!.head()
      const facts = await gatherDeepFacts(topic, logs.shards, { maxRecordBytes: 900_000, transactional: true })
      const later = { ...facts, open: facts.open!.map(each => ({ ...each, idle: each.idle + 60_000 })) }
      const fault = examine(later).find(each => each.name === 'open-transactions')!
      expect(fault).toMatchObject({ level: 'risk', cause: expect.stringContaining("of 'theirs'") })
      await run(fault.mend)
      await vi.waitFor(async () => expect(await logs.shards[0]!.head()).toBeGreaterThan(end), { timeout: 10_000, interval: 100 })
      expect((await gatherDeepFacts(topic, logs.shards, { maxRecordBytes: 900_000, transactional: true })).open).toEqual([])
      await logs.close()
    } finally {
      client.close()
    }
  })

  it('a partition more than the log was made with, a part without manifest, and a beginning that is gone are named', async () => {
    const url = newUrl()
    await createLog(url, { app: 'seats', partitions: 2, accept })
    await cluster.tool('org.apache.kafka.tools.TopicCommand', ['--alter', '--topic', topicOf(url), '--partitions', '3'])
    await vi.waitFor(
      async () => expect(unsafe(await doctor(url))).toEqual(expect.arrayContaining(['partition-count', 'manifest-missing'])),
      10_000,
    )
    expect(await failure(createLog(url, { app: 'seats', partitions: 2, accept }))).toMatchObject({ code: 'log-unusable' })
    expect(await failure(createLog(url, { app: 'seats', partitions: 3, accept }))).toMatchObject({ code: 'log-unusable' })

    const file = join(cluster.folder, 'delete.json')
    writeFileSync(file, JSON.stringify({ version: 1, partitions: [{ topic: topicOf(url), partition: 1, offset: 1 }] }))
    await cluster.tool('org.apache.kafka.tools.DeleteRecordsCommand', ['--offset-json-file', file])
    await vi.waitFor(async () => expect(unsafe(await doctor(url))).toContain('records-missing'), 10_000)
  })
})

it('Kafka 3.9 takes a log, and is told to be slower with transactions', async () => {
  const old = await startCluster({ version: '3.9.2' })
  await using _ = old
  const url = `kafka://${old.bootstrap}/seats`
  expect(await createLog(url, { app: 'seats', partitions: 2 })).toMatchObject({ made: { manifests: 2 } })
  const findings = await doctor(url, true)
  const troubles = findings.filter(({ level }) => level === 'unsafe' || level === 'risk').map(({ name }) => name)
  expect(troubles).toEqual(['replication-factor', 'transactions-version'])
})
