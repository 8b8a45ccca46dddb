/** Copies of a whole cluster, and what two of them have in common: for those who try every order of events. */
import { cloneLog } from './log.ts'
import type { BrokerState, Replica, State } from './state.ts'

/** What never changes is shared: entries, requests, images, messages on their way. */
export function cloneState(state: State, random: () => number): State {
  return {
    ...state,
    settings: { ...state.settings, random },
    brokers: state.brokers.map(cloneBroker),
    silent: new Set(state.silent),
    timers: [...state.timers],
    soon: [],
    cut: new Set(state.cut),
    out: [],
  }
}

function cloneBroker(broker: BrokerState): BrokerState {
  const { coordinating } = broker
  return {
    ...broker,
    replicas: broker.replicas.map(cloneReplica),
    coordinating: coordinating && { ...coordinating, transactions: new Map(coordinating.transactions) },
    verifications: new Map(broker.verifications),
    ids: { ...broker.ids },
    backlog: [...broker.backlog],
    open: new Set(broker.open),
  }
}

/** The order of fields stays: the fingerprint has it, too. */
function cloneReplica(replica: Replica): Replica {
  const { log, leading, parked } = replica
  return {
    ...replica,
    log: cloneLog(log),
    leading: leading && {
      ...leading,
      followers: new Map([...leading.followers].map(([node, follower]) => [node, { ...follower }])),
      pending: [...leading.pending],
      verified: new Map(leading.verified),
    },
    parked: [...parked],
  }
}

/** Times count from now on. */
const times: ReadonlySet<string> = new Set(['at', 'until', 'caughtUpAt', 'askedAt', 'checkpointAt', 'startedAt', 'since', 'expiresAt'])
/** What follows from the rest, or only tells what came first. */
const derived: ReadonlySet<string> = new Set([
  'settings',
  'now',
  'out',
  'soon',
  'order',
  'orders',
  'version',
  'producers',
  'ended',
  'aborted',
  'unsettled',
])

/** Equal for two clusters that will do the same from here on, if producers are not forgotten meanwhile. */
export function fingerprintOf(state: State): string {
  const { now } = state
  const parts: (string | number)[] = []
  const write = (value: unknown): void => {
    if (typeof value === 'number' || typeof value === 'string') parts.push(value)
    else if (typeof value !== 'object' || value === null) parts.push(String(value))
    else if (Buffer.isBuffer(value)) parts.push(value.length, value.length > 20 ? value.readInt32BE(17) : 0)
    else if (Array.isArray(value)) writeAll(value)
    else if (value instanceof Map || value instanceof Set) writeAll(value)
    else if ('digest' in value && 'digest2' in value) parts.push(value.digest as number, value.digest2 as number)
    else writeFields(value as Record<string, unknown>)
  }
  const writeAll = (values: Iterable<unknown>): void => {
    parts.push('[')
    for (const value of values) write(value)
    parts.push(']')
  }
  const writeFields = (fields: Record<string, unknown>): void => {
    for (const key in fields) {
      const value = fields[key]
      if (derived.has(key) || value === undefined) continue
      parts.push(key)
      if (times.has(key)) parts.push(Math.round(((value as number) - now) * 1_000))
      // The last one knows all before it.
      else if (key === 'entries') write((value as unknown[]).at(-1))
      else write(value)
    }
  }
  writeFields(state as unknown as Record<string, unknown>)
  return parts.join(' ')
}
