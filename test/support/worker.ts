/**
 * A process that hammers a log until it is killed: opens a replica, runs closed-loop clients and writes a line for every answer. What
 * it has written is what it has acknowledged. SIGTERM ends it in order.
 *
 *   worker.ts ORDERS     as JSON: see WorkerOrders
 */
import { writeSync } from 'node:fs'
import { EngineError } from '../../src/errors.ts'
import { openReplica, type ReplicaOptions } from '../../src/index.ts'
import { orderOf } from './orders.ts'
import shop from './shop.ts'

/** A line of a worker. */
export interface Answer {
  readonly id: string
  readonly status: 'accepted' | 'rejected' | 'failed'
  readonly version?: number
  /** Of a rejection or an error. */
  readonly code?: string
  readonly details?: unknown
  readonly message?: string
  readonly duplicate?: boolean
}

export interface WorkerOrders {
  readonly replica: Pick<ReplicaOptions, 'log' | 'data' | 'strategy' | 'fencing' | 'timeout'>
  readonly clients: number
  readonly seed: number
  readonly accounts: number
  /** After so many it ends by itself. */
  readonly commands: number
  /** Between two commands of a client, ms. */
  readonly pause: number
}

const { replica: options, clients, seed, accounts, commands, pause } = JSON.parse(process.argv[2]!) as WorkerOrders
const say = (line: object): number => writeSync(1, `${JSON.stringify(line)}\n`)

const replica = await openReplica(shop, options)
let stopping = false
process.on('SIGTERM', () => {
  stopping = true
})
say({ ready: (await replica.status()).incarnation })

let count = 0
await Promise.all(
  Array.from({ length: clients }, async () => {
    while (!stopping && count < commands) {
      const { id, command, input } = orderOf(seed, count++, accounts)
      try {
        const answer = await (replica as { execute(...args: unknown[]): Promise<Omit<Answer, 'id'>> }).execute(command, input, { id })
        const { status, version, code, details, duplicate } = answer
        say({ id, status, version, code, details, duplicate })
      } catch (error) {
        const { code, message } = error instanceof EngineError ? error : { code: 'none', message: String(error) }
        say({ id, status: 'failed', code, message })
        if (!(error instanceof EngineError) || error.retry === 'no') process.exitCode = 1
        // What fails at once would leave no turn for anything else.
        await new Promise(resolve => setTimeout(resolve, 5))
      }
      if (pause > 0) await new Promise(resolve => setTimeout(resolve, pause))
    }
  }),
)
const digest = await replica.digest()
const { conflicts, refused } = await replica.status()
await replica.close()
say({ done: true, ...digest, conflicts, refused })
