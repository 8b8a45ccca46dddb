/**
 * The network between the brokers of a cluster, for tests that part it: a door of ours stands before each listener that brokers and
 * controllers reach each other by. Who comes in is told by the client id of its first request. Clients have another way, and notice nothing.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Kafka names its brokers' and controllers' clients after them: `broker-1-fetcher-0`, `raft-client-1`, or `1` alone. */
const BROKER = /^(?:broker-|raft-client-)?(\d+)(?:-|$)/
/** The client id stands behind size, key, version and correlation id. */
const HEADER = 14

interface Link {
  /** Undefined: not known yet, or none of the brokers. */
  from: number | undefined
  readonly to: number
  readonly ends: readonly [Socket, Socket]
}

export class Links {
  readonly #doors: Server[] = []
  readonly #links = new Set<Link>()
  /** Those who reach each other, and nobody else. */
  #apart: ReadonlySet<number> | undefined
  #how: 'cut' | 'silent' = 'silent'

  /** @returns the port that leads to a broker's own */
  async door(to: number, port: number): Promise<number> {
    const door = createServer({ noDelay: true })
    this.#doors.push(door)
    door.on('connection', caller => this.#take(caller, to, port))
    door.listen(0, '127.0.0.1')
    await once(door, 'listening')
    return (door.address() as AddressInfo).port
  }

  /** Until it heals these reach none of the others, nor the others them: connections stay and carry nothing (`silent`), or break (`cut`). */
  part(brokers: readonly number[], how: 'cut' | 'silent' = 'silent'): void {
    this.#apart = new Set(brokers)
    this.#how = how
    for (const link of this.#links) this.#let(link)
  }

  /** What was sent meanwhile arrives on the connections that are left. */
  heal(): void {
    this.#apart = undefined
    for (const link of this.#links) this.#let(link)
  }

  async close(): Promise<void> {
    const closed = this.#doors.map(door => once(door, 'close'))
    for (const door of this.#doors) door.close()
    for (const { ends } of this.#links) for (const end of ends) end.destroy()
    await Promise.all(closed)
  }

  #take(caller: Socket, to: number, port: number): void {
    const broker = connect({ host: '127.0.0.1', port, noDelay: true })
    const link: Link = { from: undefined, to, ends: [caller, broker] }
    this.#links.add(link)
    for (const [end, other] of [
      [caller, broker],
      [broker, caller],
    ] as const) {
      end.on('error', () => {})
      end.once('close', () => {
        this.#links.delete(link)
        other.destroy()
      })
    }
    let head = Buffer.alloc(0)
    const read = (data: Buffer): void => {
      head = Buffer.concat([head, data])
      const length = head.length < HEADER ? 0 : head.readInt16BE(HEADER - 2)
      if (head.length < HEADER + length) return
      caller.off('data', read).pause()
      const id = BROKER.exec(head.toString('utf8', HEADER, HEADER + Math.max(0, length)))?.[1]
      link.from = id === undefined ? undefined : Number(id)
      caller.unshift(head)
      carry(caller, broker)
      carry(broker, caller)
      this.#let(link)
    }
    caller.on('data', read)
  }

  /** Lets what is sent on it pass, or not, as things stand. */
  #let({ from, to, ends }: Link): void {
    const parted = from !== undefined && this.#apart !== undefined && this.#apart.has(from) !== this.#apart.has(to)
    for (const end of ends) {
      if (!parted) end.resume()
      else if (this.#how === 'cut') end.destroy()
      else end.pause()
    }
  }
}

function carry(from: Socket, to: Socket): void {
  from.on('data', data => to.write(data))
}
