/**
 * A process that hammers a log until it is killed: opens a replica, runs closed-loop clients and writes a line for every answer. What
 * it has written is what it has acknowledged. SIGTERM ends it in order.
 *
 *   worker.ts LOG DATA STRATEGY CLIENTS SEED ACCOUNTS [COMMANDS]
 */
import { writeSync } from 'node:fs'
import type { StrategyName } from '../../src/consistency.ts'
import { EngineError } from '../../src/errors.ts'
import { openReplica } from '../../src/index.ts'
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

const [log, data, strategy, clients, seed, accounts, commands = '1e9'] = process.argv.slice(2) as [
  string,
  string,
  StrategyName,
  string,
  string,
  string,
  string?,
]
const say = (line: object): number => writeSync(1, `${JSON.stringify(line)}\n`)

const replica = await openReplica(shop, { log, data, strategy, timeout: 20_000 })
let stopping = false
process.on('SIGTERM', () => {
  stopping = true
})
say({ ready: true })

let count = 0
const total = Number(commands)
await Promise.all(
  Array.from({ length: Number(clients) }, async () => {
    while (!stopping && count < total) {
      const { id, command, input } = orderOf(Number(seed), count++, Number(accounts))
      try {
        const answer = await (replica as { execute(...args: unknown[]): Promise<Omit<Answer, 'id'>> }).execute(command, input, { id })
        const { status, version, code, details, duplicate } = answer
        say({ id, status, version, code, details, duplicate })
      } catch (error) {
        const { code, message } = error instanceof EngineError ? error : { code: 'none', message: String(error) }
        say({ id, status: 'failed', code, message })
        if (!(error instanceof EngineError) || error.retry === 'no') process.exitCode = 1
      }
    }
  }),
)
const digest = await replica.digest()
const { conflicts, refused } = await replica.status()
await replica.close()
say({ done: true, ...digest, conflicts, refused })
