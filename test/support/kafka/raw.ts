/** Raw calls to brokers, for the tests of what tests stand on. */
import { randomUUID } from 'node:crypto'
import { Connection, createTopicsV7, listOffsetsV9, metadataV12 } from '@platformatic/kafka'
import { vi } from 'vitest'
import { atEnd } from '../end.ts'
import { onConnection } from './ready.ts'

export function uniqueName(): string {
  return `brokers-${randomUUID()}`
}

export async function createTopic(connection: Connection, name: string, replicationFactor = -1): Promise<void> {
  await createTopicsV7.api.async(connection, [{ name, numPartitions: 1, replicationFactor, assignments: [], configs: [] }], 10_000, false)
  // A broker tells of a topic that the controller made before its leader takes what is written to it.
  await vi.waitFor(async () => {
    const { brokers } = await metadataV12.api.async(connection, [], false, false)
    const { leaderId } = await partitionOf(connection, name)
    const leader = brokers.find(({ nodeId }) => nodeId === leaderId)
    await onConnection(leader!.port, leading => committedEnd(leading, name))
  }, 10_000)
}

/** Where what is committed ends. @throws Error when this broker does not lead the partition */
export async function committedEnd(connection: Connection, name: string): Promise<bigint> {
  const partitions = [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -1n }]
  const { topics } = await listOffsetsV9.api.async(connection, -1, 1, [{ name, partitions }])
  return topics[0]!.partitions[0]!.offset
}

/** What a broker knows of the one partition. @throws Error when it knows no such topic */
export async function partitionOf(
  connection: Connection,
  name: string,
): Promise<{ leaderId: number; leaderEpoch: number; isrNodes: number[] }> {
  const { topics } = await metadataV12.api.async(connection, [name], false, false)
  return topics[0]!.partitions[0]!
}

export async function connect(bootstrap: string): Promise<Connection> {
  const connection = new Connection('mainstem-test')
  await connection.connect('127.0.0.1', portOf(bootstrap))
  // One that the proxy cut is closed already.
  connection.on('error', () => {})
  atEnd(() => connection.close().catch(() => {}))
  return connection
}

export function portOf(bootstrap: string): number {
  return Number(bootstrap.split(',')[0]!.split(':')[1])
}
