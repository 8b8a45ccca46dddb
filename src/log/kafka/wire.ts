/**
 * The cluster as the log of a partition needs it: who leads, and connections on which brokers are asked. Behind it are sockets, or the model
 * of a cluster in a simulation.
 */
import type { EngineError } from '../../errors.ts'
import { addPartitions, endTxn, fetch, initProducerId, listOffsets, produce } from './calls.ts'
import type { Conn, Versions } from './client.ts'
import type { Leader, Topic } from './topic.ts'

const calls = { fetch, produce, listOffsets, initProducerId, addPartitions, endTxn } as const
type Calls = typeof calls

/** What a broker can be asked, as in `calls.ts`, on a connection that is given. Throws `Disconnected` alone. */
export type Line = {
  readonly [K in keyof Calls]: (args: Parameters<Calls[K]>[1]) => ReturnType<Calls[K]>
} & { readonly closed: boolean; close(): void }

export interface Wire {
  readonly name: string
  readonly id: string
  readonly versions: Versions
  /** The topic is not ours any more: nothing can be read or written. */
  readonly failure: EngineError | undefined
  leader(partition: number): Leader | undefined
  /** Looks who leads now. Never throws. */
  refresh(): Promise<void>
  /** @throws Disconnected */
  connect(node: number, purpose: string): Promise<Line>
  /** The broker that coordinates the transactions of this id: not the one that is doubted, unless nobody names another. @throws Disconnected, Refused */
  coordinator(transactionalId: string, doubted?: number): Promise<number>
}

/** A topic over sockets. */
export function socketWire(topic: Topic): Wire {
  return {
    name: topic.name,
    id: topic.id,
    versions: topic.versions,
    get failure() {
      return topic.failure
    },
    leader: partition => topic.leader(partition),
    refresh: () => topic.refresh(),
    connect: async (node, purpose) => lineOn(await topic.client.connect(node, purpose)),
    coordinator: (transactionalId, doubted) => topic.client.coordinator(transactionalId, doubted),
  }
}

function lineOn(conn: Conn): Line {
  return {
    get closed() {
      return conn.closed
    },
    close: () => conn.close(),
    fetch: args => fetch(conn, args),
    produce: args => produce(conn, args),
    listOffsets: args => listOffsets(conn, args),
    initProducerId: args => initProducerId(conn, args),
    addPartitions: args => addPartitions(conn, args),
    endTxn: args => endTxn(conn, args),
  }
}
