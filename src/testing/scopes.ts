/**
 * Are the scopes wide enough? A scope must name all that a decision depends on. Where it does not, two commands that get into each
 * other's way are both accepted, and an invariant breaks under load that held in every test.
 *
 * In generated states, every command is decided, and decided again behind each other one that was accepted and that its scope does not
 * meet. It must come to the same both times. Pairs are enough: what holds of each pair in each state holds of any number of commands,
 * for behind each of them stands another state. That two projections commute is not asked for, as the log puts events in one order; but
 * an event that was accepted must be projected, wherever it stands.
 */
import { AssertionError } from 'node:assert'
import { inspect, isDeepStrictEqual } from 'node:util'
import { Writes } from '../accept.ts'
import { type App, definitionOf } from '../app.ts'
import { openStore } from '../database/sqlite.ts'
import type { Store } from '../database.ts'
import { type Decided, decide, type Prepared, prepare, project } from '../decide.ts'
import { EngineError } from '../errors.ts'
import type { RecordedEvent, Tags } from '../record.ts'
import { type Commands, defaultNow } from './commands.ts'
import { fastCheck, type Generated, generated } from './generated.ts'

export interface ScopeCheck<CI> {
  /** Those left out are not generated, and nothing is learned of their scopes. */
  readonly commands: Commands<CI>
  /** How many pasts to generate, each of up to 60 commands. Default 100. */
  readonly runs?: number
  /** A whole number. The same seed gives the same runs; without, there are others each time. */
  readonly seed?: number
}

export interface CheckedScopes {
  /** Pairs of commands whose scopes do not meet, in one state each. All came to the same in either place. */
  readonly checked: number
  readonly states: number
  readonly seed: number
}

const most = { steps: 60, rivals: 12 }
/** From one command of the past to the next, in ms. Simplest first. */
const pauses = { 0: '', 60_000: 'a minute later: ', 3_600_000: 'an hour later: ', 86_400_000: 'a day later: ' }
type Pause = keyof typeof pauses

interface Step extends Generated {
  readonly pause: Pause
}

/** What a command came to: a decision that was projected, or the error that it failed with. */
type Outcome = { readonly decided: Decided; readonly failed?: undefined } | { readonly decided?: undefined; readonly failed: EngineError }

/** Something to tell. Whatever else is thrown is a defect of this file. */
class Finding extends Error {}

/**
 * Looks for two commands whose scopes do not meet and which yet change what the other comes to: a scope that is too narrow.
 *
 *     const few = fc.constantFrom('A1', 'A2')
 *     await checkScopes(seats, { commands: { reserve: fc.record({ seat: few, guest: fc.constantFrom('Ann', 'Ben') }) } })
 *
 * @throws AssertionError with the shortest story that was found and the seed that finds it again: of such a pair, of a command that failed
 *   with an error, or of one that was never accepted, for then nothing is known of its scope
 */
export async function checkScopes<EI, EO, CI, CR, QI, QR>(
  app: App<string, EI, EO, CI, CR, QI, QR>,
  { commands, runs = 100, seed = Math.floor(Math.random() * 2 ** 31) }: ScopeCheck<NoInfer<CI>>,
): Promise<CheckedScopes> {
  const fc = await fastCheck('checkScopes')
  const command = generated(fc, commands)
  const pause = fc.constantFrom<Pause[]>(0, 0, 0, 0, 60_000, 3_600_000, 86_400_000)
  const step = fc.tuple(command, pause).map(([command, pause]): Step => ({ ...command, pause }))
  const past = fc.array(step, { maxLength: most.steps, size: 'max' })
  const rivals = fc.array(command, { minLength: 1, maxLength: most.rivals, size: 'max' })
  const seen: Seen = { checked: 0, states: 0, accepted: new Set() }
  const run = fc.check(
    fc.property(past, rivals, (past, rivals) => examine(app, past, rivals, seen)),
    { seed, numRuns: runs, endOnFailure: false, path: '' },
  )
  const fail = (story: string) =>
    new AssertionError({ message: `${story}\n\nto see it again: seed ${seed}, runs ${runs}`, stackStartFn: checkScopes })
  if (run.failed) {
    if (run.errorInstance instanceof Finding) throw fail(run.errorInstance.message)
    throw run.errorInstance
  }
  const never = Object.keys(commands).filter(name => !seen.accepted.has(name))
  if (never.length > 0)
    throw fail(`nothing is known of the scope of ${never.map(name => `'${name}'`).join(', ')}: never accepted in ${runs} runs`)
  return { checked: seen.checked, states: seen.states, seed }
}

/** What was looked at so far. */
interface Seen {
  checked: number
  states: number
  /** Names of the commands that were. */
  readonly accepted: Set<string>
}

/** Brings about the past and compares all pairs of rivals in each of its states. */
function examine(app: App, past: readonly Step[], rivals: readonly Generated[], seen: Seen): void {
  const store = openStore(definitionOf(app).database, ':memory:')
  const state = new State(app, store, seen)
  try {
    state.compare(rivals)
    for (const step of past) if (state.go(step)) state.compare(rivals)
  } finally {
    store.close()
  }
}

/** A command in a state, and what it comes to there. */
interface Rival extends Generated {
  readonly prepared: Prepared
  readonly decided: Decided
}

class State {
  readonly #app: App
  readonly #store: Store
  readonly #seen: Seen
  readonly #story: string[] = []
  #version = 0
  #now = defaultNow.getTime()

  constructor(app: App, store: Store, seen: Seen) {
    this.#app = app
    this.#store = store
    this.#seen = seen
  }

  /** The past goes on by a command, if it is accepted. Returns whether anything changed, if only the time. */
  go(step: Step): boolean {
    this.#now += step.pause
    const prepared = this.#prepared(step)
    this.#store.begin()
    const { decided, failed } = this.#attempt(prepared, this.#version)
    const changes = decided !== undefined && decided.events.length > 0
    if (changes) {
      this.#version += decided.events.length
      this.#store.commit({ ...this.#store.standing, version: this.#version, position: this.#version })
    } else this.#store.rollback()
    if (failed) throw this.#failure(step, failed)
    if (!decided.rejection) this.#seen.accepted.add(step.command)
    if (!changes && step.pause === 0) return false
    this.#story.push(`${pauses[step.pause]}${shown(step)}${changes ? '' : ', without effect'}`)
    return true
  }

  /** Of the rivals, each behind each, itself included: the same may be asked twice. */
  compare(generated: readonly Generated[]): void {
    this.#seen.states++
    const rivals = generated.map((command): Rival => {
      const prepared = this.#prepared(command)
      const { decided, failed } = this.#apart([], prepared)
      if (failed) throw this.#failure(command, failed)
      if (!decided.rejection) this.#seen.accepted.add(command.command)
      return { ...command, prepared, decided }
    })
    for (const first of rivals) {
      if (first.decided.events.length === 0) continue
      const writes = new Writes()
      writes.add({ writes: first.prepared.writes, events: first.decided.events })
      for (const second of rivals) {
        if (writes.overlap(second.prepared.reads)) continue
        this.#seen.checked++
        const behind = this.#apart(first.decided.events, second.prepared)
        if (!isDeepStrictEqual(behind, { decided: second.decided })) throw this.#tooNarrow(first, second, writes.tags(), behind)
      }
    }
  }

  /** What a command comes to behind these events. Leaves no trace. */
  #apart(events: readonly RecordedEvent[], prepared: Prepared): Outcome {
    this.#store.begin()
    try {
      let version = this.#version
      for (const event of events) project(this.#app, this.#store.write, event, ++version, this.#now)
      return this.#attempt(prepared, version)
    } finally {
      this.#store.rollback()
    }
  }

  #prepared(command: Generated): Prepared {
    try {
      return prepare(this.#app, command.command, command.input)
    } catch (error) {
      throw error instanceof EngineError ? this.#failure(command, error) : error
    }
  }

  #attempt(prepared: Prepared, version: number): Outcome {
    try {
      const decided = decide(this.#app, prepared, this.#store.read, this.#now)
      for (const event of decided.events) project(this.#app, this.#store.write, event, ++version, this.#now)
      return { decided }
    } catch (error) {
      if (error instanceof EngineError) return { failed: error }
      throw error
    }
  }

  #failure(command: Generated, error: EngineError): Finding {
    return new Finding(
      [`'${command.command}' failed`, ...this.#given(), `  ${shown(command)}`, `  ${error.code}: ${error.message}`].join('\n'),
    )
  }

  #tooNarrow(first: Rival, second: Rival, writes: Tags, behind: Outcome): Finding {
    if (!isDeepStrictEqual(this.#apart([], second.prepared), { decided: second.decided })) {
      const what = `'${second.command}' was decided twice in the same state, and came to something else`
      const why = 'decide must be a function of its arguments: no other clock than now, no chance, no memory of its own'
      return new Finding([what, ...this.#given(), `  ${shown(second)}`, why].join('\n'))
    }
    const alone = outcome({ decided: second.decided })
    return new Finding(
      [
        `a scope is too narrow: '${first.command}' writes nothing that '${second.command}' reads, and yet changes what it comes to`,
        ...this.#given(),
        'at the same time',
        `  A: ${shown(first)}`,
        `     writes ${tags(writes)}`,
        `  B: ${shown(second)}`,
        `     reads ${tags(second.prepared.reads)}`,
        `B alone:    ${alone}`,
        `B behind A: ${outcome(behind)}`,
        ...advice(first, second, writes),
      ].join('\n'),
    )
  }

  #given(): string[] {
    return this.#story.length === 0 ? ['in an empty database'] : ['after', ...this.#story.map(line => `  ${line}`)]
  }
}

/** What would let the two meet. A guess: which of their tags, or of what both name, stands for what they have in common. */
function advice(first: Rival, second: Rival, writes: Tags): string[] {
  const touched = [...texts(first.input), ...first.decided.events.flatMap(event => texts(event.data))]
  const named = texts(second.input)
  const oneOf = (tags: Tags, texts: readonly Text[]) =>
    tags === '*' ? undefined : tags.find(tag => texts.some(({ text }) => tag === text || tag.endsWith(`:${text}`)))
  const written = oneOf(writes, named)
  const read = oneOf(second.prepared.reads, touched)
  const both = touched.find(({ key, text }) => named.some(other => other.key === key && other.text === text))
  const what =
    written !== undefined
      ? `add a tag that A writes to what the scope of '${second.command}' reads, such as '${written}'`
      : read !== undefined
        ? `add a tag that B reads to what the scope of '${first.command}' writes, such as '${read}'`
        : `add a tag in common to the scopes of both${both ? `, such as '${both.key}:${both.text}'` : ''}`
  return [
    'The log would let B stand behind A as it was decided alone. To prevent it,',
    `${what}.`,
    'Without a scope, a command meets every other.',
  ]
}

interface Text {
  readonly key: string
  readonly text: string
}

/** The texts in some JSON, ids among them. */
function texts(value: unknown, key = ''): Text[] {
  if (typeof value === 'string') return value === '' ? [] : [{ key, text: value }]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, item]) => texts(item, Array.isArray(value) ? key : name))
}

function outcome({ decided, failed }: Outcome): string {
  if (failed) return `fails, ${failed.code}: ${failed.message}`
  const { events, result, rejection } = decided
  if (rejection) return `rejected, ${rejection.code}${rejection.details === undefined ? '' : ` ${plain(rejection.details)}`}`
  const what = events.length === 0 ? 'no events' : events.map(event => `${event.type} ${plain(event.data)}`).join(', ')
  return `accepted, ${what}${result === undefined ? '' : `, result ${plain(result)}`}`
}

const shown = ({ command, input }: Generated) => (input === undefined ? command : `${command} ${plain(input)}`)
const plain = (value: unknown) => inspect(value, { depth: 6, breakLength: Infinity })
const tags = (tags: Tags) => (tags === '*' ? 'everything' : tags.length === 0 ? 'nothing' : tags.join(', '))
