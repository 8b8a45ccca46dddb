/**
 * Gathers what is to be known about a cluster and the log on it, by questions alone: nothing is written, made or fenced. What this user may
 * not ask, or nobody answers, is left open and told as such.
 */
import type { Log } from '../../log.ts'
import { readManifest } from '../manifest.ts'
import { decodeBatches } from './batch.ts'
import { type ConfigResource, describeConfigs, describeProducers, endTxn, fetch, listOffsets, listTransactions } from './calls.ts'
import type { ClusterFacts, Config, OpenTransaction, ShardFacts, TopicFacts } from './checks.ts'
import { type Conn, Disconnected, Refused } from './client.ts'
import { transactionalIdOf } from './partition.ts'
import { parsed, rosterTopic } from './roster.ts'
import { reached, type Topic } from './topic.ts'

const TRANSACTION_LOG = '__transaction_state'
/** So many positions are looked through for a manifest: it is the first record of its partition. */
const BEGINNING = 1_000
/** So many of the last heartbeats are looked at. */
const BEATS = 200
/** Whoever beat within so long of the last one counts as alive, ms. */
const LATELY = 60_000
/** No coordinator gives out such an id. */
const NOBODY = 2n ** 62n

export interface FactOptions {
  readonly maxRecordBytes: number
  /** Whether transactional ids will be used. */
  readonly transactional: boolean
}

/** Connections for one examination: one to each broker at most. */
class Questions {
  readonly topic: Topic
  readonly #conns = new Map<number, Promise<Conn>>()

  constructor(topic: Topic) {
    this.topic = topic
  }

  /** Undefined where the broker cannot be reached, or breaks off. */
  async ask<T>(node: number | undefined, question: (conn: Conn) => Promise<T>): Promise<T | undefined> {
    if (node === undefined) return undefined
    const known = this.#conns.get(node)
    const conn = known ?? this.topic.client.connect(node, 'examine')
    if (!known) this.#conns.set(node, conn)
    try {
      return await question(await conn)
    } catch (error) {
      if (error instanceof Disconnected) return undefined
      throw error
    }
  }

  /** Asks whoever leads a partition. */
  leader<T>(partition: number, question: (conn: Conn) => Promise<T>): Promise<T | undefined> {
    return this.ask(this.topic.leader(partition)?.node, question)
  }

  async close(): Promise<void> {
    for (const conn of this.#conns.values()) await conn.then(open => open.close()).catch(() => {})
  }
}

/** @throws EngineError log-unreachable */
export async function gatherFacts(topic: Topic, options: FactOptions): Promise<ClusterFacts> {
  const questions = new Questions(topic)
  const { client } = topic
  const { bootstrap, tls, sasl } = client.settings
  try {
    const { brokers } = await reached(client.metadata())
    const topics = await Promise.all([topic.name, rosterTopic(topic.name), TRANSACTION_LOG].map(name => topicFacts(questions, name)))
    const [log, roster, transactionLog] = topics as [TopicFacts, ...typeof topics]
    const holders = new Set(log.partitions.flatMap(({ replicas }) => replicas))
    const settings = new Map<number, Config>()
    for (const { id } of brokers) if (holders.has(id)) settings.set(id, await configOf(questions, id, { type: 'broker', name: String(id) }))
    return {
      ...options,
      bootstrap: bootstrap.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(','),
      secured: tls !== undefined || sasl !== undefined,
      brokers,
      transactions: topic.versions.transactions,
      log,
      roster: roster!,
      transactionLog: transactionLog!,
      settings,
      refusedIds: options.transactional && transactionLog !== 'missing' ? await refusedIds(questions) : [],
    }
  } finally {
    await questions.close()
  }
}

/** @param shards of the topic, to be read from */
export async function gatherDeepFacts(topic: Topic, shards: readonly Log[], options: FactOptions): Promise<ClusterFacts> {
  const facts = await gatherFacts(topic, options)
  const questions = new Questions(topic)
  try {
    const clocks = await clocksOf(questions, facts)
    return {
      ...facts,
      shards: await Promise.all(shards.map((shard, partition) => shardFacts(questions, shard, partition))),
      open: await openTransactions(questions, facts),
      ...(clocks ? { clocks } : {}),
    }
  } finally {
    await questions.close()
  }
}

async function topicFacts(questions: Questions, name: string): Promise<TopicFacts | 'missing' | 'denied'> {
  const { topic, brokers } = await reached(questions.topic.client.metadata(name, { operations: true }))
  if (topic?.error === 'TOPIC_AUTHORIZATION_FAILED') return 'denied'
  // One that is just being made, or was deleted since, tells nothing.
  if (!topic || topic.error !== undefined || topic.partitions.length === 0) return 'missing'
  const node = topic.partitions.find(({ leader }) => leader >= 0)?.leader ?? brokers[0]?.id
  return {
    name,
    partitions: topic.partitions,
    config: await configOf(questions, node, { type: 'topic', name }),
    operations: topic.operations,
  }
}

async function configOf(questions: Questions, node: number | undefined, resource: ConfigResource): Promise<Config> {
  const answers = await questions.ask(node, conn => describeConfigs(conn, { resources: [resource] }))
  const answer = answers?.[0]
  if (!answer) return 'the broker does not answer'
  if (answer.error !== 'NONE') return answer.message ?? answer.error
  return new Map([...answer.configs].map(([key, { value }]) => [key, value]))
}

/**
 * The right to describe is needed to find the coordinator, the right to write to end a transaction. The end of one that is not there, of a
 * producer that never was, is refused for the one reason or the other, and does nothing.
 */
async function refusedIds(questions: Questions): Promise<ClusterFacts['refusedIds']> {
  const { name, partitions, client } = questions.topic
  const refused: { id: string; operation: 'Describe' | 'Write' }[] = []
  // Rights are given for a prefix, or one by one: the first and the last tell of either.
  for (const id of new Set([transactionalIdOf(name, 0), transactionalIdOf(name, partitions - 1)])) {
    try {
      const node = await client.coordinator(id)
      const end = { version: 4, transactionalId: id, producerId: NOBODY, epoch: 0, commit: false } as const
      const answer = await questions.ask(node, conn => endTxn(conn, end))
      if (answer?.error === 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED') refused.push({ id, operation: 'Write' })
    } catch (error) {
      if (error instanceof Refused && error.code === 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED') refused.push({ id, operation: 'Describe' })
      else if (!(error instanceof Refused || error instanceof Disconnected)) throw error
    }
  }
  return refused
}

async function shardFacts(questions: Questions, shard: Log, partition: number): Promise<ShardFacts> {
  const { topic } = questions
  const where = { topic: topic.name, partition, leaderEpoch: -1, isolation: 'read_committed' as const }
  const first = await questions.leader(partition, conn => listOffsets(conn, { ...where, timestamp: -2 }))
  const begins = first?.error === 'NONE' ? first.offset : 0
  if (begins > 0) return { begins, empty: false, manifest: undefined }
  const { state, reached } = await readManifest(shard, { upTo: BEGINNING })
  const { log, generation, app, partitions } = state
  const manifest = log === null || app === null ? undefined : { log, generation, app, partitions, partition: state.partition }
  return { begins, empty: reached === 0, manifest }
}

async function openTransactions(questions: Questions, { brokers, log }: ClusterFacts): Promise<OpenTransaction[]> {
  const { topic } = questions
  const now = Date.now()
  const found: Omit<OpenTransaction, 'transactionalId'>[] = []
  for (const { index: partition } of log.partitions) {
    const answer = await questions.leader(partition, conn => describeProducers(conn, { topic: topic.name, partition }))
    for (const { producerId, openFrom, lastTime } of answer?.producers ?? [])
      if (openFrom >= 0) found.push({ partition, producerId, offset: openFrom, idle: now - lastTime })
  }
  if (found.length === 0) return []
  const names = new Map<bigint, string>()
  for (const { id } of brokers) {
    const answer = await questions.ask(id, conn => listTransactions(conn))
    for (const { producerId, transactionalId } of answer?.transactions ?? []) names.set(producerId, transactionalId)
  }
  return found.map(each => ({ ...each, transactionalId: names.get(each.producerId) }))
}

/** From the roster: each beat says the replica's time, and the broker has stamped it with its own. */
async function clocksOf(questions: Questions, { roster: facts }: ClusterFacts): Promise<ClusterFacts['clocks']> {
  if (typeof facts !== 'object' || typeof facts.config === 'string') return undefined
  if (facts.config.get('message.timestamp.type') !== 'LogAppendTime') return undefined
  const { topic } = await questions.topic.client.metadata(facts.name)
  const leader = topic?.partitions[0]
  if (!topic || !leader) return undefined
  const where = { topic: facts.name, partition: 0, leaderEpoch: -1, isolation: 'read_uncommitted' as const }
  const end = await questions.ask(leader.leader, conn => listOffsets(conn, { ...where, timestamp: -1 }))
  if (end?.error !== 'NONE') return undefined
  const heard = new Map<string, { readonly at: number; readonly ahead: number }>()
  for (let offset = Math.max(0, end.offset - BEATS); offset < end.offset; ) {
    const about = { topicId: topic.id, partition: 0, offset, leaderEpoch: -1, lastFetchedEpoch: -1 }
    const size = { isolation: 'read_uncommitted' as const, maxWait: 0, minBytes: 0, maxBytes: 1 << 20 }
    const answer = await questions.ask(leader.leader, conn => fetch(conn, { ...about, ...size }))
    if (answer?.error !== 'NONE') return undefined
    const { records, next } = decodeBatches(answer.bytes, { from: offset, aborted: [], committed: false })
    for (const { key, value, time } of records) {
      const said = value === null ? undefined : parsed(value.toString())
      if (key !== null && said) heard.set(key.toString(), { at: time, ahead: said.seen - time })
    }
    if (next === offset) break
    offset = next
  }
  const last = Math.max(...[...heard.values()].map(({ at }) => at))
  // Nobody is alive where the last beat is old: by this machine's clock, roughly.
  const alive = [...heard].filter(([, { at }]) => last - at < LATELY && Math.abs(Date.now() - at) < 10 * LATELY)
  return alive.map(([replica, { ahead }]) => ({ replica, ahead }))
}
