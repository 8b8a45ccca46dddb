/** Waits until brokers do what a client needs: tell the cluster's members, give out producer ids, coordinate transactions. */
import { setTimeout as pause } from 'node:timers/promises'
import { Connection, type ConnectionOptions, findCoordinatorV4, initProducerIdV4, metadataV12, ResponseError } from '@platformatic/kafka'

/** How long brokers may take, under the load of other tests. */
const PATIENCE = 120_000

/** How the broker ended, or undefined. */
type Gone = () => string | undefined

/** Resolves when the broker at `port` knows `members` and works. */
export function brokerReady(port: number, members: number, gone: Gone): Promise<void> {
  return repeat(gone, () =>
    onConnection(port, async connection => {
      const { brokers } = await metadataV12.api.async(connection, [], false, false)
      if (brokers.length < members) throw new Error(`it knows ${brokers.length} of ${members} brokers`)
      await initProducerIdV4.api.async(connection, null, 60_000, -1n, -1)
    }),
  )
}

/** Resolves when transactions work: the first who asks for their coordinator has the topic created that it keeps its state in. */
export async function transactionsReady(port: number, gone: Gone): Promise<void> {
  // The topic has two partitions, and the hashes of these ids differ by one.
  for (const id of ['mainstem-ready-a', 'mainstem-ready-b']) {
    await repeat(gone, async () => {
      const { coordinators } = await onConnection(port, connection => findCoordinatorV4.api.async(connection, 1, [id]))
      const { errorCode, port: at } = coordinators[0]!
      if (errorCode !== 0) throw new Error(`no coordinator of transactions: error ${errorCode}`)
      await onConnection(at, connection => initProducerIdV4.api.async(connection, id, 10_000, -1n, -1))
    })
  }
}

/** Until it succeeds, for there is nothing that tells. @throws Error when the broker has ended, or when it takes too long */
async function repeat(gone: Gone, attempt: () => Promise<unknown>): Promise<void> {
  const until = Date.now() + PATIENCE
  for (;;) {
    try {
      await attempt()
      return
    } catch (error) {
      const end = gone()
      if (end !== undefined) throw new Error(`it ended (${end}) before it was ready`, { cause: error })
      const reason = error instanceof ResponseError ? error.errors[0] : error
      if (Date.now() > until) throw new Error(`it was not ready in time: ${String(reason)}`, { cause: error })
    }
    await pause(50)
  }
}

/** @param options who it is; not needed from inside, where nobody has to say so */
export async function onConnection<T>(
  port: number,
  work: (connection: Connection) => Promise<T>,
  options: ConnectionOptions = {},
): Promise<T> {
  const connection = new Connection('mainstem-ready', { connectTimeout: 2_000, requestTimeout: 5_000, ...options })
  connection.on('error', () => {})
  try {
    await connection.connect('127.0.0.1', port)
    return await work(connection)
  } finally {
    await Promise.resolve(connection.close()).catch(() => {})
  }
}
