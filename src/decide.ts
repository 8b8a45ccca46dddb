/**
 * Definitions at work: validates inputs, asks scopes, decides, projects and answers queries. Synchronous, and pure apart from the
 * handle passed in. This is the hot path: one command costs a few microseconds here, most of them in its schema.
 *
 * What decide emits is copied and frozen as plain JSON, so that live projections see exactly what a replay will parse from the log.
 */
import { type App, type CommandType, type Definition, definitionOf, known, nearly, type Schema } from './app.ts'
import { EngineError, type ErrorCode } from './errors.ts'
import { isTag } from './ids.ts'
import { type Json, MAX_DEPTH, type RecordedEvent, type Tags } from './record.ts'

/** A command whose input is valid and whose scope is known. May be decided any number of times. */
export interface Prepared {
  readonly command: CommandType
  readonly input: unknown
  readonly reads: Tags
  readonly writes: Tags
}

/** What a command came to: events and perhaps a result, or a rejection (and no events). */
export interface Decided {
  readonly events: readonly RecordedEvent[]
  readonly result?: Json
  readonly rejection?: { readonly code: string; readonly details?: Json }
}

/**
 * Validates the input and evaluates the scope; without a scope a command reads and writes everything, '*'.
 * @throws EngineError `unknown-command`, `invalid-input`, `invalid-scope`, or `invalid-app` if the schema answers with a promise.
 */
export function prepare(app: App, command: string, input: unknown): Prepared {
  const { name, commands } = definitionOf(app)
  const found = commands.get(command)
  if (found === undefined)
    throw new EngineError('unknown-command', `app '${name}' has no command ${nearly(command)}. ${known(command, commands.keys())}`)
  // A copy, for a schema may give the caller's own object on, which the caller may change while the command waits.
  const valid = copied(validated(found.input, input, 'invalid-input', 'input of command', command))
  if (found.scope === undefined) return { command: found, input: valid, reads: '*', writes: '*' }
  let scope: unknown
  try {
    scope = found.scope(valid)
  } catch (cause) {
    throw thrown('invalid-scope', `scope of command '${command}'`, cause)
  }
  if (scope === '*' || Array.isArray(scope)) {
    const both = tags(scope, 'scope of command', command)
    return { command: found, input: valid, reads: both, writes: both }
  }
  if (typeof scope !== 'object' || scope === null || !('reads' in scope && 'writes' in scope)) {
    discard(scope)
    const wanted = "Return a list of tags, '*', or { reads, writes }"
    throw new EngineError('invalid-scope', `scope of command '${command}' returned ${nearly(scope)}. ${wanted}`)
  }
  return {
    command: found,
    input: valid,
    reads: tags(scope.reads, 'scope.reads of command', command),
    writes: tags(scope.writes, 'scope.writes of command', command),
  }
}

/** What `emit` and `reject` work for: the decide that is running. */
interface Call {
  readonly app: Definition
  readonly emitted: RecordedEvent[]
  readonly rejected: Rejected[]
}

// Decide is synchronous, so one variable is enough, and `emit` and `reject` need not be made anew for each call.
let running: Call | undefined

/**
 * Calls the command's decide. @param now ms since the epoch, the time of the decision.
 * @throws EngineError `decide-failed` if it throws, answers with a promise or with what is no decision; `invalid-event`, `invalid-scope` from `emit`.
 */
export function decide(app: App, prepared: Prepared, db: unknown, now: number): Decided {
  const { command, input } = prepared
  const call: Call = { app: definitionOf(app), emitted: [], rejected: [] }
  const outer = running
  running = call
  let returned: unknown
  try {
    // A copy, for decide may run again after a conflict and must then see what it saw at first.
    returned = command.decide(copied(input), { db, now: new Date(now), emit, reject })
  } catch (cause) {
    throw thrown('decide-failed', `decide of '${command.name}'`, cause)
  } finally {
    running = outer
  }
  return decided(command.name, call, returned)
}

/** The app's "no". A class, so that nothing else can be taken for one. */
class Rejected {
  readonly code: string
  readonly details: Json | undefined
  constructor(code: string, details: Json | undefined) {
    this.code = code
    this.details = details
  }
}

function emit(type: string, data: unknown): RecordedEvent {
  if (running === undefined) throw late('emit')
  const event = recorded(running.app, type, data)
  running.emitted.push(event)
  return event
}

function reject(code: string, details?: unknown): Rejected {
  if (running === undefined) throw late('reject')
  if (typeof code !== 'string' || code === '')
    throw new EngineError('decide-failed', `reject needs a code, such as 'seat-taken', not ${nearly(code)}`)
  const plain = details === undefined ? undefined : plainJson(details, 'decide-failed', 'details of rejection', code)
  const rejected = new Rejected(code, plain)
  running.rejected.push(rejected)
  return rejected
}

function late(name: string): EngineError {
  return new EngineError('decide-failed', `${name} was called while no decide was running. It may be used only until decide returns`)
}

/** An event as the log keeps it: checked with its newest schema, as plain JSON, tagged. @throws EngineError `invalid-event`, `invalid-scope` */
export function recorded(app: Definition, type: string, data: unknown): RecordedEvent {
  const found = app.events.get(type)
  if (found === undefined)
    throw new EngineError('invalid-event', `app '${app.name}' has no event ${nearly(type)}. ${known(type, app.events.keys())}`)
  const valid = validated(found.schema, data, 'invalid-event', 'data of event', type)
  const plain = plainJson(valid, 'invalid-event', 'data of event', type)
  if (found.tags === undefined) return Object.freeze({ type, schema: found.version, data: plain })
  let list: unknown
  try {
    list = found.tags(plain)
  } catch (cause) {
    throw thrown('invalid-scope', `tags of event '${type}'`, cause)
  }
  if (discard(list) || !Array.isArray(list))
    throw new EngineError('invalid-scope', `tags of event '${type}' are ${nearly(list)}. Return a list of tags`)
  tags(list, 'tags of event', type)
  if (list.length === 0) return Object.freeze({ type, schema: found.version, data: plain })
  return Object.freeze({ type, schema: found.version, data: plain, tags: Object.freeze([...list]) })
}

const none: readonly RecordedEvent[] = []

/** What decide returned, brought into one form. */
function decided(command: string, call: Call, returned: unknown): Decided {
  // A rejection drops what was emitted before it: a loop may find the reason for a "no" late.
  if (returned instanceof Rejected)
    return {
      events: none,
      rejection: returned.details === undefined ? { code: returned.code } : { code: returned.code, details: returned.details },
    }
  const { emitted, rejected } = call
  const fail = (message: string) => new EngineError('decide-failed', `decide of '${command}' ${message}`)
  if (discard(returned)) throw fail('returned a promise. It must answer at once: it may not be async or wait for anything')
  if (rejected.length > 0) throw fail(`rejected but not returned: ${rejected.map(no => no.code).join(', ')}. Write return reject(...)`)
  let events = returned
  let result: unknown
  if (typeof returned === 'object' && returned !== null && 'events' in returned) {
    for (const key in returned)
      if (key !== 'events' && key !== 'result') throw fail(`returned an object with '${key}'. It may have events and result only`)
    events = returned.events
    result = (returned as { result?: unknown }).result
  }
  if (events === undefined) {
    const lost = emitted.length === 0 ? '' : `emitted but not returned: ${names(emitted)}; it `
    throw fail(`${lost}returned nothing. Is a return missing? To accept without events, return []`)
  }
  const list: readonly unknown[] = Array.isArray(events) ? events : [events]
  // As a rule the events are returned as they were emitted. Otherwise each one exactly once, in the order of the return.
  let facts = emitted
  if (list.length !== emitted.length || emitted.some((event, i) => event !== list[i])) {
    const open = new Set(emitted)
    facts = []
    for (const each of list) {
      const event = each as RecordedEvent
      if (open.delete(event)) facts.push(event)
      else if (emitted.includes(event)) throw fail(`returned the same ${event.type} twice. Emit it twice to have two`)
      else
        throw fail(`returned ${nearly(each)}, which is no decision. Return emit(...), a list of such, { events, result }, or reject(...)`)
    }
    if (open.size > 0) throw fail(`emitted but not returned: ${names(open)}. An event counts only if it is returned`)
  }
  if (result === undefined) return { events: facts }
  return { events: facts, result: plainJson(result, 'decide-failed', 'result of command', command) }
}

const names = (events: Iterable<RecordedEvent>) => [...events].map(event => event.type).join(', ')

/**
 * Brings one event into the tables. @param version the event's number within its tenant. @param time when it was decided, ms since the epoch.
 * @throws EngineError `unknown-event`, `projection-failed`
 */
export function project(app: App, write: unknown, event: RecordedEvent, version: number, time: number): void {
  const { name, events } = definitionOf(app)
  const found = events.get(event.type)
  if (found === undefined)
    throw new EngineError(
      'unknown-event',
      `event ${version} is a '${event.type}', which app '${name}' does not know. Keep event types that were used`,
      { details: { type: event.type, schema: event.schema } },
    )
  if (event.schema > found.version) {
    const newer = `event ${version} is a '${event.type}' of schema version ${event.schema}, app '${name}' knows ${found.version}`
    throw new EngineError('unknown-event', `${newer}: it was written by a newer release`, {
      details: { type: event.type, schema: event.schema },
    })
  }
  let returned: unknown
  try {
    let data: unknown = event.data
    for (let n = event.schema; n < found.version; n++) data = found.upcasts[n - 1]!(data)
    returned = found.project(write, data, { version, at: new Date(time) })
  } catch (cause) {
    throw thrown('projection-failed', `projection of '${event.type}', event ${version},`, cause)
  }
  if (discard(returned))
    throw new EngineError(
      'projection-failed',
      `projection of '${event.type}' returned a promise. It must write at once: it may not be async`,
    )
}

/**
 * Answers a query. @param version how many events the database holds.
 * @throws EngineError `unknown-query`, `invalid-input`, `query-failed`, or `invalid-app` if the schema answers with a promise.
 */
export function ask(app: App, query: string, input: unknown, db: unknown, version: number): unknown {
  const { name, queries } = definitionOf(app)
  const found = queries.get(query)
  if (found === undefined)
    throw new EngineError('unknown-query', `app '${name}' has no query ${nearly(query)}. ${known(query, queries.keys())}`)
  const valid = validated(found.input, input, 'invalid-input', 'input of query', query)
  let answer: unknown
  try {
    answer = found.run(valid, { db, version })
  } catch (cause) {
    throw thrown('query-failed', `query '${query}'`, cause)
  }
  if (discard(answer))
    throw new EngineError('query-failed', `query '${query}' returned a promise. It must answer at once: it may not be async`)
  // Rows that are read later would be read from another state.
  if (typeof (answer as Partial<Iterator<unknown>> | undefined | null)?.next === 'function')
    throw new EngineError(
      'query-failed',
      `query '${query}' returned rows that are not read yet. Collect what .each(...) gives before returning`,
    )
  return answer
}

/** Whether it is a promise; if so, nobody will wait for it, and its failure must not end the process. */
function discard(value: unknown): boolean {
  if (typeof (value as PromiseLike<unknown> | undefined | null)?.then !== 'function') return false
  Promise.resolve(value).catch(() => {})
  return true
}

/** The error for what the app's code threw. Other errors of the engine went through that code unchanged: a full disk is no defect of the app. */
function thrown(code: ErrorCode, what: string, cause: unknown): EngineError {
  if (cause instanceof EngineError && cause.code !== code) return cause
  const details = cause instanceof EngineError ? cause.details : undefined
  return new EngineError(code, `${what} threw: ${cause instanceof Error ? cause.message : nearly(cause)}`, { cause, details })
}

/** The schema's output. `what` and `name` say whose value it is. */
function validated(
  schema: Schema | undefined,
  value: unknown,
  code: 'invalid-input' | 'invalid-event',
  what: string,
  name: string,
): unknown {
  if (schema === undefined) {
    if (value === undefined) return undefined
    throw new EngineError(code, `${what} '${name}': there must be none, it has no schema`)
  }
  let validation: ReturnType<Schema['~standard']['validate']>
  try {
    validation = schema['~standard'].validate(value)
  } catch (cause) {
    throw thrown('invalid-app', `${what} '${name}': its schema`, cause)
  }
  // Before `issues`: a promise has none and would pass.
  if (discard(validation)) {
    const why = 'its schema answered with a promise: it validates asynchronously, or one of its functions threw'
    throw new EngineError('invalid-app', `${what} '${name}': ${why}. It must validate at once`)
  }
  const { issues } = validation as Exclude<typeof validation, Promise<unknown>>
  if (issues === undefined) return (validation as { value: unknown }).value
  const details = issues.map(issue => ({
    path: (issue.path ?? [])
      .map(step => (typeof step === 'object' ? step.key : step))
      .map(key => (typeof key === 'symbol' ? String(key) : key)),
    message: issue.message,
  }))
  const list = details.map(issue => (issue.path.length === 0 ? issue.message : `${issue.path.join('.')}: ${issue.message}`))
  throw new EngineError(code, `${what} '${name}' is not valid: ${list.join('; ')}`, { details })
}

function tags(value: unknown, what: string, name: string): Tags {
  if (value === '*') return '*'
  if (!Array.isArray(value))
    throw new EngineError('invalid-scope', `${what} '${name}' is ${nearly(value)}. It must be a list of tags, or '*'`)
  for (const tag of value) {
    if (isTag(tag)) continue
    const shown = typeof tag === 'string' ? JSON.stringify(tag.slice(0, 60)) : nearly(tag)
    // A scope is made of the input: where the schema lets text through that no tag can hold, it is the input that will not do.
    const code = typeof tag === 'string' && what.startsWith('scope') ? 'invalid-input' : 'invalid-scope'
    throw new EngineError(code, `${what} '${name}' has the tag ${shown}. A tag is one line of 1 to 256 characters, and not '*'`)
  }
  return value
}

/** Copies what a schema made of JSON, so that neither the caller nor an earlier decide can change it. Dates and the like are shared. */
function copied<T>(value: T, depth = 0): T {
  if (typeof value !== 'object' || value === null || depth === MAX_DEPTH) return value
  if (Array.isArray(value)) return value.map(item => copied(item, depth + 1)) as T
  const proto: unknown = Object.getPrototypeOf(value)
  if (proto !== Object.prototype && proto !== null) return value
  const copy = { ...value } as Record<string, unknown>
  for (const key in copy) if (typeof copy[key] === 'object') copy[key] = copied(copy[key], depth + 1)
  return copy as T
}

/** Where the walk below stands: one per object on the way down. */
interface Place {
  readonly above: Place | undefined
  readonly holder: object
  readonly depth: number
  key: string | number
}

class NotPlain {
  readonly reason: string
  readonly place: Place | undefined
  constructor(reason: string, place: Place | undefined) {
    this.reason = reason
    this.place = place
  }
}

/** A frozen copy, if JSON carries the value exactly. Undefined properties are left out, as JSON does, and -0 becomes 0. */
function plainJson(value: unknown, code: ErrorCode, what: string, name: string): Json {
  try {
    return walk(value, undefined)
  } catch (error) {
    if (!(error instanceof NotPlain)) throw error
    let path = ''
    for (let at = error.place; at !== undefined; at = at.above)
      path = typeof at.key === 'number' ? `[${at.key}]${path}` : `.${at.key}${path}`
    const where = path === '' ? '' : ` at ${path.replace(/^\./, '')}`
    throw new EngineError(code, `${what} '${name}' is not plain JSON${where}: ${error.reason}`, { details: { path, reason: error.reason } })
  }
}

function walk(value: unknown, above: Place | undefined): Json {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return value
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new NotPlain(`${value} is no number that JSON knows`, above)
    return value === 0 ? 0 : value
  }
  if (typeof value !== 'object') throw new NotPlain(value === undefined ? 'undefined; use null' : `a ${typeof value}`, above)
  for (let at = above; at !== undefined; at = at.above) if (at.holder === value) throw new NotPlain('it contains itself', above)
  const depth = above === undefined ? 1 : above.depth + 1
  if (depth > MAX_DEPTH) throw new NotPlain(`it is nested deeper than ${MAX_DEPTH}`, above)
  const here: Place = { above, holder: value, depth, key: 0 }
  if (Array.isArray(value)) {
    const list: Json[] = []
    for (let i = 0; i < value.length; i++) {
      here.key = i
      if (!(i in value)) throw new NotPlain('a gap in an array', here)
      list.push(walk(value[i], here))
    }
    return Object.freeze(list)
  }
  const proto: unknown = Object.getPrototypeOf(value)
  if (proto !== null && proto !== Object.prototype) throw new NotPlain(nearly(value), above)
  const copy: Record<string, Json> = {}
  for (const key of Object.keys(value)) {
    const item: unknown = (value as Record<string, unknown>)[key]
    if (item === undefined) continue
    here.key = key
    if (key === '__proto__') throw new NotPlain('a key that JavaScript gives a meaning of its own', here)
    copy[key] = walk(item, here)
  }
  return Object.freeze(copy)
}
