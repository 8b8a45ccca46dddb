/**
 * A process with one replica that does what its parent says, over the IPC channel: it can be killed, stopped and continued between two
 * calls. Its parent's end is `Puppet` in processes.ts.
 *
 *   puppet.ts APP OPTIONS [UID]     the module of the app, the options of openReplica as JSON, and the user to become
 */
import { EngineError } from '../../src/errors.ts'
import { openReplica, type Replica } from '../../src/index.ts'

export interface Call {
  readonly n: number
  /** A function of the replica; `take`: so many events from a version on. */
  readonly what: 'execute' | 'query' | 'sql' | 'status' | 'digest' | 'close' | 'take' | 'memory'
  readonly args: readonly unknown[]
}

export type Reply =
  | { readonly n: number; readonly ok: unknown }
  | { readonly n: number; readonly error: { code: string; message: string; retry: string } }

const [path, options, uid] = process.argv.slice(2) as [string, string, string?]
const say = (message: object): unknown => process.send!(message)

async function run(replica: Replica, { what, args: sent }: Call): Promise<unknown> {
  // JSON has no undefined.
  const args = sent.map(arg => arg ?? undefined)
  if (what === 'memory') return process.resourceUsage().maxRSS / 1_024
  if (what !== 'take') return (replica[what] as (...args: readonly unknown[]) => Promise<unknown>).apply(replica, args)
  const [from, count, tenant] = args as [number, number, string?]
  const events: unknown[] = []
  for await (const event of replica.events({ from, ...(tenant === undefined ? {} : { tenant }) })) if (events.push(event) === count) break
  return events
}

function failure(error: unknown): object {
  if (error instanceof EngineError) return { code: error.code, message: error.message, retry: error.retry }
  return { code: 'none', message: error instanceof Error ? (error.stack ?? error.message) : String(error), retry: 'no' }
}

try {
  const { default: app } = (await import(path)) as { default: Parameters<typeof openReplica>[0] }
  if (uid !== undefined) {
    process.setgid!(Number(uid))
    process.setuid!(Number(uid))
  }
  const start = performance.now()
  const replica = (await openReplica(app, JSON.parse(options) as Parameters<typeof openReplica>[1])) as unknown as Replica
  process.on('message', (call: Call) => {
    run(replica, call).then(
      ok => {
        say({ n: call.n, ok: ok ?? null })
        if (call.what === 'close') process.disconnect()
      },
      (error: unknown) => say({ n: call.n, error: failure(error) }),
    )
  })
  say({ n: 0, ok: performance.now() - start })
} catch (error) {
  say({ n: 0, error: failure(error) })
  process.disconnect()
}
