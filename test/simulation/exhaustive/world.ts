/**
 * A small world: some processes, one log, clients that repeat what they are told they may repeat, and a handful of faults. A state
 * is plain data; here stands all that can happen next in it.
 *
 * What is left out, and why nothing is lost by it:
 * - What gives each process the same state and the log the same records, in whatever order across processes, is one state.
 * - A step of one process that nobody else can notice (it reads, or hears an answer, and wants nothing done) is not taken by itself, but
 *   right before the next one of that process that somebody can notice (`quietly`): in between nobody could tell. All orders of such steps are
 *   tried; what is read so may end anywhere, for it could have been read when the log ended there.
 * - A command comes to its process right before a batch is made. Until then it only lies in a queue, at which nobody else looks.
 * - A read that makes a process do something brings all that stands in the log at that moment. One that brings less is the stale read, of which
 *   there is a given number.
 * - Time passes only for a process that waits for nothing but time; backoff and patience are long beside everything else.
 * - Of a process that dies the requests that have not reached the log are gone, and so are the answers to it.
 */
import type { StrategyName } from '../../../src/consistency.ts'
import type { Appended, NewRecord, Position } from '../../../src/log.ts'
import { encodeControl } from '../../../src/record.ts'
import type { Reply } from '../../../src/shard/protocol.ts'
import { type Choice, Fault, type Space } from './explore.ts'
import { type Command, essence, LOG, type Log, Logs, TIME } from './log.ts'
import { type Asked, type Effect, errorOf, type Point, Processes, type Step } from './process.ts'
import { PlainStore } from './store.ts'

/** How many of each there may be on one way through the world. */
export interface Faults {
  /** Written, and the writer hears that nothing is known of it. */
  readonly lostReply: number
  /** Not written, and the writer hears the same. */
  readonly lostRequest: number
  readonly crash: number
  /** A read, or a look at the end, that brings less than there is. */
  readonly stale: number
  /** A leader that lives is taken for dead. */
  readonly suspicion: number
}

export const calm: Faults = { lostReply: 0, lostRequest: 0, crash: 0, stale: 0, suspicion: 0 }

export interface Setting {
  readonly strategy: StrategyName
  readonly freshHead: boolean
  /** The first process leads from the beginning. Else whoever wants to lead must first have itself elected. */
  readonly led?: boolean
  /** The commands of each writer. */
  readonly writers: readonly (readonly Command[])[]
  readonly faults: Faults
}

/** On its way. `node`: whose request it is, or to whom it goes. */
type Message =
  | {
      readonly kind: 'append'
      readonly node: number
      readonly append: number
      readonly records: readonly NewRecord[]
      readonly after: Position | undefined
    }
  | { readonly kind: 'appended'; readonly node: number; readonly append: number; readonly answers: readonly Appended[] }
  | { readonly kind: 'look'; readonly node: number; readonly look: number }
  | { readonly kind: 'looked'; readonly node: number; readonly look: number; readonly head: Position }
  | { readonly kind: 'forward'; readonly node: number; readonly to: number; readonly key: string; readonly term: number }
  /** It has arrived there, and is not answered yet. */
  | { readonly kind: 'hosted'; readonly node: number; readonly to: number; readonly key: string; readonly term: number }
  | {
      readonly kind: 'forwarded'
      readonly node: number
      readonly key: string
      readonly term: number
      readonly reply: 'lost' | 'refused' | 'answered'
    }

interface Sent {
  readonly number: number
  readonly message: Message
}

/** How it stands with a command: asked for `tries` times; by now it lies at a process, waits to be asked for (again), or is answered. */
interface Client {
  readonly number: number
  readonly tries: number
  readonly at: number | 'waits' | 'answered'
  /** The tenant's version when it was asked for the last time: an answer without a record must be as young. */
  readonly since: number
}

interface State {
  readonly points: readonly Point[]
  readonly log: Log
  /** In order of their numbers. */
  readonly flight: readonly Sent[]
  readonly clients: readonly Client[]
  readonly left: Faults
}

/** Where a process has come to without anybody's notice, what it has not heard yet, and the way there. */
interface Moment {
  readonly point: Point
  /** What is still to be heard. */
  readonly inbox: readonly Sent[]
  /** What was heard without notice. */
  readonly gone: readonly Sent[]
  readonly way: readonly string[]
  /** What it may hear or read next that is noticed. */
  readonly loud: readonly Loud[]
}

interface Loud {
  readonly step: Step
  readonly what: string
  readonly heard: Sent | undefined
  readonly stale: boolean
}

type Add = (label: readonly string[], next: State) => void

const TRIES = 6

export class World implements Space<State> {
  readonly first: State
  readonly processes = new Processes()
  readonly #setting: Setting
  readonly #commands: readonly Command[]
  /** By command: the process that is asked first. */
  readonly #homes: readonly number[]
  readonly #logs: Logs
  readonly #sent = new Map<string, Sent>()
  readonly #clients = new Map<string, Client>()
  readonly #moments = new Map<string, readonly Moment[]>()

  constructor(setting: Setting) {
    this.#setting = setting
    const { writers, faults } = setting
    this.#commands = writers.flat()
    this.#homes = writers.flatMap((commands, node) => commands.map(() => node))
    this.#logs = new Logs(this.#commands)
    const { first } = this.#logs
    const term = { kind: 'term', log: LOG, time: TIME, number: 1, owner: `${nameOf(0)}/0`, address: nameOf(0) } as const
    const log = setting.led ? this.#logs.append(first, { value: encodeControl(term), tenant: null, time: TIME }) : first
    const clients = this.#commands.map(() => this.#client(0, 'waits', 0))
    let state: State = { points: [], log, flight: [], clients, left: faults }
    for (const [node] of writers.entries()) state = this.#started(state, node, 0, undefined, ['start'])
    this.first = state
  }

  fingerprint({ points, log, flight, clients, left }: State): number[] {
    const { lostReply, lostRequest, crash, stale, suspicion } = left
    const faults = lostReply + 4 * (lostRequest + 4 * (crash + 4 * (stale + 4 * suspicion)))
    const numbers = [log.number, faults]
    for (const { number } of points) numbers.push(number)
    for (const { number } of clients) numbers.push(number)
    for (const { number } of flight) numbers.push(number)
    return numbers
  }

  choices(state: State): Choice<State>[] {
    const found: Choice<State>[] = []
    const add: Add = (label, next) => found.push({ label, next })
    for (const sent of state.flight) this.#arrive(state, sent, add)
    const nodes = state.points.map((_, node) => ({ node, moments: this.#quietly(state, node) }))
    for (const { node, moments } of nodes) {
      for (const moment of moments) {
        const now = this.#at(state, node, moment)
        this.#loudly(now, node, moment, add)
        this.#flush(now, node, moment.way, add)
        this.#wait(now, node, moment.way, add)
      }
    }
    const over = found.length === 0
    for (const { node, moments } of nodes) {
      for (const moment of moments) this.#crash(this.#at(state, node, moment), node, moment.way, add)
      // Nothing happens any more but what nobody notices: now it does.
      if (!over) continue
      const last = moments.find(({ point, inbox }) => point.cursor === state.log.end && inbox.length === 0)!
      if (last.way.length > 0) add(last.way, this.#at(state, node, last))
    }
    return found
  }

  ended({ clients }: State): string | undefined {
    const waiting = clients.flatMap(({ at }, index) => (at === 'answered' ? [] : [this.#commands[index]!.id]))
    return waiting.length > 0 ? `nothing can happen any more, and nobody has answered ${waiting.join(', ')}` : undefined
  }

  // --- What a process does by itself ------------------------------------------------------------------------------------

  /** The moments that a process can come to from here by steps that nobody notices: this one first. */
  #quietly({ points, log, flight }: State, node: number): readonly Moment[] {
    const point = points[node]!
    const inbox = flight.filter(({ message }) => message.node === node && inputs.has(message.kind))
    const key = `${point.number} ${log.number} ${inbox.map(({ number }) => number).join(' ')}`
    let moments = this.#moments.get(key)
    if (moments) return moments
    const found = new Map<string, Moment>()
    const visit = (at: Point, left: readonly Sent[], gone: readonly Sent[], way: readonly string[]): void => {
      const key = `${at.number} ${left.map(({ number }) => number).join(' ')}`
      if (found.has(key)) return
      const loud: Loud[] = []
      const moment: Moment = { point: at, inbox: left, gone, way, loud }
      found.set(key, moment)
      const go = (step: Step | undefined, heard: Sent | undefined, what: string, stale: boolean) => {
        if (!step) return
        if (step.effects.length > 0) loud.push({ step, what, heard, stale })
        else visit(step.to, heard ? without(left, heard) : left, heard ? [...gone, heard] : gone, [...way, what])
      }
      for (let seen: Log | undefined = log; seen && seen.end > at.cursor; seen = seen.before) {
        const what = `${nameOf(node)} reads ${seen === log ? 'up to' : 'no further than'} ${seen.end}`
        go(this.#read(at, seen), undefined, what, seen !== log)
      }
      for (const sent of left) go(this.#hear(at, sent.message), sent, heard(sent.message), false)
    }
    visit(point, inbox, [], [])
    moments = [...found.values()]
    for (const moment of moments) this.#check(log, moment.point, moment.way)
    this.#moments.set(key, moments)
    return moments
  }

  /** The state at that moment. */
  #at(state: State, node: number, { point, gone, way }: Moment): State {
    if (way.length === 0) return state
    const next: State = { ...state, points: state.points.with(node, point) }
    return gone.length === 0 ? next : this.#heardAll({ ...next, flight: state.flight.filter(sent => !gone.includes(sent)) }, gone)
  }

  /** Clients hear what another process has answered as soon as theirs does. */
  #heardAll(state: State, gone: readonly Sent[]): State {
    let next = state
    for (const { message } of gone)
      if (message.kind === 'forwarded' && message.reply === 'answered') next = this.#told(next, this.#indexOf(message.key))
    return next
  }

  #read(point: Point, log: Log): Step | undefined {
    return this.processes.step(point, `r${log.number}`, () => ({ type: 'records', log }))
  }

  #hear(point: Point, message: Message): Step | undefined {
    switch (message.kind) {
      case 'appended': {
        const { append, answers } = message
        return this.processes.step(point, `a${append} ${JSON.stringify(answers)}`, () => ({ type: 'appended', append, answers }))
      }
      case 'looked': {
        const { look, head } = message
        return this.processes.step(point, `l${look} ${head}`, () => ({ type: 'looked', look, head }))
      }
      case 'forwarded': {
        const { key, term, reply } = message
        return this.processes.step(point, `f${key} ${term} ${reply}`, () => ({ type: 'forwarded', key, term, reply }))
      }
      case 'append':
      case 'look':
      case 'forward':
      case 'hosted':
        return undefined
    }
  }

  /** Hears or reads something, and wants something done. */
  #loudly(state: State, node: number, { loud, way }: Moment, add: Add): void {
    const { left } = state
    for (const { step, what, heard, stale } of loud) {
      if (stale && left.stale === 0) continue
      let from = stale ? { ...state, left: { ...left, stale: left.stale - 1 } } : state
      if (heard) from = this.#heardAll(this.#without(from, heard), [heard])
      const label = [...way, what]
      add(label, this.#effects(from, node, step, label))
    }
  }

  /** Makes a batch, of what waits and what arrives. */
  #flush(state: State, node: number, way: readonly string[], add: Add): void {
    const point = state.points[node]!
    if (point.due === 'later' && point.cursor < state.log.end) return
    const own = this.#commands.flatMap((_, index) => {
      const { at, tries } = state.clients[index]!
      return at === 'waits' && (tries > 0 || this.#homes[index] === node) ? [index] : []
    })
    const passed = state.flight.filter(({ message }) => message.kind === 'forward' && message.to === node)
    for (let count = 0; count <= own.length; count++) {
      for (let some = 0; some < 1 << passed.length; some++) {
        if (count === 0 && some === 0 && point.due === undefined) continue
        const chosen = passed.filter((_, bit) => some & (1 << bit))
        this.#flushWith(state, node, own.slice(0, count), chosen, way, add)
      }
    }
  }

  #flushWith(state: State, node: number, own: readonly number[], passed: readonly Sent[], way: readonly string[], add: Add): void {
    const arriving: Asked[] = []
    const clients = [...state.clients]
    for (const index of own) {
      const command = this.#commands[index]!
      const { tries } = state.clients[index]!
      const fresh = tries === 0 && command.fresh
      arriving.push({ key: `${command.id}/${tries}`, command, fresh, forwarded: false })
      clients[index] = this.#client(tries + 1, node, fresh ? state.log.version : 0)
    }
    for (const sent of passed) {
      const { key, term } = sent.message as Extract<Message, { kind: 'forward' }>
      arriving.push({ key: hostedKey(key, term), command: this.#commands[this.#indexOf(key)]!, fresh: false, forwarded: true })
    }
    const keys = arriving.map(({ key }) => key).join(' ')
    const step = this.processes.step(state.points[node]!, `b${keys}`, () => ({ type: 'flush', arriving }))
    if (!step) return
    let next: State = { ...state, clients }
    for (const sent of passed) {
      const { node: from, key, term } = sent.message as Extract<Message, { kind: 'forward' }>
      next = this.#without(next, sent)
      next = this.#send(next, `h${from} ${node} ${key} ${term}`, { kind: 'hosted', node: from, to: node, key, term })
    }
    const label = [...way, `${nameOf(node)} makes a batch${keys === '' ? '' : ` with ${keys}`}`]
    add(label, this.#effects(next, node, step, label))
  }

  /** A process that waits for a reign to begin: nobody's, or of somebody who is dead or taken for it. */
  #wait(state: State, node: number, way: readonly string[], add: Add): void {
    if (this.#setting.strategy !== 'leader') return
    const { points, log, flight, left } = state
    const point = points[node]!
    const { cursor, owner } = point
    if (cursor < log.end || owner === incarnation(point) || flight.some(({ message }) => message.node === node)) return
    const living = points.map(incarnation)
    const passes = (from: State, living: readonly string[], what: string) => {
      const step = this.processes.step(point, `t${living.join(' ')}`, () => ({ type: 'time', living }))
      const label = [...way, what]
      if (step) add(label, this.#effects(from, node, step, label))
    }
    if (owner === null || !living.includes(owner)) return passes(state, living, `time passes for ${nameOf(node)}`)
    if (left.suspicion === 0) return
    const spent = { ...state, left: { ...left, suspicion: left.suspicion - 1 } }
    passes(
      spent,
      living.filter(who => who !== owner),
      `${nameOf(node)} takes ${owner} for dead`,
    )
  }

  #crash(state: State, node: number, way: readonly string[], add: Add): void {
    const { left, points } = state
    if (left.crash === 0) return
    const { start, database, position } = points[node]!
    const flight = state.flight.filter(({ message }) => message.node !== node)
    const clients = state.clients.map(client => (client.at === node ? this.#client(client.tries, 'waits', 0) : client))
    let next: State = { ...state, clients, flight, left: { ...left, crash: left.crash - 1 } }
    for (const sent of flight) {
      const { message } = sent
      if (message.kind !== 'hosted' || message.to !== node) continue
      const { node: from, key, term } = message
      next = this.#without(next, sent)
      next = this.#send(next, `f${from} ${key} ${term} lost`, { kind: 'forwarded', node: from, key, term, reply: 'lost' })
    }
    const dies = [...way, `${nameOf(node)} dies, and starts again`]
    add(dies, this.#started(next, node, start.life + 1, database, dies))
    if (position === 0) return
    const without = [...way, `${nameOf(node)} dies, and starts again without its database`]
    add(without, this.#started(next, node, start.life + 1, undefined, without))
  }

  // --- What reaches the log ---------------------------------------------------------------------------------------------

  #arrive(state: State, sent: Sent, add: Add): void {
    const { message } = sent
    if (message.kind !== 'append' && message.kind !== 'look') return
    const { node } = message
    const rest = this.#without(state, sent)
    const who = incarnation(state.points[node]!)
    if (message.kind === 'look') {
      const head = state.log.end
      return add(
        [`${nameOf(node)} looks at the end`],
        this.#send(rest, `${who} l${message.look} ${head}`, { kind: 'looked', node, look: message.look, head }),
      )
    }
    const { append, records } = message
    const what = `${nameOf(node)}'s append ${append} (${records.map(({ kinds }) => kinds?.join('+') || 'rejection').join(', ')})`
    const answered = (to: State, answers: readonly Appended[]) =>
      this.#send(to, `${who} a${append} ${JSON.stringify(answers)}`, { kind: 'appended', node, append, answers })
    const { log, answers } = this.#appended(state.log, message)
    const written = { ...rest, log }
    const unknown = records.map((): Appended => ({ status: 'unknown' }))
    add([`${what} reaches the log: ${answers.map(({ status }) => status).join(', ')}`], answered(written, answers))
    const { left } = state
    if (left.lostReply > 0 && log !== state.log)
      add([`${what} is written, the answer lost`], answered({ ...written, left: { ...left, lostReply: left.lostReply - 1 } }, unknown))
    if (left.lostRequest > 0) add([`${what} is lost`], answered({ ...rest, left: { ...left, lostRequest: left.lostRequest - 1 } }, unknown))
  }

  // --- What comes of it -----------------------------------------------------------------------------------------------

  #appended(log: Log, { records, after }: Extract<Message, { kind: 'append' }>): { log: Log; answers: Appended[] } {
    let end = log
    const answers = records.map((record): Appended => {
      const voids = ({ position, tenant, barrier }: Log['entries'][number]) =>
        position > after! && (tenant === record.tenant || (tenant === null && !barrier))
      if (after !== undefined && end.entries.some(voids)) return { status: 'conflict' }
      const previous = end.end
      end = this.#logs.append(end, record)
      return { status: 'written', position: end.end, previous }
    })
    if (end.problem !== undefined) throw new Fault(end.problem, ['a record reaches the log'])
    return { log: end, answers }
  }

  #started(state: State, node: number, life: number, database: string | undefined, label: readonly string[]): State {
    const { strategy, freshHead } = this.#setting
    const step = this.processes.start({ name: nameOf(node), life, strategy, freshHead, log: state.log, database })
    return this.#effects(state, node, step, label)
  }

  #effects(state: State, node: number, { to, effects }: Step, label: readonly string[]): State {
    const points = [...state.points]
    points[node] = to
    let next: State = { ...state, points }
    this.#check(state.log, to, label)
    for (const effect of effects) {
      switch (effect.do) {
        case 'append':
          next = this.#send(next, keyOf(to, effect), {
            kind: 'append',
            node,
            append: effect.append,
            records: effect.records,
            after: effect.after,
          })
          break
        case 'look':
          next = this.#send(next, keyOf(to, effect), { kind: 'look', node, look: effect.look })
          break
        case 'forward':
          next = this.#send(next, keyOf(to, effect), {
            kind: 'forward',
            node,
            to: Number(effect.address.slice(5)),
            key: effect.key,
            term: effect.term,
          })
          break
        case 'reply':
          next = this.#replied(next, node, effect.key, effect.reply)
          break
        case 'fail':
          throw new Fault(effect.why, label)
      }
    }
    return next
  }

  /** Same prefix of the log, same state. */
  #check(log: Log, point: Point, label: readonly string[]): void {
    if (point.checked) return
    point.checked = true
    const { cursor, version, digest, rows, position, start } = point
    const seen = prefix(log, cursor)
    if (seen.version !== version || (version > 0 && seen.digest !== digest))
      throw new Fault(`${start.name} is at version ${version}, digest ${digest}, where the log says ${seen.version}, ${seen.digest}`, label)
    const committed = new PlainStore(prefix(log, position).database)
    if (committed.rows !== rows)
      throw new Fault(`${start.name} keeps ${rows} at position ${position}, where the log says ${committed.rows}`, label)
  }

  #replied(state: State, node: number, key: string, reply: Reply): State {
    const error = errorOf(reply)
    const index = this.#indexOf(key)
    if (!error) this.#checkReply(state, index, reply)
    if (key.includes('@')) {
      // For another process, which has perhaps died since.
      const sent = state.flight.find(
        ({ message }) => message.kind === 'hosted' && message.to === node && hostedKey(message.key, message.term) === key,
      )
      if (sent?.message.kind !== 'hosted') return state
      const hosted = sent.message
      const rest = this.#without(state, sent)
      const passing = error && ['not-leader', 'closed', 'log-failed'].includes(error.code)
      if (error && !passing && error.code !== 'outcome-unknown') throw new Fault(`${key} fails: ${error.message}`, ['reply'])
      const what = passing ? 'refused' : error ? 'lost' : 'answered'
      return this.#send(rest, `f${hosted.node} ${hosted.key} ${hosted.term} ${what}`, {
        kind: 'forwarded',
        node: hosted.node,
        key: hosted.key,
        term: hosted.term,
        reply: what,
      })
    }
    if (!error) return this.#told(state, index)
    const { tries } = state.clients[index]!
    if (error.retry !== 'safe' || tries > TRIES) throw new Fault(`${key} fails: ${error.message}`, ['reply'])
    return { ...state, clients: state.clients.with(index, this.#client(tries, 'waits', 0)) }
  }

  /** Nobody is told anything before it stands accepted in the log, and then what stands there. */
  #checkReply({ log, clients }: State, index: number, reply: Reply): void {
    const command = this.#commands[index]!
    const won = log.won.get(command.id)
    const wrong = (what: string) =>
      new Fault(`${command.id} is told ${what}; the log says ${won ? JSON.stringify(won) : 'nothing'}`, ['reply'])
    switch (reply.kind) {
      case 'decided':
        if (!won || essence(won.decision) !== essence(reply.decision) || won.version !== reply.version)
          throw wrong(`${essence(reply.decision)} at version ${reply.version}`)
        return
      case 'known':
        if (won?.position !== reply.entry.position) throw wrong(`that it won at ${reply.entry.position}`)
        return
      case 'rejected': {
        if (won || reply.version < clients[index]!.since)
          throw wrong(`a rejection at version ${reply.version}, asked at ${clients[index]!.since}`)
        if (this.#logs.decided(log, reply.version, command) !== essence(reply.decided))
          throw wrong(`${essence(reply.decided)} at version ${reply.version}`)
        return
      }
      case 'failed':
    }
  }

  #told(state: State, index: number): State {
    return { ...state, clients: state.clients.with(index, this.#client(0, 'answered', 0)) }
  }

  #indexOf(key: string): number {
    const id = key.split('/')[0]
    return this.#commands.findIndex(command => command.id === id)
  }

  #client(tries: number, at: Client['at'], since: number): Client {
    const key = `${tries} ${at} ${since}`
    let client = this.#clients.get(key)
    if (!client) this.#clients.set(key, (client = { number: this.#clients.size, tries, at, since }))
    return client
  }

  #without(state: State, sent: Sent): State {
    return { ...state, flight: without(state.flight, sent) }
  }

  /** @param key tells this message from all others */
  #send(state: State, key: string, message: Message): State {
    let sent = this.#sent.get(key)
    if (!sent) this.#sent.set(key, (sent = { number: this.#sent.size + 1, message }))
    const { number } = sent
    const at = state.flight.findIndex(other => other.number > number)
    return { ...state, flight: state.flight.toSpliced(at < 0 ? state.flight.length : at, 0, sent) }
  }
}

/** What a process hears, as opposed to what goes to others. */
const inputs: ReadonlySet<Message['kind']> = new Set(['appended', 'looked', 'forwarded'])

function heard(message: Message): string {
  const name = nameOf(message.node)
  if (message.kind === 'appended')
    return `${name} hears of append ${message.append}: ${message.answers.map(({ status }) => status).join(', ')}`
  if (message.kind === 'looked') return `${name} hears that ${message.head} is the end`
  return message.kind === 'forwarded' ? `${name} hears of ${message.key}: ${message.reply}` : message.kind
}

const without = (flight: readonly Sent[], sent: Sent): readonly Sent[] => flight.filter(each => each !== sent)
const nameOf = (node: number): string => `node-${node}`
const hostedKey = (key: string, term: number): string => `${key}@${term}`
/** Tells what a process sends from what it, and all others, send otherwise. Asked again and again for the same effects. */
const keys = new WeakMap<Effect, string>()
function keyOf(point: Point, effect: Effect): string {
  let key = keys.get(effect)
  if (key === undefined) keys.set(effect, (key = `${incarnation(point)} ${JSON.stringify(effect)}`))
  return key
}
const incarnation = ({ start }: Point): string => `${start.name}/${start.life}`

/** The log as far as a position. */
function prefix(log: Log, position: Position): Log {
  let seen = log
  while (seen.end > position && seen.before) seen = seen.before
  return seen
}
