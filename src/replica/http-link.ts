/**
 * Calls between machines, over HTTP/1.1 with connections that stay: followers pass commands on to the leader by it. The same contract as
 * the socket of one machine (`link.ts`), but two calls only are served here, and only to who knows the secret: `POST /mainstem/forward`, and
 * `POST /mainstem/snapshot` for replicas that have nothing yet.
 *
 * Without a secret it is for this machine alone. There a page in somebody's browser must not get through, either: a browser sends JSON to
 * another origin only after it has asked, and nobody answers that.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { Agent, createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Agent as TlsAgent, createServer as createTlsServer, request as httpsRequest, type Server as TlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import { pipeline } from 'node:stream/promises'
import { EngineError, type ErrorCode, errorKinds } from '../errors.ts'
import type { Sent } from '../snapshot/peer.ts'
import { LinkError } from './link.ts'
import { checkListen, type Listen } from './listen.ts'
import { readTls, renewTls } from './tls.ts'

/** A longer call is refused: no command of ours comes near. */
const MAX_BODY = 16 << 20
/** How long a connection may take to be made, ms: a machine that is gone does not say so. */
const CONNECTING = 2_000
/** How much longer than its command may take an answer is waited for, ms. */
const GIVING_UP = 1_000
/** How many calls may be on their way to one replica at a time; more wait. */
const MAX_SOCKETS = 64
const PATH = '/mainstem/'
/** What replicas ask of each other, and an operator who rolls a release out. */
const METHODS: ReadonlySet<string> = new Set(['forward', 'account', 'sample'])

type Forward = (params: unknown, method: string) => Promise<unknown>
type Send = (params: unknown) => Promise<Sent>

interface Reply {
  readonly ok?: unknown
  readonly error?: { readonly code: ErrorCode; readonly message: string; readonly id?: string; readonly details?: unknown }
}

export class HttpLinkServer {
  /** Where the others reach it. */
  readonly url: string
  readonly #server: Server

  private constructor(url: string, server: Server) {
    this.url = url
    this.#server = server
  }

  /** @throws EngineError invalid-option, also where it cannot listen */
  static async listen(options: Listen, forward: Forward, send?: Send): Promise<HttpLinkServer> {
    checkListen(options)
    const { host = '127.0.0.1', port = 0, advertise, secret, tls } = options
    const answer = (request: IncomingMessage, response: ServerResponse) => void serve(request, response, secret, forward, send)
    const notice = (text: string) => process.emitWarning(text)
    const server = tls ? createTlsServer(readTls(tls, notice), answer) : createServer(answer)
    if (tls) server.on('close', renewTls(server as TlsServer, tls, notice))
    server.requestTimeout = 30_000
    // Longer than any client of ours keeps an idle connection: it must not end while a call begins.
    server.keepAliveTimeout = 60_000
    await new Promise<void>((done, fail) => {
      server.once('error', cause =>
        fail(new EngineError('invalid-option', `cannot listen on ${host}:${port}: ${cause.message}`, { cause })),
      )
      server.listen(port, host, done)
    })
    const bound = (server.address() as AddressInfo).port
    const all = host === '0.0.0.0' || host === '::'
    return new HttpLinkServer(
      (advertise ?? `${tls ? 'https' : 'http'}://${named(all ? hostname() : host)}:${bound}`).replace(/\/+$/, ''),
      server,
    )
  }

  async close(): Promise<void> {
    const closed = new Promise<void>(done => this.#server.close(() => done()))
    this.#server.closeIdleConnections()
    setTimeout(() => this.#server.closeAllConnections(), 200).unref()
    await closed
  }
}

const named = (host: string): string => (host.includes(':') ? `[${host}]` : host)

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  secret: string | undefined,
  forward: Forward,
  send: Send | undefined,
): Promise<void> {
  // Nothing was done, and the connection ends: what comes behind would not be read.
  const refuse = (status: number, message: string) => {
    response.writeHead(status, { 'content-type': 'text/plain', connection: 'close' }).end(`${message}\n`)
    request.resume()
  }
  // Who went away is no concern of the replica's: the command goes on.
  response.on('error', () => {})
  if (secret !== undefined && !knows(request, secret)) return refuse(401, 'the secret is missing, or another one')
  const asked = request.url === `${PATH}snapshot` ? send : undefined
  const method = request.url?.startsWith(PATH) ? request.url.slice(PATH.length) : ''
  if (request.method !== 'POST' || (!METHODS.has(method) && !asked)) return refuse(404, 'nothing but commands is taken here')
  if (request.headers['content-type'] !== 'application/json') return refuse(415, 'a command is JSON')
  if (Number(request.headers['content-length']) > MAX_BODY) return refuse(413, 'the command is too large')
  let body: string | undefined
  try {
    body = await read(request)
  } catch {
    return void response.destroy()
  }
  if (body === undefined) return
  let params: unknown
  try {
    params = JSON.parse(body)
  } catch {
    return refuse(400, 'a command is JSON')
  }
  if (asked) return await sendTo(response, asked(params))
  const reply = await forward(params, method).then(
    (ok): Reply => ({ ok }),
    (error: unknown): Reply => {
      const { code, message, id, details } =
        error instanceof EngineError ? error : new EngineError('internal', String(error), { cause: error })
      return { error: { code, message, ...(id === undefined ? {} : { id }), ...(details === undefined ? {} : { details }) } }
    },
  )
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(reply))
}

async function sendTo(response: ServerResponse, sent: Promise<Sent>): Promise<void> {
  let what: Sent
  try {
    what = await sent
  } catch (error) {
    const { code, message } = error as Partial<EngineError> & Error
    const status = code === 'not-ready' ? 503 : code === 'invalid-option' ? 409 : 500
    return void response.writeHead(status, { 'content-type': 'text/plain' }).end(`${message}\n`)
  }
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': what.bytes })
  // Whoever does not get all of it would wait for the rest.
  const whole = async function* (chunks: AsyncIterable<Buffer>) {
    let left = what.bytes
    for await (const chunk of chunks) {
      left -= chunk.length
      yield chunk
    }
    if (left !== 0) throw new Error('it is torn')
  }
  await pipeline(what.stream, whole, response).catch(() => response.destroy())
  what.done()
}

/** In a time that does not tell how much of it is right. */
function knows({ headers }: IncomingMessage, secret: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(headers.authorization ?? ''), hash(`Bearer ${secret}`))
}

/** Undefined if it is too long: then the connection is gone. @throws when it breaks */
async function read(stream: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of stream as AsyncIterable<Buffer>) {
    size += part.length
    if (size > MAX_BODY) return undefined
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}

/** Connections to one replica, made when they are needed. */
export class HttpLink {
  readonly #url: string
  readonly #secret: string | undefined
  readonly #agent: Agent
  readonly #send: typeof httpRequest

  constructor(url: string, secret: string | undefined) {
    const tls = url.startsWith('https:')
    const options = { keepAlive: true, maxSockets: MAX_SOCKETS, scheduling: 'lifo' } as const
    this.#url = url
    this.#secret = secret
    this.#agent = tls ? new TlsAgent(options) : new Agent(options)
    this.#send = tls ? httpsRequest : httpRequest
  }

  /** @param timeout of the command, ms. @throws LinkError; EngineError as the other side threw it */
  call(method: string, params: unknown, timeout: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const body = Buffer.from(JSON.stringify(params))
      if (body.length > MAX_BODY) return reject(new EngineError('invalid-input', 'the command is too large to be passed on to the leader'))
      /** From then on it may have its effect. */
      let connected = false
      const fail = (why: string, cause?: unknown) =>
        reject(
          connected
            ? new LinkError('lost', `the connection to ${this.#url} broke before the answer came: ${why}`, cause)
            : new LinkError('unreachable', `nobody answers at ${this.#url}: ${why}`, cause),
        )
      const request = this.#send(`${this.#url}${PATH}${method}`, {
        method: 'POST',
        agent: this.#agent,
        headers: {
          'content-type': 'application/json',
          'content-length': body.length,
          ...(this.#secret === undefined ? {} : { authorization: `Bearer ${this.#secret}` }),
        },
      })
      let timer = setTimeout(() => request.destroy(new Error('it took too long')), timeout + GIVING_UP)
      let answering = false
      request.on('close', () => {
        clearTimeout(timer)
        if (!answering) fail('it was closed')
      })
      request.on('socket', socket => {
        const begin = () => {
          connected = true
          clearTimeout(timer)
          timer = setTimeout(() => request.destroy(new Error('it took too long')), timeout + GIVING_UP)
        }
        if (!socket.connecting) return begin()
        clearTimeout(timer)
        timer = setTimeout(() => request.destroy(new Error('it took too long')), CONNECTING)
        socket.once(this.#send === httpsRequest ? 'secureConnect' : 'connect', begin)
      })
      request.on('error', cause => fail(cause.message, cause))
      request.on('response', response => {
        answering = true
        read(response).then(
          text => {
            const { statusCode = 0 } = response
            if (statusCode === 200) settle(text, resolve, reject, fail)
            else if (statusCode === 401)
              reject(new LinkError('unreachable', `${this.#url} refuses our secret: all replicas of a log must have the same`))
            // What is said before anything is done. Of anything else, such as what a proxy says of a replica behind it, nobody knows.
            else if (statusCode >= 400 && statusCode < 500)
              reject(new LinkError('unreachable', `${this.#url} is no replica that takes commands (${statusCode})`))
            else fail(`the answer has status ${statusCode}`)
          },
          (cause: Error) => fail(cause.message, cause),
        )
      })
      request.end(body)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

function settle(
  text: string | undefined,
  resolve: (value: unknown) => void,
  reject: (error: Error) => void,
  fail: (why: string) => void,
): void {
  let reply: Reply | undefined
  try {
    reply = JSON.parse(text ?? '') as Reply
  } catch {
    return fail('the answer is not JSON')
  }
  const { ok, error } = reply
  if (error) reject(new EngineError(error.code in errorKinds ? error.code : 'internal', error.message, error))
  else resolve(ok)
}
