/**
 * What a cluster must be like for the promises to hold, and what is otherwise: facts to findings, pure. Each check has a name, by which a
 * user accepts what it finds. A check says `unsafe` only where events could be lost, changed or written by nobody's leave.
 */
import type { Broker } from './calls.ts'
import { type Finding, type Looked, list, partitionList, plural, risky, runChecks, unknown, unsafe } from '../finding.ts'
import { type ScanFacts, scanChecks } from '../scan.ts'

/** Settings by name, whoever set them; or why they could not be read. */
export type Config = ReadonlyMap<string, string | null> | string

export interface TopicFacts {
  readonly name: string
  readonly partitions: readonly {
    readonly index: number
    /** -1 while there is none. */
    readonly leader: number
    readonly replicas: readonly number[]
    readonly isr: readonly number[]
  }[]
  readonly config: Config
  /** What we may do there; undefined where the cluster does not tell. */
  readonly operations: readonly string[] | undefined
}

export interface ShardFacts {
  /** The first offset that is still there. */
  readonly begins: number
  /** Nothing was ever written. */
  readonly empty: boolean
  readonly manifest:
    | {
        readonly log: string
        readonly generation: number
        readonly app: string
        readonly partitions: number
        readonly partition: number
      }
    | undefined
}

export interface OpenTransaction {
  readonly partition: number
  readonly producerId: bigint
  /** Undefined where nobody tells whose it is. */
  readonly transactionalId: string | undefined
  readonly offset: number
  /** Milliseconds since its producer last wrote. */
  readonly idle: number
}

export interface ClusterFacts {
  /** As Kafka's own tools take it. */
  readonly bootstrap: string
  /** Those tools need a file with passwords or certificates. */
  readonly secured: boolean
  readonly brokers: readonly Pick<Broker, 'id'>[]
  readonly transactions: 1 | 2
  /** Transactional ids are used: always, but for the strategy first-wins and for the fencing 'term'. */
  readonly transactional: boolean
  readonly maxRecordBytes: number
  readonly log: TopicFacts
  readonly roster: TopicFacts | 'missing' | 'denied'
  /** Kafka's own topic for the state of transactions. `missing` until somebody begins the first one. */
  readonly transactionLog: TopicFacts | 'missing' | 'denied'
  /** By broker, of those that hold a replica of the log. */
  readonly settings: ReadonlyMap<number, Config>
  /** Transactional ids, and what is missing on them. */
  readonly refusedIds: readonly { readonly id: string; readonly operation: 'Describe' | 'Write' }[]
  // Looked at only when asked for.
  readonly shards?: readonly ShardFacts[]
  readonly open?: readonly OpenTransaction[]
  /** How far each replica's clock is ahead of the broker's, ms, of those that were heard of lately. */
  readonly clocks?: readonly { readonly replica: string; readonly ahead: number }[]
  readonly scans?: readonly ScanFacts[]
}

/** What a record gains on its way into a batch: key, headers with the names of its events, the batch's own header; amply. */
const ENVELOPE = 32 * 1024
/** A transaction of which nothing was heard for so long holds up its readers for no good reason, ms. */
const IDLE = 15_000
/** Clocks that differ by less are fine, ms. */
const SKEW = 5_000
const HOUR = 3_600_000
const DAY = 24 * HOUR

export const CHECKS = {
  // --- Nothing is lost ------------------------------------------------------------------------------------------------------
  'replication-factor': ({ log, brokers, ...facts }) => {
    const least = replicasOf(log)
    if (least >= 3) return `${least} replicas`
    const cause = `the topic ${log.name} has ${plural(least, 'replica')} of each partition, in a cluster of ${plural(brokers.length, 'broker')}`
    if (brokers.length < 3)
      return risky(cause, 'a disk that breaks takes the log with it: good for development only', 'run at least three brokers')
    return unsafe(cause, `a broker that is lost takes acknowledged events with it`, moreReplicas({ ...facts, log, brokers }))
  },
  'min-insync-replicas': ({ log, brokers, ...facts }) => {
    const least = number(log.config, 'min.insync.replicas')
    if (least === undefined) return undefined
    const replicas = replicasOf(log)
    if (least > 1 || (brokers.length < 3 && replicas < 3)) {
      if (least < replicas || replicas < 2) return `${least} of ${plural(replicas, 'replica')} must have a record before it counts`
      return risky(
        `min.insync.replicas is ${least} of ${plural(replicas, 'replica')}`,
        'one broker that is down stops all writing',
        alter(facts, log.name, { 'min.insync.replicas': String(quorum(replicas)) }),
      )
    }
    return unsafe(
      'min.insync.replicas is 1: a record counts as written when the leader alone has it',
      'when that broker is lost before the others have copied, events that were acknowledged are gone',
      alter(facts, log.name, { 'min.insync.replicas': '2' }),
    )
  },
  'min-insync-above-replicas': ({ log, ...facts }) => {
    const least = number(log.config, 'min.insync.replicas')
    const replicas = replicasOf(log)
    if (least === undefined || least <= replicas) return undefined
    return unsafe(
      `min.insync.replicas is ${least}, but there are only ${plural(replicas, 'replica')}; the cluster accepts that`,
      'nothing can ever be written',
      alter(facts, log.name, { 'min.insync.replicas': String(quorum(replicas)) }),
    )
  },
  'unclean-leader-election': ({ log, ...facts }) => {
    const allowed = text(log.config, 'unclean.leader.election.enable')
    if (allowed === undefined) return undefined
    if (allowed !== 'true') return 'only a replica that has everything can lead'
    return unsafe(
      'unclean.leader.election.enable is true: a replica that lags behind may come to lead',
      'acknowledged events are cut off, and other ones take their offsets',
      alter(facts, log.name, { 'unclean.leader.election.enable': 'false' }),
    )
  },
  retention: ({ log, ...facts }) => {
    const policy = text(log.config, 'cleanup.policy')
    if (policy === undefined) return undefined
    if (!policies(policy).includes('delete')) return `cleanup.policy is '${policy}': nothing is deleted by age or size`
    const limits = (['retention.ms', 'retention.bytes'] as const).filter(key => Number(text(log.config, key) ?? -1) >= 0)
    if (limits.length === 0) return 'records are kept for ever'
    return unsafe(
      limits.map(key => `${key} is ${text(log.config, key)}`).join(', '),
      'the oldest events are deleted, and no database can be built from the log any more',
      alter(facts, log.name, { 'retention.ms': '-1', 'retention.bytes': '-1' }),
    )
  },
  compaction: ({ log, ...facts }) => {
    const policy = text(log.config, 'cleanup.policy')
    if (policy === undefined) return undefined
    if (!policies(policy).includes('compact')) return 'the topic is not compacted'
    return unsafe(
      `cleanup.policy is ${policy}: of the records with one key, that is of one tenant, only the last is kept`,
      'almost all events are deleted',
      alter(facts, log.name, { 'cleanup.policy': 'delete', 'retention.ms': '-1', 'retention.bytes': '-1' }),
    )
  },
  'records-missing': ({ shards, log }) => {
    if (!shards) return undefined
    const cut = shards.flatMap(({ begins }, partition) => (begins > 0 ? [`partition ${partition} begins at offset ${begins}`] : []))
    if (cut.length === 0) return 'every partition begins at its first record'
    return unsafe(
      `the beginning of the log is gone: ${cut.join(', ')}`,
      'no database can be built from it',
      `bring the log back from a copy of it: nothing recovers records that the topic ${log.name} has deleted`,
    )
  },
  'partitions-offline': ({ log }) => {
    const without = log.partitions.filter(({ leader }) => leader < 0)
    if (without.length === 0) return undefined
    return risky(
      `nobody leads ${partitionList(without)}`,
      'the tenants there can neither be read nor written',
      'start the brokers that hold a replica in sync',
    )
  },
  'replicas-lagging': ({ log, ...facts }) => {
    const behind = log.partitions.filter(({ isr, replicas }) => isr.length < replicas.length)
    if (behind.length === 0) return 'all replicas are in sync'
    return risky(
      `replicas of ${partitionList(behind)} are not in sync`,
      'when fewer than min.insync.replicas are left, writing stops until they are back',
      `start the brokers that are down, and look with ${tool(facts, 'kafka-topics.sh', `--describe --under-replicated-partitions`)}`,
    )
  },

  // --- What is written can be written, and is what was written ------------------------------------------------------------------
  'max-message-bytes': ({ log, maxRecordBytes, ...facts }) => {
    const most = number(log.config, 'max.message.bytes')
    if (most === undefined) return undefined
    const need = maxRecordBytes + ENVELOPE
    if (most >= need) return `records of ${maxRecordBytes} bytes fit into max.message.bytes, ${most}`
    return unsafe(
      `max.message.bytes is ${most}; a record of ${maxRecordBytes} bytes needs up to ${need}`,
      'a decision that fits by our own limit is refused by the broker',
      `${alter(facts, log.name, { 'max.message.bytes': String(Math.max(need, MESSAGE_BYTES)) })} (or lower maxRecordBytes)`,
    )
  },
  'request-bytes': ({ settings, maxRecordBytes }) => {
    const need = maxRecordBytes + ENVELOPE
    const small = brokersWhere(settings, 'socket.request.max.bytes', value => Number(value) < need)
    if (small === undefined) return settingsKnown(settings) ? 'a request with the largest record fits' : undefined
    return unsafe(
      `socket.request.max.bytes is ${small.value} on ${small.who}; a record of ${maxRecordBytes} bytes needs up to ${need}`,
      'the broker breaks the connection when such a record is sent',
      `set socket.request.max.bytes=104857600 in server.properties of every broker, and restart them one after the other`,
    )
  },
  'timestamp-type': ({ log, ...facts }) => {
    const type = text(log.config, 'message.timestamp.type')
    if (type === undefined) return undefined
    if (type !== 'LogAppendTime') return 'record times are those of their writers'
    return risky(
      'message.timestamp.type is LogAppendTime: the broker puts its own time over that of the writer',
      'a replica whose clock is far ahead is no longer refused; readers of the topic see other times than the events have',
      alter(facts, log.name, { 'message.timestamp.type': 'CreateTime' }),
    )
  },
  'timestamp-ahead': ({ log, ...facts }) => {
    const most = number(log.config, 'message.timestamp.after.max.ms')
    if (most === undefined || text(log.config, 'message.timestamp.type') === 'LogAppendTime') return undefined
    if (most <= HOUR) return `a clock that is ${most / 1_000} s ahead is refused`
    return risky(
      `message.timestamp.after.max.ms is ${most}`,
      'a replica whose clock is far ahead puts events into the future, and nobody refuses them',
      alter(facts, log.name, { 'message.timestamp.after.max.ms': String(HOUR) }),
    )
  },
  'timestamp-before': ({ log, ...facts }) => {
    const most = number(log.config, 'message.timestamp.before.max.ms')
    if (most === undefined || most >= 100 * 365 * DAY || text(log.config, 'message.timestamp.type') === 'LogAppendTime') return undefined
    return risky(
      `message.timestamp.before.max.ms is ${most}`,
      'a log with older events cannot be copied into this topic',
      alter(facts, log.name, { 'message.timestamp.before.max.ms': '9223372036854775807' }),
    )
  },
  'auto-create-topics': ({ settings }) => {
    const on = brokersWhere(settings, 'auto.create.topics.enable', value => value === 'true')
    if (on === undefined) return settingsKnown(settings) ? 'nobody makes a topic by mistake' : undefined
    return risky(
      `auto.create.topics.enable is true on ${on.who}`,
      'a topic that was deleted, or whose name was mistyped, comes back empty as soon as some client asks for it',
      'set auto.create.topics.enable=false in server.properties of every broker, and restart them one after the other',
    )
  },

  // --- Fences and transactions ------------------------------------------------------------------------------------------------
  'transactions-version': ({ transactions, transactional, ...facts }) => {
    if (!transactional) return undefined
    if (transactions === 2) return 'transactions are of version 2'
    return risky(
      'transaction.version is 1',
      'the strategy optimistic and the fencing transactions take an init and a round trip more for each batch',
      `${tool(facts, 'kafka-features.sh', 'upgrade --feature transaction.version=2')} (once all brokers run Kafka 4.0 or later)`,
    )
  },
  'transaction-log-replication': ({ transactionLog, transactional, brokers, settings, ...facts }) => {
    if (!transactional) return undefined
    const own =
      typeof transactionLog === 'object' ? replicasOf(transactionLog) : lowest(settings, 'transaction.state.log.replication.factor')
    if (own === undefined) return undefined
    if (own >= 3) return `the state of transactions has ${own} replicas`
    if (brokers.length < 3) return 'as few replicas of the state of transactions as there are brokers'
    return unsafe(
      `the state of transactions (__transaction_state) has ${plural(own, 'replica')}, in a cluster of ${plural(brokers.length, 'broker')}`,
      'when that broker is lost, fences and open transactions go with it, and nobody can lead until it is back',
      typeof transactionLog === 'object'
        ? moreReplicas({ ...facts, log: transactionLog, brokers })
        : 'set transaction.state.log.replication.factor=3 and transaction.state.log.min.isr=2 in server.properties of every broker before the first transaction, and restart them one after the other',
    )
  },
  'transaction-log-min-insync': ({ transactionLog, transactional, brokers, settings, ...facts }) => {
    if (!transactional) return undefined
    const topic = typeof transactionLog === 'object' ? transactionLog : undefined
    const own = (topic && number(topic.config, 'min.insync.replicas')) ?? lowest(settings, 'transaction.state.log.min.isr')
    if (own === undefined) return undefined
    if (own >= 2 || brokers.length < 3) return `${own} replicas must have the state of a transaction`
    return unsafe(
      'the state of transactions counts as written when one broker has it',
      'when that broker is lost, a fence that was taken or a transaction that was committed may come undone',
      topic
        ? alter(facts, topic.name, { 'min.insync.replicas': '2' })
        : 'set transaction.state.log.min.isr=2 in server.properties of every broker before the first transaction, and restart them one after the other',
    )
  },
  'producer-id-expiry': ({ settings, transactional, ...facts }) => {
    if (!transactional) return undefined
    const short = brokersWhere(settings, 'producer.id.expiration.ms', value => Number(value) < DAY)
    if (short === undefined) return settingsKnown(settings) ? 'partitions remember who wrote for a day or longer' : undefined
    return risky(
      `producer.id.expiration.ms is ${short.value} on ${short.who}`,
      'after so long a silence a partition takes batches of a leader that was fenced; they have no effect (their term is over), but stand in the topic',
      tool(facts, 'kafka-configs.sh', `--alter --entity-type brokers --entity-default --add-config producer.id.expiration.ms=${DAY}`),
    )
  },
  'transactional-id-expiry': ({ settings, transactional }) => {
    if (!transactional) return undefined
    const short = brokersWhere(settings, 'transactional.id.expiration.ms', value => Number(value) < DAY)
    if (short === undefined) return settingsKnown(settings) ? 'transactional ids are remembered for a day or longer' : undefined
    return risky(
      `transactional.id.expiration.ms is ${short.value} on ${short.who}`,
      'after so long a silence an old leader is not fenced by Kafka any more; what it writes has no effect (its term is over), but stands in the topic',
      'set transactional.id.expiration.ms=604800000 in server.properties of every broker, and restart them one after the other',
    )
  },
  'open-transactions': ({ open, log, ...facts }) => {
    if (!open) return undefined
    const hanging = open.filter(({ idle }) => idle > IDLE)
    if (hanging.length === 0) return 'no transaction holds up the readers'
    const shown = hanging.slice(0, 3)
    const whose = shown.map(
      ({ partition, transactionalId, idle }) =>
        `partition ${partition}: ${transactionalId === undefined ? 'of nobody knows whom' : `of '${transactionalId}'`}, silent for ${Math.round(idle / 1_000)} s`,
    )
    const commands = shown.map(({ partition, offset }) =>
      tool(facts, 'kafka-transactions.sh', `abort --topic ${log.name} --partition ${partition} --start-offset ${offset}`),
    )
    return risky(
      `${plural(hanging.length, 'transaction is', 'transactions are')} open (${whose.join('; ')}${hanging.length > shown.length ? '; …' : ''})`,
      'no replica can read past it, and no command is answered, until it ends. Nobody but Mainstem should write into this topic',
      commands.join('\n'),
    )
  },

  // --- Rights -----------------------------------------------------------------------------------------------------------------
  'topic-rights': ({ log, ...facts }) => {
    if (log.operations === undefined) return undefined
    const missing = missingIn(log.operations, ['READ', 'WRITE', 'DESCRIBE'])
    if (missing.length === 0) return 'the topic may be read and written'
    return unsafe(
      `this user may not ${missing.join(', ')} on the topic ${log.name}`,
      'a replica cannot work',
      allow(facts, missing, `--topic ${log.name}`),
    )
  },
  'transactional-id-rights': ({ refusedIds, transactional, ...facts }) => {
    if (!transactional) return undefined
    const [first] = refusedIds
    if (!first) return 'the transactional ids may be used'
    const operations = [...new Set(refusedIds.map(({ operation }) => operation))]
    const prefix = first.id.replace(/\d+$/, '')
    return unsafe(
      `this user may not ${operations.join(', ')} on ${refusedIds.length === 1 ? `the transactional id ${first.id}` : `${refusedIds.length} transactional ids, ${first.id} the first`}`,
      'nobody can lead, nor write optimistically',
      `${allow(facts, ['Describe', 'Write'], `--transactional-id ${prefix} --resource-pattern-type prefixed`)} (or use the strategy first-wins, or leader with fencing 'term', which need none)`,
    )
  },
  'settings-unread': ({ log, settings, ...facts }) => {
    const unread = [
      ...(typeof log.config === 'string' ? [`the topic ${log.name} (${log.config})`] : []),
      ...[...settings].flatMap(([id, config]) => (typeof config === 'string' ? [`broker ${id} (${config})`] : [])),
    ]
    if (unread.length === 0) return undefined
    const topic = typeof log.config === 'string'
    return unknown(
      `the settings of ${unread.join(', ')} could not be read`,
      'nobody looks whether they are safe',
      topic ? allow(facts, ['DescribeConfigs'], `--topic ${log.name}`) : allow(facts, ['DescribeConfigs'], '--cluster'),
    )
  },

  // --- The roster --------------------------------------------------------------------------------------------------------------
  'roster-missing': ({ roster, log }) => {
    if (typeof roster === 'object') return 'the roster is there'
    return risky(
      roster === 'missing' ? 'the topic of the roster is not there' : 'this user may not see the topic of the roster',
      roster === 'missing'
        ? 'the first replica makes it, if it may; else no replica starts'
        : 'replicas do not hear of each other: each takes every leader to be gone',
      roster === 'missing'
        ? `mainstem kafka create-log, which completes what is missing`
        : `let an administrator run mainstem kafka create-log, and allow Describe, Read and Write on ${log.name}-roster`,
    )
  },
  'roster-rights': ({ roster, ...facts }) => {
    if (typeof roster !== 'object' || roster.operations === undefined) return undefined
    const missing = missingIn(roster.operations, ['READ', 'WRITE', 'DESCRIBE'])
    if (missing.length === 0) return 'the roster may be read and written'
    return risky(
      `this user may not ${missing.join(', ')} on the topic ${roster.name}`,
      'this replica is not heard of, or hears of nobody: leaders change all the time',
      allow(facts, missing, `--topic ${roster.name}`),
    )
  },
  'roster-compaction': ({ roster, ...facts }) => {
    if (typeof roster !== 'object') return undefined
    const policy = text(roster.config, 'cleanup.policy')
    if (policy === undefined) return undefined
    if (policies(policy).includes('compact')) return 'the roster is compacted'
    return risky(
      `cleanup.policy of ${roster.name} is '${policy}'`,
      'every heartbeat is kept, and read by each replica that starts',
      alter(facts, roster.name, { 'cleanup.policy': 'compact', 'segment.ms': String(HOUR) }),
    )
  },
  'roster-replication': ({ roster, brokers, ...facts }) => {
    if (typeof roster !== 'object') return undefined
    const own = replicasOf(roster)
    if (own >= 3 || brokers.length < 3) return undefined
    return risky(
      `the topic ${roster.name} has ${plural(own, 'replica')}`,
      'while its broker is down, every leader seems to be gone',
      moreReplicas({ ...facts, log: roster, brokers }),
    )
  },
  clock: ({ clocks }) => {
    if (!clocks) return undefined
    if (clocks.length === 0)
      return unknown(
        'no replica was heard of lately',
        'the clocks could not be compared with those of the broker',
        'look again while replicas run',
      )
    const off = clocks.filter(({ ahead }) => Math.abs(ahead) > SKEW)
    if (off.length === 0) return `the clocks of ${plural(clocks.length, 'replica')} and of the broker agree within ${SKEW / 1_000} s`
    const told = off.map(({ replica, ahead }) => `${replica} ${Math.abs(ahead / 1_000).toFixed(1)} s ${ahead > 0 ? 'ahead' : 'behind'}`)
    return risky(
      `clocks differ from the broker's: ${told.join(', ')}`,
      'events carry a wrong time, which rules may count with; above an hour ahead the broker refuses them',
      'set the clocks of these machines (NTP)',
    )
  },

  // --- Shards -----------------------------------------------------------------------------------------------------------------
  'manifest-missing': ({ shards, ...facts }) => {
    if (!shards) return undefined
    const without = shards.flatMap(({ manifest, begins }, partition) => (manifest || begins > 0 ? [] : [partition]))
    if (without.length === 0) return 'every partition has its manifest'
    if (shards.length === 1 && shards[0]!.empty)
      return risky(
        'the topic is empty',
        'the first replica makes it the log of its app',
        `mainstem kafka create-log kafka://${facts.bootstrap}/${facts.log.name} --app NAME`,
      )
    const whole = shards.every(({ empty, manifest }) => empty || manifest)
    return unsafe(
      `${plural(without.length, 'partition')} of ${shards.length} without a manifest among the first records: ${list(without)}`,
      'whoever writes must know for good how many shards there are; no replica starts',
      whole
        ? `mainstem kafka create-log kafka://${facts.bootstrap}/${facts.log.name} --app ${shards.find(({ manifest }) => manifest)?.manifest?.app ?? 'NAME'} --partitions ${shards.length}`
        : 'the topic holds something else: give the log another topic',
    )
  },
  'manifests-disagree': ({ shards }) => {
    const all = shards?.flatMap(({ manifest }, index) => (manifest ? [{ index, ...manifest }] : [])) ?? []
    const [first] = all
    if (!first) return undefined
    const others = all.filter(each => each.log !== first.log || each.generation !== first.generation || each.app !== first.app)
    const misplaced = all.filter(({ index, partition }) => index !== partition)
    if (others.length === 0 && misplaced.length === 0) return `log ${first.log}, generation ${first.generation}, of the app ${first.app}`
    const told = [
      ...others.map(({ index, log, generation, app }) => `partition ${index} is of log ${log}, generation ${generation}, app ${app}`),
      ...misplaced.map(({ index, partition }) => `partition ${index} holds the manifest of shard ${partition}`),
    ]
    return unsafe(
      `the manifests do not belong together: partition ${first.index} is of log ${first.log}, generation ${first.generation}, app ${first.app}; ${told.join('; ')}`,
      'the partitions are parts of different logs; no replica starts',
      'make a new topic with mainstem kafka create-log, and copy the right log into it',
    )
  },
  'partition-count': ({ shards, log, ...facts }) => {
    const made = shards?.find(({ manifest }) => manifest)?.manifest?.partitions
    if (!shards || made === undefined) return undefined
    if (made === shards.length) return `${plural(made, 'partition')}, as the log was made with`
    return unsafe(
      `the log was made with ${plural(made, 'partition')}, but the topic has ${shards.length}`,
      'keys have moved: tenants no longer live where their events are; no replica starts',
      `partitions cannot be taken away: mainstem log copy kafka://${facts.bootstrap}/${log.name} kafka://${facts.bootstrap}/NAME --partitions ${made}`,
    )
  },
  ...scanChecks,
} as const satisfies { readonly [name: string]: (facts: ClusterFacts) => Looked }

export type CheckName = keyof typeof CHECKS

/** Everything there is to say about a cluster and the log on it, also what is well. */
export const examine = (facts: ClusterFacts): Finding<CheckName>[] => runChecks<CheckName, ClusterFacts>(CHECKS, facts)

/** What a broker takes by default, with its own margin above 1 MiB. */
export const MESSAGE_BYTES = 1_048_588

/** How many of so many replicas must have a record: more than half, where that leaves one to spare. */
export const quorum = (replicas: number): number => (replicas < 3 ? 1 : Math.floor(replicas / 2) + 1)

// --- Commands of Kafka's own tools -----------------------------------------------------------------------------------------------

type Where = Pick<ClusterFacts, 'bootstrap' | 'secured'>

function tool({ bootstrap, secured }: Where, name: string, rest: string): string {
  return `${name} --bootstrap-server ${bootstrap}${secured ? ' --command-config client.properties' : ''} ${rest}`
}

function alter(where: Where, topic: string, settings: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(settings).map(([key, value]) => `${key}=${value}`)
  return tool(where, 'kafka-configs.sh', `--alter --entity-type topics --entity-name ${topic} --add-config ${pairs.join(',')}`)
}

function allow(where: Where, operations: readonly string[], resource: string): string {
  const camel = operations.map(name =>
    /^[A-Z_]+$/.test(name) ? name.toLowerCase().replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase()) : name,
  )
  return tool(where, 'kafka-acls.sh', `--add --allow-principal User:NAME ${camel.map(name => `--operation ${name}`).join(' ')} ${resource}`)
}

function moreReplicas({
  log,
  brokers,
  ...where
}: Where & { readonly log: TopicFacts; readonly brokers: readonly { readonly id: number }[] }): string {
  const ids = brokers.map(({ id }) => id).sort((a, b) => a - b)
  const partitions = log.partitions.map(({ index, replicas }) => {
    // Who has it keeps it; the others take turns.
    const others = ids.map((_, i) => ids[(i + index) % ids.length]!).filter(id => !replicas.includes(id))
    return { topic: log.name, partition: index, replicas: [...replicas, ...others].slice(0, Math.max(3, replicas.length)) }
  })
  const plan = JSON.stringify({ version: 1, partitions })
  return tool(where, 'kafka-reassign-partitions.sh', `--execute --reassignment-json-file <(echo '${plan}')`)
}

// --- Facts -----------------------------------------------------------------------------------------------------------------------

const text = (config: Config, key: string): string | undefined => (typeof config === 'string' ? undefined : (config.get(key) ?? undefined))

function number(config: Config, key: string): number | undefined {
  const value = text(config, key)
  return value === undefined || value === '' ? undefined : Number(value)
}

const policies = (policy: string): string[] => policy.split(',').map(each => each.trim())
const replicasOf = ({ partitions }: TopicFacts): number => Math.min(...partitions.map(({ replicas }) => replicas.length))
const missingIn = (granted: readonly string[], wanted: readonly string[]): string[] => wanted.filter(each => !granted.includes(each))
const settingsKnown = (settings: ReadonlyMap<number, Config>): boolean => [...settings.values()].some(config => typeof config !== 'string')

function brokersWhere(settings: ReadonlyMap<number, Config>, key: string, bad: (value: string) => boolean) {
  const found = [...settings].flatMap(([id, config]) => {
    const value = text(config, key)
    return value !== undefined && bad(value) ? [{ id, value }] : []
  })
  if (found.length === 0) return undefined
  return { value: found[0]!.value, who: `broker${found.length === 1 ? '' : 's'} ${list(found.map(({ id }) => id))}` }
}

function lowest(settings: ReadonlyMap<number, Config>, key: string): number | undefined {
  const values = [...settings.values()].flatMap(config => number(config, key) ?? [])
  return values.length === 0 ? undefined : Math.min(...values)
}
