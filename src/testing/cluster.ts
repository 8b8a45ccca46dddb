/**
 * A model of a Kafka cluster of one to three brokers, with one topic: pure, synchronous, in virtual time. What production sends to brokers
 * goes in as requests, and its answers come out, perhaps much later. Rooms in `cluster/`: logs and what producers are known by, leaders and
 * followers, the coordinator of transactions, the controller. Each rule names what it rests on: what a real cluster was observed to do, or
 * Kafka's source.
 */
import { alterIsr, goOn, join, kill, leadingFrom, learn, part, register, sessionOver, start, stop } from './cluster/controller.ts'
import {
  addPartitions,
  appendMarker,
  checkTimeout,
  end,
  giveIds,
  init,
  loaded,
  mark,
  marked,
  markerDone,
  verify,
  writeTransaction,
  written,
} from './cluster/coordinator.ts'
import { askCoordinator, expire, fetch, listOffsets, produce, produced, verified, wake } from './cluster/leader.ts'
import { cloneState, fingerprintOf } from './cluster/copies.ts'
import { emptyLog, enterEpoch, type ReplicaLog } from './cluster/log.ts'
import type { ClusterInput, ClusterOutput, ClusterRequest } from './cluster/messages.ts'
import { altered, asked, beginToFollow, checkLag, follow, followed, keepPromise } from './cluster/replication.ts'
import { type BrokerState, type Image, type Lead, reply, type Settings, type State, transactionLog, type Work } from './cluster/state.ts'

export { CONTROLLER } from './cluster/state.ts'
export type { ClusterInput, ClusterOutput, ClusterReplies, ClusterReply, ClusterRequest } from './cluster/messages.ts'

export interface ClusterOptions {
  /** 1 to 3, all of them hold everything. */
  readonly brokers?: number
  /** min.insync.replicas, of the topic and of the coordinator's log. */
  readonly minIsr?: number
  readonly partitions?: number
  /** Kafka's transaction.version. */
  readonly transactionVersion?: 1 | 2
  readonly topic?: string
  readonly topicId?: string
  /** From 0 up to 1; nothing else here is left to chance. */
  readonly random: () => number
  /** Most that a message between brokers takes, or a write into the coordinator's log, ms. */
  readonly delay?: number
  /** Most that a broker takes to hear of a change of leaders, ms. */
  readonly metadataDelay?: number
  /** A broker that is silent for so long is taken for dead, ms (broker.session.timeout.ms). */
  readonly sessionTimeout?: number
  /** A follower that is behind for so long is no longer in sync, ms (replica.lag.time.max.ms). */
  readonly lagTime?: number
  /** A follower's fetch waits so long for something new, ms (replica.fetch.wait.max.ms). */
  readonly followerWait?: number
  /** Producers that are silent for so long are forgotten, ms (producer.id.expiration.ms). */
  readonly producerIdExpiry?: number
  /** How often the coordinator looks for transactions that are too old, ms (transaction.abort.timed.out.transaction.cleanup.interval.ms). */
  readonly transactionCheck?: number
  /** transaction.max.timeout.ms */
  readonly maxTransactionTimeout?: number
  /** max.message.bytes, for a whole batch. */
  readonly maxMessageBytes?: number
  /** The first epoch of a transactional id; near 32,766 to see its producer id change soon. */
  readonly firstEpoch?: number
}

const defaults = {
  brokers: 1,
  minIsr: 1,
  partitions: 1,
  transactionVersion: 2,
  topic: 'log',
  topicId: '00000000-0000-4000-8000-000000000001',
  delay: 2,
  metadataDelay: 20,
  sessionTimeout: 9_000,
  lagTime: 30_000,
  followerWait: 500,
  producerIdExpiry: 86_400_000,
  transactionCheck: 10_000,
  maxTransactionTimeout: 900_000,
  maxMessageBytes: 1_048_588,
  firstEpoch: 0,
} as const satisfies Partial<ClusterOptions>

export class Cluster {
  readonly #state: State

  /** @param state only for `clone` */
  constructor(options: ClusterOptions, state?: State) {
    this.#state = state ?? initial({ ...defaults, ...options })
  }

  /** A cluster of its own in the same state. @param random of its own as well, where that draws from somewhere */
  clone(random: () => number = this.#state.settings.random): Cluster {
    const state = cloneState(this.#state, random)
    return new Cluster(state.settings, state)
  }

  /** Equal for two clusters that will do the same from here on, however they came here and whenever. */
  fingerprint(): string {
    return fingerprintOf(this.#state)
  }

  /** When a tick has something to do; undefined: not before another input. */
  get due(): number | undefined {
    return this.#state.timers[0]?.at
  }

  /** @param now virtual time, ms; never goes back */
  step(now: number, input: ClusterInput): ClusterOutput[] {
    const state = this.#state
    state.out = []
    for (let timer = state.timers[0]; timer && timer.at <= now; timer = state.timers[0]) {
      state.timers.shift()
      state.now = Math.max(state.now, timer.at)
      perform(state, timer.node, timer.work)
      flush(state)
    }
    state.now = Math.max(state.now, now)
    happen(state, input)
    flush(state)
    return state.out
  }
}

function initial(settings: Settings): State {
  const { brokers, partitions, random } = settings
  const nodes = Array.from({ length: brokers }, (_, node) => node)
  const leads = Array.from(
    { length: partitions + 1 },
    (): Lead => ({ leader: Math.floor(random() * brokers), epoch: 0, number: 0, isr: nodes }),
  )
  const image: Image = { version: 0, alive: nodes, leads }
  const block = 1_000
  const state: State = {
    settings,
    now: 0,
    brokers: [],
    image,
    silent: new Set(),
    nextId: block * brokers,
    timers: [],
    soon: [],
    orders: 0,
    cut: new Set(),
    out: [],
  }
  state.brokers = nodes.map(node => ({
    node,
    life: 'up',
    image,
    replicas: leads.map(lead => ({
      log: lead.leader === node ? begun(emptyLog(), lead) : emptyLog(),
      leading: lead.leader === node ? leadingFrom(state, node, lead, 0) : undefined,
      parked: [],
      expiresAt: undefined,
      exchange: 0,
    })),
    coordinating: leads.at(-1)!.leader === node ? { epoch: 0, ready: true, transactions: new Map() } : undefined,
    verifications: new Map(),
    ids: { next: block * node, end: block * (node + 1) },
    idsAsked: false,
    backlog: [],
    open: new Set<number>(),
  }))
  for (const broker of state.brokers) for (const partition of leads.keys()) beginToFollow(state, broker, partition)
  flush(state)
  return state
}

/** Its first leader has entered its epoch. */
function begun(log: ReplicaLog, { epoch }: Lead): ReplicaLog {
  enterEpoch(log, epoch, 0)
  return log
}

function happen(state: State, input: ClusterInput): void {
  switch (input.type) {
    case 'request':
      return arrive(state, input.node, input.key, input.request)
    case 'kill':
      return kill(state, input.node)
    case 'start':
      return start(state, input.node)
    case 'stop':
      return stop(state, input.node)
    case 'continue':
      return goOn(state, input.node)
    case 'part':
      return part(state, input.nodes)
    case 'join':
      return join(state, input.nodes)
    case 'tick':
  }
}

function arrive(state: State, node: number, key: number, request: ClusterRequest): void {
  const broker = state.brokers[node]
  if (!broker) throw new RangeError(`the cluster has no broker ${node}`)
  if (broker.life === 'dead' || broker.life === 'starting') {
    state.out.push({ do: 'dropped', key })
    return
  }
  broker.open.add(key)
  perform(state, node, { do: 'request', key, request })
}

/** What follows from what was done. */
function flush(state: State): void {
  for (let next = state.soon.shift(); next; next = state.soon.shift()) perform(state, next.node, next.work)
}

function perform(state: State, node: number, work: Work): void {
  const broker = state.brokers[node]
  if (!broker) decide(state, work)
  else if (broker.life === 'stopped') broker.backlog.push(work)
  else if (broker.life === 'up') act(state, broker, work)
}

/** The controller. */
function decide(state: State, work: Work): void {
  if (work.do === 'ids') giveIds(state, work.from)
  else if (work.do === 'alter-isr') alterIsr(state, work)
  else if (work.do === 'session') sessionOver(state, work.of)
  else if (work.do === 'register') register(state, work.of)
}

function act(state: State, broker: BrokerState, work: Work): void {
  switch (work.do) {
    case 'request':
      return serve(state, broker, work.key, work.request)
    case 'retry':
      return askCoordinator(state, broker, work.verification)
    case 'verify':
      return verify(state, broker, { node: work.from, verification: work.verification }, work.ask)
    case 'verified':
      return verified(state, broker, work.verification, work.error)
    case 'write':
      return writeTransaction(state, broker, work.coordinatorEpoch, work.next, work.aim)
    case 'mark':
      return mark(state, broker, work.coordinatorEpoch, work.id, work.partition)
    case 'marker':
      return appendMarker(state, broker, work.from, work.coordinatorEpoch, work.partition, work.transaction)
    case 'marked':
      return markerDone(state, broker, work.coordinatorEpoch, work.id, work.partition, work.error)
    case 'loaded':
      return loaded(state, broker, work.coordinatorEpoch)
    case 'check-timeout':
      return checkTimeout(state, broker, work.coordinatorEpoch, work.id, work.startedAt)
    case 'expire':
      return expire(state, broker, work.partition)
    case 'wake':
      return wake(state, broker, work.partition)
    case 'go-on':
      return proceed(state, broker, work)
    case 'image':
      return learn(state, broker)
    case 'lag':
      return checkLag(state, broker, work.partition, work.epoch)
    case 'follow':
      return follow(state, broker, work.partition, work.exchange)
    case 'asked':
      return asked(state, broker, work.partition, work.from, work.ask)
    case 'followed':
      return followed(state, broker, work.partition, work.exchange, work.reply)
    case 'feed':
      return keepPromise(state, broker, work.partition, work.to)
    case 'altered':
      return altered(state, broker, work.partition, work.lead)
    case 'ids':
    case 'alter-isr':
    case 'session':
    case 'register':
  }
}

function proceed(state: State, broker: BrokerState, { partition, purpose, error }: Extract<Work, { do: 'go-on' }>): void {
  switch (purpose.do) {
    case 'produce':
      return produced(state, broker, partition, purpose.key, purpose.offset, error)
    case 'transaction':
      return written(state, broker, purpose.coordinatorEpoch, purpose.next, purpose.aim, error)
    case 'marker':
      return marked(state, broker, purpose.from, purpose.coordinatorEpoch, purpose.id, purpose.partition, error)
  }
}

function serve(state: State, broker: BrokerState, key: number, request: ClusterRequest): void {
  switch (request.api) {
    case 'produce':
      return produce(state, broker, key, request)
    case 'fetch':
      return fetch(state, broker, key, request)
    case 'list-offsets':
      return listOffsets(state, broker, key, request)
    case 'init-producer-id':
      return init(state, broker, key, request)
    case 'add-partitions':
      return addPartitions(state, broker, key, request)
    case 'end-txn':
      return end(state, broker, key, request)
    case 'metadata':
      return reply(state, broker, key, metadata(state, broker))
    case 'find-coordinator':
      return reply(state, broker, key, coordinator(state, broker))
  }
}

const at = (node: number) => ({ host: `broker-${node}`, port: 9092 })

/** As this broker sees the cluster, which may be long ago. */
function metadata({ settings }: State, { image, node }: BrokerState) {
  const replicas = Array.from({ length: settings.brokers }, (_, id) => id)
  return {
    brokers: image.alive.map(id => ({ id, ...at(id) })),
    controller: image.alive[0] ?? node,
    clusterId: 'model',
    topics: [
      {
        id: settings.topicId,
        name: settings.topic,
        partitions: image.leads.slice(0, settings.partitions).map(({ leader, epoch, isr }, index) => ({
          index,
          leader,
          leaderEpoch: epoch,
          replicas,
          isr,
          ...(leader < 0 ? { error: 'LEADER_NOT_AVAILABLE' as const } : {}),
        })),
      },
    ],
  }
}

function coordinator(state: State, { image }: BrokerState) {
  const { leader } = image.leads[transactionLog(state)]!
  return leader < 0
    ? { error: 'COORDINATOR_NOT_AVAILABLE' as const, message: null, node: -1, host: '', port: -1 }
    : { error: 'NONE' as const, message: null, node: leader, ...at(leader) }
}
