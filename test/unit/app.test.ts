import { app, event, isApp, model, revision, sqlite } from 'mainstem'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { definitionOf, known } from '../../src/app.ts'
import type { EngineError } from '../../src/errors.ts'

const events = { A: z.object({ a: z.string() }) }
const database = sqlite('CREATE TABLE a (a TEXT) STRICT')
const project = { A: () => {} }
const good = { events, database, project, commands: {}, queries: {} }

/** Definitions that no compiler saw. */
const define = (name: unknown, def: unknown) => app(name as string, def as typeof good)

function messageOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    expect(error).toMatchObject({ name: 'EngineError', code: 'invalid-app', retry: 'no' })
    return (error as EngineError).message
  }
  throw new Error('nothing was thrown')
}

describe('a definition is refused at once', () => {
  test.each(['Seats', '1seats', 'seats_', '', 'a'.repeat(49), 'sëats', 'a\n', undefined, 7])('for its name: %j', name => {
    expect(messageOf(() => define(name, good))).toMatch(/app name .* is not legal: a letter a-z/)
  })

  test.each(['a', 'seats-2', `a${'-'.repeat(47)}`])('but not for this name: %j', name => {
    expect(define(name, good).name).toBe(name)
  })

  test.each([
    ['no definition', undefined, /the definition is missing/],
    ['no events', { ...good, events: undefined }, /'events' must be an object, it is undefined/],
    ['empty events', { ...good, events: {}, project: {} }, /it has no events.*declare at least one/],
    [
      'no schema',
      { ...good, events: { A: { a: 'string' } } },
      /events\.A must be a Standard Schema \(zod, valibot, arktype \.\.\.\), it is an object/,
    ],
    ['null for a schema', { ...good, events: { A: null } }, /events\.A must be a Standard Schema .*, it is null/],
    ['a bad event name', { ...good, events: { 'A b': events.A } }, /event name 'A b' is not legal/],
    ['no database', { ...good, database: undefined }, /'database' is undefined. Declare one, such as sqlite\('CREATE TABLE/],
    ['a string for a database', { ...good, database: 'CREATE TABLE' }, /'database' is 'CREATE TABLE'/],
    [
      'a missing projection',
      { ...good, project: {} },
      /event 'A' has no projection. Add project\.A; if no table needs it, say so with \(\) => \{\}/,
    ],
    [
      'a projection too many',
      { ...good, project: { A() {}, Aa() {} } },
      /project\.Aa is for an event that is not declared. Did you mean 'A'\? Known: A/,
    ],
    ['a projection that is none', { ...good, project: { A: 'sql' } }, /project\.A must be a function, it is 'sql'/],
    ['an inherited projection', { ...good, events: { toString: events.A }, project: {} }, /event 'toString' has no projection/],
    ['no commands', { ...good, commands: undefined }, /'commands' must be an object/],
    ['a bad command name', { ...good, commands: { '': {} } }, /command name '' is not legal/],
    ['no decide', { ...good, commands: { a: {} } }, /commands\.a\.decide must be a function, it is undefined/],
    ['null for a command', { ...good, commands: { a: null } }, /commands\.a\.decide must be a function/],
    [
      'a bad input',
      { ...good, commands: { a: { input: 'string', decide() {} } } },
      /commands\.a\.input must be a Standard Schema .*'string'/,
    ],
    ['a bad scope', { ...good, commands: { a: { scope: ['a'], decide() {} } } }, /commands\.a\.scope must be a function, it is an array/],
    ['no run', { ...good, queries: { q: {} } }, /queries\.q\.run must be a function/],
    ['a bad input of a query', { ...good, queries: { q: { input: {}, run() {} } } }, /queries\.q\.input must be a Standard Schema/],
    ['a bad query name', { ...good, queries: { 'a/b': { run() {} } } }, /query name 'a\/b' is not legal/],
    ['a bad revision', { ...good, revision: 2 }, /'revision' must be a string, it is 2/],
    [
      'an unknown part of a command',
      { ...good, commands: { a: { inputs: events.A, decide() {} } } },
      /'inputs' is no part of command 'a'. Did you mean 'input'/,
    ],
    [
      'an unknown part of a query',
      { ...good, queries: { q: { scope() {}, run() {} } } },
      /'scope' is no part of query 'q'. Known: input, run/,
    ],
    ['an unknown part', { ...good, comands: {} }, /'comands' is no part of a definition. Did you mean 'commands'\?/],
  ])('for %s', (_, def, message) => {
    expect(messageOf(() => define('x', def))).toMatch(message)
    if (def) expect(messageOf(() => define('x', def))).toMatch(/^app 'x': /)
  })

  test('for a schema or function that event(...) does not get', () => {
    expect(messageOf(() => event({} as never))).toMatch(/event\(\.\.\.\) needs a Standard Schema/)
    expect(messageOf(() => event(events.A).next(events.A, undefined as never))).toMatch(/a function that lifts older data/)
    expect(messageOf(() => event(events.A).next(7 as never, old => old))).toMatch(/needs a Standard Schema, 7 is none/)
    expect(messageOf(() => event(events.A).tags('a' as never))).toMatch(/a function from the data to a list of tags/)
  })
})

describe('models', () => {
  const one = model({ events, database })
  const other = model({ events, database })

  test('commands and queries of another model are refused', () => {
    const decide = () => []
    const command = one.command({ decide })
    const query = one.query({ run: () => 1 })
    expect(isApp(one.app('x', { project, commands: { command, inline: { decide } }, queries: { query } }))).toBe(true)
    expect(messageOf(() => other.app('x', { project, commands: { command } }))).toMatch(
      /command 'command' was made by another model, .* Make it with this app's model/,
    )
    expect(messageOf(() => other.app('x', { project, commands: {}, queries: { query } }))).toMatch(
      /query 'query' was made by another model/,
    )
    expect(messageOf(() => app('x', { ...good, commands: { command } }))).toMatch(/Define the app with the \.app of the model that made it/)
  })

  test('also when they were spread', () => {
    const command = { ...one.command({ decide: () => [] }), scope: () => ['a'] }
    expect(messageOf(() => other.app('x', { project, commands: { command } }))).toMatch(/another model/)
  })
})

describe('what follows', () => {
  test('the revision: of the tables and the revision string, not of functions', () => {
    const first = revision(app('x', good))
    expect(first).toMatch(/^[0-9a-f]{64}$/)
    expect(revision(app('y', { ...good, project: { A: (db, { a }) => db.run(a) } }))).toBe(first)
    expect(revision(app('x', { ...good, database: sqlite('CREATE TABLE b (a TEXT) STRICT') }))).not.toBe(first)
    expect(revision(app('x', { ...good, revision: '2' }))).not.toBe(first)
    expect(revision(app('x', { ...good, revision: '' }))).toBe(first)
  })

  test('isApp', () => {
    expect(isApp(app('x', good))).toBe(true)
    for (const value of [undefined, null, 'x', {}, { name: 'x' }]) expect(isApp(value)).toBe(false)
  })

  test('versions of an event', () => {
    const versioned = event(z.object({ a: z.string() }))
      .next(z.object({ a: z.string(), b: z.string() }), old => ({ ...old, b: '' }))
      .next(z.object({ c: z.string() }), old => ({ c: old.a + old.b }))
    const type = (def: typeof versioned) => definitionOf(app('x', { ...good, events: { A: def }, project })).events.get('A')
    expect(type(versioned)).toMatchObject({ version: 3, upcasts: [expect.any(Function), expect.any(Function)], tags: undefined })
    expect(type(versioned.tags(({ c }) => [c]) as typeof versioned)).toMatchObject({ version: 3, tags: expect.any(Function) })
  })

  test('names that objects inherit are names like any other', () => {
    const { commands } = definitionOf(app('x', { ...good, commands: { constructor: { decide: () => [] } } }))
    expect([...commands.keys()]).toEqual(['constructor'])
    expect(commands.get('toString')).toBeUndefined()
  })
})

test('the nearest name is proposed, if it is near', () => {
  const names = ['reserve', 'release', 'move']
  expect(known('resreve', names)).toBe("Did you mean 'reserve'? Known: reserve, release, move")
  expect(known('Release', names)).toMatch(/^Did you mean 'release'\?/)
  expect(known('mov', names)).toMatch(/^Did you mean 'move'\?/)
  expect(known('cancel', names)).toBe('Known: reserve, release, move')
  expect(known('x', [])).toBe('Known: none')
  expect(known(undefined, names)).toBe('Known: reserve, release, move')
  expect(known('r'.repeat(1_000_000), names)).toBe('Known: reserve, release, move')
})
