/**
 * What users define: `app`, `model`, `event`, and the types that follow from a definition. A definition is checked here once, at
 * once; what stays is a `Definition`, which the rest of the engine works with. How commands, projections and queries are run
 * stands in `decide.ts`.
 */
import { createHash } from 'node:crypto'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Database } from './database.ts'
import { EngineError } from './errors.ts'
import { isName } from './ids.ts'
import type { Tags } from './record.ts'

export type { Reader, Sql, Writer } from './database/handles.ts'

/** Any Standard Schema: zod, valibot, arktype and others, mixed at will. It must validate at once, not in a promise. */
export type Schema<I = any, O = any> = StandardSchemaV1<I, O>

declare const kind: unique symbol
declare const types: unique symbol
// Registered symbols: the command line and the app it loads may come from two copies of this package.
const definition: unique symbol = Symbol.for('mainstem.definition')
const maker: unique symbol = Symbol.for('mainstem.maker')
const evolution: unique symbol = Symbol.for('mainstem.evolution')

// --- What decide takes and gives -------------------------------------------------------------------------------------------------

/** An event made by `emit`: a fact, once `decide` returns it and the log accepts it. */
export interface Emitted<T extends string = string, D = unknown> {
  readonly [kind]: 'event'
  readonly type: T
  readonly data: D
}

/** The app's own "no", made by `reject`: a value, not an error. */
export interface Rejection<C extends string = string, D = unknown> {
  readonly [kind]: 'rejection'
  readonly code: C
  readonly details: D
}

type Some<T> = T | readonly T[]

/** What `decide` returns: an event, several (all or nothing; none is allowed), the same with a result for the caller, or a rejection. */
export type Decision = Some<Emitted> | { readonly events: Some<Emitted>; readonly result: unknown } | Rejection

/**
 * What a command reads and writes: tags of your own making, such as `seat:A1`. Commands without a tag in common do not get into
 * each other's way, so a scope must name **everything** the decision depends on. One list stands for both; '*' is the whole tenant.
 */
export type Scope = Tags | { readonly reads: Tags; readonly writes: Tags }

/** What a decision is made with. EI, EO: payloads by event type, as `emit` takes them and as projections get them. */
export interface Deciding<EI, EO, DR> {
  /** Reads the whole database as of now, with what earlier commands of the same batch did. */
  readonly db: DR
  /** The time of the decision, and of its events. The only clock that `decide` may use. */
  readonly now: Date
  /** Checks the data with the event's schema and makes the event. It counts only if `decide` returns it. */
  emit<K extends keyof EI & keyof EO & string>(type: K, data: EI[K]): Emitted<K, EO[K]>
  /** Makes a rejection. It counts only if `decide` returns it. */
  reject<C extends string>(code: C): Rejection<C, undefined>
  reject<C extends string, D>(code: C, details: D): Rejection<C, D>
}

/** What a projection learns besides the event's data. */
export interface Meta {
  /** The event's number: 1, 2, 3 ... within its tenant. */
  readonly version: number
  /** When the event was decided. */
  readonly at: Date
}

/** What a query is answered with. */
export interface Asking<DR> {
  readonly db: DR
  /** How many events the database holds. */
  readonly version: number
}

// --- Checks by the compiler, worded so that its message says what is wrong --------------------------------------------------------

type DecideAtOnce = 'decide must answer at once: it may not be async or return a promise'
type DecideReturns = 'decide must return an event, events, { events, result } or a rejection: is a return missing?'
type AnswerAtOnce = 'a query must answer at once: it may not be async or return a promise'
type ProjectAtOnce = 'a projection must write at once: it may not be async or return a promise'
type IsAny<T> = 0 extends 1 & T ? true : false

/**
 * The parts of T that JSON cannot carry; never if all is well. `unknown`, `any` and what lies deeper (types may be recursive) is left to
 * the run time.
 */
type NotPlain<T, Depth extends 0[] = []> =
  IsAny<T> extends true
    ? never
    : Depth['length'] extends 6
      ? never
      : T extends string | number | boolean | null | undefined
        ? never
        : T extends bigint | symbol | Date | RegExp | ReadonlyMap<any, any> | ReadonlySet<any> | ArrayBufferView | ((...args: any) => any)
          ? T
          : T extends readonly (infer I)[]
            ? NotPlain<I, [...Depth, 0]>
            : T extends object
              ? { [K in keyof T]-?: NotPlain<T[K], [...Depth, 0]> }[keyof T]
              : never

type PlainEvents<EO> = {
  [K in keyof EO]: [NotPlain<EO[K]>] extends [never] ? unknown : { 'an event must be plain JSON, this is not': NotPlain<EO[K]> }
}

/** R if it is something that `decide` may return, else what to tell the user. */
type DecidedAtOnce<R> =
  IsAny<R> extends true
    ? R
    : [Extract<R, PromiseLike<any>>] extends [never]
      ? [R] extends [Decision]
        ? R
        : [Extract<R, void>] extends [never]
          ? Decision
          : DecideReturns
      : DecideAtOnce

type AnsweredAtOnce<R> = IsAny<R> extends true ? R : [Extract<R, PromiseLike<any>>] extends [never] ? R : AnswerAtOnce

// --- The definition, as users write it --------------------------------------------------------------------------------------------

/** What comes out of short functions, and is dropped, but no promise: where `void` is wanted, TypeScript takes one without a word. */
type ProjectedAtOnce = void | string | number | bigint | boolean | null | readonly unknown[] | { readonly then?: ProjectAtOnce }

/** One function per event type that brings an event into the tables. It may use nothing but its arguments. */
export type Projections<EO, DW> = { [K in keyof EO]: (db: DW, data: EO[K], meta: Meta) => ProjectedAtOnce }

/** Event types and tables: what commands, projections and queries are typed by. */
export interface Basis<EI, EO, DR, DW> {
  // Each inferred parameter needs a mapped type of its own.
  events: { [K in keyof EI]: Schema<EI[K], any> } & { [K in keyof EO]: Schema<any, EO[K]> } & PlainEvents<NoInfer<EO>>
  database: Database<DR, DW>
}

/** A query that two releases are compared by. */
export type Compared<QR> = (keyof QR & string) | { readonly query: keyof QR & string; readonly input?: unknown }

/** Projections, commands and queries. CI, CO, CR: a command's input, as its schema gives it on, and what it returns; Q.: queries. */
export interface Parts<EI, EO, DR, DW, CI, CO, CR, QI, QO, QR> {
  project: Projections<NoInfer<EO>, NoInfer<DW>>
  commands: { [K in keyof CI]: { input?: Schema<CI[K], any> } } & {
    [K in keyof CO]: { input?: Schema<any, CO[K]>; scope?: (input: CO[K]) => Scope }
  } & { [K in keyof CR]: { decide: (input: CO[K & keyof CO], ctx: Deciding<EI, EO, DR>) => DecidedAtOnce<CR[K]> } } // CR: no constraint!
  queries?: { [K in keyof QI]: { input?: Schema<QI[K], any> } } & { [K in keyof QO]: { input?: Schema<any, QO[K]> } } & {
    [K in keyof QR]: { run: (input: QO[K & keyof QO], ctx: Asking<DR>) => AnsweredAtOnce<QR[K]> }
  }
  /** Queries that `mainstem rollout switch` asks of the old and the new release, to see that both answer the same: names, or with an input. */
  compare?: readonly Compared<NoInfer<QR>>[]
  /** Change it when projections change in a way that must rebuild the tables. Changed SQL does so by itself. */
  revision?: string
}

/** A command of a model, made by `model(...).command`. */
export interface Command<I, O, R> {
  readonly input?: Schema<I, O>
  readonly scope?: (input: O) => Scope
  readonly decide: (input: O, ctx: any) => R
}

/** A query of a model, made by `model(...).query`. */
export interface Query<I, O, R> {
  readonly input?: Schema<I, O>
  readonly run: (input: O, ctx: any) => R
}

/** Events and tables that the parts of an app in several files are typed by. */
export interface Model<EI, EO, DR, DW> {
  command<I, O, R>(def: {
    input?: Schema<I, O>
    scope?: (input: O) => Scope
    decide: (input: O, ctx: Deciding<EI, EO, DR>) => DecidedAtOnce<R>
  }): Command<I, O, R>
  query<I, O, R>(def: { input?: Schema<I, O>; run: (input: O, ctx: Asking<DR>) => AnsweredAtOnce<R> }): Query<I, O, R>
  /** Some of the projections, to be spread into `project`. */
  projection<K extends keyof EO>(part: Pick<Projections<EO, DW>, K>): Pick<Projections<EO, DW>, K>
  app<const N extends string, CI, CO, CR, QI, QO, QR>(
    name: N,
    def: Parts<EI, EO, DR, DW, CI, CO, CR, QI, QO, QR>,
  ): App<N, EI, EO, CI, CR, QI, QR>
}

/** A defined app, and all its types: payloads as emitted and as stored, inputs and returns of commands, inputs and answers of queries. */
export interface App<N extends string = string, EI = any, EO = any, CI = any, CR = any, QI = any, QR = any> {
  readonly name: N
  readonly [definition]: Definition
  readonly [types]?: { emit: EI; events: EO; input: CI; returns: CR; ask: QI; answer: QR }
}

/** An event type with older versions, made by `event(schema)`. */
export interface Versioned<I, O> extends Schema<I, O> {
  /**
   * The next version of the schema. Events of the version before stay as they are in the log; `upcast` lifts what was stored when it
   * is read. It must be pure: it runs again at each replay.
   */
  next<I2, O2>(schema: Schema<I2, O2>, upcast: (old: O) => NoInfer<O2>): Versioned<I2, O2>
  /** Tags that each event of this type writes, besides those of its command's scope. Comes last. */
  tags(tags: (data: O) => readonly string[]): Schema<I, O>
}

// --- What follows from a definition -----------------------------------------------------------------------------------------------

/** The events that a command returning R can come to. */
export type EventsOf<R> = R extends Rejection
  ? never
  : R extends { readonly events: infer E }
    ? EventsOf<E>
    : R extends readonly (infer E)[]
      ? E
      : R

/** The rejections that a command returning R can come to. */
export type RejectedBy<R> =
  R extends Rejection<infer C, infer D>
    ? { readonly status: 'rejected'; readonly code: C; readonly details: D; readonly token: string; readonly duplicate: boolean }
    : never

/** What a command returning R hands to its caller, undefined if nothing. */
export type ResultOf<R> = R extends Rejection ? never : R extends { readonly events: any; readonly result: infer X } ? X : undefined

/** What the caller of a command hears; narrows by `status`, then by `code`. */
export type Outcome<R> =
  | {
      readonly status: 'accepted'
      /** The tenant's version after its events. */
      readonly version: number
      /** For reads that must see this. */
      readonly token: string
      readonly events: readonly EventsOf<R>[]
      readonly result: ResultOf<R>
      /** The command id had won before; this is that answer. */
      readonly duplicate: boolean
    }
  | RejectedBy<R>

/** The arguments behind a name: the input where there is one, then options. */
export type Args<I, Opt> =
  IsAny<I> extends true
    ? [input?: any, options?: Opt]
    : unknown extends I
      ? [input?: undefined, options?: Opt]
      : undefined extends I
        ? [input?: I, options?: Opt]
        : [input: I, options?: Opt]

// --- The definition, as the engine sees it ----------------------------------------------------------------------------------------

type Loose = (...args: any[]) => unknown

interface EventType {
  readonly type: string
  /** Version number of the newest schema, from 1: what is emitted now. */
  readonly version: number
  readonly schema: Schema
  /** Of all versions, from 1. */
  readonly schemas: readonly Schema[]
  /** `upcasts[n - 1]` lifts version n to n + 1. */
  readonly upcasts: readonly Loose[]
  readonly tags: Loose | undefined
  readonly project: Loose
}

export interface CommandType {
  readonly name: string
  readonly input: Schema | undefined
  readonly scope: Loose | undefined
  readonly decide: Loose
}

interface QueryType {
  readonly name: string
  readonly input: Schema | undefined
  readonly run: Loose
}

/** A checked definition. */
export interface Definition {
  readonly name: string
  /** sha256 in hex of the tables' definition and the app's `revision`. Another revision = another database. */
  readonly revision: string
  readonly database: Database
  readonly events: ReadonlyMap<string, EventType>
  readonly commands: ReadonlyMap<string, CommandType>
  readonly queries: ReadonlyMap<string, QueryType>
  /** What two releases are compared by. */
  readonly compare: readonly { readonly query: string; readonly input: unknown }[]
}

export function definitionOf(app: App): Definition {
  return app[definition]
}

/** The same app with one more query, for those who look at it from outside. */
export function withQuery(app: App, name: string, run: (input: unknown, context: { db: any; version: number }) => unknown): App {
  const known = definitionOf(app)
  return { ...app, [definition]: { ...known, queries: new Map(known.queries).set(name, { name, input: undefined, run }) } }
}

/** Whether a value, say the default export of a file, is an app. */
export function isApp(value: unknown): value is App {
  return typeof value === 'object' && value !== null && definition in value
}

/** Identity of the app's tables and projections, 64 hex digits; the first 12 are enough for names. */
export function revision(app: App): string {
  return app[definition].revision
}

// --- The functions that users call ------------------------------------------------------------------------------------------------

/** Defines an app. @throws EngineError `invalid-app` at once if the definition cannot work. */
export function app<const N extends string, EI, EO, DR, DW, CI, CO, CR, QI, QO, QR>(
  name: N,
  def: Basis<EI, EO, DR, DW> & Parts<EI, EO, DR, DW, CI, CO, CR, QI, QO, QR>,
): App<N, EI, EO, CI, CR, QI, QR> {
  return { name, [definition]: check(name, def, undefined) }
}

/** Events and tables of an app whose commands, queries and projections stand in several files. */
export function model<EI, EO, DR, DW>(basis: Basis<EI, EO, DR, DW>): Model<EI, EO, DR, DW> {
  const made = Symbol('model')
  return {
    command: (def: any) => ({ ...def, [maker]: made }),
    query: (def: any) => ({ ...def, [maker]: made }),
    projection: part => part,
    app: (name, def) => ({ name, [definition]: check(name, { ...basis, ...def }, made) }),
  }
}

/** An event type that has, or will have, more than one version of its schema, or tags. A plain schema is enough without. */
export function event<I, O>(schema: Schema<I, O>): Versioned<I, O> {
  return versioned(schema, [], [])
}

interface Evolution {
  /** Of all versions, the newest last. */
  readonly schemas: readonly Schema[]
  readonly upcasts: readonly Loose[]
  readonly tags?: Loose
}

function versioned<I, O>(schema: Schema<I, O>, older: readonly Schema[], upcasts: readonly Loose[]): Versioned<I, O> {
  if (!isSchema(schema))
    throw invalid(`event(...) needs a Standard Schema, ${nearly(schema)} is none. Use zod, valibot, arktype or the like`)
  const schemas = [...older, schema]
  const made = (tags?: Loose) => ({ '~standard': schema['~standard'], [evolution]: { schemas, upcasts, tags } })
  return {
    ...made(),
    next(newer, upcast) {
      if (typeof upcast !== 'function') throw invalid('.next(schema, upcast) needs a function that lifts older data to the new schema')
      return versioned(newer, schemas, [...upcasts, upcast])
    },
    tags(tags) {
      if (typeof tags !== 'function') throw invalid('.tags(...) needs a function from the data to a list of tags')
      return made(tags)
    },
  }
}

// --- Checks at run time, for JavaScript, casts and what no type can say -----------------------------------------------------------

interface LooseDef {
  readonly events?: Record<string, Partial<Schema> & { readonly [evolution]?: Evolution }>
  readonly database?: Database
  readonly project?: Record<string, unknown>
  readonly commands?: Record<string, Record<string | typeof maker, any>>
  readonly queries?: Record<string, Record<string | typeof maker, any>>
  readonly compare?: readonly unknown[]
  readonly revision?: string
}

function check(name: string, def: LooseDef, model: symbol | undefined): Definition {
  if (typeof name !== 'string' || !/^[a-z][a-z0-9-]{0,47}$/.test(name))
    throw invalid(`app name ${nearly(name)} is not legal: a letter a-z, then a-z, 0-9 or '-', 48 characters at most`)
  const fail = (message: string) => invalid(`app '${name}': ${message}`)
  if (typeof def !== 'object' || def === null)
    throw fail('the definition is missing. It is an object with events, database, project, commands')
  const only = (where: string, value: object | undefined | null, parts: readonly string[]) => {
    for (const part of Object.keys(value ?? {}))
      if (!parts.includes(part)) throw fail(`'${part}' is no part of ${where}. ${known(part, parts)}`)
  }
  only('a definition', def, ['events', 'database', 'project', 'commands', 'queries', 'compare', 'revision'])
  const { events, database, project, commands, queries = {}, compare = [], revision: edition = '' } = def
  for (const [part, value] of Object.entries({ events, project, commands, queries }))
    if (typeof value !== 'object' || value === null) throw fail(`'${part}' must be an object, it is ${nearly(value)}`)
  if (typeof edition !== 'string') throw fail(`'revision' must be a string, it is ${nearly(edition)}`)
  if (typeof database?.kind !== 'string' || typeof database.definition !== 'string')
    throw fail(`'database' is ${nearly(database)}. Declare one, such as sqlite('CREATE TABLE ...')`)
  const named = (what: string, key: string) => {
    if (!isName(key))
      throw fail(`${what} name ${nearly(key)} is not legal: a letter, then letters, digits, '_', '.' or '-', 128 characters at most`)
  }
  const schema = (where: string, value: unknown) => {
    if (!isSchema(value)) throw fail(`${where} must be a Standard Schema (zod, valibot, arktype ...), it is ${nearly(value)}`)
    return value
  }
  const callable = (where: string, value: unknown) => {
    if (typeof value !== 'function') throw fail(`${where} must be a function, it is ${nearly(value)}`)
    return value as Loose
  }

  const eventTypes = new Map<string, EventType>()
  for (const [type, given] of Object.entries(events!)) {
    named('event', type)
    const evolved = given?.[evolution] ?? { schemas: [schema(`events.${type}`, given)], upcasts: [] }
    if (!Object.hasOwn(project!, type))
      throw fail(`event '${type}' has no projection. Add project.${type}; if no table needs it, say so with () => {}`)
    eventTypes.set(type, {
      type,
      version: evolved.upcasts.length + 1,
      schema: evolved.schemas.at(-1)!,
      schemas: evolved.schemas,
      upcasts: evolved.upcasts,
      tags: evolved.tags,
      project: callable(`project.${type}`, project![type]),
    })
  }
  if (eventTypes.size === 0) throw fail('it has no events. Without events nothing can be recorded: declare at least one')
  for (const type of Object.keys(project!))
    if (!eventTypes.has(type)) throw fail(`project.${type} is for an event that is not declared. ${known(type, eventTypes.keys())}`)

  const own = (what: string, key: string, made: symbol | undefined) => {
    if (made !== undefined && made !== model)
      throw fail(
        `${what} '${key}' was made by another model, so its events and tables are others. ` +
          `${model ? 'Make it with' : 'Define the app with the .app of the model that made it, or make it with'} this app's model`,
      )
  }
  const commandTypes = new Map<string, CommandType>()
  for (const [key, given] of Object.entries(commands!)) {
    named('command', key)
    own('command', key, given?.[maker])
    only(`command '${key}'`, given, ['input', 'scope', 'decide'])
    commandTypes.set(key, {
      name: key,
      input: given?.['input'] === undefined ? undefined : schema(`commands.${key}.input`, given['input']),
      scope: given?.['scope'] === undefined ? undefined : callable(`commands.${key}.scope`, given['scope']),
      decide: callable(`commands.${key}.decide`, given?.['decide']),
    })
  }
  const queryTypes = new Map<string, QueryType>()
  for (const [key, given] of Object.entries(queries)) {
    named('query', key)
    own('query', key, given?.[maker])
    only(`query '${key}'`, given, ['input', 'run'])
    queryTypes.set(key, {
      name: key,
      input: given?.['input'] === undefined ? undefined : schema(`queries.${key}.input`, given['input']),
      run: callable(`queries.${key}.run`, given?.['run']),
    })
  }
  const identity = createHash('sha256')
    .update(JSON.stringify([database.kind, database.definition, edition]))
    .digest('hex')
  if (!Array.isArray(compare)) throw fail(`'compare' must be a list of queries, it is ${nearly(compare)}`)
  const compared = compare.map((each: unknown) => {
    const { query, input } = (typeof each === 'string' ? { query: each } : (each ?? {})) as { query?: unknown; input?: unknown }
    if (typeof query !== 'string' || !queryTypes.has(query))
      throw fail(`'compare' names ${nearly(query)}, which is no query. ${known(query, queryTypes.keys())}`)
    return { query, input }
  })
  return { name, revision: identity, database, events: eventTypes, commands: commandTypes, queries: queryTypes, compare: compared }
}

function invalid(message: string): EngineError {
  return new EngineError('invalid-app', message)
}

function isSchema(value: unknown): value is Schema {
  // arktype's schemas are functions.
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  return typeof (value as Partial<Schema>)['~standard']?.validate === 'function'
}

/** A value in a few words, for messages. */
export function nearly(value: unknown): string {
  if (typeof value === 'string') return `'${JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value).slice(1, -1)}'`
  if (typeof value === 'function') return 'a function'
  if (Array.isArray(value)) return 'an array'
  if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? `${value}n` : String(value)
  const name = value.constructor?.name
  return name === undefined || name === 'Object' ? 'an object' : `an instance of ${name}`
}

/** "Did you mean 'x'? Known: x, y", for the message of an unknown name. */
export function known(name: unknown, names: Iterable<string>): string {
  const all = [...names]
  // Cut, for the name may come from anywhere.
  const wanted = String(name).slice(0, 128).toLowerCase()
  const distances = all.map(other => distance(wanted, other.toLowerCase()))
  const least = Math.min(...distances)
  const hint = least <= Math.max(1, wanted.length / 3) ? `Did you mean '${all[distances.indexOf(least)]}'? ` : ''
  return `${hint}Known: ${all.join(', ') || 'none'}`
}

/** Levenshtein's: how many letters to change, add or drop. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length]!
}
