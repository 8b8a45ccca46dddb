/** What is said of a cluster: each fault is named, once, and a cluster without fault has none. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CHECKS, type CheckName, type ClusterFacts, examine, type TopicFacts } from '../../src/log/kafka/checks.ts'
import { logSettings } from '../../src/log/kafka/create.ts'
import { checkAccepted, judge } from '../../src/log/kafka/guard.ts'
import { ROSTER_SETTINGS } from '../../src/log/kafka/roster.ts'
import { failure } from '../support/failures.ts'

const replicas = (count: number) => ({ leader: 1, replicas: [1, 2, 3].slice(0, count), isr: [1, 2, 3].slice(0, count) })

const topic = (name: string, config: Record<string, string>, more: Partial<TopicFacts> = {}): TopicFacts => ({
  name,
  partitions: [0, 1].map(index => ({ index, ...replicas(3) })),
  config: new Map(Object.entries(config)),
  operations: ['READ', 'WRITE', 'DESCRIBE', 'DESCRIBE_CONFIGS'],
  ...more,
})

const broker = {
  'auto.create.topics.enable': 'false',
  'producer.id.expiration.ms': '86400000',
  'transactional.id.expiration.ms': '604800000',
  'transaction.state.log.replication.factor': '3',
  'transaction.state.log.min.isr': '2',
  'socket.request.max.bytes': '104857600',
}

const manifest = { log: 'L', generation: 1, app: 'seats', partitions: 2 }

const good: ClusterFacts = {
  bootstrap: 'kafka-1:9092',
  secured: false,
  brokers: [{ id: 1 }, { id: 2 }, { id: 3 }],
  transactions: 2,
  transactional: true,
  maxRecordBytes: 900 * 1024,
  log: topic('seats', logSettings(3)),
  roster: topic('seats-roster', ROSTER_SETTINGS),
  transactionLog: topic('__transaction_state', { 'min.insync.replicas': '2' }),
  settings: new Map([1, 2, 3].map(id => [id, new Map(Object.entries(broker))])),
  refusedIds: [],
  shards: [0, 1].map(partition => ({ begins: 0, empty: false, manifest: { ...manifest, partition } })),
  open: [],
  clocks: [{ replica: 'a', ahead: 20 }],
  scans: [{ partition: 0, records: 3, foreign: new Map(), verdicts: new Map([['accepted', 2]]), sealed: false }],
}

const set = (config: Record<string, string>, more: Partial<TopicFacts> = {}): Partial<ClusterFacts> => ({
  log: topic('seats', { ...logSettings(3), ...config }, more),
})
const copies = (count: number): Partial<TopicFacts> => ({ partitions: [{ index: 0, ...replicas(count) }] })
const onBrokers = (config: Record<string, string>): Partial<ClusterFacts> => ({
  settings: new Map([1, 2, 3].map(id => [id, new Map(Object.entries({ ...broker, ...config }))])),
})
const shard = { begins: 0, empty: false, manifest: { ...manifest, partition: 0 } }
const alter = 'kafka-configs.sh --bootstrap-server kafka-1:9092 --alter --entity-type topics --entity-name'

const faults: readonly (readonly [name: CheckName, level: 'unsafe' | 'risk' | 'unknown', change: Partial<ClusterFacts>, mend: string])[] = [
  [
    'replication-factor',
    'unsafe',
    set({}, copies(1)),
    `kafka-reassign-partitions.sh --bootstrap-server kafka-1:9092 --execute --reassignment-json-file <(echo '{"version":1,"partitions":[{"topic":"seats","partition":0,"replicas":[1,2,3]}]}')`,
  ],
  ['replication-factor', 'risk', { ...set({}, copies(1)), brokers: [{ id: 1 }] }, 'three brokers'],
  ['min-insync-replicas', 'unsafe', set({ 'min.insync.replicas': '1' }), `${alter} seats --add-config min.insync.replicas=2`],
  ['min-insync-replicas', 'risk', set({ 'min.insync.replicas': '3' }), 'min.insync.replicas=2'],
  ['min-insync-above-replicas', 'unsafe', set({ 'min.insync.replicas': '4' }), 'min.insync.replicas=2'],
  ['unclean-leader-election', 'unsafe', set({ 'unclean.leader.election.enable': 'true' }), 'unclean.leader.election.enable=false'],
  ['retention', 'unsafe', set({ 'retention.ms': '604800000' }), 'retention.ms=-1,retention.bytes=-1'],
  ['retention', 'unsafe', set({ 'retention.bytes': '0' }), 'retention.ms=-1,retention.bytes=-1'],
  ['compaction', 'unsafe', set({ 'cleanup.policy': 'compact' }), 'cleanup.policy=delete,retention.ms=-1'],
  ['compaction', 'unsafe', set({ 'cleanup.policy': 'compact,delete' }), 'cleanup.policy=delete'],
  ['records-missing', 'unsafe', { shards: [{ begins: 5, empty: false, manifest: undefined }, good.shards![1]!] }, 'from a copy'],
  [
    'partitions-offline',
    'risk',
    set({}, { partitions: [{ index: 0, leader: -1, replicas: [1, 2, 3], isr: [1, 2, 3] }] }),
    'start the brokers',
  ],
  ['replicas-lagging', 'risk', set({}, { partitions: [{ index: 0, leader: 1, replicas: [1, 2, 3], isr: [1, 3] }] }), 'kafka-topics.sh'],
  ['max-message-bytes', 'unsafe', set({ 'max.message.bytes': '900000' }), 'max.message.bytes=1048588'],
  ['max-message-bytes', 'unsafe', { maxRecordBytes: 4_000_000 }, 'max.message.bytes=4032768'],
  ['request-bytes', 'unsafe', onBrokers({ 'socket.request.max.bytes': '500000' }), 'socket.request.max.bytes'],
  ['timestamp-type', 'risk', set({ 'message.timestamp.type': 'LogAppendTime' }), 'message.timestamp.type=CreateTime'],
  ['timestamp-ahead', 'risk', set({ 'message.timestamp.after.max.ms': '9223372036854775807' }), 'message.timestamp.after.max.ms=3600000'],
  ['timestamp-before', 'risk', set({ 'message.timestamp.before.max.ms': '3600000' }), 'message.timestamp.before.max.ms='],
  ['auto-create-topics', 'risk', onBrokers({ 'auto.create.topics.enable': 'true' }), 'auto.create.topics.enable=false'],
  [
    'transactions-version',
    'risk',
    { transactions: 1 },
    'kafka-features.sh --bootstrap-server kafka-1:9092 upgrade --feature transaction.version=2',
  ],
  [
    'transaction-log-replication',
    'unsafe',
    { transactionLog: topic('__transaction_state', { 'min.insync.replicas': '2' }, copies(1)) },
    '"topic":"__transaction_state"',
  ],
  [
    'transaction-log-replication',
    'unsafe',
    { transactionLog: 'missing', ...onBrokers({ 'transaction.state.log.replication.factor': '1' }) },
    'server.properties',
  ],
  [
    'transaction-log-min-insync',
    'unsafe',
    { transactionLog: topic('__transaction_state', { 'min.insync.replicas': '1' }) },
    `${alter} __transaction_state`,
  ],
  [
    'transaction-log-min-insync',
    'unsafe',
    { transactionLog: 'denied', ...onBrokers({ 'transaction.state.log.min.isr': '1' }) },
    'server.properties',
  ],
  ['producer-id-expiry', 'risk', onBrokers({ 'producer.id.expiration.ms': '60000' }), '--entity-type brokers --entity-default'],
  ['transactional-id-expiry', 'risk', onBrokers({ 'transactional.id.expiration.ms': '60000' }), 'transactional.id.expiration.ms=604800000'],
  [
    'open-transactions',
    'risk',
    { open: [{ partition: 1, producerId: 7n, transactionalId: 'theirs', offset: 12, idle: 60_000 }] },
    'kafka-transactions.sh --bootstrap-server kafka-1:9092 abort --topic seats --partition 1 --start-offset 12',
  ],
  [
    'topic-rights',
    'unsafe',
    set({}, { operations: ['READ', 'DESCRIBE'] }),
    'kafka-acls.sh --bootstrap-server kafka-1:9092 --add --allow-principal User:NAME --operation Write --topic seats',
  ],
  [
    'transactional-id-rights',
    'unsafe',
    { refusedIds: [{ id: 'mainstem.seats.0', operation: 'Write' }] },
    '--transactional-id mainstem.seats. --resource-pattern-type prefixed',
  ],
  ['settings-unread', 'unknown', { log: topic('seats', {}, { config: 'not allowed' }) }, '--operation DescribeConfigs --topic seats'],
  ['settings-unread', 'unknown', { settings: new Map([[1, 'not allowed']]) }, '--operation DescribeConfigs --cluster'],
  ['roster-missing', 'risk', { roster: 'missing' }, 'create-log'],
  ['roster-missing', 'risk', { roster: 'denied' }, 'seats-roster'],
  [
    'roster-rights',
    'risk',
    { roster: topic('seats-roster', ROSTER_SETTINGS, { operations: ['READ'] }) },
    '--operation Write --operation Describe',
  ],
  [
    'roster-compaction',
    'risk',
    { roster: topic('seats-roster', { 'cleanup.policy': 'delete' }) },
    `${alter} seats-roster --add-config cleanup.policy=compact`,
  ],
  ['roster-replication', 'risk', { roster: topic('seats-roster', ROSTER_SETTINGS, copies(1)) }, '"topic":"seats-roster"'],
  ['clock', 'risk', { clocks: [{ replica: 'a', ahead: -60_000 }] }, 'NTP'],
  ['clock', 'unknown', { clocks: [] }, 'while replicas run'],
  [
    'manifest-missing',
    'unsafe',
    { shards: [shard, { begins: 0, empty: true, manifest: undefined }] },
    'create-log kafka://kafka-1:9092/seats --app seats --partitions 2',
  ],
  ['manifest-missing', 'unsafe', { shards: [{ begins: 0, empty: false, manifest: undefined }] }, 'another topic'],
  ['manifest-missing', 'risk', { shards: [{ begins: 0, empty: true, manifest: undefined }] }, 'create-log'],
  [
    'manifests-disagree',
    'unsafe',
    { shards: [shard, { ...shard, manifest: { ...manifest, partition: 1, log: 'M' } }] },
    'copy the right log',
  ],
  ['manifests-disagree', 'unsafe', { shards: [shard, shard] }, 'new topic'],
  [
    'partition-count',
    'unsafe',
    { shards: [...good.shards!, { begins: 0, empty: false, manifest: { ...manifest, partition: 2 } }] },
    '--partitions 2',
  ],
  ['foreign-records', 'risk', { scans: [{ ...good.scans![0]!, foreign: new Map([['it is not JSON in UTF-8', 2]]) }] }, 'log tail --all'],
  ['damaged-history', 'risk', { scans: [{ ...good.scans![0]!, verdicts: new Map([['diverged', 1]]) }] }, 'verify'],
  ['sealed', 'risk', { scans: [{ ...good.scans![0]!, sealed: true }] }, 'copy'],
]

const refusal = (work: () => unknown) => failure(new Promise(resolve => resolve(work())))
const troubles = (facts: ClusterFacts) => examine(facts).filter(({ level }) => level !== 'ok')

describe('examining a cluster', () => {
  it('finds nothing where nothing is wrong', () => {
    expect(troubles(good)).toEqual([])
    // Each check had something to say.
    const quiet: CheckName[] = [
      'min-insync-above-replicas',
      'partitions-offline',
      'timestamp-before',
      'settings-unread',
      'roster-replication',
    ]
    const names = examine(good).map(({ name }) => name)
    expect([...names, ...quiet].sort()).toEqual(Object.keys(CHECKS).sort())
  })

  it.each(faults.map(fault => [fault[0], fault] as const))('names %s', (_, [name, level, change, mend]) => {
    const found = troubles({ ...good, ...change })
    const fault = found.find(each => each.name === name)
    expect(fault).toMatchObject({ name, level })
    expect(fault!.mend).toContain(mend)
    expect(fault!.cause).not.toBe('')
    expect(fault!.risk).not.toBe('')
  })

  it('has a fault for every check', () => {
    expect([...new Set(faults.map(([name]) => name))].sort()).toEqual(Object.keys(CHECKS).sort())
  })

  it('is documented, as far as it refuses', () => {
    const text = readFileSync(new URL('../../docs/kafka.md', import.meta.url), 'utf8')
    for (const [name, level] of faults) if (level === 'unsafe') expect(text).toContain(`\`${name}\``)
  })

  it('says of a small cluster that it is small, and no more', () => {
    const one = { partitions: [{ index: 0, ...replicas(1) }] }
    const facts: ClusterFacts = {
      ...good,
      brokers: [{ id: 1 }],
      log: topic('seats', logSettings(1), one),
      roster: topic('seats-roster', ROSTER_SETTINGS, one),
      transactionLog: topic('__transaction_state', { 'min.insync.replicas': '1' }, one),
      shards: [{ ...shard, manifest: { ...manifest, partitions: 1, partition: 0 } }],
    }
    expect(troubles(facts).map(({ name, level }) => [name, level])).toEqual([['replication-factor', 'risk']])
  })

  it('takes a topic that keeps everything by an empty cleanup.policy', () => {
    expect(troubles({ ...good, ...set({ 'cleanup.policy': '', 'retention.ms': '1000' }) })).toEqual([])
  })

  it('asks nothing of transactions where none are used', () => {
    const none: ClusterFacts = {
      ...good,
      transactional: false,
      transactions: 1,
      transactionLog: topic('__transaction_state', { 'min.insync.replicas': '1' }, copies(1)),
      refusedIds: [{ id: 'mainstem.seats.0', operation: 'Write' }],
    }
    expect(troubles(none)).toEqual([])
  })

  it("gives Kafka's tools a file with secrets where they need one", () => {
    const [fault] = troubles({ ...good, secured: true, ...set({ 'retention.ms': '1' }) })
    expect(fault!.mend).toContain('--bootstrap-server kafka-1:9092 --command-config client.properties --alter')
  })
})

describe('what is refused', () => {
  const findings = examine({
    ...good,
    ...set({ 'retention.ms': '1', 'min.insync.replicas': '1', 'message.timestamp.type': 'LogAppendTime' }),
  })

  it('is all that is unsafe and not accepted, with risk and command', async () => {
    const error = await refusal(() => judge(findings, 'seats', []))
    expect(error).toMatchObject({ code: 'log-unsafe', retry: 'no' })
    expect(error.message).toMatch(/retention: .*\n {4}risk: the oldest events.*\n {4}mend: kafka-configs\.sh/)
    expect(error.message).toContain('MAINSTEM_ACCEPT=min-insync-replicas,retention')
    expect((await refusal(() => judge(findings, 'seats', ['retention']))).message).not.toContain('retention:')
  })

  it('becomes a notice once it is accepted, beside the risks', () => {
    const notices = judge(findings, 'seats', ['retention', 'min-insync-replicas'])
    expect(notices).toHaveLength(3)
    expect(notices.join('\n')).toMatch(/unsafe, but accepted \(retention\)[^]*timestamp-type: /)
    expect(judge(findings, 'seats', ['retention', 'min-insync-replicas', 'timestamp-type'])).toHaveLength(2)
  })

  it('is accepted by a name that there is', async () => {
    checkAccepted(['retention', 'clock'])
    expect(await refusal(() => checkAccepted(['retenton']))).toMatchObject({ code: 'invalid-option' })
  })
})
