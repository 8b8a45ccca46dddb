/**
 * A small world in virtual time: shards (the very machine that replicas run), one log that may misbehave, a roster, and clients that
 * repeat what they must. Everything random comes from one seed; nothing waits.
 */
import { type StrategyName, strategyOf } from '../../src/consistency.ts'
import { definitionOf } from '../../src/app.ts'
import { openStore } from '../../src/database/sqlite.ts'
import type { Store } from '../../src/database.ts'
import { prepare } from '../../src/decide.ts'
import type { EngineError } from '../../src/errors.ts'
import type { Appended, NewRecord, Stored } from '../../src/log.ts'
import { type Decision, encodeControl, inputHash } from '../../src/record.ts'
import type { Input, Output, Reply, Request } from '../../src/shard/protocol.ts'
import { Shard } from '../../src/shard.ts'
import { seeded } from '../../src/random.ts'
import shop from '../support/shop.ts'

export interface Faults {
  /** Chances, per append or forward. */
  readonly lostReply: number
  readonly lost: number
  readonly late: number
  readonly doubled: number
  readonly notWritten: number
  /** Chance per 100 ms and node. */
  readonly crash: number
  readonly pause: number
}

export const calm: Faults = { lostReply: 0, lost: 0, late: 0, doubled: 0, notWritten: 0, crash: 0, pause: 0 }

interface Command {
  readonly id: string
  readonly tenant: string
  readonly name: string
  readonly input: unknown
  answer?: {
    readonly status: 'accepted' | 'rejected'
    readonly version: number
    readonly decision: Pick<Decision, 'events' | 'result' | 'rejection'> | undefined
  }
  error?: EngineError
}

interface Node {
  readonly name: string
  shard: Shard
  stores: Store[]
  /** Grows with every crash: what was on its way for an older life is dropped. */
  life: number
  pausedUntil: number
  flushAt: number
  beat: number
}

const EPOCH = 1_700_000_000_000
const HEADER = { log: 'simulated', time: EPOCH }

export class World {
  readonly random: () => number
  readonly commands: Command[] = []
  readonly log: (Stored & { readonly barrier: boolean })[] = []
  readonly nodes: Node[] = []
  now = 0
  steps = 0
  #faults: Faults
  readonly #strategies: readonly StrategyName[]
  readonly #freshHead: boolean
  #agenda: { at: number; run: () => void }[] = []

  constructor(seed: number, strategies: readonly StrategyName[], freshHead: boolean, faults: Faults) {
    this.random = seeded(seed)
    this.#faults = faults
    this.#strategies = strategies
    this.#freshHead = freshHead
    this.#write({
      value: encodeControl({ kind: 'manifest', ...HEADER, app: 'shop', partitions: 1, partition: 0, rules: 1, window: 50, generation: 1 }),
      tenant: null,
      time: EPOCH,
    })
    for (const [index] of strategies.entries()) {
      const node: Node = {
        name: `node-${index}`,
        life: 0,
        stores: [],
        pausedUntil: 0,
        flushAt: Infinity,
        beat: 0,
        shard: undefined as never,
      }
      this.nodes.push(node)
      this.#start(node)
      this.#every(node, 50, () => this.#feed(node, { type: 'tick' }))
      this.#every(node, 250, () => {
        node.beat++
        const beats = new Map(this.nodes.map(({ name, life, beat }) => [`${name}/${life}`, beat]))
        // Again and again somebody else should own the shard, whether it would or not.
        const { name, life } = this.nodes[Math.floor(this.now / 700) % this.nodes.length]!
        this.#feed(node, { type: 'beats', beats, preferred: `${name}/${life}` })
      })
      this.#every(node, 10, () => this.#read(node))
      this.#every(node, 100, () => this.#misfortune(node))
    }
  }

  /** A client asks some node, and asks again, the same or another, as long as it is told that this is safe. */
  ask(at: number, command: Command): void {
    this.commands.push(command)
    this.#at(at, () => this.#send(command))
  }

  #send(command: Command): void {
    const node = this.nodes[Math.floor(this.random() * this.nodes.length)]!
    const { life } = node
    let heard = false
    this.#execute(node, command, false, reply => {
      if (heard || node.life !== life) return
      heard = true
      if (reply.kind === 'failed') {
        if (reply.error.retry === 'safe' && this.now < 60_000) this.#at(this.now + 20, () => this.#send(command))
        else command.error = reply.error
      } else if (reply.kind === 'known') command.answer ??= { status: 'accepted', version: reply.entry.version, decision: undefined }
      else {
        const decided = reply.kind === 'decided' ? reply.decision : reply.decided
        command.answer ??= { status: decided.rejection ? 'rejected' : 'accepted', version: reply.version, decision: decided }
      }
    })
    // The client of a node that dies hears nothing, and asks elsewhere.
    this.#at(this.now + 3_000, () => {
      if (heard) return
      heard = true
      if (!command.answer) this.#send(command)
    })
  }

  run(until: number): void {
    for (;;) {
      let next = -1
      for (let i = 0; i < this.#agenda.length; i++) if (next < 0 || this.#agenda[i]!.at < this.#agenda[next]!.at) next = i
      const event = this.#agenda[next]
      if (!event || event.at > until) break
      this.#agenda.splice(next, 1)
      this.now = Math.max(this.now, event.at)
      event.run()
    }
    this.now = until
  }

  /** No more misfortune: from here on everything must come to an end. */
  calmDown(): void {
    this.#faults = calm
    for (const node of this.nodes) node.pausedUntil = 0
  }

  close(): void {
    for (const { stores } of this.nodes) for (const store of stores) store.close()
  }

  // --- Nodes ----------------------------------------------------------------------------------------------------------

  #start(node: Node): void {
    node.stores = []
    node.flushAt = Infinity
    const name = this.#strategies[this.nodes.indexOf(node)]!
    node.shard = new Shard({
      app: shop,
      strategy: strategyOf[name],
      me: `${node.name}/${node.life}`,
      address: node.name,
      release: 'test',
      place: 'here',
      freshHead: this.#freshHead,
      open: () => {
        const store = openStore(definitionOf(shop).database, ':memory:')
        node.stores.push(store)
        return store
      },
      discard: () => {},
      random: this.random,
      maxRecordBytes: 4_096,
      maxOpen: Infinity,
    })
    this.#feed(node, { type: 'records', records: [...this.log], reached: this.log.at(-1)?.position ?? 0 })
    this.#feed(node, { type: 'live' })
  }

  #misfortune(node: Node): void {
    if (this.random() < this.#faults.pause) node.pausedUntil = this.now + this.random() * 4_000
    if (this.random() < this.#faults.crash) {
      for (const store of node.stores) store.close()
      node.life++
      this.#start(node)
    }
  }

  #feed(node: Node, input: Input): void {
    this.steps++
    for (const output of node.shard.step(this.now, EPOCH + Math.floor(this.now), input)) this.#act(node, output)
    const { due } = node.shard
    if (due === undefined) return
    const at = Math.max(due, this.now + this.random())
    if (at >= node.flushAt) return
    node.flushAt = at
    this.#later(node, at - this.now, () => {
      node.flushAt = Infinity
      this.#feed(node, { type: 'flush' })
    })
  }

  #act(node: Node, output: Output): void {
    switch (output.do) {
      // No reads, no databases to check, and nobody gives up here.
      case 'catch-up':
      case 'drained':
      case 'give-up':
      case 'moved':
      case 'ready':
      case 'suspect':
        return
      case 'append':
        return this.#append(node, output)
      case 'look':
        return this.#later(node, this.#delay(), () => {
          const head = this.log.at(-1)?.position ?? 0
          this.#later(node, this.#delay(), () => this.#feed(node, { type: 'looked', look: output.look, head }))
        })
      case 'read-on':
        return this.#later(node, this.#delay(), () => this.#read(node))
      case 'reply':
        return (output.request as Request & { heard(reply: Reply): void }).heard(output.reply)
      case 'forward':
        return this.#forward(node, output.request as Request & { heard(reply: Reply): void }, output.address, output.term)
    }
  }

  #execute(node: Node, { id, tenant, name, input }: Command, forwarded: boolean, heard: (reply: Reply) => void): void {
    this.#later(node, this.#delay(), () => {
      const prepared = prepare(shop, name, input)
      const request: Request & { heard(reply: Reply): void } = {
        tenant,
        command: name,
        input,
        prepared,
        id,
        hash: inputHash(name, input),
        deadline: this.now + 2_500,
        forwarded,
        fresh: false,
        done: false,
        inDoubt: false,
        conflicts: 0,
        heard,
      }
      this.#feed(node, { type: 'command', request })
    })
  }

  #forward(node: Node, request: Request & { heard(reply: Reply): void }, address: string, term: number): void {
    const other = this.nodes.find(({ name }) => name === address)!
    const { life } = other
    const end = (reply: 'lost' | 'refused' | 'answered', answer?: Reply) =>
      this.#later(node, this.#delay(), () => {
        this.#feed(node, { type: 'forwarded', request, term, reply })
        if (answer) request.heard(answer)
      })
    if (this.random() < this.#faults.lost) return end('lost')
    const command = this.commands.find(({ id }) => id === request.id)!
    let over = false
    this.#execute(other, command, true, reply => {
      if (over) return
      over = true
      if (this.random() < this.#faults.lostReply) end('lost')
      else if (reply.kind === 'failed' && (reply.error.code === 'not-leader' || reply.error.code === 'closed')) end('refused')
      else end('answered', reply)
    })
    const watch = () => {
      if (over) return
      if (other.life !== life) {
        over = true
        end('lost')
      } else this.#later(node, 100, watch)
    }
    watch()
  }

  // --- The log --------------------------------------------------------------------------------------------------------

  #append(node: Node, { append, records, after }: Extract<Output, { do: 'append' }>): void {
    const { lostReply, lost, late, doubled, notWritten } = this.#faults
    const answer = (answers: readonly Appended[]) =>
      this.#later(node, this.#delay(), () => this.#feed(node, { type: 'appended', append, answers }))
    const chance = this.random()
    const unknown = records.map((): Appended => ({ status: 'unknown' }))
    this.#at(this.now + this.#delay(), () => {
      if (chance < lost) return answer(unknown)
      if (chance < lost + late) {
        this.#at(this.now + this.random() * 3_000, () => records.forEach(record => this.#write(record)))
        return answer(unknown)
      }
      if (chance < lost + late + notWritten) return answer(records.map(() => ({ status: 'not-written' })))
      const answers = records.map((record): Appended => {
        if (
          after !== undefined &&
          this.log.some(({ position, tenant, barrier }) => position > after && (tenant === record.tenant || (tenant === null && !barrier)))
        ) {
          return { status: 'conflict' }
        }
        const previous = this.log.at(-1)?.position ?? 0
        const position = this.#write(record)
        if (this.random() < doubled) this.#at(this.now + this.random() * 500, () => this.#write(record))
        return { status: 'written', position, ...(this.random() < 0.5 ? { previous } : {}) }
      })
      answer(this.random() < lostReply ? unknown : answers)
    })
  }

  #write({ value, tenant, barrier = false }: NewRecord): number {
    const position = (this.log.at(-1)?.position ?? 0) + 1 + Math.floor(this.random() * 2)
    this.log.push({ position, value, tenant, barrier })
    return position
  }

  #read(node: Node): void {
    const records = this.log.filter(({ position }) => position > node.shard.cursor).slice(0, 1 + Math.floor(this.random() * 20))
    const reached = records.at(-1)?.position
    if (reached === undefined) return
    this.#later(node, this.#delay(), () => {
      // What was read is handed on only if nothing was skipped meanwhile: a reader goes on from its cursor.
      if (records[0]!.position > node.shard.cursor || reached > node.shard.cursor) this.#feed(node, { type: 'records', records, reached })
    })
  }

  // --- Time -----------------------------------------------------------------------------------------------------------

  #delay(): number {
    return this.random() < 0.05 ? this.random() * 30 : this.random() * 2
  }

  #at(at: number, run: () => void): void {
    this.#agenda.push({ at, run })
  }

  /** For one life of a node; while it is paused, what happens to it waits. */
  #later(node: Node, delay: number, run: () => void): void {
    const { life } = node
    const attempt = () => {
      if (node.life !== life) return
      if (node.pausedUntil > this.now) this.#at(node.pausedUntil, attempt)
      else run()
    }
    this.#at(this.now + delay, attempt)
  }

  #every(node: Node, period: number, run: () => void): void {
    const again = () => {
      if (node.pausedUntil <= this.now) run()
      this.#at(this.now + period, again)
    }
    this.#at(this.now + this.random() * period, again)
  }
}
