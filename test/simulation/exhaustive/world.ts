/**
 * A small world: some processes, one log, clients that repeat what they are told they may repeat, and a handful of faults. A state
 * is plain data; here stands all that can happen next in it.
 *
 * What is left out, and why nothing is lost by it:
 * - A command comes to its process right before a batch is made. Until then it only lies in a queue, at which nobody else looks.
 * - What gives each process the same inputs and the log the same records, in whatever order across processes, is one state.
 * - A read brings all that stands in the log at that moment: what it brought earlier it could have been given earlier. One that is
 *   overtaken by something else is the stale read, of which there is a given number.
 * - Time passes only for a process that waits for nothing but time; backoff and patience are long beside everything else.
 * - Of a process that dies the requests that have not reached the log are gone, and so are the answers to it.
 */
import type { StrategyName } from '../../../src/consistency.ts'
import type { Appended, NewRecord, Position } from '../../../src/log.ts'
import type { Reply } from '../../../src/shard/protocol.ts'
import { type Choice, Fault, type Space } from './explore.ts'
import { type Command, essence, type Log, Logs } from './log.ts'
import { type Asked, type Effect, errorOf, type Input, type Point, Processes, type Step } from './process.ts'
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

  constructor(setting: Setting) {
    this.#setting = setting
    const { writers, faults } = setting
    this.#commands = writers.flat()
    this.#homes = writers.flatMap((commands, node) => commands.map(() => node))
    this.#logs = new Logs(this.#commands)
    const log = this.#logs.first
    const clients = this.#commands.map(() => this.#client(0, 'waits', 0))
    let state: State = { points: [], log, flight: [], clients, left: faults }
    for (const [node] of writers.entries()) state = this.#started(state, node, 0, undefined, 'start')
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
    const add = (label: string, next: State | undefined) => {
      if (next) found.push({ label, next })
    }
    for (const sent of state.flight) this.#deliver(state, sent, add)
    for (const [node] of state.points.entries()) {
      this.#flush(state, node, add)
      this.#read(state, node, add)
      this.#wait(state, node, add)
      this.#crash(state, node, add)
    }
    return found
  }

  ended({ clients }: State): string | undefined {
    const waiting = clients.flatMap(({ at }, index) => (at === 'answered' ? [] : [this.#commands[index]!.id]))
    return waiting.length > 0 ? `nothing can happen any more, and nobody has answered ${waiting.join(', ')}` : undefined
  }

  // --- What can happen ------------------------------------------------------------------------------------------------

  #deliver(state: State, sent: Sent, add: (label: string, next: State | undefined) => void): void {
    const { message } = sent
    const rest = this.#without(state, sent)
    const { node } = message
    const name = nameOf(node)
    switch (message.kind) {
      case 'append': {
        const { append, records } = message
        const what = `${name}'s append ${append} (${records.map(({ kinds }) => kinds?.join('+') || 'rejection').join(', ')})`
        const answered = (to: State, answers: readonly Appended[]) =>
          this.#send(to, `${incarnation(state.points[node]!)} a${append} ${JSON.stringify(answers)}`, {
            kind: 'appended',
            node,
            append,
            answers,
          })
        const { log, answers } = this.#appended(state.log, message)
        const written = { ...rest, log }
        const unknown = records.map((): Appended => ({ status: 'unknown' }))
        add(`${what} reaches the log: ${answers.map(({ status }) => status).join(', ')}`, answered(written, answers))
        const { lostReply, lostRequest } = state.left
        if (lostReply > 0 && log !== state.log)
          add(`${what} is written, the answer lost`, answered({ ...written, left: { ...state.left, lostReply: lostReply - 1 } }, unknown))
        if (lostRequest > 0) add(`${what} is lost`, answered({ ...rest, left: { ...state.left, lostRequest: lostRequest - 1 } }, unknown))
        return
      }
      case 'appended': {
        const { append, answers } = message
        const key = `a${append} ${JSON.stringify(answers)}`
        return add(
          `${name} hears of append ${append}: ${answers.map(({ status }) => status).join(', ')}`,
          this.#step(rest, node, key, () => ({ type: 'appended', append, answers })),
        )
      }
      case 'look': {
        const { look } = message
        add(
          `${name} looks at the end`,
          this.#send(rest, `${incarnation(state.points[node]!)} l${look} ${state.log.end}`, {
            kind: 'looked',
            node,
            look,
            head: state.log.end,
          }),
        )
        return
      }
      case 'looked': {
        const { look, head } = message
        return add(
          `${name} hears that ${head} is the end`,
          this.#step(rest, node, `l${look} ${head}`, () => ({ type: 'looked', look, head })),
        )
      }
      case 'forwarded': {
        const { key, term, reply } = message
        const next = this.#step(rest, node, `f${key} ${term} ${reply}`, () => ({ type: 'forwarded', key, term, reply }))
        return add(`${name} hears of ${key}: ${reply}`, next && reply === 'answered' ? this.#told(next, this.#indexOf(key)) : next)
      }
      // Arrives with a batch.
      case 'forward':
      case 'hosted':
    }
  }

  #flush(state: State, node: number, add: (label: string, next: State | undefined) => void): void {
    const point = state.points[node]!
    const idle = point.cursor === state.log.end
    if (point.due === 'later' && !idle) return
    const own = this.#commands.flatMap((_, index) => {
      const { at, tries } = state.clients[index]!
      return at === 'waits' && (tries > 0 || this.#homes[index] === node) ? [index] : []
    })
    const passed = state.flight.filter(({ message }) => message.kind === 'forward' && message.to === node)
    for (let count = 0; count <= own.length; count++) {
      for (let some = 0; some < 1 << passed.length; some++) {
        if (count === 0 && some === 0 && point.due === undefined) continue
        this.#flushWith(
          state,
          node,
          own.slice(0, count),
          passed.filter((_, bit) => some & (1 << bit)),
          add,
        )
      }
    }
  }

  #flushWith(
    state: State,
    node: number,
    own: readonly number[],
    passed: readonly Sent[],
    add: (label: string, next: State | undefined) => void,
  ): void {
    const arriving: Asked[] = []
    const clients = [...state.clients]
    for (const index of own) {
      const command = this.#commands[index]!
      const { tries } = state.clients[index]!
      const fresh = tries === 0 && command.fresh
      arriving.push({ key: `${command.id}/${tries}`, command, fresh, forwarded: false })
      clients[index] = this.#client(tries + 1, node, fresh ? state.log.version : 0)
    }
    let next: State = { ...state, clients }
    for (const sent of passed) {
      const { node: from, key, term } = sent.message as Extract<Message, { kind: 'forward' }>
      arriving.push({ key: hostedKey(key, term), command: this.#commands[this.#indexOf(key)]!, fresh: false, forwarded: true })
      next = this.#without(next, sent)
      next = this.#send(next, `h${from} ${node} ${key} ${term}`, { kind: 'hosted', node: from, to: node, key, term })
    }
    const keys = arriving.map(({ key }) => key).join(' ')
    add(
      `${nameOf(node)} makes a batch${keys === '' ? '' : ` with ${keys}`}`,
      this.#step(next, node, `b${keys}`, () => ({ type: 'flush', arriving })),
    )
  }

  #read(state: State, node: number, add: (label: string, next: State | undefined) => void): void {
    const { cursor } = state.points[node]!
    const { log, left } = state
    if (log.end <= cursor) return
    const reads = (next: State, seen: Log) => this.#step(next, node, `r${seen.number}`, () => ({ type: 'records', log: seen }))
    add(`${nameOf(node)} reads up to ${log.end}`, reads(state, log))
    if (left.stale === 0) return
    const spent = { ...state, left: { ...left, stale: left.stale - 1 } }
    for (let seen = log.before; seen && seen.end > cursor; seen = seen.before)
      add(`${nameOf(node)} reads no further than ${seen.end}`, reads(spent, seen))
  }

  /** A process that waits for a reign to begin: nobody's, or of somebody who is dead or taken for it. */
  #wait(state: State, node: number, add: (label: string, next: State | undefined) => void): void {
    if (this.#setting.strategy !== 'leader') return
    const { points, log, flight, left } = state
    const { cursor, owner } = points[node]!
    const me = incarnation(points[node]!)
    if (cursor < log.end || owner === me || flight.some(({ message }) => message.node === node)) return
    const living = points.map(incarnation)
    const passes = (next: State, living: readonly string[]) =>
      this.#step(next, node, `t${living.join(' ')}`, () => ({ type: 'time', living }))
    if (owner === null || !living.includes(owner)) add(`time passes for ${nameOf(node)}`, passes(state, living))
    else if (left.suspicion > 0)
      add(
        `${nameOf(node)} takes ${owner} for dead`,
        passes(
          { ...state, left: { ...left, suspicion: left.suspicion - 1 } },
          living.filter(who => who !== owner),
        ),
      )
  }

  #crash(state: State, node: number, add: (label: string, next: State | undefined) => void): void {
    const { left, points } = state
    if (left.crash === 0) return
    const { start, database } = points[node]!
    const flight = state.flight.filter(({ message }) => message.node !== node)
    let next: State = {
      ...state,
      flight: flight.filter(({ message }) => message.kind !== 'hosted' || message.to !== node),
      left: { ...left, crash: left.crash - 1 },
    }
    for (const { message } of flight) {
      if (message.kind !== 'hosted' || message.to !== node) continue
      const { node: from, key, term } = message
      next = this.#send(next, `f${from} ${key} ${term} lost`, { kind: 'forwarded', node: from, key, term, reply: 'lost' })
    }
    const clients = state.clients.map(client => (client.at === node ? this.#client(client.tries, 'waits', 0) : client))
    next = { ...next, clients }
    add(`${nameOf(node)} dies, and starts again`, this.#started(next, node, start.life + 1, database, 'restart'))
    if (points[node]!.position > 0)
      add(`${nameOf(node)} dies, and starts again without its database`, this.#started(next, node, start.life + 1, undefined, 'restart'))
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
    if (end.problem !== undefined) throw new Fault(end.problem, 'a record reaches the log')
    return { log: end, answers }
  }

  #started(state: State, node: number, life: number, database: string | undefined, label: string): State {
    const { strategy, freshHead } = this.#setting
    const step = this.processes.start({ name: nameOf(node), life, strategy, freshHead, log: state.log, database })
    return this.#effects(state, node, step, label)
  }

  #step(state: State, node: number, key: string, input: () => Input): State | undefined {
    const step = this.processes.step(state.points[node]!, key, input)
    return step && this.#effects(state, node, step, key)
  }

  #effects(state: State, node: number, { to, effects }: Step, label: string): State {
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
  #check(log: Log, point: Point, label: string): void {
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
      if (error && !passing && error.code !== 'outcome-unknown') throw new Fault(`${key} fails: ${error.message}`, 'reply')
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
    if (error.retry !== 'safe' || tries > TRIES) throw new Fault(`${key} fails: ${error.message}`, 'reply')
    return { ...state, clients: state.clients.with(index, this.#client(tries, 'waits', 0)) }
  }

  /** Nobody is told anything before it stands accepted in the log, and then what stands there. */
  #checkReply({ log, clients }: State, index: number, reply: Reply): void {
    const command = this.#commands[index]!
    const won = log.won.get(command.id)
    const wrong = (what: string) =>
      new Fault(`${command.id} is told ${what}; the log says ${won ? JSON.stringify(won) : 'nothing'}`, 'reply')
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
    return { ...state, flight: state.flight.filter(each => each !== sent) }
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
