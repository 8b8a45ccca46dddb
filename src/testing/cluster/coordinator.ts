/**
 * The coordinator of transactions: InitProducerId, AddPartitionsToTxn, EndTxn, markers, time-outs. Its state is a log that is replicated as
 * any other; whoever leads that log coordinates, once it has read it. Rules of TransactionCoordinator and TransactionMetadata of Kafka's
 * source (KIP-98, KIP-360, KIP-890), compared with a real broker step by step in test/kafka/model.
 */
import type { Code } from '../../log/kafka/codes.ts'
import { markerOf, transactionEntry } from './entry.ts'
import { append } from './log.ts'
import type { ClusterRequest } from './messages.ts'
import { known, markerRefusal } from './producers.ts'
import { appended, inSync } from './replication.ts'
import {
  type Aim,
  type Asker,
  type BrokerState,
  type Coordinated,
  type Coordinating,
  CONTROLLER,
  type EndAsker,
  expireBy,
  forget,
  hop,
  later,
  type Pending,
  reply,
  send,
  soon,
  type State,
  type Purpose,
  transactionLog,
  type VerifyAsk,
} from './state.ts'
import type { Transaction } from './transaction.ts'

/** Epochs are 16 bits. The last one is never given out: it fences. */
const MOST = 32_767
/** How long the coordinator waits for the replicas of its log, and of markers, ms (request.timeout.ms). */
const WRITE_TIMEOUT = 30_000
/** Before a marker is sent again that was refused, ms, and one that nobody answered (request.timeout.ms). */
const MARK_AGAIN = 20
const MARK_PATIENCE = 30_000
/** A broker asks the controller for so many producer ids at once. */
const BLOCK = 1_000

type Init = Extract<ClusterRequest, { api: 'init-producer-id' }>
type End = Extract<ClusterRequest, { api: 'end-txn' }>
type Add = Extract<ClusterRequest, { api: 'add-partitions' }>

const exhausted = ({ epoch }: Transaction): boolean => epoch >= MOST - 1

/** Who coordinates here, or why nobody does. */
function coordinating(broker: BrokerState): Coordinating | 'NOT_COORDINATOR' | 'COORDINATOR_LOAD_IN_PROGRESS' {
  const { coordinating } = broker
  if (!coordinating) return 'NOT_COORDINATOR'
  return coordinating.ready ? coordinating : 'COORDINATOR_LOAD_IN_PROGRESS'
}

// --- Producer ids ---------------------------------------------------------------------------------------------------------

/** Observed on 4.3.1: a broker that has just started, and has no ids as yet, answers COORDINATOR_LOAD_IN_PROGRESS. */
function newProducerId(state: State, broker: BrokerState): number | undefined {
  const { ids } = broker
  if (ids.next < ids.end) return ids.next++
  if (!broker.idsAsked) broker.idsAsked = send(state, broker.node, CONTROLLER, { do: 'ids', from: broker.node })
  return undefined
}

/** The controller gives out a block. */
export function giveIds(state: State, from: number): void {
  const broker = state.brokers[from]!
  const next = state.nextId
  state.nextId += BLOCK
  if (broker.life === 'dead') return
  broker.ids = { next, end: next + BLOCK }
  broker.idsAsked = false
}

// --- InitProducerId -------------------------------------------------------------------------------------------------------

export function init(state: State, broker: BrokerState, key: number, request: Init): void {
  const error = initiated(state, broker, key, request)
  if (error) reply(state, broker, key, { error, producerId: -1n, epoch: -1 })
}

function initiated(state: State, broker: BrokerState, key: number, request: Init): Code | undefined {
  const { transactionalId: id, timeout } = request
  if (id === null) {
    const producerId = newProducerId(state, broker)
    if (producerId === undefined) return 'COORDINATOR_LOAD_IN_PROGRESS'
    reply(state, broker, key, { error: 'NONE', producerId: BigInt(producerId), epoch: 0 })
    return undefined
  }
  if (id === '') return 'INVALID_REQUEST'
  if (timeout <= 0 || timeout > state.settings.maxTransactionTimeout) return 'INVALID_TRANSACTION_TIMEOUT'
  const here = coordinating(broker)
  if (typeof here === 'string') return here
  let known = here.transactions.get(id)
  if (!known) {
    const producerId = newProducerId(state, broker)
    if (producerId === undefined) return 'COORDINATOR_LOAD_IN_PROGRESS'
    known = { transaction: fresh(state, id, producerId, timeout), pending: undefined }
    here.transactions.set(id, known)
  }
  const { transaction, pending } = known
  const own = request.producerId < 0n ? undefined : { producerId: Number(request.producerId), epoch: request.epoch }
  if (pending) return 'CONCURRENT_TRANSACTIONS'
  if (own && !isOwn(transaction, own)) return 'PRODUCER_FENCED'
  switch (transaction.state) {
    // Observed on 4.3.1: until the markers are written the id is busy.
    case 'PrepareCommit':
    case 'PrepareAbort':
      return 'CONCURRENT_TRANSACTIONS'
    // What is open is aborted first, under an epoch that nobody is given; whoever asked comes again.
    case 'Ongoing':
      return fence(state, broker, here, transaction, { key, fenced: true, version: 4 })
    default: {
      const next = renewed(state, broker, { ...transaction, timeout }, own)
      if (typeof next === 'string') return next
      return store(state, broker, here, next, { do: 'init', key })
    }
  }
}

function fresh({ settings }: State, id: string, producerId: number, timeout: number): Transaction {
  return {
    id,
    state: 'Empty',
    producerId,
    epoch: settings.firstEpoch - 1,
    lastEpoch: -1,
    previousProducerId: -1,
    nextProducerId: -1,
    timeout,
    partitions: [],
    startedAt: -1,
    version: 1,
  }
}

interface Own {
  readonly producerId: number
  readonly epoch: number
}

/** Somebody who goes on as itself: under the id that is known, or the one before where that came to its end. */
function isOwn({ epoch, producerId, previousProducerId }: Transaction, own: Own): boolean {
  return epoch === -1 || own.producerId === producerId || (own.producerId === previousProducerId && own.epoch >= MOST - 1)
}

/** The next epoch, or at the end of them another producer id (KIP-360). */
function renewed(state: State, broker: BrokerState, transaction: Transaction, own: Own | undefined): Transaction | Code {
  const { epoch, lastEpoch } = transaction
  const empty = { ...transaction, state: 'Empty', partitions: [], startedAt: -1 } as const
  if (exhausted(transaction) && (!own || own.epoch === epoch)) {
    const producerId = newProducerId(state, broker)
    if (producerId === undefined) return 'COORDINATOR_LOAD_IN_PROGRESS'
    return { ...empty, producerId, epoch: 0, lastEpoch: own ? epoch : -1, previousProducerId: transaction.producerId }
  }
  if (!own) return { ...empty, epoch: epoch + 1, lastEpoch: -1 }
  if (epoch === -1 || own.epoch === epoch) return { ...empty, epoch: epoch + 1, lastEpoch: epoch }
  // The answer was lost, and is asked for again.
  if (own.epoch === lastEpoch) return empty
  // Observed on 4.3.1: whoever was overtaken hears this.
  return 'PRODUCER_FENCED'
}

/** Aborts what is open, under the next epoch. */
function fence(state: State, broker: BrokerState, here: Coordinating, transaction: Transaction, asker: EndAsker): Code | undefined {
  const { transactionVersion: version } = state.settings
  const { epoch } = transaction
  const next: Transaction = {
    ...transaction,
    state: 'PrepareAbort',
    epoch: Math.min(MOST, epoch + 1),
    // Observed on 4.3.1: with version 2 whoever was fenced so may take up the new epoch, until somebody else was given one.
    lastEpoch: version === 2 ? epoch : -1,
    version,
  }
  return store(state, broker, here, next, { do: 'end', for: asker })
}

// --- AddPartitionsToTxn ---------------------------------------------------------------------------------------------------

export function addPartitions(state: State, broker: BrokerState, key: number, request: Add): void {
  const { transactionalId, producerId, epoch, partitions } = request
  if (partitions.some(partition => partition < 0 || partition >= state.settings.partitions) || request.topic !== state.settings.topic)
    return reply(state, broker, key, { error: 'UNKNOWN_TOPIC_OR_PARTITION' })
  const error = add(state, broker, { key }, { transactionalId, producerId: Number(producerId), epoch }, partitions, 1)
  if (error) reply(state, broker, key, { error })
}

/** The leader of a partition asks on behalf of a batch. */
export function verify(state: State, broker: BrokerState, asker: { node: number; verification: number }, ask: VerifyAsk): void {
  const error = ask.add ? add(state, broker, asker, ask, [ask.partition], 2) : isAdded(broker, ask)
  if (error) answer(state, broker, asker, error)
}

interface Named extends Own {
  readonly transactionalId: string
}

function busyOrFenced({ transaction, pending }: Coordinated, { producerId, epoch }: Own): Code | undefined {
  if (transaction.producerId !== producerId) return 'INVALID_PRODUCER_ID_MAPPING'
  if (transaction.epoch !== epoch) return 'PRODUCER_FENCED'
  return pending || transaction.state.startsWith('Prepare') ? 'CONCURRENT_TRANSACTIONS' : undefined
}

function add(
  state: State,
  broker: BrokerState,
  asker: Asker,
  named: Named,
  partitions: readonly number[],
  version: 1 | 2,
): Code | undefined {
  const here = coordinating(broker)
  if (typeof here === 'string') return here
  const known = here.transactions.get(named.transactionalId)
  if (!known) return 'INVALID_PRODUCER_ID_MAPPING'
  const error = busyOrFenced(known, named)
  if (error) return error
  const { transaction } = known
  const ongoing = transaction.state === 'Ongoing'
  const all = [...new Set(ongoing ? [...transaction.partitions, ...partitions] : partitions)]
  if (ongoing && all.length === transaction.partitions.length) return 'NONE'
  const startedAt = ongoing ? transaction.startedAt : state.now
  return store(state, broker, here, { ...transaction, state: 'Ongoing', partitions: all, startedAt, version }, { do: 'added', for: asker })
}

function isAdded(broker: BrokerState, { transactionalId, producerId, epoch, partition }: VerifyAsk): Code {
  const here = coordinating(broker)
  if (typeof here === 'string') return here
  const known = here.transactions.get(transactionalId)
  if (!known) return 'INVALID_PRODUCER_ID_MAPPING'
  const error = busyOrFenced(known, { producerId, epoch })
  if (error) return error
  return known.transaction.partitions.includes(partition) ? 'NONE' : 'TRANSACTION_ABORTABLE'
}

function answer(state: State, broker: BrokerState, asker: Asker, error: Code): void {
  if ('key' in asker) return reply(state, broker, asker.key, { error })
  const { node, verification } = asker
  if (node === broker.node) return soon(state, node, { do: 'verified', verification, error })
  send(state, broker.node, node, { do: 'verified', verification, error })
}

// --- EndTxn ---------------------------------------------------------------------------------------------------------------

export function end(state: State, broker: BrokerState, key: number, request: End): void {
  const { version, producerId, epoch } = request
  const error = ending(state, broker, { key, fenced: false, version }, request)
  if (error) reply(state, broker, key, version >= 5 ? { error, producerId: -1n, epoch: -1 } : { error, producerId, epoch })
}

function ending(state: State, broker: BrokerState, asker: NonNullable<EndAsker>, request: End): Code | undefined {
  const here = coordinating(broker)
  if (typeof here === 'string') return here
  const known = here.transactions.get(request.transactionalId)
  if (!known) return 'INVALID_PRODUCER_ID_MAPPING'
  const { transaction, pending } = known
  const [producerId, epoch, commit] = [Number(request.producerId), request.epoch, request.commit]
  const bumps = request.version >= 5
  // With version 2 each end raises the epoch: the one before asks for an answer that was lost.
  const again = bumps && transaction.version === 2 && transaction.epoch === epoch + 1
  const overflown =
    bumps && transaction.version === 2 && transaction.previousProducerId === producerId && epoch === MOST - 1 && transaction.epoch === 0
  if (transaction.producerId !== producerId && !overflown) return 'INVALID_PRODUCER_ID_MAPPING'
  if (!rightEpoch(transaction, epoch, bumps, again || overflown)) return 'PRODUCER_FENCED'
  if (pending) return 'CONCURRENT_TRANSACTIONS'
  const retried = bumps ? again || overflown : true
  switch (transaction.state) {
    case 'Ongoing':
      return finish(state, broker, here, transaction, asker, commit)
    case 'PrepareCommit':
    case 'PrepareAbort':
      return 'CONCURRENT_TRANSACTIONS'
    case 'CompleteCommit':
    case 'CompleteAbort':
      if (retried && commit === (transaction.state === 'CompleteCommit')) {
        endAnswer(state, broker, asker, transaction)
        return undefined
      }
      if (retried || commit) return 'INVALID_TXN_STATE'
      return finish(state, broker, here, transaction, asker, false)
    case 'Empty':
      // Observed on 4.3.1: there is nothing to commit. Version 2 aborts it all the same: its client may not know whether something was added.
      return bumps && !commit ? finish(state, broker, here, transaction, asker, false) : 'INVALID_TXN_STATE'
  }
}

function rightEpoch({ state, epoch: current }: Transaction, epoch: number, bumps: boolean, again: boolean): boolean {
  if (!bumps || state === 'Ongoing' || state === 'Empty') return epoch === current
  return again || (state.startsWith('Complete') && epoch === current)
}

function finish(
  state: State,
  broker: BrokerState,
  here: Coordinating,
  transaction: Transaction,
  asker: NonNullable<EndAsker>,
  commit: boolean,
): Code | undefined {
  const bumps = asker.version >= 5
  const { epoch } = transaction
  let nextProducerId = -1
  if (bumps && exhausted(transaction)) {
    const id = newProducerId(state, broker)
    if (id === undefined) return 'COORDINATOR_LOAD_IN_PROGRESS'
    nextProducerId = id
  }
  const next: Transaction = {
    ...transaction,
    state: commit ? 'PrepareCommit' : 'PrepareAbort',
    ...(bumps ? { epoch: epoch + 1, lastEpoch: epoch } : {}),
    partitions: transaction.state === 'Ongoing' ? transaction.partitions : [],
    nextProducerId,
    version: bumps ? 2 : 1,
  }
  return store(state, broker, here, next, { do: 'end', for: asker })
}

function endAnswer(state: State, broker: BrokerState, asker: EndAsker, transaction: Transaction): void {
  if (!asker) return
  const { key, fenced, version } = asker
  if (fenced) return reply(state, broker, key, { error: 'CONCURRENT_TRANSACTIONS', producerId: -1n, epoch: -1 })
  const { nextProducerId, producerId, epoch } = transaction
  const rotated = version >= 5 && nextProducerId >= 0
  reply(state, broker, key, { error: 'NONE', producerId: BigInt(rotated ? nextProducerId : producerId), epoch: rotated ? 0 : epoch })
}

// --- The log of transactions ----------------------------------------------------------------------------------------------

/** The state is written, and counts once it was replicated; until then nothing else happens to the id. */
function store(state: State, broker: BrokerState, here: Coordinating, next: Transaction, aim: Aim): undefined {
  const { transaction } = here.transactions.get(next.id)!
  here.transactions.set(next.id, { transaction, pending: next.state })
  later(state, hop(state), broker.node, { do: 'write', coordinatorEpoch: here.epoch, next, aim })
}

export function writeTransaction(state: State, broker: BrokerState, coordinatorEpoch: number, next: Transaction, aim: Aim): void {
  const partition = transactionLog(state)
  const { log, leading } = broker.replicas[partition]!
  if (broker.coordinating?.epoch !== coordinatorEpoch || !leading)
    return written(state, broker, coordinatorEpoch, next, aim, 'NOT_LEADER_OR_FOLLOWER')
  if (inSync(leading) < state.settings.minIsr) return written(state, broker, coordinatorEpoch, next, aim, 'NOT_ENOUGH_REPLICAS')
  append(log, transactionEntry(next, log.end, leading.epoch, log.entries.at(-1)), state.now)
  wait(state, broker, partition, { do: 'transaction', coordinatorEpoch, next, aim })
}

/** Goes on once what was appended last is replicated. */
function wait(state: State, broker: BrokerState, partition: number, purpose: Purpose): void {
  const { log, leading } = broker.replicas[partition]!
  const pending: Pending = { end: log.end, until: state.now + WRITE_TIMEOUT, purpose }
  leading!.pending.push(pending)
  appended(state, broker, partition)
  if (leading!.pending.includes(pending)) expireBy(state, broker, partition, pending.until)
}

/** An append to the coordinator's log was replicated, or was not, so far as is known here. */
export function written(state: State, broker: BrokerState, epoch: number, next: Transaction, aim: Aim, error: Code): void {
  const here = broker.coordinating?.epoch === epoch ? broker.coordinating : undefined
  if (error !== 'NONE' || !here) {
    const told = error === 'NONE' || error === 'NOT_LEADER_OR_FOLLOWER' ? 'NOT_COORDINATOR' : 'COORDINATOR_NOT_AVAILABLE'
    const known = here?.transactions.get(next.id)
    if (known && aim.do !== 'completed') here!.transactions.set(next.id, { transaction: known.transaction, pending: undefined })
    // What is to be completed is tried for as long as one coordinates.
    if (here && aim.do === 'completed') later(state, MARK_AGAIN, broker.node, { do: 'write', coordinatorEpoch: epoch, next, aim })
    return failed(state, broker, aim, told)
  }
  here.transactions.set(next.id, { transaction: next, pending: undefined })
  switch (aim.do) {
    case 'init':
      return reply(state, broker, aim.key, { error: 'NONE', producerId: BigInt(next.producerId), epoch: next.epoch })
    case 'added':
      watch(state, broker, here, next)
      return answer(state, broker, aim.for, 'NONE')
    case 'end':
      // Observed on 4.3.1: answered before the markers are written, let alone to be seen.
      endAnswer(state, broker, aim.for, next)
      return conclude(state, broker, here, next)
    case 'completed':
  }
}

function failed(state: State, broker: BrokerState, aim: Aim, error: Code): void {
  if (aim.do === 'init') reply(state, broker, aim.key, { error, producerId: -1n, epoch: -1 })
  else if (aim.do === 'added') answer(state, broker, aim.for, error)
  else if (aim.do === 'end' && aim.for) reply(state, broker, aim.for.key, { error, producerId: -1n, epoch: -1 })
}

// --- Time-outs ------------------------------------------------------------------------------------------------------------

/** A transaction that is older than its client allowed is aborted; the coordinator looks every so often. */
function watch(state: State, broker: BrokerState, here: Coordinating, { id, startedAt, timeout }: Transaction): void {
  const { random, transactionCheck } = state.settings
  const wait = Math.max(0, startedAt + timeout - state.now) + random() * transactionCheck
  later(state, wait, broker.node, { do: 'check-timeout', coordinatorEpoch: here.epoch, id, startedAt })
}

export function checkTimeout(state: State, broker: BrokerState, coordinatorEpoch: number, id: string, startedAt: number): void {
  const here = broker.coordinating
  const known = here?.epoch === coordinatorEpoch ? here.transactions.get(id) : undefined
  if (!here || !known || known.transaction.state !== 'Ongoing' || known.transaction.startedAt !== startedAt) return
  if (known.pending) return watch(state, broker, here, known.transaction)
  fence(state, broker, here, known.transaction, undefined)
}

// --- Markers --------------------------------------------------------------------------------------------------------------

function conclude(state: State, broker: BrokerState, here: Coordinating, transaction: Transaction): void {
  // Until it is complete the id is busy: for whoever ends it again as well.
  here.transactions.set(transaction.id, { transaction, pending: completed(transaction) })
  if (transaction.partitions.length === 0) return complete(state, broker, here, transaction)
  for (const partition of transaction.partitions) mark(state, broker, here.epoch, transaction.id, partition)
}

/** Sends the marker to whoever leads the partition, by what is known here. */
export function mark(state: State, broker: BrokerState, coordinatorEpoch: number, id: string, partition: number): void {
  const here = broker.coordinating?.epoch === coordinatorEpoch ? broker.coordinating : undefined
  const transaction = here?.transactions.get(id)?.transaction
  if (!transaction?.state.startsWith('Prepare') || !transaction.partitions.includes(partition)) return
  const { leader } = broker.image.leads[partition]!
  const sent =
    leader >= 0 && send(state, broker.node, leader, { do: 'marker', from: broker.node, coordinatorEpoch, partition, transaction })
  later(state, sent ? MARK_PATIENCE : MARK_AGAIN, broker.node, { do: 'mark', coordinatorEpoch, id, partition })
}

/** The connection to this leader is gone: markers that may not have arrived are sent again. */
export function markAgain(state: State, broker: BrokerState, leader: number): void {
  const here = broker.coordinating
  if (!here) return
  for (const { transaction } of here.transactions.values()) {
    if (!transaction.state.startsWith('Prepare')) continue
    for (const partition of transaction.partitions) {
      if (broker.image.leads[partition]!.leader !== leader) continue
      forgetMark(state, broker, transaction.id, partition)
      later(state, MARK_AGAIN, broker.node, { do: 'mark', coordinatorEpoch: here.epoch, id: transaction.id, partition })
    }
  }
}

function forgetMark(state: State, broker: BrokerState, id: string, partition: number): void {
  forget(state, (work, node) => node === broker.node && work.do === 'mark' && work.id === id && work.partition === partition)
}

/** The leader appends the marker. */
export function appendMarker(
  state: State,
  broker: BrokerState,
  from: number,
  coordinatorEpoch: number,
  partition: number,
  transaction: Transaction,
): void {
  const { settings, now } = state
  const { log, leading } = broker.replicas[partition]!
  const { id, producerId, epoch, version } = transaction
  const refuse = (error: Code) => marked(state, broker, from, coordinatorEpoch, id, partition, error)
  if (!leading) return refuse('NOT_LEADER_OR_FOLLOWER')
  if (inSync(leading) < settings.minIsr) return refuse('NOT_ENOUGH_REPLICAS')
  const error = markerRefusal(known(log, producerId, now, settings.producerIdExpiry), { epoch, coordinatorEpoch, version })
  if (error !== 'NONE') return refuse(error)
  // Whoever was asked for a transaction that ended meanwhile is too late (KIP-890).
  leading.verified.delete(producerId)
  const marker = { producerId, producerEpoch: epoch, commit: transaction.state === 'PrepareCommit', coordinatorEpoch, time: now }
  append(log, markerOf(marker, log.end, leading.epoch, log.entries.at(-1)), now)
  wait(state, broker, partition, { do: 'marker', from, coordinatorEpoch, id, partition })
}

/** Tells the coordinator what became of a marker. */
export function marked(
  state: State,
  broker: BrokerState,
  to: number,
  coordinatorEpoch: number,
  id: string,
  partition: number,
  error: Code,
): void {
  send(state, broker.node, to, { do: 'marked', coordinatorEpoch, id, partition, error })
}

export function markerDone(state: State, broker: BrokerState, coordinatorEpoch: number, id: string, partition: number, error: Code): void {
  const here = broker.coordinating?.epoch === coordinatorEpoch ? broker.coordinating : undefined
  const transaction = here?.transactions.get(id)?.transaction
  if (!here || !transaction?.state.startsWith('Prepare') || !transaction.partitions.includes(partition)) return
  forgetMark(state, broker, id, partition)
  // Another epoch has written there: this one has nothing open there any more.
  const done = error === 'NONE' || error === 'INVALID_PRODUCER_EPOCH' || error === 'TRANSACTION_COORDINATOR_FENCED'
  if (!done) return later(state, MARK_AGAIN, broker.node, { do: 'mark', coordinatorEpoch, id, partition })
  const next = { ...transaction, partitions: transaction.partitions.filter(other => other !== partition) }
  here.transactions.set(id, { transaction: next, pending: here.transactions.get(id)!.pending })
  if (next.partitions.length === 0) complete(state, broker, here, next)
}

const completed = ({ state }: Transaction) => (state === 'PrepareCommit' ? 'CompleteCommit' : 'CompleteAbort')

function complete(state: State, broker: BrokerState, here: Coordinating, transaction: Transaction): void {
  const { nextProducerId, producerId, previousProducerId, epoch } = transaction
  const rotated = transaction.version === 2 && nextProducerId >= 0
  const next: Transaction = {
    ...transaction,
    state: completed(transaction),
    producerId: rotated ? nextProducerId : producerId,
    previousProducerId: rotated ? producerId : previousProducerId,
    epoch: rotated ? 0 : epoch,
    nextProducerId: -1,
    partitions: [],
  }
  store(state, broker, here, next, { do: 'completed' })
}

// --- Taking over ----------------------------------------------------------------------------------------------------------

/** Whoever leads the log of transactions reads it, and then coordinates. */
export function takeOver(state: State, broker: BrokerState, epoch: number): void {
  broker.coordinating = { epoch, ready: false, transactions: new Map() }
  later(state, hop(state), broker.node, { do: 'loaded', coordinatorEpoch: epoch })
}

export function loaded(state: State, broker: BrokerState, coordinatorEpoch: number): void {
  const here = broker.coordinating
  if (here?.epoch !== coordinatorEpoch || here.ready) return
  const { log } = broker.replicas[transactionLog(state)]!
  here.ready = true
  for (const { transaction } of log.entries) if (transaction) here.transactions.set(transaction.id, { transaction, pending: undefined })
  for (const { transaction } of here.transactions.values()) {
    if (transaction.state.startsWith('Prepare')) conclude(state, broker, here, transaction)
    else if (transaction.state === 'Ongoing') watch(state, broker, here, transaction)
  }
}
