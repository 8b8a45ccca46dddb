/** Raw calls to brokers, for the tests of what tests stand on. */
import { randomUUID } from 'node:crypto'
import { Connection, createTopicsV7, metadataV12 } from '@platformatic/kafka'
import { expect, onTestFinished, vi } from 'vitest'

export function uniqueName(): string {
  return `brokers-${randomUUID()}`
}

export async function createTopic(connection: Connection, name: string): Promise<void> {
  await createTopicsV7.api.async(
    connection,
    [{ name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
    10_000,
    false,
  )
  // A broker hears of what the controller made a moment later.
  await vi.waitFor(async () => expect((await metadataV12.api.async(connection, [name], false, false)).topics).toHaveLength(1), 10_000)
}

export async function connect(bootstrap: string): Promise<Connection> {
  const connection = new Connection('mainstem-test')
  await connection.connect('127.0.0.1', portOf(bootstrap))
  // One that the proxy cut is closed already.
  connection.on('error', () => {})
  onTestFinished(() => connection.close().catch(() => {}))
  return connection
}

export function portOf(bootstrap: string): number {
  return Number(bootstrap.split(',')[0]!.split(':')[1])
}
