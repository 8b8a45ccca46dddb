/** The routes on a server of node:http or node:https: its limits, and what may come in where access is off. */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { EngineError } from '../errors.ts'
import { isLoopback } from '../replica/listen.ts'
import { Problem } from './problem.ts'
import { routes } from './routes.ts'
import type { Service } from './service.ts'
import { send, short } from './short.ts'
import { readTls, renewTls, type Tls } from '../replica/tls.ts'

export interface Place {
  readonly host: string
  readonly port: number
  readonly tls?: Tls | undefined
  /** ms */
  readonly arrival?: number | undefined
  readonly maxConnections?: number | undefined
}

/** How long a request may take to arrive, ms, and a third of it its head. */
const ARRIVAL = 30_000
const CONNECTIONS = 10_000
/** How long a connection may be without a request, ms: longer than a proxy keeps it. */
const KEEP_ALIVE = 75_000
/** How often connections are looked at, ms, at least. */
const LOOK = 2_000
/** How much longer than its request a connection may stand still before it is cut, ms. */
const STILL = 30_000

export class Listener {
  readonly url: string
  readonly #server: Server
  readonly #state: { draining: boolean }
  /** Connections that have not asked for anything yet. node:http does not take them for idle. */
  readonly #unused = new Set<Socket>()

  private constructor(url: string, server: Server, state: { draining: boolean }) {
    this.url = url
    this.#server = server
    this.#state = state
    server.on(url.startsWith('https:') ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.#unused.add(socket)
      socket.once('close', () => this.#unused.delete(socket))
    })
    server.on('request', ({ socket }) => this.#unused.delete(socket))
  }

  /** @throws EngineError invalid-option, also where it cannot listen */
  static async open(service: Service, { host, port, tls, arrival = ARRIVAL, maxConnections = CONNECTIONS }: Place): Promise<Listener> {
    const state = { draining: false }
    const respond = getRequestListener(routes(service).fetch, { overrideGlobalObjects: false, hostname: 'localhost' })
    const listener: RequestListener = (request, response) => {
      // Whoever keeps a connection looks for another replica.
      if (state.draining) response.shouldKeepAlive = false
      const problem = crooked(request) ?? (service.access ? undefined : stranger(request))
      if (problem) return send(response, problem.toAnswer())
      if (!short(service, request, response)) void respond(request, response)
    }
    const limits = {
      headersTimeout: Math.ceil(arrival / 3),
      requestTimeout: arrival,
      keepAliveTimeout: KEEP_ALIVE,
      connectionsCheckingInterval: Math.min(LOOK, arrival / 3),
    }
    const server = tls ? tlsServer(tls, limits, listener) : createServer(limits, listener)
    server.maxConnections = maxConnections
    server.setTimeout(service.limits.maxTimeout + STILL)
    await new Promise<void>((done, fail) => {
      server.once('error', cause =>
        fail(new EngineError('invalid-option', `cannot listen on ${host}:${port}: ${cause.message}`, { cause })),
      )
      server.listen(port, host, done)
    })
    const bound = (server.address() as AddressInfo).port
    return new Listener(`${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${bound}`, server, state)
  }

  /** From here on connections end with their answers. */
  drain(): void {
    this.#state.draining = true
  }

  /** Takes no more connections; resolves when those there are have their answers, or patience is over, ms. */
  async close(patience: number): Promise<void> {
    this.drain()
    const closed = new Promise<void>(done => this.#server.close(() => done()))
    for (const socket of this.#unused) socket.destroy()
    // An answer that was begun before does not end its connection.
    const idle = setInterval(() => this.#server.closeIdleConnections(), 20)
    const all = setTimeout(() => this.#server.closeAllConnections(), patience)
    await closed
    clearInterval(idle)
    clearTimeout(all)
  }
}

function tlsServer(tls: Tls, limits: ServerOptions, listener: RequestListener): Server {
  const notice = (text: string) => process.emitWarning(text)
  const server = createTlsServer({ ...limits, ...readTls(tls, notice) }, listener)
  const end = renewTls(server, tls, notice)
  return server.on('close', end)
}

/** What others read differently, such as a proxy that looks at paths: it must not lead to another tenant than it seems to. */
function crooked({ url = '' }: IncomingMessage): Problem | undefined {
  const path = url.split(/[?#]/, 1)[0]!
  if (!/\\|(^|\/)(\.|%2e){1,2}(\/|$)/i.test(path)) return undefined
  return new Problem('malformed', { detail: 'a path has no backslash here, and no part that is . or ..' })
}

/**
 * Without access everybody of this machine may do everything, but not a page in somebody's browser: not under a name that was bent to this address,
 * nor from a page that came from elsewhere.
 */
function stranger({ headers }: IncomingMessage): Problem | undefined {
  const { host, origin } = headers
  // Every browser names one; probes of load balancers need not.
  if (host !== undefined && !isLoopback(host.replace(/:\d+$/, '')))
    return new Problem('forbidden', { detail: 'access is off, so only this machine may ask, by 127.0.0.1, [::1] or localhost' })
  if (origin !== undefined && URL.parse(origin)?.host !== host)
    return new Problem('forbidden', { detail: 'access is off, so no page of another origin may ask' })
  return undefined
}
