/** What the model of a cluster consists of: plain data, and the few moves that every room makes: delays, timers, answers. */
import type { LeaderHint } from '../../log/kafka/calls.ts'
import type { Code } from '../../log/kafka/codes.ts'
import type { ReplicaLog } from './log.ts'
import type { ClusterOutput, ClusterReply, ClusterRequest } from './messages.ts'
import type { Entry, Header } from './entry.ts'
import type { Transaction } from './transaction.ts'

export interface Settings {
  readonly brokers: number
  readonly minIsr: number
  readonly partitions: number
  readonly transactionVersion: 1 | 2
  readonly topic: string
  readonly topicId: string
  readonly random: () => number
  /** Most that a message between brokers, or a write into the coordinator's log, takes, ms. */
  readonly delay: number
  /** Most that a broker takes to hear of a change of leaders, ms. */
  readonly metadataDelay: number
  readonly sessionTimeout: number
  readonly lagTime: number
  readonly followerWait: number
  readonly producerIdExpiry: number
  readonly transactionCheck: number
  readonly maxTransactionTimeout: number
  readonly maxMessageBytes: number
  readonly firstEpoch: number
}

/** What the controller says of a partition. Replaced, never changed. */
export interface Lead {
  /** -1: none. */
  readonly leader: number
  readonly epoch: number
  /** Of this object: each change has its number. */
  readonly number: number
  readonly isr: readonly number[]
}

/** The cluster as the controller, or a broker that may be behind, sees it. The partition behind the topic's is the coordinator's log. */
export interface Image {
  readonly version: number
  readonly alive: readonly number[]
  readonly leads: readonly Lead[]
}

/** Waits until everything below `end` is replicated. */
export interface Pending {
  readonly end: number
  readonly until: number
  readonly purpose: Purpose
}

/** What goes on once an append was replicated, or was not. */
export type Purpose =
  | { readonly do: 'produce'; readonly key: number; readonly offset: number }
  | { readonly do: 'transaction'; readonly coordinatorEpoch: number; readonly next: Transaction; readonly aim: Aim }
  | { readonly do: 'marker'; readonly from: number; readonly coordinatorEpoch: number; readonly id: string; readonly partition: number }

/** What the coordinator does once the state was written. */
export type Aim =
  | { readonly do: 'init'; readonly key: number }
  | { readonly do: 'added'; readonly for: Asker }
  | { readonly do: 'end'; readonly for: EndAsker }
  | { readonly do: 'completed' }

/** Who wants a partition to be in a transaction: a client, or the leader of the partition that a batch goes into. */
export type Asker = { readonly key: number } | { readonly node: number; readonly verification: number }

/** Who wants a transaction to end; `fenced`: an InitProducerId that has to come again. */
export type EndAsker = { readonly key: number; readonly fenced: boolean; readonly version: number } | undefined

export interface Parked {
  readonly key: number
  readonly until: number
  readonly request: Extract<ClusterRequest, { api: 'fetch' }>
}

/** A transactional batch whose transaction the coordinator is asked for. */
export interface Verification {
  readonly key: number
  readonly partition: number
  readonly request: Extract<ClusterRequest, { api: 'produce' }>
  readonly header: Header
  readonly since: number
  /** Who was asked; -1. */
  readonly coordinator: number
}

export interface Follower {
  /** Behind what it has; -1 before it has said so. */
  end: number
  /** When it last asked, ms, and where the leader's log ended then. */
  askedAt: number
  leaderEnd: number
  /** When it last had everything, ms. */
  caughtUpAt: number
  /** The high watermark that it was told of. */
  highWatermark: number
  /** Its fetch waits here, by number. */
  waits: number | undefined
  /** A timer will tell it of the high watermark. */
  promised: boolean
}

/** What a leader keeps in memory. */
export interface Leading {
  readonly epoch: number
  /** Where its epoch begins. */
  readonly start: number
  lead: Lead
  /** What it has asked the controller for. */
  asked: readonly number[] | undefined
  followers: Map<number, Follower>
  pending: Pending[]
  /** Producers whose transactional batch may come: the lowest sequence asked for. Forgotten when a marker is written. */
  verified: Map<number, { readonly epoch: number; readonly lowest: number }>
  lagTimer: boolean
}

export interface Replica {
  readonly log: ReplicaLog
  leading: Leading | undefined
  /** Fetches of clients that wait for something to read. */
  parked: Parked[]
  /** When the first of what waits here has waited long enough, at the earliest. */
  expiresAt: number | undefined
  /** Its own fetch from the leader, as a follower: answers to older ones are not heard. */
  exchange: number
}

/** A transactional id in the memory of its coordinator. */
export interface Coordinated {
  readonly transaction: Transaction
  /** A state that is being written; until then nothing else can happen to it. */
  readonly pending: Transaction['state'] | undefined
}

export interface Coordinating {
  readonly epoch: number
  /** Its log was read. */
  ready: boolean
  transactions: Map<string, Coordinated>
}

export interface BrokerState {
  readonly node: number
  life: 'up' | 'stopped' | 'dead' | 'starting'
  image: Image
  replicas: Replica[]
  coordinating: Coordinating | undefined
  verifications: Map<number, Verification>
  /** Producer ids to give out. */
  ids: { next: number; end: number }
  idsAsked: boolean
  /** What came while it was stopped. */
  backlog: Work[]
  /** Requests that were not answered. */
  open: Set<number>
}

/** What a broker or the controller does later. */
export type Work =
  | { readonly do: 'request'; readonly key: number; readonly request: ClusterRequest }
  | { readonly do: 'retry'; readonly verification: number }
  | { readonly do: 'verify'; readonly from: number; readonly verification: number; readonly ask: VerifyAsk }
  | { readonly do: 'verified'; readonly verification: number; readonly error: Code }
  | { readonly do: 'write'; readonly coordinatorEpoch: number; readonly next: Transaction; readonly aim: Aim }
  | { readonly do: 'mark'; readonly coordinatorEpoch: number; readonly id: string; readonly partition: number }
  | {
      readonly do: 'marker'
      readonly from: number
      readonly coordinatorEpoch: number
      readonly partition: number
      readonly transaction: Transaction
    }
  | { readonly do: 'marked'; readonly coordinatorEpoch: number; readonly id: string; readonly partition: number; readonly error: Code }
  | { readonly do: 'loaded'; readonly coordinatorEpoch: number }
  | { readonly do: 'check-timeout'; readonly coordinatorEpoch: number; readonly id: string; readonly startedAt: number }
  | { readonly do: 'expire'; readonly partition: number }
  /** There may be more to read, or another leader. */
  | { readonly do: 'wake'; readonly partition: number }
  /** What waited for the replicas goes on. */
  | { readonly do: 'go-on'; readonly partition: number; readonly purpose: Purpose; readonly error: Code }
  | { readonly do: 'ids'; readonly from: number }
  | { readonly do: 'image' }
  | { readonly do: 'lag'; readonly partition: number; readonly epoch: number }
  | { readonly do: 'follow'; readonly partition: number; readonly exchange: number }
  | { readonly do: 'asked'; readonly partition: number; readonly from: number; readonly ask: FollowAsk }
  | { readonly do: 'followed'; readonly partition: number; readonly exchange: number; readonly reply: FollowReply }
  | { readonly do: 'alter-isr'; readonly from: number; readonly partition: number; readonly isr: readonly number[]; readonly lead: Lead }
  | { readonly do: 'altered'; readonly partition: number; readonly lead: Lead }
  | { readonly do: 'feed'; readonly partition: number; readonly to: number }
  | { readonly do: 'session'; readonly of: number }
  | { readonly do: 'register'; readonly of: number }

export interface VerifyAsk {
  readonly transactionalId: string
  readonly producerId: number
  readonly epoch: number
  readonly partition: number
  /** Transactions of version 2: what is missing is added. */
  readonly add: boolean
}

/** A follower's fetch. */
export interface FollowAsk {
  readonly exchange: number
  readonly leaderEpoch: number
  readonly end: number
  /** Of its last entry; -1. */
  readonly lastEpoch: number
}

export interface FollowReply {
  readonly error: 'NONE' | 'STALE'
  readonly diverging: { readonly epoch: number; readonly end: number } | undefined
  readonly entries: readonly Entry[]
  readonly highWatermark: number
}

export interface Timer {
  readonly at: number
  readonly order: number
  /** The broker that does it, or `CONTROLLER`. */
  readonly node: number
  readonly work: Work
}

export interface State {
  readonly settings: Settings
  now: number
  brokers: BrokerState[]
  /** The controller's: always there, and always right. */
  image: Image
  /** When each broker's silence is noticed is a timer; these have it running. */
  silent: Set<number>
  nextId: number
  /** By time, then order. */
  timers: Timer[]
  /** To be done before this step ends. */
  soon: { readonly node: number; readonly work: Work }[]
  orders: number
  cut: Set<number>
  out: ClusterOutput[]
}

/** The controllers' quorum, as one end of a connection. */
export const CONTROLLER = -1

export function later(state: State, wait: number, node: number, work: Work): void {
  const timer: Timer = { at: state.now + wait, order: ++state.orders, node, work }
  const { timers } = state
  let i = timers.length
  while (i > 0 && (timers[i - 1] as Timer).at > timer.at) i--
  timers.splice(i, 0, timer)
}

/** At the end of what is being done. */
export function soon(state: State, node: number, work: Work): void {
  state.soon.push({ node, work })
}

/** Takes back what was to be done. */
export function forget(state: State, which: (work: Work, node: number) => boolean): void {
  const kept = state.timers.filter(timer => !which(timer.work, timer.node))
  if (kept.length < state.timers.length) state.timers = kept
}

export const hop = ({ settings }: State): number => settings.random() * settings.delay

/** A message to another broker or the controller: lost where there is no connection. One that still starts takes none, and its sender notices. */
export function send(state: State, from: number, to: number, work: Work): boolean {
  if (!connected(state, from, to) || state.brokers[to]?.life === 'starting') return false
  later(state, hop(state), to, work)
  return true
}

export function connected({ cut, brokers }: State, from: number, to: number): boolean {
  if (from === to) return true
  return !cut.has(linkOf(from, to)) && [from, to].every(node => node === CONTROLLER || brokers[node]?.life !== 'dead')
}

/** Nodes, in order. */
export const joined = (nodes: readonly number[], node: number): number[] => [...nodes, node].sort((a, b) => a - b)

export const linkOf = (a: number, b: number): number => (Math.min(a, b) + 1) * 64 + Math.max(a, b) + 1

export function reply(state: State, broker: BrokerState, key: number, answer: ClusterReply): void {
  if (broker.open.delete(key)) state.out.push({ do: 'reply', key, reply: answer })
}

/** What a broker that does not lead says of who does (KIP-951). */
export function hintOf(broker: BrokerState, partition: number): { leader?: LeaderHint } {
  const lead = broker.image.leads[partition]
  return lead === undefined || lead.leader < 0 ? {} : { leader: { id: lead.leader, epoch: lead.epoch } }
}

/** The coordinator's log is the partition behind those of the topic. */
export const transactionLog = ({ settings }: State): number => settings.partitions

/** Something waits on this partition, at most until then. */
export function expireBy(state: State, broker: BrokerState, partition: number, until: number): void {
  const replica = broker.replicas[partition]!
  if (replica.expiresAt !== undefined && replica.expiresAt <= until) return
  if (replica.expiresAt !== undefined) forgetExpiry(state, broker, partition)
  replica.expiresAt = until
  later(state, until - state.now, broker.node, { do: 'expire', partition })
}

/** Where nothing waits any more, no timer does. */
export function tidy(state: State, broker: BrokerState, partition: number): void {
  const { parked, leading, expiresAt } = broker.replicas[partition]!
  if (expiresAt === undefined || parked.length > 0 || (leading?.pending.length ?? 0) > 0) return
  forgetExpiry(state, broker, partition)
}

function forgetExpiry(state: State, broker: BrokerState, partition: number): void {
  broker.replicas[partition]!.expiresAt = undefined
  forget(state, (work, node) => node === broker.node && work.do === 'expire' && work.partition === partition)
}
