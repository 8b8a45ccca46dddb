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
 * - Of a process that dies the requests that have not reached the log are gone, or on Kafka reach it later, all of them.
 */
import type { Position } from '../../../src/log.ts'
import type { Reply } from '../../../src/shard/protocol.ts'
import { embeddedSite } from './embedded.ts'
import { type Choice, Fault, type Space } from './explore.ts'
import { KafkaSite } from './kafka.ts'
import { type Command, essence, type Log, Logs } from './log.ts'
import type { Asked, Effect, Input, LogRequest } from './machine.ts'
import { type Point, Processes, type Step } from './process.ts'
import { calm, type Client, type Faults, keyOf, type Message, type Sent, type Setting, type Site, type State, textOf } from './state.ts'
import { PlainStore } from './store.ts'

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

/** It happens now, or if nothing else does, or is a fault. */
type Kind = 'now' | 'later' | 'fault'
type Add = (label: readonly string[], next: State, kind?: Kind) => void
type Heard = Extract<Message, { kind: 'heard' }>

const TRIES = 6

export class World implements Space<State> {
  readonly first: State
  readonly processes = new Processes()
  readonly #setting: Setting
  readonly #commands: readonly Command[]
  /** By command: the process that is asked first. */
  readonly #homes: readonly number[]
  readonly #logs: Logs
  readonly #site: Site
  readonly #sent = new Map<string, Sent>()
  readonly #clients = new Map<string, Client>()
  readonly #moments = new Map<string, readonly Moment[]>()

  constructor(setting: Setting) {
    this.#setting = setting
    const { writers, faults, led = false, kafka } = setting
    this.#commands = writers.flat()
    this.#homes = writers.flatMap((commands, node) => commands.map(() => node))
    this.#logs = new Logs(this.#commands)
    this.#site = kafka ? new KafkaSite(this.#logs, kafka.version) : embeddedSite(this.#logs)
    const answered = this.#commands.map(() => this.#client(0, 'answered', 0))
    let state: State = { points: [], place: this.#site.first, flight: [], clients: answered, left: calm }
    for (const [node] of writers.entries()) {
      state = this.#started(state, node, 0, undefined, ['start'])
      // Alone, and with nothing asked of it, there is but one way to go.
      for (let next = [{ next: state }]; led && node === 0 && next.length > 0; next = this.choices(state)) state = next[0]!.next
    }
    this.first = { ...state, clients: this.#commands.map(() => this.#client(0, 'waits', 0)), left: faults }
  }

  fingerprint({ points, place, flight, clients, left }: State): number[] {
    let faults = 0
    for (const name in left) faults = faults * 4 + left[name as keyof Faults]
    const numbers = [place.number, faults]
    for (const { number } of points) numbers.push(number)
    for (const { number } of clients) numbers.push(number)
    for (const { number } of flight) numbers.push(number)
    return numbers
  }

  choices(state: State): Choice<State>[] {
    const { haste } = state.left
    const faults: Choice<State>[] = []
    const found: Choice<State>[] = []
    const later: Choice<State>[] = []
    const add: Add = (label, next, kind = 'now') => {
      const choice = { label, next }
      if (kind === 'fault') faults.push(choice)
      else if (kind === 'later') later.push(choice)
      else found.push(choice)
    }
    for (const sent of state.flight) this.#arrive(state, sent, add)
    const nodes = state.points.map((_, node) => ({ node, moments: this.#quietly(state, node) }))
    for (const { node, moments } of nodes) {
      for (const moment of moments) {
        const now = this.#at(state, node, moment)
        this.#loudly(now, node, moment, add)
        this.#flush(now, node, moment.way, add)
        this.#produce(now, node, moment.way, add)
        this.#wait(now, node, moment.way, add)
        this.#crash(now, node, moment.way, add)
      }
    }
    if (found.length === 0) return [...(later.length > 0 ? later : this.#last(state, nodes)), ...faults]
    if (haste > 0) for (const { label, next } of later) faults.push({ label, next: spent(next, 'haste') })
    return [...found, ...faults]
  }

  /** Nothing happens any more but what takes long, or what nobody notices: now it does. */
  #last(state: State, nodes: readonly { readonly node: number; readonly moments: readonly Moment[] }[]): Choice<State>[] {
    const place = this.#site.goOn(state.place)
    if (place) return [{ label: ['an open transaction is aborted'], next: { ...state, place } }]
    for (const { node, moments } of nodes) {
      const last = moments.find(({ point, inbox }) => point.cursor === state.place.log.end && inbox.length === 0)!
      if (last.way.length > 0) return [{ label: last.way, next: this.#at(state, node, last) }]
    }
    return []
  }

  ended({ clients }: State): string | undefined {
    const waiting = clients.flatMap(({ at }, index) => (at === 'answered' ? [] : [this.#commands[index]!.id]))
    return waiting.length > 0 ? `nothing can happen any more, and nobody has answered ${waiting.join(', ')}` : undefined
  }

  // --- What a process does by itself ------------------------------------------------------------------------------------

  /** The moments that a process can come to from here by steps that nobody notices: this one first. */
  #quietly({ points, place, flight }: State, node: number): readonly Moment[] {
    const { log } = place
    const point = points[node]!
    const inbox = flight.filter(({ message }) => message.node === node && message.kind === 'heard')
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
        go(this.#step(at, { type: 'records', log: seen }), undefined, what, seen !== log)
      }
      for (const sent of left) {
        const { input, what } = sent.message as Heard
        go(this.#step(at, input), sent, what, false)
      }
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
    for (const { message } of gone) if (message.kind === 'heard' && message.told !== undefined) next = this.#told(next, message.told)
    return next
  }

  #step(point: Point, input: Input): Step | undefined {
    return this.processes.step(point, keyOf(input), () => input)
  }

  /** Hears or reads something, and wants something done. */
  #loudly(state: State, node: number, { loud, way }: Moment, add: Add): void {
    const { left } = state
    for (const { step, what, heard, stale } of loud) {
      if (stale && left.stale === 0) continue
      let from = stale ? spent(state, 'stale') : state
      if (heard) from = this.#heardAll(this.#without(from, heard), [heard])
      const label = [...way, what]
      add(label, this.#effects(from, node, step, label), stale ? 'fault' : 'now')
    }
  }

  /** Makes a batch, of what waits and what arrives. */
  #flush(state: State, node: number, way: readonly string[], add: Add): void {
    const point = state.points[node]!
    if (point.due === 'later' && point.cursor < state.place.log.end) return
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
      clients[index] = this.#client(tries + 1, node, fresh ? state.place.log.version : 0)
    }
    for (const sent of passed) {
      const { key, term } = sent.message as Extract<Message, { kind: 'forward' }>
      arriving.push({ key: hostedKey(key, term), command: this.#commands[this.#indexOf(key)]!, fresh: false, forwarded: true })
    }
    const keys = arriving.map(({ key }) => key).join(' ')
    const point = state.points[node]!
    const step = this.#step(point, { type: 'flush', arriving })
    if (!step) return
    let next: State = { ...state, clients }
    for (const sent of passed) {
      const { node: from, key, term } = sent.message as Extract<Message, { kind: 'forward' }>
      next = this.#without(next, sent)
      next = this.#send(next, `h${from} ${node} ${key} ${term}`, { kind: 'hosted', node: from, to: node, key, term })
    }
    const label = [...way, `${nameOf(node)} makes a batch${keys === '' ? '' : ` with ${keys}`}`]
    // To wait a moment is nothing beside what else there is on an embedded log: it does not matter who begins.
    add(label, this.#effects(next, node, step, label), point.due === 'later' && this.#setting.kafka ? 'later' : 'now')
  }

  /** Its producer goes on. */
  #produce(state: State, node: number, way: readonly string[], add: Add): void {
    const point = state.points[node]!
    if (point.dueProducer === undefined) return
    const step = this.#step(point, { type: 'produce' })!
    const label = [...way, `${nameOf(node)}'s producer goes on`]
    add(label, this.#effects(state, node, step, label), point.dueProducer)
  }

  /** A process that waits for a reign to begin: there is none, or its owner is dead, taken for it, or itself and kept out by the log. */
  #wait(state: State, node: number, way: readonly string[], add: Add): void {
    if (this.#setting.strategy !== 'leader') return
    const { points, place, flight, left } = state
    const point = points[node]!
    const { cursor, owner } = point
    if (cursor < place.log.end || flight.some(({ message }) => message.node === node)) return
    const living = points.map(incarnation)
    const passes = (from: State, living: readonly string[], what: string, kind: Kind) => {
      const step = this.#step(point, { type: 'time', living })
      const label = [...way, what]
      if (step) add(label, this.#effects(from, node, step, label), kind)
    }
    if (owner === null || owner === incarnation(point) || !living.includes(owner))
      passes(state, living, `time passes for ${nameOf(node)}`, this.#setting.kafka ? 'later' : 'now')
    else if (left.suspicion > 0) {
      const others = living.filter(who => who !== owner)
      passes(spent(state, 'suspicion'), others, `${nameOf(node)} takes ${owner} for dead`, 'fault')
    }
  }

  #crash(state: State, node: number, way: readonly string[], add: Add): void {
    const { left, points } = state
    if (left.crash === 0) return
    const { start, database, position } = points[node]!
    const flight = state.flight.filter(({ message }) => message.node !== node)
    const clients = state.clients.map(client => (client.at === node ? this.#client(client.tries, 'waits', 0) : client))
    let next = spent({ ...state, clients, flight }, 'crash')
    for (const sent of flight) {
      const { message } = sent
      if (message.kind !== 'hosted' || message.to !== node) continue
      next = this.#forwarded(this.#without(next, sent), message, 'lost')
    }
    const dies = (from: State, how: string): void => {
      const label = [...way, `${nameOf(node)} dies, and starts again${how}`]
      add(label, this.#started(from, node, start.life + 1, database, label), 'fault')
      if (position === 0) return
      label.push('without its database')
      add(label, this.#started(from, node, start.life + 1, undefined, label), 'fault')
    }
    dies(next, '')
    if (!this.#site.outlives) return
    const sent = state.flight.filter(({ message }) => message.node === node && message.kind === 'request')
    if (sent.length === 0) return
    for (const { message } of sent) if (message.kind === 'request') next = this.#orphan(next, message)
    dies(next, ', what it has sent is on its way')
  }

  // --- What reaches the log ---------------------------------------------------------------------------------------------

  #arrive(state: State, sent: Sent, add: Add): void {
    const { message } = sent
    if (message.kind !== 'request') return
    const { node, who, request } = message
    const { left, place } = state
    const rest = this.#without(state, sent)
    const come = this.#site.arrive(place, sent, request)
    if (!come) {
      const heard = this.#site.atOnce(place, request)
      if (heard) add([`${who} has its answer`], this.#hears(rest, node, who, heard, told(heard)))
      return
    }
    const what = `${who}'s ${shown(request)}`
    const arrived: State = { ...rest, place: come.place }
    if (node < 0) return add([`${what} reaches the log: ${come.what}`], arrived)
    add([`${what} reaches the log: ${come.what}`], this.#hears(arrived, node, who, come.heard, told(come.heard)))
    const lost = this.#site.lost(request)
    if (!lost) return
    const unknown = (from: State) => this.#hears(from, node, who, lost, 'nothing certain')
    if (left.lostReply > 0 && come.place !== place)
      add([`${what} reaches the log, the answer (${come.what}) is lost`], unknown(spent(arrived, 'lostReply')), 'fault')
    if (left.lostRequest > 0) add([`${what} is lost`], unknown(spent(rest, 'lostRequest')), 'fault')
    if (left.late > 0) add([`${what} comes late`], unknown(this.#orphan(spent(rest, 'late'), message)), 'fault')
  }

  #hears(state: State, node: number, who: string, input: Input, what: string): State {
    return this.#send(state, `${who} hears ${keyOf(input)}`, { kind: 'heard', node, input, what: `${nameOf(node)} hears ${what}` })
  }

  /** It will arrive, and nobody waits for the answer. */
  #orphan(state: State, message: Extract<Message, { kind: 'request' }>): State {
    const { who, request } = message
    if (request.type === 'call' && request.request.api === 'gap') return state
    return this.#send(state, `orphan ${who} ${textOf(request)}`, { ...message, node: -1 })
  }

  // --- What comes of it -----------------------------------------------------------------------------------------------

  #started(state: State, node: number, life: number, database: string | undefined, label: readonly string[]): State {
    const { strategy, kafka } = this.#setting
    const step = this.processes.start({ name: nameOf(node), life, strategy, kafka, log: state.place.log, database })
    return this.#effects(state, node, step, label)
  }

  #effects(state: State, node: number, { to, effects }: Step, label: readonly string[]): State {
    const points = [...state.points]
    points[node] = to
    let next: State = { ...state, points }
    this.#check(state.place.log, to, label)
    for (const effect of effects) {
      switch (effect.do) {
        case 'request': {
          const { request } = effect
          const who = incarnation(to)
          const heard = this.#site.atOnce(next.place, request)
          next = heard
            ? this.#hears(next, node, who, heard, told(heard))
            : this.#send(next, nameFor(to, effect), { kind: 'request', node, who, request })
          break
        }
        case 'forward': {
          const { key, term, address } = effect
          next = this.#send(next, nameFor(to, effect), { kind: 'forward', node, to: Number(address.slice(5)), key, term })
          break
        }
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
    const error = reply.kind === 'failed' ? reply.error : undefined
    const index = this.#indexOf(key)
    if (!error) this.#checkReply(state, index, reply)
    if (key.includes('@')) {
      // For another process, which has perhaps died since.
      const mine = ({ message }: Sent) => message.kind === 'hosted' && message.to === node && hostedKey(message.key, message.term) === key
      const sent = state.flight.find(mine)
      if (sent?.message.kind !== 'hosted') return state
      const passing = error && ['not-leader', 'closed', 'log-failed'].includes(error.code)
      if (error && !passing && error.code !== 'outcome-unknown') throw new Fault(`${key} fails: ${error.message}`, ['reply'])
      return this.#forwarded(this.#without(state, sent), sent.message, passing ? 'refused' : error ? 'lost' : 'answered')
    }
    if (!error) return this.#told(state, index)
    const { tries } = state.clients[index]!
    if (error.retry !== 'safe' || tries > TRIES) throw new Fault(`${key} fails: ${error.message}`, ['reply'])
    return { ...state, clients: state.clients.with(index, this.#client(tries, 'waits', 0)) }
  }

  /** What became of a command that was passed on is on its way back. */
  #forwarded(state: State, { node, key, term }: Extract<Message, { kind: 'hosted' }>, reply: 'lost' | 'refused' | 'answered'): State {
    const heard = {
      kind: 'heard',
      node,
      input: { type: 'forwarded', key, term, reply },
      what: `${nameOf(node)} hears of ${key}: ${reply}`,
    } as const
    return this.#send(state, `f${node} ${key} ${term} ${reply}`, reply === 'answered' ? { ...heard, told: this.#indexOf(key) } : heard)
  }

  /** Nobody is told anything before it stands accepted in the log, and then what stands there. */
  #checkReply({ place, clients }: State, index: number, reply: Reply): void {
    const { log } = place
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
    if (!sent) this.#sent.set(key, (sent = { number: this.#sent.size + 1, key, message }))
    const { number } = sent
    const at = state.flight.findIndex(other => other.number > number)
    return { ...state, flight: state.flight.toSpliced(at < 0 ? state.flight.length : at, 0, sent) }
  }
}

const spent = (state: State, fault: keyof Faults): State => ({ ...state, left: { ...state.left, [fault]: state.left[fault] - 1 } })

function shown(request: LogRequest): string {
  if (request.type === 'append')
    return `append ${request.append} (${request.records.map(({ kinds }) => kinds?.join('+') || 'rejection').join(', ')})`
  return request.type === 'look' ? 'look at the end' : `${request.request.api} (${request.lane} ${request.call})`
}

function told(heard: Input): string {
  if (heard.type === 'appended') return `of append ${heard.append}: ${heard.answers.map(({ status }) => status).join(', ')}`
  return heard.type === 'called' ? `of ${heard.lane} ${heard.call}: ${heard.reply.error}` : 'where the end is'
}

const without = (flight: readonly Sent[], sent: Sent): readonly Sent[] => flight.filter(each => each !== sent)
const nameOf = (node: number): string => `node-${node}`
const hostedKey = (key: string, term: number): string => `${key}@${term}`
/** Tells what a process sends from what it, and all others, send otherwise. Asked again and again for the same effects. */
const names = new WeakMap<Effect, string>()
function nameFor(point: Point, effect: Effect): string {
  let name = names.get(effect)
  if (name === undefined) names.set(effect, (name = `${incarnation(point)} ${textOf(effect)}`))
  return name
}

const incarnation = ({ start }: Point): string => `${start.name}/${start.life}`

/** The log as far as a position. */
function prefix(log: Log, position: Position): Log {
  let seen = log
  while (seen.end > position && seen.before) seen = seen.before
  return seen
}
