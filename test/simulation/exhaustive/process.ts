/**
 * A process that runs the shard's machine, as an automaton: its points are the states that the machine has been found in, and each step from
 * a point is taken once and remembered. The machine cannot be copied: where a step is wanted from a point that it has left, another
 * one is led there again, the way that led there first.
 */
import { control, emptyShard, type ShardState } from '../../../src/accept.ts'
import { type StrategyName, strategyOf } from '../../../src/consistency.ts'
import { prepare } from '../../../src/decide.ts'
import type { EngineError } from '../../../src/errors.ts'
import type { Appended, NewRecord, Position, Stored } from '../../../src/log.ts'
import { decode, inputHash } from '../../../src/record.ts'
import type { Input as ShardInput, Output, Reply, Request } from '../../../src/shard/protocol.ts'
import { Shard } from '../../../src/shard.ts'
import app from './app.ts'
import { type Command, type Log, TIME } from './log.ts'
import { Copying } from './copy.ts'
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
  readonly freshHead: boolean
  /** All that it finds in the log. */
  readonly log: Log
  /** What its database held when the life before ended; undefined: it is gone. */
  readonly database: string | undefined
}

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
  /** Time passes, until the process does something by itself. Only of these incarnations heartbeats come. */
  | { readonly type: 'time'; readonly living: readonly string[] }

export type Effect =
  | { readonly do: 'append'; readonly append: number; readonly records: readonly NewRecord[]; readonly after: Position | undefined }
  | { readonly do: 'look'; readonly look: number }
  | { readonly do: 'reply'; readonly key: string; readonly reply: Reply }
  | { readonly do: 'forward'; readonly key: string; readonly address: string; readonly term: number }
  | { readonly do: 'fail'; readonly why: string }

export interface Step {
  /** What it wants done. */
  readonly effects: readonly Effect[]
  readonly to: Point
}

export interface Point {
  readonly number: number
  readonly start: Start
  /** How it was found. */
  readonly from: { readonly point: Point; readonly input: Input } | undefined
  readonly cursor: Position
  /** Whether a batch can be made now, or once a while has passed. */
  readonly due: 'now' | 'later' | undefined
  readonly owner: string | null
  readonly version: number
  readonly digest: string
  /** As committed: whole, the rows alone, and how far it has come. */
  readonly database: string
  readonly rows: string
  readonly position: Position
  /** It was compared with the log. */
  checked: boolean
  readonly steps: Map<string, Step | undefined>
  machine: Machine | undefined
}

/** Machines that are kept, at most. */
const KEPT = 20_000
/** Between two ticks, ms: below the silence that a process takes for its own. */
const TICK = 450
const TICKS = 6

export class Processes {
  readonly #starts = new Map<string, Step>()
  readonly #points = new Map<string, Point>()
  readonly #kept: Point[] = []
  /** Steps taken for the first time, and steps taken again to lead a machine somewhere. */
  steps = 0
  again = 0

  get points(): number {
    return this.#points.size
  }

  start(start: Start): Step {
    const { name, life, log, database } = start
    const key = `${name} ${life} ${log.number} ${database}`
    let step = this.#starts.get(key)
    if (!step) {
      const machine = new Machine(start)
      const effects = machine.live()
      step = { effects, to: this.#point(machine, start, undefined) }
      this.#starts.set(key, step)
    }
    return step
  }

  /** @param key tells this input from all others. @returns undefined if the input leads nowhere: then it was not given. */
  step(point: Point, key: string, input: () => Input): Step | undefined {
    if (point.steps.has(key)) return point.steps.get(key)
    const given = input()
    const machine = this.#machineAt(point)
    const effects = machine.step(given)
    this.steps++
    const step = effects && { effects, to: this.#point(machine, point.start, { point, input: given }) }
    point.steps.set(key, step)
    return step
  }

  /** A copy of the machine that came to this point; where that is kept no more, one is led there from the last point where it is. */
  #machineAt(point: Point): Machine {
    const inputs: Input[] = []
    let at = point
    for (; !at.machine && at.from; at = at.from.point) inputs.push(at.from.input)
    const machine = at.machine?.copy() ?? new Machine(at.start)
    if (!at.machine) machine.live()
    for (const input of inputs.toReversed()) machine.step(input)
    this.again += inputs.length
    return machine
  }

  #point(machine: Machine, start: Start, from: Point['from']): Point {
    const { text, ...state } = machine.state()
    let point = this.#points.get(text)
    if (point) return point
    point = { number: this.#points.size + 1, start, from, ...state, checked: false, steps: new Map(), machine }
    this.#points.set(text, point)
    this.#kept.push(point)
    if (this.#kept.length > KEPT) this.#kept.shift()!.machine = undefined
    // Once in a while: is a copy the same?
    if (point.number % 64 === 1 && machine.copy().state().text !== text) throw new Error(`the copy of a machine is another one: ${text}`)
    return point
  }
}

/** The machine of production, and the little that stands around it in a process. */
class Machine {
  readonly #start: Start
  readonly #shard: Shard
  #store: PlainStore
  readonly #requests = new Map<string, Request>()
  /** All that was read. */
  #read: readonly Stored[] = []
  #effects: Effect[] = []
  #now = 0
  #beat = 0
  /** In this term commands were passed on, and refused. */
  #refusedIn = -1

  constructor(start: Start) {
    const { name, life, strategy, freshHead, database } = start
    this.#start = start
    this.#store = new PlainStore(database)
    this.#shard = new Shard({
      app,
      strategy: strategyOf[strategy],
      me: `${name}/${life}`,
      address: name,
      release: 'test',
      place: 'here',
      freshHead,
      open: () => this.#store,
      discard: () => {},
      random: () => 0,
      maxRecordBytes: 4_096,
    })
  }

  copy(): Machine {
    const copy = new Machine(this.#start)
    const copying = new Copying()
    copy.#store = copying.of(this.#store)
    copying.into(this.#shard, copy.#shard)
    for (const [key, request] of this.#requests) copy.#requests.set(key, copying.of(request))
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
  state(): Pick<Point, 'cursor' | 'due' | 'owner' | 'version' | 'digest' | 'database' | 'rows' | 'position'> & { readonly text: string } {
    const { cursor, due, state } = this.#shard
    const { version, digest } = this.#shard.look('default')!.state
    const { name, life } = this.#start
    // One that is answered counts only where the shard still holds it.
    const asked = [...this.#requests].filter(([, { done }]) => !done)
    return {
      text: `${name}/${life} ${this.#refusedIn} ${print([this.#shard, asked], this.#now, cursor)}`,
      cursor,
      due: due === undefined ? undefined : due <= this.#now ? 'now' : 'later',
      owner: state.term.owner,
      version,
      digest: version === 0 ? '' : digest,
      database: this.#store.text,
      rows: this.#store.rows,
      position: this.#store.standing.position,
    }
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
    }
    return this.#effects.length > 0
  }

  #feed(input: ShardInput): void {
    for (const output of this.#shard.step(this.#now, TIME, input)) this.#take(output)
  }

  #take(output: Output): void {
    switch (output.do) {
      case 'append':
        this.#effects.push({ do: 'append', append: output.append, records: output.records, after: output.after })
        return
      case 'look':
        this.#effects.push({ do: 'look', look: output.look })
        return
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

export const errorOf = (reply: Reply): EngineError | undefined => (reply.kind === 'failed' ? reply.error : undefined)
