/**
 * The controller, and the lives of brokers: who is alive, who leads, who is in sync; and when each broker hears of it. The controller stands
 * for the quorum of KRaft: it is always there and always right.
 */
import { markAgain, takeOver } from './coordinator.ts'
import { unanswered } from './leader.ts'
import { enterEpoch, recovered } from './log.ts'
import { advance, altered, beginToFollow } from './replication.ts'
import {
  type BrokerState,
  connected,
  CONTROLLER,
  forget,
  joined,
  type Image,
  later,
  type Lead,
  type Leading,
  linkOf,
  send,
  soon,
  type State,
  tidy,
  transactionLog,
  type Work,
} from './state.ts'

/** A process that starts takes up to this until it is heard of, ms. */
const BOOT = 2_000
/** Observed on 4.3.1: a leader that was stopped gave old answers for 79 to 212 ms after it went on, once for 493 ms. */
const [STALE, STALEST] = [50, 500]

// --- Decisions ------------------------------------------------------------------------------------------------------------

/** Another view of the cluster, which each broker hears of in its time. */
function publish(state: State, leads: readonly Lead[], alive: readonly number[] = state.image.alive): void {
  state.image = { version: state.image.version + 1, alive, leads }
  for (const { node } of state.brokers) inform(state, node, state.settings.random() * state.settings.metadataDelay)
}

function inform(state: State, node: number, wait: number): void {
  if (connected(state, node, CONTROLLER)) later(state, wait, node, { do: 'image' })
}

export function alterIsr(state: State, { from, partition, isr, lead }: Extract<Work, { do: 'alter-isr' }>): void {
  const current = state.image.leads[partition]!
  const agreed = lead.epoch === current.epoch && lead.number === current.number && isr.every(node => state.image.alive.includes(node))
  const next = agreed ? { ...current, number: current.number + 1, isr } : current
  if (agreed) publish(state, state.image.leads.with(partition, next))
  send(state, CONTROLLER, from, { do: 'altered', partition, lead: next })
}

/** Nothing was heard of it for a whole session: it leads no more, and is not in sync. The last one in sync stays so. */
function fence(state: State, node: number): void {
  const alive = state.image.alive.filter(other => other !== node)
  publish(
    state,
    state.image.leads.map(lead => without(state, lead, node, alive)),
    alive,
  )
  if (state.brokers[node]!.life === 'starting') boot(state, node)
}

function without(state: State, lead: Lead, node: number, alive: readonly number[]): Lead {
  const others = lead.isr.filter(other => other !== node)
  const isr = others.length > 0 ? others : lead.isr
  const number = lead.number + 1
  if (lead.leader !== node) return isr === lead.isr || !lead.isr.includes(node) ? lead : { ...lead, number, isr }
  // No unclean election: only one that is in sync may lead.
  const candidates = isr.filter(other => alive.includes(other))
  const leader = candidates[Math.floor(state.settings.random() * candidates.length)] ?? -1
  return { leader, epoch: lead.epoch + 1, number, isr }
}

/** It is heard of again. */
export function register(state: State, node: number): void {
  const broker = state.brokers[node]!
  if (state.image.alive.includes(node) || broker.life === 'dead' || !connected(state, node, CONTROLLER)) return
  const alive = joined(state.image.alive, node)
  const leads = state.image.leads.map(lead =>
    lead.leader < 0 && lead.isr.includes(node) ? { ...lead, leader: node, epoch: lead.epoch + 1, number: lead.number + 1 } : lead,
  )
  publish(state, leads, alive)
  if (broker.life === 'starting') {
    broker.life = 'up'
    broker.image = nobody(state.image)
    takeUp(state, broker, state.image)
  }
}

const nobody = (image: Image): Image => ({
  ...image,
  version: -1,
  leads: image.leads.map(lead => ({ ...lead, leader: -1, epoch: -1, number: -1 })),
})

// --- Silence --------------------------------------------------------------------------------------------------------------

const heard = (state: State, node: number): boolean => state.brokers[node]!.life === 'up' && connected(state, node, CONTROLLER)

/** Its session runs out, or goes on. Observed on 4.3.1: a new leader 7.5 to 11 s after the old one was killed, with sessions of 9 s. */
function listen(state: State, node: number): void {
  const { random, sessionTimeout } = state.settings
  if (heard(state, node)) {
    if (state.silent.delete(node)) forget(state, work => work.do === 'session' && work.of === node)
    return
  }
  if (state.silent.has(node) || !state.image.alive.includes(node)) return
  state.silent.add(node)
  later(state, sessionTimeout * (0.8 + 0.4 * random()), CONTROLLER, { do: 'session', of: node })
}

export function sessionOver(state: State, node: number): void {
  state.silent.delete(node)
  fence(state, node)
}

// --- What happens to brokers ----------------------------------------------------------------------------------------------

export function kill(state: State, node: number): void {
  const broker = state.brokers[node]!
  if (broker.life === 'dead') return
  broker.life = 'dead'
  for (const key of broker.open) state.out.push({ do: 'dropped', key })
  broker.open.clear()
  broker.backlog = []
  broker.coordinating = undefined
  broker.verifications.clear()
  broker.ids = { next: 0, end: 0 }
  broker.idsAsked = false
  for (const replica of broker.replicas) {
    replica.leading = undefined
    replica.parked = []
    replica.expiresAt = undefined
    replica.exchange++
    recovered(replica.log)
  }
  forget(state, (_, owner) => owner === node)
  listen(state, node)
  cutOff(state, node)
}

export function start(state: State, node: number): void {
  const broker = state.brokers[node]!
  if (broker.life !== 'dead') return
  broker.life = 'starting'
  // The controller of a single broker died with it, and has the log to say who leads.
  if (state.settings.brokers === 1 && state.image.alive.includes(node)) {
    forget(state, work => work.do === 'session')
    sessionOver(state, node)
  } else if (!state.image.alive.includes(node)) boot(state, node)
  // Else it is refused until the session of its former life is over (DUPLICATE_BROKER_REGISTRATION).
}

function boot(state: State, node: number): void {
  later(state, state.settings.random() * BOOT, CONTROLLER, { do: 'register', of: node })
}

export function stop(state: State, node: number): void {
  const broker = state.brokers[node]!
  if (broker.life !== 'up') return
  broker.life = 'stopped'
  listen(state, node)
  // What it waited for is answered into its socket, and it asks for no more.
  unwait(state, node)
}

export function goOn(state: State, node: number): void {
  const broker = state.brokers[node]!
  if (broker.life !== 'stopped') return
  broker.life = 'up'
  // What has happened meanwhile it is told of in time.
  for (const work of broker.backlog) if (work.do !== 'image') later(state, 0, node, work)
  broker.backlog = []
  listen(state, node)
  for (const partition of broker.replicas.keys()) beginToFollow(state, broker, partition)
  comeBack(state, node)
}

/** It hears of what has happened, and is heard. */
function comeBack(state: State, node: number): void {
  if (state.brokers[node]!.life === 'starting' && !state.image.alive.includes(node)) return boot(state, node)
  inform(state, node, STALE + state.settings.random() * (STALEST - STALE))
}

export function part(state: State, [a, b]: readonly [number, number]): void {
  state.cut.add(linkOf(a, b))
  for (const node of [a, b]) if (node !== CONTROLLER) listen(state, node)
  unwait(state, a, b)
  miss(state, a, b)
  miss(state, b, a)
}

export function join(state: State, [a, b]: readonly [number, number]): void {
  state.cut.delete(linkOf(a, b))
  for (const [node, other] of [
    [a, b],
    [b, a],
  ] as const) {
    if (node === CONTROLLER) continue
    listen(state, node)
    if (other === CONTROLLER) {
      askAnew(state, node)
      comeBack(state, node)
    } else refollow(state, node, other)
  }
}

/** Fetches of followers that wait at a leader are lost: one end is gone, stopped or cut off. */
function unwait(state: State, node: number, other?: number): void {
  for (const { node: leader, replicas } of state.brokers) {
    for (const { leading } of replicas) {
      for (const [follower, each] of leading?.followers ?? []) {
        const between = other === undefined ? follower === node : [node, other].includes(leader) && [node, other].includes(follower)
        if (between) each.waits = undefined
      }
    }
  }
}

/** What a broker asked of another that cannot answer any more. */
function miss(state: State, node: number, other: number): void {
  const broker = state.brokers[node]
  if (broker?.life !== 'up' || other === CONTROLLER) return
  unanswered(state, broker, other)
  markAgain(state, broker, other)
}

/** What it asked the controller for may be lost. */
function askAnew(state: State, node: number): void {
  const broker = state.brokers[node]!
  broker.idsAsked = false
  for (const { leading } of broker.replicas) if (leading) leading.asked = undefined
}

/** Whoever follows one that died notices, and tries again until it leads again, or somebody else does. */
function cutOff(state: State, node: number): void {
  unwait(state, node)
  for (const { node: other, life } of state.brokers) {
    if (other === node || life !== 'up') continue
    refollow(state, other, node)
    miss(state, other, node)
  }
}

function refollow(state: State, follower: number, leader: number): void {
  const broker = state.brokers[follower]!
  if (broker.life !== 'up') return
  for (const partition of broker.replicas.keys())
    if (broker.image.leads[partition]!.leader === leader) beginToFollow(state, broker, partition)
}

// --- What a broker makes of it --------------------------------------------------------------------------------------------

/** The controller's view arrives. */
export function learn(state: State, broker: BrokerState): void {
  if (!connected(state, broker.node, CONTROLLER)) return
  if (broker.image.version !== state.image.version) takeUp(state, broker, state.image)
  // One that was taken for dead is heard of again once it knows what has happened.
  if (!state.image.alive.includes(broker.node)) send(state, broker.node, CONTROLLER, { do: 'register', of: broker.node })
}

function takeUp(state: State, broker: BrokerState, image: Image): void {
  const before = broker.image
  broker.image = image
  for (const [partition, lead] of image.leads.entries()) {
    const { leading } = broker.replicas[partition]!
    if (lead.leader === broker.node) {
      if (leading?.epoch === lead.epoch) altered(state, broker, partition, lead)
      else reign(state, broker, partition, lead)
    } else if (leading) resign(state, broker, partition)
    const was = before.leads[partition]!
    if (was.epoch === lead.epoch && was.leader === lead.leader) continue
    if (lead.leader !== broker.node) beginToFollow(state, broker, partition)
    if (broker.replicas[partition]!.parked.length > 0) soon(state, broker.node, { do: 'wake', partition })
  }
}

function reign(state: State, broker: BrokerState, partition: number, lead: Lead): void {
  const replica = broker.replicas[partition]!
  if (replica.leading) resign(state, broker, partition)
  replica.exchange++
  replica.leading = leadingFrom(state, broker.node, lead, replica.log.end)
  enterEpoch(replica.log, lead.epoch, replica.log.end)
  advance(state, broker, partition)
  if (partition === transactionLog(state)) takeOver(state, broker, lead.epoch)
}

export function leadingFrom(state: State, own: number, lead: Lead, end: number): Leading {
  const others = Array.from({ length: state.settings.brokers }, (_, node) => node).filter(node => node !== own)
  return {
    epoch: lead.epoch,
    start: end,
    lead,
    asked: undefined,
    followers: new Map(
      others.map(node => [
        node,
        { end: -1, leaderEnd: 0, highWatermark: -1, caughtUpAt: state.now, askedAt: state.now, waits: undefined, promised: false },
      ]),
    ),
    pending: [],
    verified: new Map(),
    lagTimer: false,
  }
}

/** Whoever waits for an append hears that somebody else leads; what becomes of it is open. */
function resign(state: State, broker: BrokerState, partition: number): void {
  const replica = broker.replicas[partition]!
  const { pending } = replica.leading!
  replica.leading = undefined
  if (partition === transactionLog(state)) broker.coordinating = undefined
  for (const { purpose } of pending) soon(state, broker.node, { do: 'go-on', partition, purpose, error: 'NOT_LEADER_OR_FOLLOWER' })
  tidy(state, broker, partition)
}
