/**
 * A replica as a service over HTTP: `serve(app, options)` opens a replica and listens, `handler(replica, options)` is the same as a function from
 * `Request` to `Response`, to be mounted in a server of one's own. What stands at which path: `server/routes.ts`; what is answered when something
 * is not done: `server/problem.ts`.
 */
import type { App } from './app.ts'
import { openReplica, type Replica, type ReplicaOptions } from './replica.ts'
import { checkOpen } from './server/access.ts'
import { Listener } from './server/listener.ts'
import { routes } from './server/routes.ts'
import { type HandlerOptions, type Reason, Service } from './server/service.ts'
import type { Tls } from './replica/tls.ts'

export { type Access, type AccessOptions, type Action, bearer, type Policy, type Principal } from './server/access.ts'
export type { JwtOptions } from './server/access/jwt.ts'
export { Problem, type ProblemCode } from './server/problem.ts'
export type { HandlerOptions } from './server/service.ts'
export type { Tls } from './replica/tls.ts'

export interface ServeOptions extends ReplicaOptions, HandlerOptions {
  /** Default: 127.0.0.1. Any other than loopback needs `access`. */
  readonly host?: string
  /** Default: 8080. 0: any that is free. */
  readonly port?: number
  readonly tls?: Tls
  /** How long a request may take to arrive, ms; its head a third of it. Default: 30,000. */
  readonly arrival?: number
  /** How many connections there may be at a time; more are cut. They and the databases share the files that a process may open. Default: 10,000. */
  readonly maxConnections?: number
  /** How long `close` goes on serving while `/readyz` says no, ms: as long as a load balancer needs to notice. Default: 5,000. */
  readonly drain?: number
}

export interface Served extends AsyncDisposable {
  readonly url: string
  /** Resolves when the replica has read its log; until then commands are answered with 503. Rejects if it cannot be opened. */
  readonly ready: Promise<Replica>
  /**
   * Not ready at once, and leadership goes to another replica; goes on serving for the drain time; finishes what is on its way, and closes the
   * replica. (Disposing of it is the same without the drain time.)
   */
  close(): Promise<void>
}

/** A function to be mounted elsewhere. It neither opens nor closes the replica. */
export function handler(replica: Replica, options: HandlerOptions = {}): (request: Request) => Promise<Response> {
  const app = routes(new Service(replica.app, replica, options))
  return async request => app.fetch(request)
}

/**
 * Resolves when it listens, which is before the replica is ready.
 * @throws EngineError invalid-option
 */
export async function serve(app: App, options: ServeOptions): Promise<Served> {
  const { host = '127.0.0.1', port = 8080, tls, arrival, maxConnections, drain = 5_000, ...rest } = options
  const { access, maxBody, maxWaiting, maxStreams, maxTimeout, heartbeat, stall, onError, ...forReplica } = rest
  checkOpen(host, access !== undefined)
  const { timeout, signal, onProgress } = forReplica
  const forHandler = { access, maxBody, maxWaiting, maxStreams, timeout, maxTimeout, heartbeat, stall, onError }
  const service = new Service(app, undefined, given(forHandler))
  const listener = await Listener.open(service, { host, port, tls, arrival, maxConnections })
  const stop = new AbortController()
  const progress = replaying()
  const ready = openReplica(app, {
    ...forReplica,
    signal: signal ? AbortSignal.any([stop.signal, signal]) : stop.signal,
    onProgress: now => {
      if (!stop.signal.aborted) service.reason = progress(now.position, now.head)
      onProgress?.(now)
    },
  })
  ready.then(
    replica => {
      service.replica = replica
      if (!stop.signal.aborted) service.reason = undefined
    },
    () => {
      if (!stop.signal.aborted) service.reason = { reason: 'failed' }
    },
  )

  async function close(wait: number): Promise<void> {
    const patience = service.limits.maxTimeout
    service.reason = { reason: 'draining' }
    stop.abort()
    const { replica } = service
    if (replica) {
      listener.drain()
      // Others take over while this one passes on what still comes.
      replica.stepDown()
      await new Promise(done => setTimeout(done, wait))
    }
    const closed = listener.close(patience)
    await service.close()
    await closed
    await (await ready.catch(() => undefined))?.close()
  }
  let closing: Promise<void> | undefined
  const stopped = (wait = drain) => (closing ??= close(wait))
  return { url: listener.url, ready, close: () => stopped(), [Symbol.asyncDispose]: () => stopped(0) }
}

/** What is told of a replica that reads its log. */
function replaying(): (position: number, head: number) => Reason {
  let first: { readonly position: number; readonly at: number } | undefined
  return (position, head) => {
    const now = performance.now()
    first ??= { position, at: now }
    const rate = (position - first.position) / (now - first.at)
    const eta = rate > 0 ? Math.ceil((head - position) / rate / 1_000) : undefined
    const percent = head > 0 ? Math.min(100, Math.floor((position / head) * 100)) : 100
    return { reason: 'replaying', percent, ...(eta === undefined ? {} : { eta }) }
  }
}

/** Without what was left out: it has a default elsewhere. */
const given = <T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never
