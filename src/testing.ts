/**
 * For the tests of an app, with any test runner: given events, when a command, then events, a rejection or an error. The very code of
 * production validates, decides and projects, on a database in memory; there is no log and nothing to wait for.
 *
 *     given(seats).event('SeatReserved', { seat: 'A1', guest: 'Ann' })
 *       .when('reserve', { seat: 'A1', guest: 'Ben' }).rejects('seat-taken', { seat: 'A1' })
 *       .when('reserve', { seat: 'A2', guest: 'Ben' }).accepts(['SeatReserved', { seat: 'A2', guest: 'Ben' }])
 *       .answers('taken', [{ id: 'A1', guest: 'Ann' }, { id: 'A2', guest: 'Ben' }])
 */
import { AssertionError } from 'node:assert'
import { inspect, isDeepStrictEqual } from 'node:util'
import { type App, type Args, definitionOf, type Emitted, type EventsOf, type RejectedBy, type ResultOf } from './app.ts'
import { openStore } from './database/sqlite.ts'
import type { Store } from './database.ts'
import { ask, type Decided, decide, prepare, project, recorded } from './decide.ts'
import { EngineError, type ErrorCode } from './errors.ts'
import type { Json, RecordedEvent } from './record.ts'
import { defaultNow } from './testing/commands.ts'

export { type Arbitrary, type Commands, defaultNow } from './testing/commands.ts'
export type { Invariants } from './testing/judge.ts'
export { simulate, type Simulation, type Simulations } from './testing/simulate.ts'
export { type CheckedScopes, checkScopes, type ScopeCheck } from './testing/scopes.ts'

type Pair<E> = E extends Emitted<infer T, infer D> ? readonly [type: T, data: D] : never

/** What has happened so far. Unchangeable: each step gives a new one, so that several stories may go on from the same past. */
export interface Given<EI, CI, CR, QI, QR> {
  /** An event that happened. Its data is checked as `emit` would. */
  event<K extends keyof EI & string>(type: K, data: EI[K], options?: { at?: Date }): Given<EI, CI, CR, QI, QR>
  /** An event as an older release stored it, at that schema version: to test `.next(schema, upcast)`. */
  stored<K extends keyof EI & string>(type: K, schema: number, data: Json, options?: { at?: Date }): Given<EI, CI, CR, QI, QR>
  when<K extends keyof CI & keyof CR & string>(command: K, ...args: Args<CI[K], { now?: Date }>): When<K, EI, CI, CR, QI, QR>
  /** The answer of a query. */
  query<K extends keyof QI & keyof QR & string>(query: K, ...args: unknown extends QI[K] ? [] : [input: QI[K]]): QR[K]
  /** Asserts the answer of a query: `.answers('taken', [...])`, with an input `.answers('seat', { id: 'A1' }, { ... })`. */
  answers<K extends keyof QI & keyof QR & string>(
    query: K,
    ...args: unknown extends QI[K] ? [expected: QR[K]] : [input: QI[K], expected: QR[K]]
  ): Given<EI, CI, CR, QI, QR>
}

/**
 * A command about to be decided. The story goes on behind each assertion. One of them must follow in the same turn: a test
 * that forgets it has looked at nothing, and its run fails with an uncaught AssertionError.
 */
export interface When<K extends keyof CI & keyof CR, EI, CI, CR, QI, QR> {
  /** Asserts that it is accepted with exactly these events, in this order, and that they can be projected. */
  accepts(...events: Pair<EventsOf<CR[K]>>[]): Given<EI, CI, CR, QI, QR>
  /** Asserts that it is accepted with this result. */
  returns(result: ResultOf<CR[K]>): Given<EI, CI, CR, QI, QR>
  /** Asserts that the app says no. Details are compared if given. */
  rejects<C extends RejectedBy<CR[K]>['code']>(
    code: C,
    details?: Extract<RejectedBy<CR[K]>, { code: C }>['details'],
  ): Given<EI, CI, CR, QI, QR>
  /** Asserts that the engine refuses it with an error, such as `invalid-input`. */
  fails(code: ErrorCode): Given<EI, CI, CR, QI, QR>
}

/** Begins a story with an empty database. Assertions throw node's AssertionError, with `actual` and `expected`. */
export function given<EI, EO, CI, CR, QI, QR>(app: App<string, EI, EO, CI, CR, QI, QR>): Given<EI, CI, CR, QI, QR> {
  return story(app, []) as unknown as Given<EI, CI, CR, QI, QR>
}

interface Happened {
  readonly event: RecordedEvent
  readonly time: number
}

function story(app: App, past: readonly Happened[]) {
  const { queries } = definitionOf(app)
  const after = (events: readonly RecordedEvent[], at: Date) =>
    story(app, [...past, ...events.map(event => ({ event, time: at.getTime() }))])
  const self = {
    event: (type: string, data: unknown, { at = defaultNow }: { at?: Date } = {}) => after([recorded(definitionOf(app), type, data)], at),
    stored: (type: string, schema: number, data: Json, { at = defaultNow }: { at?: Date } = {}) => after([{ type, schema, data }], at),
    when(command: string, input?: unknown, { now = defaultNow }: { now?: Date } = {}) {
      let cached: Decided | undefined
      const outcome = () => {
        asserted = true
        return (cached ??= execute(app, past, command, input, now))
      }
      let asserted = false
      const forgotten = new AssertionError({
        message: `nothing was asserted of '${command}': go on with .accepts, .returns, .rejects or .fails in the same turn`,
        stackStartFn: self.when,
      })
      queueMicrotask(() => {
        if (!asserted) throw forgotten
      })
      const accepted = (wanted: unknown, from: Function) => {
        const { rejection, events, result } = outcome()
        if (!rejection) return { events, result }
        throw differs(
          `'${command}' was to be accepted, but it was rejected: ${shown(rejection)}`,
          { rejected: rejection },
          { accepted: wanted },
          from,
        )
      }
      const when = {
        accepts(...expected: unknown[]) {
          const wanted = asStored(expected)
          const { events } = accepted(wanted, when.accepts)
          const actual = events.map(event => [event.type, event.data])
          if (!isDeepStrictEqual(actual, wanted)) throw differs(`'${command}' was accepted with other events`, actual, wanted, when.accepts)
          return after(events, now)
        },
        returns(expected: unknown) {
          const wanted = asStored(expected)
          const { events, result } = accepted(wanted, when.returns)
          if (!isDeepStrictEqual(result, wanted)) throw differs(`'${command}' returned another result`, result, wanted, when.returns)
          return after(events, now)
        },
        rejects(code: string, details?: unknown) {
          const { rejection, events } = outcome()
          const wanted = asStored({ code, details })
          if (!rejection) {
            const pairs = events.map(event => [event.type, event.data])
            throw differs(
              `'${command}' was to be rejected with '${code}', but it was accepted`,
              { accepted: pairs },
              { rejected: wanted },
              when.rejects,
            )
          }
          const actual = details === undefined ? { code: rejection.code } : rejection
          if (!isDeepStrictEqual(actual, wanted))
            throw differs(`'${command}' was rejected for another reason`, rejection, wanted, when.rejects)
          return self
        },
        fails(code: ErrorCode) {
          let actual: unknown
          try {
            actual = { [outcome().rejection ? 'rejected' : 'accepted']: outcome().rejection ?? outcome().events }
          } catch (error) {
            if (error instanceof EngineError && error.code === code) return self
            throw error
          }
          throw differs(`'${command}' was to fail with '${code}', but it did not fail`, actual, { failed: code }, when.fails)
        },
      }
      return when
    },
    query: (name: string, input?: unknown) => answer(app, past, name, input),
    answers(name: string, ...args: unknown[]) {
      const input = queries.get(name)?.input === undefined ? [] : args.slice(0, 1)
      const expected = args.at(input.length)
      // A clone, for the rows that a database gives have no prototype, which is not what is compared here.
      const actual = structuredClone(answer(app, past, name, input[0]))
      if (!isDeepStrictEqual(actual, expected)) throw differs(`query '${name}' gave another answer`, actual, expected, self.answers)
      return self
    },
  }
  return self
}

/** Runs `use` on a database in memory, in a transaction that has brought the past into the tables. */
function within<T>(app: App, past: readonly Happened[], use: (store: Store) => T): T {
  const store = openStore(definitionOf(app).database, ':memory:')
  try {
    store.begin()
    for (const [i, { event, time }] of past.entries()) project(app, store.write, event, i + 1, time)
    return use(store)
  } finally {
    store.rollback()
    store.close()
  }
}

function execute(app: App, past: readonly Happened[], command: string, input: unknown, now: Date): Decided {
  return within(app, past, store => {
    const decided = decide(app, prepare(app, command, input), store.read, now.getTime())
    for (const [i, event] of decided.events.entries()) project(app, store.write, event, past.length + i + 1, now.getTime())
    return decided
  })
}

function answer(app: App, past: readonly Happened[], query: string, input: unknown): unknown {
  return within(app, past, store => {
    store.commit({ ...store.standing, version: past.length, position: past.length })
    return ask(app, query, input, store.queries, past.length)
  })
}

/** What is expected may be written with undefined properties; what is stored has none. */
const asStored = (value: unknown): unknown => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)))

const shown = (value: unknown) => inspect(value, { depth: 6, breakLength: 120 })

/** Node adds the difference to the message, for runners that do not show `actual` and `expected`. */
function differs(message: string, actual: unknown, expected: unknown, stackStartFn: Function): AssertionError {
  return new AssertionError({ message, actual, expected, operator: 'deepStrictEqual', stackStartFn })
}
