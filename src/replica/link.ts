/**
 * Calls between processes of one machine, over a Unix socket: one JSON object a line, each answered by its number. Followers pass
 * commands on to the leader by it, and the command line talks to a running replica. It knows neither apps nor logs.
 */
import { chmodSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { EngineError, type ErrorCode, errorKinds } from '../errors.ts'

/** A longer line is cut off: no call of ours comes near. */
const MAX_LINE = 16 << 20

export type Handler = (method: string, params: unknown) => Promise<unknown>

/** Why a call got no answer. `unreachable`: it was never sent. `lost`: it was, and may have had its effect. */
export class LinkError extends Error {
  readonly kind: 'unreachable' | 'lost'

  constructor(kind: 'unreachable' | 'lost', message: string, cause?: unknown) {
    super(message, { cause })
    this.kind = kind
  }
}

interface Reply {
  n: number
  ok?: unknown
  /** What JSON cannot carry in `ok`. */
  bytes?: Bytes
  error?: { code: ErrorCode; message: string; id?: string; details?: unknown }
}

export class LinkServer {
  readonly path: string
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(path: string, server: Server) {
    this.path = path
    this.#server = server
  }

  /** @param path is unlinked first: whoever listens must own it by other means (the lock of the data directory). */
  static async listen(path: string, handler: Handler): Promise<LinkServer> {
    rmSync(path, { force: true })
    const server = createServer()
    const link = new LinkServer(path, server)
    server.on('connection', socket => {
      link.#sockets.add(socket)
      socket.on('close', () => link.#sockets.delete(socket))
      // A caller that went away is no concern of the replica's: its command goes on.
      socket.on('error', () => socket.destroy())
      const send = writer(socket)
      const answer = async (line: unknown) => {
        const { n, method, params } = line as { n: number; method: string; params: unknown }
        try {
          const ok = await handler(method, params)
          const bytes = bytesIn(ok)
          send(bytes.length === 0 ? { n, ok } : { n, ok, bytes })
        } catch (error) {
          const { code, message, id, details } =
            error instanceof EngineError ? error : new EngineError('internal', String(error), { cause: error })
          send({ n, error: { code, message, ...(id === undefined ? {} : { id }), ...(details === undefined ? {} : { details }) } })
        }
      }
      lines(socket, line => void answer(line))
    })
    await new Promise<void>((done, fail) => {
      server.once('error', fail)
      server.listen(path, () => done())
    })
    chmodSync(path, 0o600)
    return link
  }

  async close(): Promise<void> {
    const closed = new Promise<void>(done => this.#server.close(() => done()))
    for (const socket of this.#sockets) socket.end()
    setTimeout(() => this.#sockets.forEach(socket => socket.destroy()), 200).unref()
    await closed
    rmSync(this.path, { force: true })
  }
}

/** A connection to one address, made when first used and again after it broke. */
export class Link {
  readonly #path: string
  readonly #calls = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  #socket: Socket | undefined
  #send: ((message: object) => void) | undefined
  #connecting: Promise<void> | undefined
  #count = 0

  constructor(path: string) {
    this.#path = path
  }

  /** @throws LinkError; EngineError as the other side threw it */
  async call(method: string, params: unknown): Promise<unknown> {
    if (!this.#send) await (this.#connecting ??= this.#connect())
    const send = this.#send
    if (!send) throw new LinkError('unreachable', `nobody answers at ${this.#path}`)
    const n = ++this.#count
    return new Promise((resolve, reject) => {
      this.#calls.set(n, { resolve, reject })
      send({ n, method, params })
    })
  }

  close(): void {
    this.#socket?.destroy()
  }

  #connect(): Promise<void> {
    return new Promise((done, fail) => {
      const socket = connect(this.#path)
      socket.once('connect', () => {
        this.#socket = socket
        this.#send = writer(socket)
        this.#connecting = undefined
        done()
      })
      socket.on('error', cause => {
        this.#connecting = undefined
        fail(new LinkError('unreachable', `nobody answers at ${this.#path}`, cause))
      })
      socket.on('close', () => {
        if (this.#socket === socket) this.#socket = this.#send = undefined
        const calls = [...this.#calls.values()]
        this.#calls.clear()
        for (const call of calls) call.reject(new LinkError('lost', `the connection to ${this.#path} broke before the answer came`))
      })
      lines(socket, line => {
        const { n, ok, bytes, error } = line as Reply
        const call = this.#calls.get(n)
        this.#calls.delete(n)
        if (!error) call?.resolve(bytes ? withBytes(ok, bytes) : ok)
        else call?.reject(new EngineError(error.code in errorKinds ? error.code : 'internal', error.message, error))
      })
    })
  }
}

/** Where bytes stand in an answer, and what they are in base64. Beside it, not in it, so that nothing an app answers can be taken for them. */
type Bytes = readonly (readonly [path: readonly (string | number)[], base64: string])[]

function bytesIn(value: unknown, path: readonly (string | number)[] = [], found: [(string | number)[], string][] = []): Bytes {
  if (typeof value !== 'object' || value === null) return found
  if (ArrayBuffer.isView(value)) found.push([[...path], Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')])
  else if (Array.isArray(value)) for (const [index, item] of value.entries()) bytesIn(item, [...path, index], found)
  else for (const [key, member] of Object.entries(value)) bytesIn(member, [...path, key], found)
  return found
}

function withBytes(answer: unknown, bytes: Bytes): unknown {
  const whole = { answer }
  for (const [path, base64] of bytes) {
    const way = ['answer', ...path]
    const last = way.pop()!
    const holder = way.reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], whole)
    ;(holder as Record<string, unknown>)[last] = new Uint8Array(Buffer.from(base64, 'base64'))
  }
  return whole.answer
}

/** Writes what comes in one turn of the event loop at once. */
function writer(socket: Socket): (message: object) => void {
  let waiting = ''
  return message => {
    if (waiting === '') {
      setImmediate(() => {
        if (!socket.destroyed) socket.write(waiting)
        waiting = ''
      })
    }
    waiting += `${JSON.stringify(message, 'bytes' in message ? withoutBytes : undefined)}\n`
  }
}

const withoutBytes = (_: string, member: unknown): unknown => (ArrayBuffer.isView(member) ? null : member)

function lines(socket: Socket, take: (line: unknown) => void): void {
  let rest = ''
  socket.setEncoding('utf8')
  socket.on('data', (text: string) => {
    const parts = (rest + text).split('\n')
    rest = parts.pop()!
    if (rest.length > MAX_LINE) socket.destroy()
    for (const part of parts) {
      let line: unknown
      try {
        line = JSON.parse(part)
      } catch {
        // Not one of ours: nothing can be answered.
        socket.destroy()
        return
      }
      if (typeof line === 'object' && line !== null) take(line)
    }
  })
}
