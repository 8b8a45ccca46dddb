/**
 * What runs in a process: the shard's machine and, on Kafka, the producer's, both those of production, with the little that stands around them.
 * Whoever feeds it says what comes, and hears what it wants done.
 */
import { control, emptyShard, type ShardState } from '../../../src/accept.ts'
import { type StrategyName, strategyOf } from '../../../src/consistency.ts'
import { prepare } from '../../../src/decide.ts'
import type { Appended, NewRecord, Position, Stored } from '../../../src/log.ts'
import type { Call, Reply as KafkaReply } from '../../../src/log/kafka/lane.ts'
import { type Fencing, Producer, type ProducerOutput } from '../../../src/log/kafka/producer.ts'
import { decode, inputHash } from '../../../src/record.ts'
import type { Input as ShardInput, Output, Reply, Request } from '../../../src/shard/protocol.ts'
import { Shard } from '../../../src/shard.ts'
import app from './app.ts'
import { Copying } from './copy.ts'
import { type Command, type Log, TIME } from './log.ts'
import { print } from './print.ts'
import { PlainStore } from './store.ts'

/** A command as it comes to a process. `key`: this asking of it, for the same command may be asked for again. */
export interface Asked {
  readonly key: string
  readonly command: Command
  readonly fresh: boolean
  readonly forwarded: boolean
}

export interface Start {
  readonly name: string
  readonly life: number
  readonly strategy: StrategyName
  /** Undefined: an embedded log. */
  readonly kafka: { readonly fencing: Fencing; readonly version: 1 | 2 } | undefined
  /** All that it finds in the log. */
  readonly log: Log
  /** What its database held when the life before ended; undefined: it is gone. */
  readonly database: string | undefined
}

/** What goes to the log. */
export type LogRequest =
  | { readonly type: 'append'; readonly append: number; readonly records: readonly NewRecord[]; readonly after: Position | undefined }
  | { readonly type: 'look'; readonly look: number }
  | { readonly type: 'call'; readonly lane: ProducerOutput['lane']; readonly call: number; readonly request: Call }

export type Input =
  /** These arrive, and what waits is decided. */
  | { readonly type: 'flush'; readonly arriving: readonly Asked[] }
  | { readonly type: 'records'; readonly log: Log }
  | { readonly type: 'appended'; readonly append: number; readonly answers: readonly Appended[] }
  | { readonly type: 'looked'; readonly look: number; readonly head: Position }
  | {
      readonly type: 'forwarded'
      readonly key: string
      readonly term: number
      readonly reply: 'unreachable' | 'lost' | 'refused' | 'answered'
    }
  | { readonly type: 'called'; readonly lane: ProducerOutput['lane']; readonly call: number; readonly reply: KafkaReply }
  /** The producer goes on, for it need not wait any longer. */
  | { readonly type: 'produce' }
  /** Time passes, until the process does something by itself. Only of these incarnations heartbeats come. */
  | { readonly type: 'time'; readonly living: readonly string[] }

export type Effect =
  | { readonly do: 'request'; readonly request: LogRequest }
  | { readonly do: 'reply'; readonly key: string; readonly reply: Reply }
  | { readonly do: 'forward'; readonly key: string; readonly address: string; readonly term: number }
  | { readonly do: 'fail'; readonly why: string }

/** Whether something can be done now, or once a while has passed. */
export type Due = 'now' | 'later' | undefined

/** What can be told of it. */
export interface Look {
  readonly cursor: Position
  /** A batch. */
  readonly due: Due
  /** The producer. */
  readonly dueProducer: Due
  readonly owner: string | null
  readonly version: number
  readonly digest: string
  /** As committed: whole, the rows alone, and how far it has come. */
  readonly database: string
  readonly rows: string
  readonly position: Position
}

/** Between two ticks, ms: below the silence that a process takes for its own. */
const TICK = 450
const TICKS = 6

export class Machine {
  readonly #start: Start
  readonly #shard: Shard
  readonly #producer: Producer | undefined
  #store: PlainStore
  readonly #requests = new Map<string, Request>()
  /** Calls that are answered once so much was read. */
  readonly #passing: { readonly lane: ProducerOutput['lane']; readonly call: number; readonly position: Position }[] = []
  /** All that was read. */
  #read: readonly Stored[] = []
  #effects: Effect[] = []
  #now = 0
  #beat = 0
  /** In this term commands were passed on, and refused. */
  #refusedIn = -1

  constructor(start: Start) {
    const { name, life, strategy, kafka, database } = start
    this.#start = start
    this.#store = new PlainStore(database)
    this.#shard = new Shard({
      app,
      strategy: strategyOf[strategy],
      me: `${name}/${life}`,
      address: name,
      release: 'test',
      place: 'here',
      freshHead: kafka === undefined,
      open: () => this.#store,
      discard: () => {},
      random: () => 0,
      maxRecordBytes: 4_096,
    })
    const settings = { transactionalId: 'shard', app: undefined, maxBatchBytes: 65_536, random: () => 0.5 }
    this.#producer = kafka && new Producer({ ...kafka, ...settings })
  }

  copy(): Machine {
    const copy = new Machine(this.#start)
    const copying = new Copying()
    copy.#store = copying.of(this.#store)
    copying.into(this.#shard, copy.#shard)
    if (this.#producer) copying.into(this.#producer, copy.#producer!)
    for (const [key, request] of this.#requests) copy.#requests.set(key, copying.of(request))
    copy.#passing.push(...this.#passing)
    copy.#read = this.#read
    copy.#now = this.#now
    copy.#beat = this.#beat
    copy.#refusedIn = this.#refusedIn
    return copy
  }

  live(): Effect[] {
    this.#records(this.#start.log)
    this.#feed({ type: 'live' })
    return this.#effects
  }

  /** `text`: equal for equal states. */
  look(): Look {
    const { cursor, due, state } = this.#shard
    const { version, digest } = this.#shard.look('default')!.state
    return {
      cursor,
      due: this.#due(due),
      dueProducer: this.#due(this.#producer?.due),
      owner: state.term.owner,
      version,
      digest: version === 0 ? '' : digest,
      database: this.#store.text,
      rows: this.#store.rows,
      position: this.#store.standing.position,
    }
  }

  /** Equal for equal states. */
  text(): string {
    const { name, life } = this.#start
    // One that is answered counts only where the shard still holds it.
    const asked = [...this.#requests].filter(([, { done }]) => !done)
    const state = [this.#shard, asked, this.#producer, this.#passing]
    return `${name}/${life} ${this.#refusedIn} ${print(state, this.#now, this.#shard.cursor)}`
  }

  #due(due: number | undefined): Due {
    return due === undefined ? undefined : due <= this.#now ? 'now' : 'later'
  }

  /** @returns undefined if the input leads nowhere */
  step(input: Input): Effect[] | undefined {
    this.#effects = []
    switch (input.type) {
      case 'flush':
        return this.#flush(input.arriving) ? this.#effects : undefined
      case 'records':
        this.#records(input.log)
        break
      case 'appended':
        this.#feed(input)
        break
      case 'looked':
        this.#feed(input)
        break
      case 'forwarded':
        if (input.reply !== 'answered') this.#refusedIn = input.term
        // To one that it holds no more nothing can happen.
        this.#feed({ ...input, request: this.#requests.get(input.key) ?? ({ done: true } as Request) })
        break
      case 'called':
        this.#produce({ type: 'reply', call: input.call, reply: input.reply }, input.lane)
        break
      case 'produce':
        this.#now = Math.max(this.#now, this.#producer!.due!)
        this.#produce({ type: 'tick' })
        break
      case 'time':
        return this.#time(input.living) ? this.#effects : undefined
    }
    return this.#effects
  }

  #flush(arriving: readonly Asked[]): boolean {
    for (const { key, command, fresh, forwarded } of arriving) {
      const { id, name, purse } = command
      const request: Request = {
        tenant: 'default',
        command: name,
        input: { purse },
        prepared: prepare(app, name, { purse }),
        id,
        hash: inputHash(name, { purse }),
        deadline: Infinity,
        forwarded,
        fresh,
        done: false,
        inDoubt: false,
        conflicts: 0,
      }
      this.#requests.set(key, request)
      this.#feed({ type: 'command', request })
    }
    const { due } = this.#shard
    if (due === undefined) return false
    this.#now = Math.max(this.#now, due)
    this.#feed({ type: 'flush' })
    // To ask again and again where the answer was no leads nowhere; something else must happen first.
    return !this.#effects.some(effect => effect.do === 'forward' && effect.term === this.#refusedIn)
  }

  #records(log: Log): void {
    this.#read = log.entries
    const records = log.entries.filter(({ position }) => position > this.#shard.cursor)
    this.#feed({ type: 'records', records, reached: log.end })
  }

  #time(living: readonly string[]): boolean {
    for (let ticks = 0; ticks < TICKS && this.#effects.length === 0; ticks++) {
      this.#now += TICK
      this.#beat++
      this.#feed({ type: 'beats', beats: new Map(living.map(who => [who, this.#beat])) })
      this.#feed({ type: 'tick' })
      if ((this.#producer?.due ?? Infinity) <= this.#now) this.#produce({ type: 'tick' })
    }
    return this.#effects.length > 0
  }

  #feed(input: ShardInput): void {
    for (const output of this.#shard.step(this.#now, TIME, input)) this.#take(output)
    // What was read has been passed.
    for (const waiting of this.#passing.filter(({ position }) => position <= this.#shard.cursor)) {
      this.#passing.splice(this.#passing.indexOf(waiting), 1)
      this.#produce({ type: 'reply', call: waiting.call, reply: { error: 'NONE' } }, waiting.lane)
    }
  }

  #produce(input: Parameters<Producer['step']>[1], lane?: ProducerOutput['lane']): void {
    for (const output of this.#producer!.step(this.#now, input, lane)) {
      if (output.do === 'answer') this.#feed({ type: 'appended', append: output.key, answers: output.answers })
      // Whoever else may go on may do so in any case.
      else if (output.request.api === 'yield') this.#produce({ type: 'reply', call: output.call, reply: { error: 'NONE' } }, output.lane)
      else if (output.request.api !== 'passed') this.#wants({ type: 'call', lane: output.lane, call: output.call, request: output.request })
      else if (output.request.position > this.#shard.cursor)
        this.#passing.push({ lane: output.lane, call: output.call, position: output.request.position })
      else this.#produce({ type: 'reply', call: output.call, reply: { error: 'NONE' } }, output.lane)
    }
  }

  #wants(request: LogRequest): void {
    this.#effects.push({ do: 'request', request })
  }

  #take(output: Output): void {
    switch (output.do) {
      case 'append':
        return this.#append(output)
      case 'look':
        return this.#wants({ type: 'look', look: output.look })
      case 'reply':
        this.#effects.push({ do: 'reply', key: this.#keyOf(output.request), reply: output.reply })
        return
      case 'forward':
        this.#effects.push({ do: 'forward', key: this.#keyOf(output.request), address: output.address, term: output.term })
        return
      case 'catch-up':
        return this.#catchUp(output)
      case 'suspect':
        this.#effects.push({ do: 'fail', why: `${this.#start.name} met a record at another digest at ${output.position}` })
        return
      // It reads on anyway; nobody reads, stops or gives up.
      case 'read-on':
      case 'moved':
      case 'ready':
      case 'drained':
      case 'give-up':
    }
  }

  #append({ append, records, after, fence }: Extract<Output, { do: 'append' }>): void {
    if (this.#producer) this.#produce({ type: 'append', append: { key: append, records, after, fence } })
    else this.#wants({ type: 'append', append, records, after })
  }

  #keyOf(request: Request): string {
    for (const [key, each] of this.#requests) if (each === request) return key
    throw new Error('nobody asked for this')
  }

  /** What the database has missed while nobody followed. */
  #catchUp({ tenant, store, upTo }: Extract<Output, { do: 'catch-up' }>): void {
    const { position } = store.standing
    let shard: ShardState = emptyShard
    for (const { value } of this.#read.filter(each => each.position <= position)) {
      const record = decode(value)
      if (record.kind === 'foreign' || record.kind === 'data') continue
      const next = control(shard, record)
      if (typeof next !== 'string') shard = next
    }
    const records = this.#read.filter(each => each.position > position && each.position <= upTo)
    this.#feed({ type: 'caught-up', tenant, shard, records, last: false })
    this.#feed({ type: 'caught-up', tenant, shard, records: [], last: true })
  }
}
