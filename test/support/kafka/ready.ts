/** Waits until a broker does what a client needs: tells the cluster's members, and gives out producer ids and coordinates transactions. */
import { setTimeout as pause } from 'node:timers/promises'
import { Connection, findCoordinatorV4, initProducerIdV4, metadataV12, ResponseError } from '@platformatic/kafka'

/** How long a broker may take, under the load of other tests. */
const PATIENCE = 120_000

/** Resolves when the broker at `port` knows `brokers` members and works. @throws Error when it did not in time, or `gone` says why it never will */
export async function ready(port: number, brokers: number, gone: () => string | undefined): Promise<void> {
  const until = Date.now() + PATIENCE
  for (;;) {
    const why = await attempt(port, brokers)
    if (why === undefined) return
    const end = gone()
    if (end !== undefined) throw new Error(`the broker ended (${end}) before it was ready`)
    if (Date.now() > until) throw new Error(`the broker was not ready in time: ${why}`)
    await pause(50)
  }
}

/** Why it is not ready, or undefined. */
async function attempt(port: number, brokers: number): Promise<string | undefined> {
  const connection = new Connection('mainstem-ready', { connectTimeout: 2_000, requestTimeout: 5_000 })
  connection.on('error', () => {})
  try {
    await connection.connect('127.0.0.1', port)
    const known = await metadataV12.api.async(connection, [], false, false)
    if (known.brokers.length < brokers) return `it knows ${known.brokers.length} of ${brokers} brokers`
    await initProducerIdV4.api.async(connection, null, 60_000, -1n, -1)
    // The first who asks for a coordinator has the topic created that it keeps its state in.
    const found = await findCoordinatorV4.api.async(connection, 1, ['mainstem-ready'])
    const coordinator = found.coordinators[0]!
    return coordinator.errorCode === 0 ? undefined : `no coordinator: error ${coordinator.errorCode}`
  } catch (error) {
    const reason = error instanceof ResponseError ? error.errors[0] : error
    return String(reason)
  } finally {
    await connection.close().catch(() => {})
  }
}
