/** What the scope checker finds, and what it leaves alone, on apps of a few lines. */
import { AssertionError } from 'node:assert'
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { app, event, sqlite } from 'mainstem'
import { checkScopes, type ScopeCheck } from 'mainstem/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'

const n = z.int()
const box = z.object({ box: z.string(), n })
const put = fc.record({ box: fc.constantFrom('b1', 'b2'), n: fc.integer({ min: 1, max: 3 }) })

type Scope = (input: {
  box: string
  n: number
}) => readonly string[] | '*' | { reads: readonly string[] | '*'; writes: readonly string[] | '*' }

/** Boxes that hold 9 together: a rule over all of them. */
function boxes({ scope = () => ['all'], tags = () => [] }: { scope?: Scope; tags?: (data: { box: string }) => string[] } = {}) {
  return app('boxes', {
    events: { Put: event(box).tags(tags) },
    database: sqlite('CREATE TABLE box (id TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT'),
    project: {
      Put: (db, { box, n }) => db.run('INSERT INTO box VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n', box, n),
    },
    commands: {
      put: {
        input: box,
        scope,
        decide(input, { db, emit, reject }) {
          const { n } = db.get<{ n: number }>('SELECT coalesce(sum(n), 0) AS n FROM box')!
          return n + input.n > 9 ? reject('full') : emit('Put', input)
        },
      },
    },
  })
}

async function story(checking: Promise<unknown>): Promise<string> {
  const [{ reason }] = (await Promise.allSettled([checking])) as [{ reason?: unknown }]
  if (!(reason instanceof AssertionError)) throw new Error('no story was told', { cause: reason })
  return reason.message
}

const seed = 7
const runs = 10
const putting = { commands: { put }, seed, runs } satisfies ScopeCheck<{ put: { box: string; n: number } }>

describe('a scope that is wide enough', () => {
  test.each<[string, Scope]>([
    ['one tag for all', () => ['all']],
    ['everything', () => '*'],
    ['everything is read', ({ box }) => ({ reads: '*', writes: [`box:${box}`] })],
    ['everything is written', ({ box }) => ({ reads: [`box:${box}`], writes: '*' })],
  ])('%s', async (_, scope) => {
    expect(await checkScopes(boxes({ scope }), putting)).toMatchObject({ checked: 0, seed })
  })

  test('what events write by their tags counts', async () => {
    const read: Scope = ({ box }) => ({ reads: [`box:${box}`, 'all'], writes: [`box:${box}`] })
    expect(await checkScopes(boxes({ scope: read, tags: () => ['all'] }), putting)).toMatchObject({ checked: 0 })
    expect(await story(checkScopes(boxes({ scope: read }), putting))).toContain('too narrow')
  })

  test('the same seed looks at the same', async () => {
    const narrow = boxes({ scope: ({ box }) => [`box:${box}`] })
    expect(await story(checkScopes(narrow, putting))).toBe(await story(checkScopes(narrow, putting)))
  })
})

describe('a scope that is too narrow', () => {
  test('a rule over several things, each with its own tag', async () => {
    expect(await story(checkScopes(boxes({ scope: ({ box }) => [`box:${box}`] }), putting))).toMatchInlineSnapshot(`
      "a scope is too narrow: 'put' writes nothing that 'put' reads, and yet changes what it comes to
      after
        put { box: 'b1', n: 2 }
        put { box: 'b1', n: 2 }
      at the same time
        A: put { box: 'b1', n: 3 }
           writes box:b1
        B: put { box: 'b2', n: 3 }
           reads box:b2
      B alone:    accepted, Put { box: 'b2', n: 3 }
      B behind A: rejected, full
      The log would let B stand behind A as it was decided alone. To prevent it,
      add a tag in common to the scopes of both.
      Without a scope, a command meets every other.

      to see it again: seed 7, runs 10"
    `)
  })

  test('a command that claims to read nothing, beside one that writes everything', async () => {
    expect(await story(checkScopes(boxes({ scope: () => ({ reads: [], writes: '*' }) }), putting))).toContain('reads nothing')
  })

  test('a command that claims to write nothing', async () => {
    expect(await story(checkScopes(boxes({ scope: () => ({ reads: ['all'], writes: [] }) }), putting))).toContain('writes nothing')
  })

  const note = z.object({ name: z.string() })
  const notes = (scope: (input: { name: string }) => { reads: string[]; writes: string[] }, decide: 'looks' | 'does not look') =>
    app('notes', {
      events: { Noted: note },
      database: sqlite('CREATE TABLE note (name TEXT PRIMARY KEY) STRICT'),
      project: { Noted: (db, { name }) => db.run('INSERT INTO note VALUES (?)', name) },
      commands: {
        note: {
          input: note,
          scope,
          decide: (input, { db, emit, reject }) =>
            decide === 'looks' && db.get('SELECT 1 FROM note WHERE name = ?', input.name) ? reject('noted') : emit('Noted', input),
        },
      },
    })
  const noting = { commands: { note: fc.record({ name: fc.constantFrom('x', 'y') }) }, seed, runs }

  test('what is read has a tag that nobody writes', async () => {
    const found = await story(
      checkScopes(
        notes(({ name }) => ({ reads: [`name:${name}`], writes: ['notes'] }), 'looks'),
        noting,
      ),
    )
    expect(found).toContain('B behind A: rejected, noted\n')
    expect(found).toContain("add a tag that B reads to what the scope of 'note' writes, such as 'name:x'")
  })

  test('what is written has a tag that nobody reads', async () => {
    const found = await story(
      checkScopes(
        notes(({ name }) => ({ reads: ['notes'], writes: [`name:${name}`] }), 'looks'),
        noting,
      ),
    )
    expect(found).toContain("add a tag that A writes to what the scope of 'note' reads, such as 'name:x'")
  })

  test('a rejection that would not come any more', async () => {
    const lamp = app('lamp', {
      events: { Lit: z.object({}) },
      database: sqlite('CREATE TABLE lamp (lit INTEGER) STRICT'),
      project: { Lit: db => db.run('INSERT INTO lamp VALUES (1)') },
      commands: {
        light: { scope: () => ({ reads: [], writes: ['lamp'] }), decide: (_, { emit }) => emit('Lit', {}) },
        read: {
          scope: () => ['book'],
          decide: (_, { db, reject }) => (db.get('SELECT 1 FROM lamp') ? { events: [], result: 'a page' } : reject('dark')),
        },
      },
    })
    const nothing = fc.constant(undefined)
    const found = await story(checkScopes(lamp, { commands: { light: nothing, read: nothing }, seed, runs }))
    expect(found).toContain("B alone:    rejected, dark\nB behind A: accepted, no events, result 'a page'\n")
    expect(found).toContain('in an empty database\n')
  })
})

describe('what else may come to light', () => {
  const counter = (decide: () => number, project: (n: number, held: number) => void = () => {}) =>
    app('counter', {
      events: { Counted: z.object({ n }) },
      database: sqlite('CREATE TABLE counted (n INTEGER NOT NULL) STRICT'),
      project: {
        Counted(db, { n }) {
          project(n, db.all('SELECT 1 FROM counted').length)
          db.run('INSERT INTO counted VALUES (?)', n)
        },
      },
      commands: {
        count: {
          input: z.object({ n: n.max(9) }),
          scope: ({ n }) => [`n:${n}`],
          decide: (_, { emit }) => emit('Counted', { n: decide() }),
        },
      },
    })
  const counting = { commands: { count: fc.record({ n: fc.integer({ min: 0, max: 5 }) }) }, seed, runs }

  test('an accepted event that cannot be projected behind another', async () => {
    const small = counter(
      () => 1,
      (_, held) => {
        if (held > 0) throw new Error('no room')
      },
    )
    expect(await story(checkScopes(small, counting))).toMatch(/^B behind A: fails, projection-failed: .* no room$/m)
  })

  test('a decide that is no function of its arguments', async () => {
    let calls = 0
    const found = await story(
      checkScopes(
        counter(() => calls++),
        counting,
      ),
    )
    expect(found).toContain('decided twice in the same state')
  })

  test('a decide that throws', async () => {
    const broken = counter(() => {
      throw new Error('out of order')
    })
    expect(await story(checkScopes(broken, counting))).toMatchInlineSnapshot(`
      "'count' failed
      in an empty database
        count { n: 0 }
        decide-failed: decide of 'count' threw: out of order

      to see it again: seed 7, runs 10"
    `)
  })

  test('an arbitrary that makes what the schema refuses', async () => {
    const odd = { count: fc.record({ n: fc.constant(10) }) }
    expect(
      await story(
        checkScopes(
          counter(() => 1),
          { commands: odd, seed, runs },
        ),
      ),
    ).toContain('invalid-input')
  })

  test('a command that is never accepted', async () => {
    const none = boxes()
    const found = await story(checkScopes(none, { commands: { put: fc.constant({ box: 'b', n: 10 }) }, seed, runs: 3 }))
    expect(found).toContain("nothing is known of the scope of 'put': never accepted in 3 runs")
  })
})

test('without fast-check it says what to install', () => {
  const program = `
    import { registerHooks } from 'node:module'
    registerHooks({ resolve(name, context, next) {
      if (name === 'fast-check') throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' })
      return next(name, context)
    } })
    const { checkScopes } = await import('mainstem/testing')
    await checkScopes(undefined, { commands: {} }).catch(error => console.log(error.message))`
  const root = new URL('../../', import.meta.url)
  const output = execFileSync(process.execPath, ['--conditions=source', '--input-type=module', '-e', program], {
    cwd: root,
    encoding: 'utf8',
  })
  expect(output).toContain('npm install --save-dev fast-check')
})
