/**
 * One partition as a log: a shard. Reads are read_committed and wait at the broker, on a connection of their own, for a long poll blocks
 * whatever comes behind it; what is written is decided by the producer's machine (`producer.ts`), and carried out here.
 *
 * A broker's word on the end of the log is no evidence: fetch and ListOffsets ask no quorum, and a deposed leader answers with an old
 * prefix. Only a barrier tells (DESIGN: unknown is settled by reading).
 */
import { type Clock, machine, nap } from '../../clock.ts'
import { EngineError } from '../../errors.ts'
import type { AppendOptions, Appended, Chunk, Log, NewRecord, Position, ReadOptions, Stored } from '../../log.ts'
import { LOST, UNSENT, type Unanswered } from './answers.ts'
import { decodeBatches, type InRecord } from './batch.ts'
import { Disconnected, Refused } from './client.ts'
import { isBarrier, storedOf } from './framing.ts'
import type { Between, Call, Reply } from './lane.ts'
import { Producer, type ProducerOptions, type ProducerOutput } from './producer.ts'
import type { Line, Wire } from './wire.ts'

/** How long a broker keeps a fetch that finds nothing, ms. */
const LONG_POLL = 500
/** What a fetch brings at most, bytes: larger ones were seen to be slower. */
const FETCH_BYTES = 1 << 20
/** A fetch brings at least the batch that it begins in. */
const ONE_BATCH = 1
/** How long a broker may take to have a batch replicated before it says so, ms. */
const PRODUCE_TIMEOUT = 3_000
/** A transaction that its writer left is aborted by the coordinator then; until that, nobody reads past it. ms */
const TRANSACTION_TIMEOUT = 10_000
/** Between attempts to read when nobody answers, ms; doubles up to the second one. */
const RETRY = 20
const RETRY_MOST = 500
/** How often a reader looks that waits beside the one that waits at the broker, ms. */
const ASIDE = 20
/** How long a read that does not wait tries to reach a broker, ms. */
const PATIENCE = 10_000
/** How long a coordinator may say that it is busy before others are asked who coordinates, ms: one that is parted from them says so for ever. */
const BUSY = 2_000
/** How long the look at a gap may take, ms: meanwhile the transaction is open, and nobody reads past it. */
const GAP_PATIENCE = 3_000

/** What a fetch has told. `reached`: the position of the last entry looked at. */
interface Fetched {
  readonly records: readonly InRecord[]
  readonly reached: Position
}

/** Errors of a read that say: somebody else leads, or nobody yet. */
const PASSING: ReadonlySet<string> = new Set([
  'NOT_LEADER_OR_FOLLOWER',
  'LEADER_NOT_AVAILABLE',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'UNKNOWN_TOPIC_ID',
  'UNKNOWN_TOPIC_OR_PARTITION',
  'INCONSISTENT_TOPIC_ID',
  'REPLICA_NOT_AVAILABLE',
  'KAFKA_STORAGE_ERROR',
  'OFFSET_NOT_AVAILABLE',
  'UNKNOWN_SERVER_ERROR',
  'REQUEST_TIMED_OUT',
  'NETWORK_EXCEPTION',
  'THROTTLING_QUOTA_EXCEEDED',
])

export interface PartitionOptions extends Omit<ProducerOptions, 'transactionalId' | 'version' | 'random'> {
  readonly description: string
  /** Default: the machine's. */
  readonly clock?: Clock
}

/** Shared by all who write to the shard. */
export const transactionalIdOf = (topic: string, partition: number): string => `mainstem.${topic}.${partition}`

export class PartitionLog implements Log {
  readonly description: string
  readonly place: string
  readonly conditional: boolean
  readonly freshHead = false
  readonly selective = false
  readonly tails = true
  readonly #topic: Wire
  readonly #clock: Clock
  readonly #partition: number
  readonly #transactionalId: string
  readonly #producer: Producer
  readonly #appends = new Map<number, (answers: readonly Appended[]) => void>()
  readonly #conns = new Map<string, Line>()
  readonly #connecting = new Map<string, Promise<Line>>()
  readonly #passing = new Set<{ readonly position: Position; readonly done: () => void }>()
  /** Called when a record is read that is no barrier. */
  readonly #yielding = new Set<() => void>()
  readonly #closing = new AbortController()
  #keys = 0
  #cancelTick: (() => void) | undefined
  /** Who coordinates the transactional id, as far as is known, and since when it does nothing but say that it is busy. */
  #coordinator: { readonly node: number; busy: number | undefined } | undefined
  /** How far a committed read has come. */
  #passed: Position = 0
  /** Where the last record stands that is no barrier, as far as a waiting read has told. */
  #written: Position = 0
  /** A waiting read is on its way: it tells what passes. */
  #tailing = false
  /** Leader epoch of the last batch that was read in turn, and where it ended: a leader with another past says so. */
  #lineage: { readonly epoch: number; readonly reached: Position } | undefined

  constructor(topic: Wire, partition: number, { clock = machine, ...options }: PartitionOptions) {
    this.#topic = topic
    this.#clock = clock
    this.#partition = partition
    this.description = options.description
    this.place = `${topic.id}/${partition}`
    this.conditional = options.fencing !== 'term'
    this.#transactionalId = transactionalIdOf(topic.name, partition)
    const of = { transactionalId: this.#transactionalId, version: topic.versions.transactions, random: () => clock.random() }
    this.#producer = new Producer({ ...options, ...of })
  }

  // --- Reading ----------------------------------------------------------------------------------------------------------

  async read(
    from: Position | (() => Position),
    { tenant, upTo = Number.MAX_SAFE_INTEGER, wait = false, signal }: ReadOptions = {},
  ): Promise<Chunk> {
    for (;;) {
      const after = typeof from === 'number' ? from : from()
      const nothing = { records: [], reached: after }
      if (signal?.aborted || this.#closing.signal.aborted || after >= upTo) return nothing
      // One record costs its batch, and not whatever stands behind it.
      const bytes = upTo === after + 1 ? ONE_BATCH : FETCH_BYTES
      const fetched = await aborted(
        wait && !this.#tailing ? this.#tail(after, bytes, signal) : this.#fetch(after, 'read', 0, bytes, signal),
        signal,
      )
      if (!fetched) return nothing
      if (fetched.reached <= after) {
        if (!wait) return nothing
        // Whoever waits at the broker is told first.
        if (this.#tailing) await nap(this.#clock, ASIDE, this.#closing.signal)
        continue
      }
      const records: Stored[] = []
      for (const record of fetched.records) {
        const stored = storedOf(record)
        if (stored.position > upTo) break
        if (tenant === undefined || stored.tenant === null || stored.tenant === tenant) records.push(stored)
      }
      return { records, reached: Math.min(fetched.reached, upTo) }
    }
  }

  async head(): Promise<Position> {
    const until = this.#clock.now() + PATIENCE
    for (let tries = 0; ; tries++) {
      const reply = await this.#ask('read', line => line.listOffsets({ ...this.#where(), isolation: 'read_committed', timestamp: -1 }))
      // Positions are offsets + 1: the end offset is the position of the last entry.
      if (reply.error === 'NONE') return reply.offset
      await this.#again(reply.error, tries, until)
    }
  }

  /** Waits at the broker: one at a time, for a fetch that waits holds up its connection. */
  async #tail(after: Position, maxBytes: number, signal: AbortSignal | undefined): Promise<Fetched | undefined> {
    this.#tailing = true
    try {
      return await this.#fetch(after, 'tail', LONG_POLL, maxBytes, signal)
    } finally {
      this.#tailing = false
    }
  }

  /** One fetch, however often it must be asked for. */
  async #fetch(
    after: Position,
    purpose: string,
    maxWait: number,
    maxBytes = FETCH_BYTES,
    signal?: AbortSignal,
  ): Promise<Fetched | undefined> {
    const until = maxWait > 0 ? Infinity : this.#clock.now() + PATIENCE
    for (let tries = 0, beyond = 0; ; tries++) {
      if (signal?.aborted || this.#closing.signal.aborted) return undefined
      const { leaderEpoch } = this.#where()
      const lastFetchedEpoch = this.#lineage?.reached === after ? this.#lineage.epoch : -1
      const about = { topicId: this.#topic.id, partition: this.#partition, offset: after, leaderEpoch, lastFetchedEpoch }
      const size = { maxWait, minBytes: 1, maxBytes }
      const reply = await this.#ask(purpose, line => line.fetch({ ...about, ...size, isolation: 'read_committed' }))
      if (reply.error === 'NONE') {
        if (reply.diverging)
          throw this.#missing(
            `the leader's log has another past than what was read of it (it diverges at offset ${reply.diverging.endOffset})`,
          )
        const { records, next, epoch, damaged, hole } = decodeBatches(reply.bytes, { from: after, aborted: reply.aborted, committed: true })
        if (hole !== undefined) throw this.#missing(`offset ${hole} is not there any more`)
        if (damaged && records.length === 0 && next <= after)
          throw new EngineError(
            'log-unusable',
            `${this.description} is damaged at offset ${damaged.offset}: ${damaged.why}. Mend the topic, or copy the log from another replica of the cluster`,
          )
        if (purpose === 'tail' && epoch >= 0) this.#lineage = { epoch, reached: next }
        this.#note(next)
        const last = records.findLast(record => !isBarrier(record))
        if (last && purpose === 'tail') {
          this.#written = storedOf(last).position
          for (const done of this.#yielding) done()
        }
        return { records, reached: next }
      }
      if (reply.error === 'OFFSET_OUT_OF_RANGE') {
        // A leader that is behind says the same: who leads is looked up first, again and again.
        await this.#topic.refresh()
        if (++beyond > 3) throw this.#missing(await this.#range(after))
      } else beyond = 0
      await this.#again(reply.error, tries, until)
    }
  }

  async #range(after: Position): Promise<string> {
    const bound = async (timestamp: -1 | -2) => {
      const reply = await this.#ask('read', line => line.listOffsets({ ...this.#where(), isolation: 'read_uncommitted', timestamp }))
      return reply.error === 'NONE' ? reply.offset : '?'
    }
    return `it holds offsets ${await bound(-2)} to ${await bound(-1)}, and was read up to ${after}`
  }

  #missing(what: string): EngineError {
    return new EngineError(
      'log-behind',
      `records of ${this.description} are missing: ${what}. Retention, an unclean election or a deletion has taken them. Stop, and bring the log back from a copy; \`mainstem doctor\` shows the settings`,
    )
  }

  /** Before the next attempt. @throws EngineError when there shall be none */
  async #again(error: string, tries: number, until: number): Promise<void> {
    if (this.#topic.failure) throw this.#topic.failure
    if (error === 'TOPIC_AUTHORIZATION_FAILED' || error === 'GROUP_AUTHORIZATION_FAILED')
      throw new EngineError(
        'log-denied',
        `this user may not read ${this.description}. Allow Describe and Read on the topic (kafka-acls --add --topic)`,
      )
    if (error !== LOST && error !== UNSENT && error !== 'OFFSET_OUT_OF_RANGE' && !PASSING.has(error))
      throw new EngineError('log-unreachable', `${this.description} cannot be read: ${error}`)
    if (this.#clock.now() > until) throw new EngineError('log-unreachable', `no broker that leads ${this.description} answers (${error})`)
    await this.#topic.refresh()
    if (tries > 0) await nap(this.#clock, Math.min(RETRY_MOST, RETRY * 2 ** Math.min(tries, 10)), this.#closing.signal)
  }

  /** Committed reads have come so far. */
  #note(reached: Position): void {
    if (reached <= this.#passed) return
    this.#passed = reached
    for (const waiter of this.#passing) if (waiter.position <= reached) waiter.done()
  }

  // --- Writing ----------------------------------------------------------------------------------------------------------

  append(records: readonly NewRecord[], { after, fence, signal }: AppendOptions = {}): Promise<readonly Appended[]> {
    const { failure } = this.#topic
    if (failure) return Promise.resolve(records.map(() => ({ status: 'not-written', cause: failure, fatal: true })))
    const key = ++this.#keys
    return new Promise(resolve => {
      const giveUp = () => this.#step({ type: 'give-up', key })
      this.#appends.set(key, answers => {
        signal?.removeEventListener('abort', giveUp)
        resolve(answers)
      })
      signal?.addEventListener('abort', giveUp)
      this.#step({ type: 'append', append: { key, records, after, fence } })
    })
  }

  #step(input: Parameters<Producer['step']>[1], lane?: ProducerOutput['lane']): void {
    for (const output of this.#producer.step(this.#clock.now(), input, lane)) {
      if (output.do === 'answer') {
        const answer = this.#appends.get(output.key)
        this.#appends.delete(output.key)
        answer?.(output.answers)
      } else void this.#carryOut(output)
    }
    this.#cancelTick?.()
    const { due } = this.#producer
    if (due !== undefined && !this.#closing.signal.aborted)
      this.#cancelTick = this.#clock.after(Math.max(0, due - this.#clock.now()), () => this.#step({ type: 'tick' }))
  }

  async #carryOut({ call, lane, request }: Extract<ProducerOutput, { do: 'call' }>): Promise<void> {
    const reply = await this.#call(request, lane)
    if (!this.#closing.signal.aborted) this.#step({ type: 'reply', call, reply }, lane)
  }

  async #call(request: Call, lane: string): Promise<Reply> {
    const { id: topicId, name: topic, versions } = this.#topic
    switch (request.api) {
      case 'init':
        return this.#coordinate(request.transactionalId, line => line.initProducerId({ ...request, timeout: TRANSACTION_TIMEOUT }))
      case 'add-partition':
        return this.#coordinate(request.transactionalId, line => line.addPartitions({ ...request, topic, partitions: [this.#partition] }))
      case 'end':
        return this.#coordinate(request.transactionalId, line => line.endTxn({ ...request, version: versions.endTxn }))
      case 'produce': {
        const version = request.transactionalId === null ? versions.produce : versions.produceInTransaction
        const where = { version, topic, topicId, partition: this.#partition, timeout: PRODUCE_TIMEOUT }
        const reply = await this.#ask(lane === 'plain' ? 'write' : 'write fenced', line => line.produce({ ...request, ...where }))
        if (reply.error !== 'NONE') await this.#topic.refresh()
        return reply
      }
      case 'gap':
        return this.#gap(request.after, request.before)
      case 'passed':
        await this.#untilPassed(request.position)
        return { error: 'NONE' }
      case 'yield':
        await this.#yield(request.after, request.patience)
        return { error: 'NONE' }
    }
  }

  /** Reads what stands between two positions. The own transaction is open: nothing from its first record on is committed. */
  async #gap(after: Position, before: Position): Promise<Reply> {
    const until = this.#clock.now() + GAP_PATIENCE
    const between: Between[] = []
    try {
      for (let reached = after; reached < before - 1; ) {
        if (this.#clock.now() > until) return { error: LOST, message: 'another transaction stands open before this one' }
        const fetched = await this.#fetch(reached, 'gap', 0)
        if (!fetched) return { error: UNSENT }
        for (const record of fetched.records) {
          const { position, tenant } = storedOf(record)
          between.push({ position, tenant, barrier: isBarrier(record) })
        }
        if (fetched.reached === reached) await nap(this.#clock, 2, this.#closing.signal)
        reached = fetched.reached
      }
      return { error: 'NONE', between }
    } catch (error) {
      return { error: LOST, message: (error as Error).message }
    }
  }

  async #untilPassed(position: Position): Promise<void> {
    if (this.#passed >= position) return
    await new Promise<void>(resolve => {
      const waiter = {
        position,
        done: () => {
          this.#passing.delete(waiter)
          this.#closing.signal.removeEventListener('abort', waiter.done)
          resolve()
        },
      }
      this.#passing.add(waiter)
      this.#closing.signal.addEventListener('abort', waiter.done)
      void this.#passByItself(position)
    })
  }

  /** Until whoever follows the log has read what somebody wrote behind this, or for so long. */
  async #yield(after: Position, patience: number): Promise<void> {
    if (this.#written > after) return
    const enough = new AbortController()
    const done = () => enough.abort()
    this.#yielding.add(done)
    await nap(this.#clock, patience, AbortSignal.any([enough.signal, this.#closing.signal]))
    this.#yielding.delete(done)
  }

  /** Where nobody follows the log, it is read for this alone. */
  async #passByItself(position: Position): Promise<void> {
    try {
      while (this.#passed < position && !this.#closing.signal.aborted) {
        if (this.#tailing) await nap(this.#clock, ASIDE, this.#closing.signal)
        else await this.#fetch(Math.max(this.#passed, position - 1), 'gap', LONG_POLL)
      }
    } catch {
      // Whoever reads the log will be told. What is written next finds out for itself whether the coordinator is ready.
      this.#note(position)
    }
  }

  // --- Connections ------------------------------------------------------------------------------------------------------

  #where() {
    return { topic: this.#topic.name, partition: this.#partition, leaderEpoch: this.#topic.leader(this.#partition)?.epoch ?? -1 }
  }

  /** Asks the partition's leader, on a connection of this purpose. */
  async #ask<R>(purpose: string, call: (line: Line) => Promise<R>): Promise<R | Unanswered> {
    const leader = this.#topic.leader(this.#partition)
    if (!leader) return { error: UNSENT, message: 'nobody leads the partition now' }
    try {
      return await call(await this.#connection(`${purpose} ${leader.node}`, () => this.#topic.connect(leader.node, purpose)))
    } catch (error) {
      if (!(error instanceof Disconnected)) throw error
      return { error: error.sent ? LOST : UNSENT, message: error.message }
    }
  }

  /** Asks whoever gives out identities: the coordinator of a transactional id, or any broker. */
  async #coordinate(transactionalId: string | null, call: (line: Line) => Promise<Reply>): Promise<Reply> {
    const key = `coordinator ${transactionalId === null ? 'of ids' : 'of transactions'}`
    let reply: Reply
    try {
      const line = await this.#connection(key, async () => {
        const node = transactionalId === null ? this.#topic.leader(this.#partition)?.node : await this.#findCoordinator(transactionalId)
        if (node === undefined) throw new Disconnected('nobody leads the partition now', false)
        return this.#topic.connect(node, 'coordinate')
      })
      reply = await call(line)
    } catch (error) {
      if (error instanceof Refused) reply = { error: error.code, message: error.message }
      else if (error instanceof Disconnected) reply = { error: error.sent ? LOST : UNSENT, message: error.message }
      else throw error
    }
    const elsewhere =
      reply.error === LOST ||
      reply.error === UNSENT ||
      (reply.error.includes('COORDINATOR') && reply.error !== 'COORDINATOR_LOAD_IN_PROGRESS') ||
      (transactionalId !== null && this.#isBusyTooLong(reply))
    if (elsewhere) this.#drop(key)
    if (elsewhere || reply.error === 'COORDINATOR_LOAD_IN_PROGRESS') await this.#topic.refresh()
    return reply
  }

  /** Believed no more once it would not do. */
  async #findCoordinator(transactionalId: string): Promise<number> {
    const node = await this.#topic.coordinator(transactionalId, this.#coordinator?.node)
    this.#coordinator = { node, busy: undefined }
    return node
  }

  #isBusyTooLong({ error }: Reply): boolean {
    const coordinator = this.#coordinator
    if (!coordinator) return false
    if (error === 'CONCURRENT_TRANSACTIONS') coordinator.busy ??= this.#clock.now()
    else coordinator.busy = undefined
    return coordinator.busy !== undefined && this.#clock.now() - coordinator.busy > BUSY
  }

  async #connection(key: string, connect: () => Promise<Line>): Promise<Line> {
    const open = this.#conns.get(key)
    if (open && !open.closed) return open
    let connecting = this.#connecting.get(key)
    if (!connecting) {
      connecting = connect()
        .then(conn => {
          if (this.#closing.signal.aborted) conn.close()
          else this.#conns.set(key, conn)
          return conn
        })
        .finally(() => this.#connecting.delete(key))
      this.#connecting.set(key, connecting)
    }
    return connecting
  }

  #drop(key: string): void {
    this.#conns.get(key)?.close()
    this.#conns.delete(key)
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#step({ type: 'close' })
    this.#closing.abort()
    this.#cancelTick?.()
    for (const conn of this.#conns.values()) conn.close()
    this.#conns.clear()
  }
}

/** What comes first: the work's end, or the signal (undefined). */
async function aborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T | undefined> {
  if (!signal) return work
  let stop: (() => void) | undefined
  const stopped = new Promise<undefined>(resolve => {
    stop = () => resolve(undefined)
    signal.addEventListener('abort', stop)
  })
  try {
    return await Promise.race([work, stopped])
  } finally {
    signal.removeEventListener('abort', stop!)
    work.catch(() => {})
  }
}
