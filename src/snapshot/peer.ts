/**
 * A snapshot from a replica that runs, over the link between replicas: whoever asks gets one that is made there and then, as the line that tells
 * what is in it and behind it the databases, in that order. Those who ask at the same time share one. It is gone when the last has it.
 */
import { createReadStream, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { type App, revision } from '../app.ts'
import { EngineError } from '../errors.ts'
import { decodeSnapshot, fileOf } from '../snapshot.ts'
import { MANIFEST } from './folder.ts'
import { type Made, makeSnapshot } from './make.ts'
import { type Offer, pour, type Source } from './source.ts'

/** A longer line is none of ours: some hundred thousand tenants would fit. */
const MAX_LINE = 64 << 20

/** Of a peer that sends nothing more for so long, ms, nothing more is expected. */
const SILENCE = 30_000

/** What goes over the line; `done` when nothing more is wanted of it. */
export interface Sent {
  readonly bytes: number
  readonly stream: Readable
  done(): void
}

/** Of a replica that gives snapshots to others. */
export class Offers {
  readonly #app: App
  readonly #data: string
  /** Of the folder that the next run clears. */
  readonly #scratch: string
  #current: { readonly made: Promise<Made>; readers: number } | undefined
  #count = 0

  constructor(app: App, data: string, scratch: string) {
    this.#app = app
    this.#data = data
    this.#scratch = scratch
  }

  /** @throws EngineError not-ready, data-unusable, invalid-option: it is asked for another revision */
  async send(wanted: unknown): Promise<Sent> {
    const own = revision(this.#app)
    if ((wanted as { revision?: unknown } | null)?.revision !== own)
      throw new EngineError('invalid-option', `this replica has revision ${own.slice(0, 12)}, and another one is asked for`)
    const current = (this.#current ??= { made: this.#make(), readers: 0 })
    current.readers++
    const leave = (path?: string) => {
      if (--current.readers > 0) return
      if (this.#current === current) this.#current = undefined
      if (path !== undefined) rmSync(dirname(path), { recursive: true, force: true })
    }
    try {
      const { path, snapshot } = await current.made
      const line = readFileSync(join(path, MANIFEST))
      const bytes = snapshot.databases.reduce((sum, database) => sum + database.bytes, line.length)
      const stream = Readable.from(
        (async function* () {
          yield line
          for (const { tenant } of snapshot.databases) yield* createReadStream(join(path, fileOf(tenant)))
        })(),
      )
      return { bytes, stream, done: () => leave(path) }
    } catch (error) {
      leave()
      throw error
    }
  }

  #make(): Promise<Made> {
    const folder = join(this.#scratch, `offered-${process.pid}-${++this.#count}`)
    mkdirSync(folder, { recursive: true })
    return makeSnapshot(this.#app, this.#data, folder, { passing: true }).catch((error: unknown) => {
      rmSync(folder, { recursive: true, force: true })
      throw error
    })
  }
}

/** The replica at a URL, or whichever a load balancer there leads to. */
export class Peer implements Source {
  readonly description: string
  readonly #url: string
  readonly #secret: string | undefined
  readonly #revision: string

  constructor(url: string, secret: string | undefined, revision: string) {
    this.description = url
    this.#url = url.replace(/\/+$/, '')
    this.#secret = secret
    this.#revision = revision
  }

  async *offers(signal: AbortSignal): AsyncIterable<Offer> {
    const response = await fetch(`${this.#url}/mainstem/snapshot`, {
      method: 'POST',
      signal,
      headers: {
        'content-type': 'application/json',
        ...(this.#secret === undefined ? {} : { authorization: `Bearer ${this.#secret}` }),
      },
      body: JSON.stringify({ revision: this.#revision }),
    }).catch((cause: Error) => {
      signal.throwIfAborted()
      throw new Error(`nobody answers there (${(cause.cause as Error | undefined)?.message ?? cause.message})`, { cause })
    })
    if (!response.ok || !response.body) throw new Error(`it answers ${response.status}: ${(await response.text()).trim().slice(0, 500)}`)
    const bytes = new Bytes(Readable.fromWeb(response.body))
    try {
      const snapshot = decodeSnapshot((await bytes.line(MAX_LINE)).toString('utf8'))
      yield { name: 'just made', snapshot, bring: (part, to, signal) => pour(bytes.next(part.bytes), to, part, signal) }
    } finally {
      bytes.end()
    }
  }
}

/** A stream, taken piece by piece. */
class Bytes {
  readonly #stream: Readable
  readonly #chunks: AsyncIterator<Buffer>
  #rest: Buffer = Buffer.alloc(0)

  constructor(stream: Readable) {
    this.#stream = stream
    this.#chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  }

  async line(most: number): Promise<Buffer> {
    const parts: Buffer[] = []
    for (let size = 0; size <= most; ) {
      const chunk = await this.#take()
      if (!chunk) throw new Error('it is torn: it ends before it says what is in it')
      const end = chunk.indexOf(10)
      if (end >= 0) {
        this.#rest = chunk.subarray(end + 1)
        return Buffer.concat([...parts, chunk.subarray(0, end)])
      }
      parts.push(chunk)
      size += chunk.length
    }
    throw new Error('what it says is in it does not end')
  }

  /** The next so many, or fewer where it ends before. */
  async *next(count: number): AsyncIterable<Buffer> {
    for (let left = count; left > 0; ) {
      const chunk = await this.#take()
      if (!chunk) return
      this.#rest = chunk.subarray(left)
      left -= Math.min(left, chunk.length)
      yield chunk.subarray(0, chunk.length - this.#rest.length)
    }
  }

  end(): void {
    this.#stream.destroy()
  }

  async #take(): Promise<Buffer | undefined> {
    if (this.#rest.length > 0) {
      const rest = this.#rest
      this.#rest = Buffer.alloc(0)
      return rest
    }
    const silent = setTimeout(() => this.#stream.destroy(new Error(`nothing came for ${SILENCE / 1_000} s`)), SILENCE)
    const { value, done } = await this.#chunks.next().finally(() => clearTimeout(silent))
    return done ? undefined : Buffer.from(value)
  }
}
