/**
 * The log on Kafka: the model of a cluster, with one broker and without delays. What is asked of it is done at once and whole, the coordinator's
 * markers included; what is read of it are the records that a committed read gives. Time stands still there until nothing else can happen.
 */
import { decodeBatches } from '../../../src/log/kafka/batch.ts'
import { encodeRecords, isBarrier, storedOf } from '../../../src/log/kafka/framing.ts'
import type { Call, Reply } from '../../../src/log/kafka/lane.ts'
import { Cluster, type ClusterReplies, type ClusterRequest } from '../../../src/testing/cluster.ts'
import { Fault } from './explore.ts'
import { type Log, type Logs, TIME } from './log.ts'
import type { Input, LogRequest } from './machine.ts'
import type { Arrival, Place, Sent, Site } from './state.ts'

const TOPIC = { topic: 'log', topicId: '00000000-0000-4000-8000-000000000001', partition: 0 }
/** What was open longer is aborted, ms. */
const TRANSACTION_TIMEOUT = 10_000

type Asked = Exclude<Call, { api: 'gap' | 'passed' | 'yield' }>

interface KafkaPlace extends Place {
  readonly cluster: Cluster
  readonly now: number
}

export class KafkaSite implements Site {
  readonly first: Place
  readonly outlives = true
  readonly #logs: Logs
  readonly #version: 1 | 2
  readonly #places = new Map<string, KafkaPlace>()
  readonly #arrivals = new Map<string, Arrival>()

  constructor(logs: Logs, version: 1 | 2) {
    this.#logs = logs
    this.#version = version
    const cluster = new Cluster({ ...TOPIC, random: () => 0, delay: 0, transactionVersion: version })
    const identity = ask<'init-producer-id'>(
      cluster,
      0,
      this.#requestOf({ api: 'init', transactionalId: null, producerId: -1n, epoch: -1 }),
    )
    const value = logs.first.entries[0]!.value
    const batch = encodeRecords([{ value, tenant: null, time: TIME }], undefined, { ...identity, sequence: 0 }, false)
    ask(cluster, 0, this.#requestOf({ api: 'produce', batch, transactionalId: null }))
    this.first = this.#place(cluster, 0, logs.first)
  }

  arrive(place: Place, sent: Sent, request: LogRequest): Arrival | undefined {
    if (request.type !== 'call') throw new Error('Kafka is called')
    if (request.request.api === 'gap') return undefined
    const key = `${place.number} ${sent.key}`
    let arrival = this.#arrivals.get(key)
    if (!arrival) {
      const { cluster, now, log } = place as KafkaPlace
      const after = cluster.clone()
      const reply = ask(after, now, this.#requestOf(request.request as Asked)) as Reply
      const heard: Input = { type: 'called', lane: request.lane, call: request.call, reply }
      arrival = { place: this.#place(after, now, log), heard, what: reply.error }
      this.#arrivals.set(key, arrival)
    }
    if (arrival.place.log.problem !== undefined) throw new Fault(arrival.place.log.problem, ['a record is committed'])
    return arrival
  }

  lost(request: LogRequest): Input | undefined {
    return request.type === 'call'
      ? { type: 'called', lane: request.lane, call: request.call, reply: { error: 'LOST', message: 'lost' } }
      : undefined
  }

  /** What stands in front of a transaction that is open does not change any more. */
  atOnce({ log }: Place, request: LogRequest): Input | undefined {
    if (request.type !== 'call' || request.request.api !== 'gap') return undefined
    const { after, before } = request.request
    if (log.end < before - 1) return undefined
    const between = log.entries.filter(({ position }) => position > after && position < before)
    return { type: 'called', lane: request.lane, call: request.call, reply: { error: 'NONE', between } }
  }

  /** A transaction that nobody ends is aborted after some time. */
  goOn(place: Place): Place | undefined {
    const { cluster, log } = place as KafkaPlace
    const after = cluster.clone()
    for (let ticks = 0; ticks < 10 && after.due !== undefined; ticks++) {
      const now = after.due
      after.step(now, { type: 'tick' })
      const next = this.#place(after.clone(), now, log)
      if (next.log !== log) return next
    }
    return undefined
  }

  #place(cluster: Cluster, now: number, before: Log): KafkaPlace {
    const log = this.#read(cluster, now, before)
    const key = `${log.number} ${cluster.fingerprint()}`
    let place = this.#places.get(key)
    if (!place) this.#places.set(key, (place = { number: this.#places.size, log, cluster, now }))
    return place
  }

  /** What a committed read brings beyond what was read before. */
  #read(cluster: Cluster, now: number, before: Log): Log {
    const from = before.end
    const where = { ...TOPIC, offset: from, leaderEpoch: -1, lastFetchedEpoch: -1, maxWait: 0, minBytes: 1, maxBytes: 1 << 20 }
    const reply = ask<'fetch'>(cluster.clone(), now, { api: 'fetch', ...where, isolation: 'read_committed' })
    if (reply.error !== 'NONE') throw new Error(`the model refuses a read: ${reply.error}`)
    const { records, next } = decodeBatches(reply.bytes, { from, aborted: reply.aborted, committed: true })
    let log = before
    for (const record of records) {
      const { position, value, tenant } = storedOf(record)
      log = this.#logs.append(log, { value, tenant, time: TIME, barrier: isBarrier(record) }, position)
    }
    return this.#logs.pass(log, next)
  }

  #requestOf(call: Asked): ClusterRequest {
    switch (call.api) {
      case 'init': {
        const { transactionalId, producerId, epoch } = call
        return { api: 'init-producer-id', transactionalId, producerId, epoch, timeout: TRANSACTION_TIMEOUT }
      }
      case 'add-partition': {
        const { transactionalId, producerId, epoch } = call
        return { api: 'add-partitions', transactionalId, producerId, epoch, topic: TOPIC.topic, partitions: [0] }
      }
      case 'produce': {
        const version = call.transactionalId === null ? 13 : this.#version === 1 ? 11 : 12
        return { api: 'produce', ...TOPIC, version, batch: call.batch, transactionalId: call.transactionalId, timeout: 3_000 }
      }
      case 'end': {
        const { transactionalId, producerId, epoch, commit } = call
        return { api: 'end-txn', version: this.#version === 1 ? 4 : 5, transactionalId, producerId, epoch, commit }
      }
    }
  }
}

/** Asks, and lets the cluster work until it has nothing more to do. */
function ask<K extends keyof ClusterReplies>(cluster: Cluster, now: number, request: ClusterRequest): ClusterReplies[K] {
  const outputs = cluster.step(now, { type: 'request', key: 1, node: 0, request })
  for (let ticks = 0; (cluster.due ?? Infinity) <= now; ticks++) {
    if (ticks > 1_000) throw new Error('the model never comes to rest')
    outputs.push(...cluster.step(now, { type: 'tick' }))
  }
  const [output] = outputs
  if (output?.do !== 'reply') throw new Error(`the model does not answer ${request.api}`)
  return output.reply as ClusterReplies[K]
}
