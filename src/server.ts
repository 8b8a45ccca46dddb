/**
 * A replica as a service over HTTP: `serve(app, options)` opens a replica and listens, `handler(replica, options)` is the same as a function from
 * `Request` to `Response`, to be mounted in a server of one's own. What stands at which path: `server/routes.ts`; what is answered when something
 * is not done: `server/problem.ts`.
 */
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import type { App } from './app.ts'
import { EngineError } from './errors.ts'
import { openReplica, type Replica, type ReplicaOptions } from './replica.ts'
import { checkOpen } from './server/access.ts'
import { routes } from './server/routes.ts'
import { type HandlerOptions, Service } from './server/service.ts'
import { readTls, renewTls, type Tls } from './server/tls.ts'

export { type Access, type AccessOptions, type Action, bearer, type Policy, type Principal } from './server/access.ts'
export type { JwtOptions } from './server/access/jwt.ts'
export { Problem, type ProblemCode } from './server/problem.ts'
export type { HandlerOptions } from './server/service.ts'
export type { Tls } from './server/tls.ts'

export interface ServeOptions extends ReplicaOptions, HandlerOptions {
  /** Default: 127.0.0.1. Any other than loopback needs `access`. */
  readonly host?: string
  /** Default: 8080. 0: any that is free. */
  readonly port?: number
  readonly tls?: Tls
  /** How long `close` goes on serving while `/readyz` says no, ms: as long as a load balancer needs to notice. Default: 5,000. */
  readonly drain?: number
}

export interface Served {
  readonly url: string
  /** Resolves when the replica has read its log; until then commands are answered with 503. Rejects if it cannot be opened. */
  readonly ready: Promise<Replica>
  /** Not ready at once; goes on serving for the drain time; finishes what is on its way, and closes the replica. */
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
  const { host = '127.0.0.1', port = 8080, tls, drain = 5_000, access, maxBody, maxWaiting, maxTimeout, ...replicaOptions } = options
  checkOpen(host, access !== undefined)
  const service = new Service(app, undefined, given({ access, maxBody, maxWaiting, maxTimeout, timeout: options.timeout }))
  const respond = getRequestListener(routes(service).fetch, { overrideGlobalObjects: false })
  const listener: RequestListener = (request, response) => void respond(request, response)
  const server = tls ? tlsServer(tls, listener) : createServer(listener)
  const url = await listen(server, host, port, tls ? 'https' : 'http')
  const stop = new AbortController()
  const ready = openReplica(app, { ...replicaOptions, signal: AbortSignal.any([stop.signal, ...(options.signal ? [options.signal] : [])]) })
  ready.then(
    replica => {
      service.replica = replica
      if (!service.draining) service.reason = undefined
    },
    () => {},
  )
  const close = async () => {
    service.draining = true
    service.reason = { reason: 'draining' }
    if (service.replica) await new Promise(done => setTimeout(done, drain))
    stop.abort()
    const closed = new Promise<void>(done => server.close(() => done()))
    server.closeIdleConnections()
    const replica = await ready.catch(() => undefined)
    await replica?.close()
    await closed
  }
  let closing: Promise<void> | undefined
  return { url, ready, close: () => (closing ??= close()) }
}

function tlsServer(tls: Tls, listener: RequestListener): Server {
  const notice = (text: string) => process.emitWarning(text)
  const server = createTlsServer(readTls(tls, notice), listener)
  const end = renewTls(server, tls, notice)
  return server.on('close', end)
}

async function listen(server: Server, host: string, port: number, protocol: string): Promise<string> {
  await new Promise<void>((done, fail) => {
    server.once('error', cause => fail(new EngineError('invalid-option', `cannot listen on ${host}:${port}: ${cause.message}`, { cause })))
    server.listen(port, host, done)
  })
  return `${protocol}://${host.includes(':') ? `[${host}]` : host}:${(server.address() as AddressInfo).port}`
}

/** Without what was left out: it has a default elsewhere. */
const given = <T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never
