/**
 * A network that tests can break: one TCP proxy for each broker of a cluster, told apart by request and reply. The addresses in what
 * brokers tell are replaced, so clients that begin with `proxy.bootstrap` never find their way past it. Not for TLS.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { Connection, metadataV12 } from '@platformatic/kafka'

/** A request, or the reply to one. */
export interface Frame {
  readonly direction: 'request' | 'reply'
  /** Kafka's key of the request: 0 Produce, 1 Fetch, 3 Metadata, 22 InitProducerId, 26 EndTxn. */
  readonly api: number
  readonly version: number
  /** The node id. */
  readonly broker: number
  /** All of it, its length first. */
  readonly bytes: Buffer
}

export interface Match {
  readonly direction: 'request' | 'reply'
  readonly api?: number
  readonly broker?: number
  readonly where?: (frame: Frame) => boolean
  /** Only the nth that matches from now on, 1 being the next. Default: all. */
  readonly nth?: number
}

/**
 * `drop`: it is lost, the connection stays. `cut`: it is lost and so is its connection. `hold`: it waits for the rule's `release()`.
 * `delay`: it comes so many milliseconds later. What is behind it on its connection waits, too. What was held or delayed arrives even if
 * its sender has hung up in the meantime.
 */
export type Action = 'drop' | 'cut' | 'hold' | { readonly delay: number }

export interface Rule {
  /** How often it has acted. */
  readonly count: number
  /** Resolves when it has acted so often. */
  fired(times?: number): Promise<void>
  /** Lets go what it holds, and holds nothing from now on. */
  release(): void
  /** It does not act any more. It lets go what it holds. */
  remove(): void
}

interface Line {
  readonly node: number
  readonly host: string
  readonly port: number
  readonly server: Server
  /** Where the proxy listens in its place. */
  readonly own: number
  fault: 'none' | 'cut' | 'silent'
}

/** What tells addresses: Metadata, FindCoordinator, DescribeCluster, and Produce to one who is no leader. Fetch carries records, so it stays as it is. */
const TELL_ADDRESSES = [0, 3, 10, 60]
const LOOPBACK = '127.0.0.1'
/** So much waits here before a sender has to. */
const ENOUGH = 8 << 20

/** Stands before all brokers of a running cluster. @param bootstrap as clients have it: `host:port,host:port` */
export async function startProxy(bootstrap: string): Promise<Proxy> {
  const lines = await Promise.all(
    (await membersOf(bootstrap)).map(async ({ nodeId, host, port }): Promise<Line> => {
      const server = createServer({ noDelay: true })
      server.listen(0, LOOPBACK)
      await once(server, 'listening')
      return { node: nodeId, host, port, server, own: (server.address() as AddressInfo).port, fault: 'none' }
    }),
  )
  return new Proxy(lines)
}

export class Proxy implements AsyncDisposable {
  readonly #lines: readonly Line[]
  readonly #rules = new Set<ActiveRule>()
  readonly #pairs = new Set<Pair>()
  #healed = Promise.withResolvers<void>()

  constructor(lines: readonly Line[]) {
    this.#lines = lines
    for (const line of lines) line.server.on('connection', socket => this.#take(line, socket))
  }

  /** For clients, in place of the cluster's. */
  get bootstrap(): string {
    return this.#lines.map(({ own }) => `${LOOPBACK}:${own}`).join(',')
  }

  /** How many connections clients have through it. */
  get connections(): number {
    return this.#pairs.size
  }

  /** From now on. Of several rules that match, the oldest acts; all of them count. */
  on(match: Match, action: Action): Rule {
    const rule = new ActiveRule(match, action, () => this.#rules.delete(rule))
    this.#rules.add(rule)
    return rule
  }

  /** Cuts the connections there are, of all brokers or of one. */
  cut(broker?: number): void {
    for (const pair of this.#pairs) if (broker === undefined || pair.line.node === broker) pair.cut()
  }

  /** Until it heals nobody reaches the broker, or any: connections break at once (`cut`), or stay and carry nothing (`silent`). */
  partition(how: 'cut' | 'silent' = 'cut', broker?: number): void {
    for (const line of this.#lines) if (broker === undefined || line.node === broker) line.fault = how
    if (how === 'cut') this.cut(broker)
  }

  heal(): void {
    for (const line of this.#lines) line.fault = 'none'
    this.#healed.resolve()
    this.#healed = Promise.withResolvers<void>()
  }

  async close(): Promise<void> {
    const closed = this.#lines.map(({ server }) => once(server, 'close'))
    for (const { server } of this.#lines) server.close()
    this.cut()
    await Promise.all(closed)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #take(line: Line, client: Socket): void {
    if (line.fault === 'cut') {
      client.on('error', () => {}).destroy()
      return
    }
    const pair = new Pair(line, client, {
      judge: frame => this.#judge(frame),
      rewrite: bytes => this.#lines.reduce(replaceAddress, bytes),
      connected: async () => {
        while (line.fault === 'silent') await this.#healed.promise
      },
      closed: () => this.#pairs.delete(pair),
    })
    this.#pairs.add(pair)
  }

  #judge(frame: Frame): Verdict {
    let first: ActiveRule | undefined
    for (const rule of this.#rules) if (rule.matches(frame)) first ??= rule
    return first?.act() ?? 'pass'
  }
}

type Verdict = 'pass' | 'drop' | 'cut' | Promise<unknown>

class ActiveRule implements Rule {
  readonly #match: Match
  readonly #action: Action
  readonly #forget: () => void
  readonly #waiting = new Set<{ readonly times: number; resolve(): void }>()
  readonly #released = Promise.withResolvers<void>()
  #seen = 0
  #over = false
  count = 0

  constructor(match: Match, action: Action, forget: () => void) {
    this.#match = match
    this.#action = action
    this.#forget = forget
  }

  /** Whether it is to act on this one. Counts it. */
  matches(frame: Frame): boolean {
    const { direction, api = frame.api, broker = frame.broker, where = () => true, nth } = this.#match
    if (direction !== frame.direction || api !== frame.api || broker !== frame.broker || !where(frame)) return false
    this.#seen++
    return nth === undefined || nth === this.#seen
  }

  act(): Verdict {
    this.count++
    // Whoever waits for it goes on when it has been done.
    setImmediate(() => {
      for (const waiter of this.#waiting) {
        if (waiter.times > this.count) continue
        this.#waiting.delete(waiter)
        waiter.resolve()
      }
    })
    if (this.#action === 'hold') return this.#over ? 'pass' : this.#released.promise
    return typeof this.#action === 'object' ? pause(this.#action.delay) : this.#action
  }

  async fired(times = 1): Promise<void> {
    if (this.count < times) await new Promise<void>(resolve => this.#waiting.add({ times, resolve }))
  }

  release(): void {
    this.#over = true
    this.#released.resolve()
  }

  remove(): void {
    this.#forget()
    this.release()
  }
}

interface Rulers {
  judge(frame: Frame): Verdict
  rewrite(bytes: Buffer): Buffer
  /** Resolves when bytes may pass. */
  connected(): Promise<void>
  closed(): void
}

/** One client's connection, and ours to the broker in its name. */
class Pair {
  readonly line: Line
  readonly #client: Socket
  readonly #broker: Socket
  readonly #rulers: Rulers
  /** The requests without a reply so far, by correlation id. */
  readonly #asked = new Map<number, { readonly api: number; readonly version: number }>()
  #lost = false

  constructor(line: Line, client: Socket, rulers: Rulers) {
    this.line = line
    this.#client = client
    this.#broker = connect({ host: line.host, port: line.port, noDelay: true })
    this.#rulers = rulers
    this.#carry('request', client, this.#broker)
    this.#carry('reply', this.#broker, client)
    for (const socket of [client, this.#broker]) {
      socket.once('close', () => {
        if (client.closed && this.#broker.closed) rulers.closed()
      })
    }
  }

  /** Both ends learn of it, and nothing that was under way arrives. */
  cut(): void {
    this.#lost = true
    this.#client.destroy()
    this.#broker.destroy()
  }

  #carry(direction: 'request' | 'reply', from: Socket, to: Socket): void {
    let rest: Buffer = Buffer.alloc(0)
    let waiting = 0
    /** All before it is on its way. */
    let turn = Promise.resolve()

    from.on('data', data => {
      rest = rest.length === 0 ? data : Buffer.concat([rest, data])
      while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
        const size = 4 + rest.readInt32BE(0)
        const frame = this.#read(direction, rest.subarray(0, size))
        rest = rest.subarray(size)
        const verdict = this.#rulers.judge(frame)
        if (verdict === 'cut') return this.cut()
        if (verdict === 'drop') continue
        const bytes = direction === 'reply' && TELL_ADDRESSES.includes(frame.api) ? this.#rulers.rewrite(frame.bytes) : frame.bytes
        waiting += size
        if (waiting > ENOUGH) from.pause()
        turn = turn.then(async () => {
          if (verdict !== 'pass') await verdict
          await this.#rulers.connected()
          if (!this.#lost && !to.destroyed) to.write(bytes)
          waiting -= size
          if (waiting <= ENOUGH) from.resume()
        })
      }
    })
    from.on('error', () => {})
    // One who hangs up has still sent what it sent.
    from.once('close', () => {
      void turn.then(() => this.#rulers.connected()).then(() => (direction === 'request' ? to.end() : to.destroySoon()))
    })
  }

  #read(direction: 'request' | 'reply', bytes: Buffer): Frame {
    const broker = this.line.node
    if (direction === 'request') {
      const asked = { api: bytes.readInt16BE(4), version: bytes.readInt16BE(6) }
      this.#asked.set(bytes.readInt32BE(8), asked)
      return { direction, ...asked, broker, bytes }
    }
    const id = bytes.readInt32BE(4)
    const asked = this.#asked.get(id) ?? { api: -1, version: -1 }
    this.#asked.delete(id)
    return { direction, ...asked, broker, bytes }
  }
}

/**
 * Addresses stand in replies as a string and four bytes for the port, in every version. The length before the string is of one byte that
 * counts one more, or of two: what changes is the last byte before it in either case.
 */
function replaceAddress(bytes: Buffer, { host, port, own }: Line): Buffer {
  const theirs = addressAs(host, port)
  const parts: Buffer[] = []
  let from = 0
  for (let at = bytes.indexOf(theirs, 5); at !== -1; at = bytes.indexOf(theirs, from)) {
    const length = Buffer.of(bytes[at - 1]! - host.length + LOOPBACK.length)
    parts.push(bytes.subarray(from, at - 1), length, addressAs(LOOPBACK, own))
    from = at + theirs.length
  }
  if (from === 0) return bytes
  const replaced = Buffer.concat([...parts, bytes.subarray(from)])
  replaced.writeInt32BE(replaced.length - 4, 0)
  return replaced
}

function addressAs(host: string, port: number): Buffer {
  const bytes = Buffer.alloc(host.length + 4)
  bytes.write(host)
  bytes.writeInt32BE(port, host.length)
  return bytes
}

async function membersOf(bootstrap: string): Promise<readonly { readonly nodeId: number; readonly host: string; readonly port: number }[]> {
  const { hostname, port } = new URL(`kafka://${bootstrap.split(',')[0]}`)
  const connection = new Connection('mainstem-proxy')
  await connection.connect(hostname, Number(port))
  try {
    return [...(await metadataV12.api.async(connection, [], false, false)).brokers.values()]
  } finally {
    await connection.close()
  }
}
