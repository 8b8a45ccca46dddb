/**
 * Makes a log on Kafka: the topic, its roster, and in each partition a manifest. It may be interrupted at any point, and run by two at once:
 * run again, it completes what is missing, and everybody comes to the same log.
 *
 *   topic -> roster -> manifest of partition 0, whose log id rules -> manifests of the others, with that id
 *
 * A topic that holds something else, or another app's log, or has another number of partitions, stays as it is.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { ShardState } from '../../accept.ts'
import { EngineError } from '../../errors.ts'
import { isName } from '../../ids.ts'
import type { Log } from '../../log.ts'
import { MAX_RECORD_BYTES } from '../../record.ts'
import { type Beginning, manifestValue, readManifest } from '../manifest.ts'
import { createTopics, metadata, type TopicMetadata } from './calls.ts'
import { MESSAGE_BYTES, quorum } from './checks.ts'
import { Disconnected, KafkaClient } from './client.ts'
import { checkAccepted, checkCluster } from './guard.ts'
import { PartitionLog } from './partition.ts'
import { ROSTER_SETTINGS, rosterTopic } from './roster.ts'
import { kafkaSettings } from './settings.ts'
import { reached, Topic } from './topic.ts'
import { socketWire } from './wire.ts'

export interface CreateOptions {
  /** The app's name. */
  readonly app: string
  /** How many shards the log has, for good. Default: 1, or as many as the topic has that is there. */
  readonly partitions?: number
  /** Default: 3, or 1 where there are fewer than three brokers. */
  readonly replicationFactor?: number
  /** How many versions back a decision may be based. */
  readonly window?: number
  /** What is unsafe about a topic that is there, and shall be taken as it is. */
  readonly accept?: readonly string[]
}

export interface Created {
  readonly topic: string
  readonly roster: string
  readonly app: string
  /** The log's id. */
  readonly log: string
  readonly partitions: number
  readonly replicationFactor: number
  /** What was missing; nothing where the log was whole. */
  readonly made: { readonly topic: boolean; readonly roster: boolean; readonly manifests: number }
  readonly notices: readonly string[]
}

/** A new topic is known everywhere after a moment, ms. */
const SPREAD = 30_000
const LOOK_AGAIN = 50
/** How long a broker may take to make a topic, ms. */
const CREATE_TIMEOUT = 15_000
/** How often a manifest is written anew whose fate is unknown, or which the cluster does not take. */
const TRIES = 10

/** What the topic of a log is made with. No `cleanup.policy=''`, which only 4.2 and later take. */
export const logSettings = (replicas: number): Record<string, string> => ({
  'cleanup.policy': 'delete',
  'retention.ms': '-1',
  'retention.bytes': '-1',
  'min.insync.replicas': String(quorum(replicas)),
  'unclean.leader.election.enable': 'false',
  'max.message.bytes': String(MESSAGE_BYTES),
  'message.timestamp.type': 'CreateTime',
  'message.timestamp.after.max.ms': '3600000',
})

/**
 * @param url 'kafka://host:9092/topic'
 * @throws EngineError invalid-option, log-unreachable, log-denied, log-unsafe, log-unusable, log-other-app
 */
export async function createLog(url: string, options: CreateOptions): Promise<Created> {
  checkOptions(options)
  const { app, accept = [] } = options
  const { settings, topic: name } = kafkaSettings(url)
  const client = new KafkaClient(settings)
  try {
    const { topic, replicationFactor, made: madeTopic } = await ensureTopic(client, name, options)
    if (options.partitions !== undefined && topic.partitions !== options.partitions)
      throw new EngineError(
        'log-unusable',
        `the topic ${name} is there, with ${topic.partitions} partitions, not ${options.partitions}. The number of a log's shards never changes: give another topic, or the number that is there`,
      )
    // Before anything is written into a topic that others made.
    const about = { maxRecordBytes: MAX_RECORD_BYTES, transactional: true, accept: [...accept, 'roster-missing'] }
    const notices = await checkCluster(topic, about)
    const shards = Array.from({ length: topic.partitions }, (_, partition) => shardOf(topic, partition, app))
    try {
      const beginnings = await Promise.all(shards.map(shard => readManifest(shard)))
      beginnings.forEach((beginning, partition) => checkBeginning(beginning, { name, app, partition, partitions: topic.partitions }))
      const roster = rosterTopic(name)
      const { topic: foundRoster } = await reached(client.metadata(roster))
      const madeRoster =
        foundRoster?.error === 'UNKNOWN_TOPIC_OR_PARTITION' && (await make(client, roster, 1, replicationFactor, ROSTER_SETTINGS))
      if (madeRoster) await awaitTopic(client, roster)
      const { log, manifests } = await writeManifests(shards, beginnings, { ...options, name })
      const made = { topic: madeTopic, roster: madeRoster, manifests }
      const { topic: now } = await reached(client.metadata(name))
      const replicas = Math.min(...(now?.partitions.map(each => each.replicas.length) ?? [replicationFactor]))
      return { topic: name, roster, app, log, partitions: topic.partitions, replicationFactor: replicas, made, notices }
    } finally {
      await Promise.all(shards.map(shard => shard.close()))
    }
  } finally {
    client.close()
  }
}

/**
 * The topic alone, without a manifest, for a log that is copied into it. One that is there stays as it is.
 * @throws EngineError log-unreachable, log-denied, log-unusable
 */
export async function createTopic(client: KafkaClient, name: string, partitions: number): Promise<void> {
  await ensureTopic(client, name, { partitions })
}

async function ensureTopic(
  client: KafkaClient,
  name: string,
  options: Pick<CreateOptions, 'partitions' | 'replicationFactor'>,
): Promise<{ readonly topic: Topic; readonly replicationFactor: number; readonly made: boolean }> {
  const { brokers, topic: found } = await reached(client.metadata(name))
  const replicationFactor = options.replicationFactor ?? (brokers.length >= 3 ? 3 : 1)
  if (replicationFactor > brokers.length)
    throw new EngineError('invalid-option', `${replicationFactor} replicas need as many brokers; the cluster has ${brokers.length}`)
  const missing = found === undefined || found.error === 'UNKNOWN_TOPIC_OR_PARTITION'
  if (found?.error === 'TOPIC_AUTHORIZATION_FAILED') throw denied(name, 'see', 'Describe, Create, Read and Write')
  const made = missing && (await make(client, name, options.partitions ?? 1, replicationFactor, logSettings(replicationFactor)))
  await awaitTopic(client, name)
  return { topic: await Topic.open(client, name), replicationFactor, made }
}

function checkOptions({ app, partitions = 1, replicationFactor = 1, window = 1, accept = [] }: CreateOptions): void {
  const refuse = (message: string) => {
    throw new EngineError('invalid-option', message)
  }
  if (!isName(app)) refuse(`an app's name is 1 to 128 of A-Z a-z 0-9 . _ - and begins with a letter; not ${JSON.stringify(app)}`)
  if (!Number.isSafeInteger(partitions) || partitions < 1 || partitions > 10_000) refuse('partitions is a whole number from 1 to 10,000')
  if (!Number.isSafeInteger(replicationFactor) || replicationFactor < 1 || replicationFactor > 32_767)
    refuse('replicationFactor is a whole number from 1')
  if (!Number.isSafeInteger(window) || window < 0) refuse('window is a whole number from 0')
  checkAccepted(accept)
}

/** @returns whether it was made here, and not by somebody else at the same moment */
async function make(
  client: KafkaClient,
  name: string,
  partitions: number,
  replicationFactor: number,
  configs: Record<string, string>,
): Promise<boolean> {
  const { brokers } = await reached(client.metadata())
  const conn = await reached(client.connect(brokers[0]!.id, `make ${name}`))
  const topics = [{ name, partitions, replicationFactor, configs }]
  const [answer] = await reached(createTopics(conn, { topics, timeout: CREATE_TIMEOUT })).finally(() => conn.close())
  const error = answer?.error ?? 'UNKNOWN_SERVER_ERROR'
  switch (error) {
    case 'NONE':
      return true
    // Somebody else makes it, or the broker will have it made when its patience has ended.
    case 'TOPIC_ALREADY_EXISTS':
    case 'REQUEST_TIMED_OUT':
      return false
    case 'TOPIC_AUTHORIZATION_FAILED':
    case 'CLUSTER_AUTHORIZATION_FAILED':
      throw denied(name, 'make', 'Create, Describe, Read and Write')
    default:
      throw new EngineError(
        'log-unusable',
        `the cluster does not make the topic ${name}: ${answer?.message ?? error} (${error}). Where a policy of the cluster forbids its settings, have it made by those who may, then run this again: ${Object.entries(
          configs,
        )
          .map(([key, value]) => `${key}=${value}`)
          .join(',')}`,
      )
  }
}

const denied = (name: string, what: string, operations: string) =>
  new EngineError(
    'log-denied',
    `this user may not ${what} the topic ${name}. Allow ${operations} on it (kafka-acls.sh --add --topic ${name})`,
  )

/** Waits until every broker that can be reached knows the topic and who leads it: any of them may be asked next. */
export async function awaitTopic(client: KafkaClient, name: string): Promise<void> {
  const until = performance.now() + SPREAD
  const { brokers } = await reached(client.metadata())
  await Promise.all(
    brokers.map(async ({ id }) => {
      try {
        const conn = await client.connect(id, `look for ${name}`)
        try {
          while (!isKnown((await metadata(conn, { topics: [name] })).topics[0])) {
            if (performance.now() > until)
              throw new EngineError(
                'log-unreachable',
                `the topic ${name} is not known to broker ${id}, or nobody leads all of it, yet. Run this again`,
              )
            await pause(LOOK_AGAIN)
          }
        } finally {
          conn.close()
        }
      } catch (error) {
        if (!(error instanceof Disconnected)) throw error
      }
    }),
  )
}

const isKnown = (topic: TopicMetadata | undefined): boolean =>
  topic !== undefined && topic.error === undefined && topic.partitions.length > 0 && topic.partitions.every(({ leader }) => leader >= 0)

const shardOf = (topic: Topic, partition: number, app: string): Log =>
  new PartitionLog(socketWire(topic), partition, {
    description: `${topic.name}, partition ${partition}`,
    fencing: 'term',
    app,
    maxBatchBytes: MAX_RECORD_BYTES,
  })

interface Expected {
  readonly name: string
  readonly app: string
  readonly partitions: number
  readonly partition: number
}

/** A partition is empty, or begins with the manifest that it would get from us. */
function checkBeginning({ state, before }: Beginning, { name, app, partitions, partition }: Expected): void {
  const refuse = (why: string) => new EngineError('log-unusable', `partition ${partition} of the topic ${name} ${why}. Give another topic`)
  if (before > 0)
    throw refuse(
      `holds ${before} ${before === 1 ? 'record' : 'records'} of something else${state.log === null ? '' : ' in front of its manifest'}`,
    )
  if (state.log === null) return
  if (state.app !== app)
    throw new EngineError('log-other-app', `the topic ${name} is the log of the app ${state.app}, not of ${app}. Give another topic`)
  if (state.partitions !== partitions)
    throw refuse(
      `is of a log that was made with ${state.partitions} partitions, not ${partitions}: growing the number moves keys. Copy the log into a topic with as many as it shall have`,
    )
  if (state.partition !== partition) throw refuse(`holds the manifest of shard ${state.partition}`)
}

async function writeManifests(
  shards: readonly Log[],
  beginnings: readonly Beginning[],
  { app, window, name }: CreateOptions & { readonly name: string },
): Promise<{ log: string; manifests: number }> {
  const partitions = shards.length
  const states = beginnings.map(({ state }) => state)
  let manifests = 0
  const ensure = async (partition: number, log: string): Promise<ShardState> => {
    const there = states[partition]!
    if (there.log !== null) return there
    const value = manifestValue({ log, app, partitions, partition, ...(window === undefined ? {} : { window }) })
    const beginning = await write(shards[partition]!, value)
    checkBeginning(beginning, { name, app, partitions, partition })
    if (beginning.state.log === log) manifests++
    return beginning.state
  }
  // Where the first one is missing, but others are there, it follows them: nobody else can have begun with it.
  const others = states.find(({ log }) => log !== null)
  const first = await ensure(0, others?.log ?? randomUUID())
  const all = [first, ...(await Promise.all(states.slice(1).map((_, index) => ensure(index + 1, first.log!))))]
  for (const [partition, { log, generation }] of all.entries()) {
    if (log === first.log && generation === first.generation) continue
    throw new EngineError(
      'log-unusable',
      `the partitions of the topic ${name} do not belong together: partition 0 is of log ${first.log}, generation ${first.generation}, partition ${partition} of log ${log}, generation ${generation}. Give another topic`,
    )
  }
  return { log: first.log!, manifests }
}

/** Writes a manifest and reads which one rules: the first, which may be somebody else's. A second one has no effect. */
async function write(shard: Log, value: string): Promise<Beginning> {
  for (let tries = 0; ; tries++) {
    const [answer] = await shard.append([{ value, tenant: null, time: Date.now(), kinds: ['manifest'] }])
    const beginning = answer?.status === 'written' ? await readBack(shard, answer.position) : await readManifest(shard)
    if (beginning.state.log !== null || beginning.before > 0) return beginning
    const { cause } = answer as { cause?: unknown }
    if (cause instanceof EngineError && cause.code !== 'log-unreachable') throw cause
    if (tries === TRIES)
      throw cause instanceof EngineError
        ? cause
        : new EngineError('log-failed', `${shard.description}: no manifest could be written`, { cause })
    await pause(LOOK_AGAIN)
  }
}

async function readBack(shard: Log, known: number): Promise<Beginning> {
  try {
    return await readManifest(shard, { known, signal: AbortSignal.timeout(SPREAD) })
  } catch (cause) {
    if (cause instanceof EngineError) throw cause
    throw new EngineError(
      'log-unreachable',
      `${shard.description}: the manifest was written, but does not come back. Perhaps somebody's transaction is open there (mainstem doctor tells). Run this again`,
      { cause },
    )
  }
}
