import { type } from 'arktype'
import { app, event, sqlite } from 'mainstem'
import * as v from 'valibot'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import type { Schema } from '../../src/app.ts'
import { definitionOf } from '../../src/app.ts'
import { ask, decide, prepare, project, recorded } from '../../src/decide.ts'
import { EngineError } from '../../src/errors.ts'
import { MAX_DEPTH, type RecordedEvent } from '../../src/record.ts'

const database = sqlite('')
const any = z.any()

/** An app with one event type A that carries anything, and whatever else is given. Loose, for what the compiler would refuse. */
function make(more: { events?: object; project?: object; commands?: object; queries?: object } = {}) {
  const events = { A: any, ...more.events }
  const none = Object.fromEntries(Object.keys(events).map(name => [name, () => {}]))
  const def = { events, database, project: { ...none, ...more.project }, commands: more.commands ?? {}, queries: more.queries ?? {} }
  return app('x', def as unknown as { events: { A: typeof any }; database: typeof database; project: { A(): void }; commands: {} })
}

/** Runs one command named `run`. */
function run(
  decideIt: (input: any, ctx: any) => unknown,
  input?: unknown,
  more: { input?: unknown; events?: object; db?: unknown; now?: number } = {},
) {
  const { db, now = 0, input: schema, events = {} } = more
  const made = make({ events, commands: { run: { input: schema ?? any, decide: decideIt } } })
  return decide(made, prepare(made, 'run', input), db, now)
}

function failure(run: () => unknown): EngineError {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(EngineError)
    return error as EngineError
  }
  throw new Error('nothing was thrown')
}

const told = (run: () => unknown) => {
  const { code, message } = failure(run)
  return `${code}: ${message}`
}

const unhandled = vi.fn()
beforeEach(() => {
  unhandled.mockClear()
  process.on('unhandledRejection', unhandled)
  return async () => {
    await new Promise(setImmediate)
    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
  }
})

describe('prepare', () => {
  test('knows its commands', () => {
    const made = make({ commands: { reserve: { decide: () => [] }, release: { decide: () => [] } } })
    expect(told(() => prepare(made, 'resreve', {}))).toBe(
      "unknown-command: app 'x' has no command 'resreve'. Did you mean 'reserve'? Known: reserve, release",
    )
    expect(told(() => prepare(made, 'toString', {}))).toMatch(/^unknown-command/)
    expect(told(() => prepare(made, undefined as never, {}))).toMatch(/^unknown-command/)
  })

  const schemas: [string, Schema][] = [
    ['zod', z.object({ n: z.number(), list: z.array(z.object({ s: z.string() })) })],
    ['valibot', v.object({ n: v.number(), list: v.array(v.object({ s: v.string() })) })],
    ['arktype', type({ n: 'number', list: type({ s: 'string' }).array() })],
  ]
  test.each(schemas)('tells all issues with their paths: %s', (_, input) => {
    const made = make({ commands: { a: { input, decide: () => [] } } })
    const error = failure(() => prepare(made, 'a', { n: 'x', list: [{ s: '' }, { s: 1 }] }))
    expect(error).toMatchObject({ code: 'invalid-input', retry: 'no' })
    expect(error.message).toMatch(/^input of command 'a' is not valid: /)
    expect(error.message).toMatch(/[:;] n: \w/)
    expect(error.message).toMatch(/[:;] list\.1\.s: \w/)
    const paths = (error.details as { path: unknown[]; message: string }[]).map(({ path, message }) => [path.join('.'), typeof message])
    expect(paths.toSorted((a, b) => String(a).localeCompare(String(b)))).toEqual([
      ['list.1.s', 'string'],
      ['n', 'string'],
    ])
    expect(prepare(made, 'a', { n: 1, list: [] }).input).toEqual({ n: 1, list: [] })
  })

  test('gives the output of the schema on', () => {
    const input = z.object({ at: z.coerce.date(), n: z.number().default(7) })
    const made = make({ commands: { a: { input, scope: ({ n }: { n: number }) => [`n:${n}`], decide: () => [] } } })
    expect(prepare(made, 'a', { at: 5 })).toMatchObject({ input: { at: new Date(5), n: 7 }, reads: ['n:7'], writes: ['n:7'] })
  })

  test('takes no input where there is no schema', () => {
    const made = make({ commands: { a: { decide: () => [] } } })
    expect(prepare(made, 'a', undefined).input).toBeUndefined()
    expect(told(() => prepare(made, 'a', {}))).toBe("invalid-input: input of command 'a': there must be none, it has no schema")
  })

  test.each([
    ['zod', z.string().refine(async () => true)],
    ['one whose promise fails', { '~standard': { version: 1, vendor: 'x', validate: async () => Promise.reject(new Error('no')) } }],
    [
      'valibot',
      v.pipeAsync(
        v.string(),
        v.checkAsync(async () => true),
      ),
    ],
    [
      'zod that throws',
      z.string().refine(() => {
        throw new Error('boom')
      }),
    ],
  ])('refuses a schema that answers with a promise: %s', (_, input) => {
    const made = make({ commands: { a: { input, decide: () => [] } } })
    expect(told(() => prepare(made, 'a', 'x'))).toMatch(
      /^invalid-app: input of command 'a': its schema answered with a promise: .* It must validate at once$/,
    )
  })

  test('a schema that throws is a defect of the app', () => {
    const input = v.pipe(
      v.string(),
      v.check(() => {
        throw new Error('boom')
      }),
    )
    const made = make({ commands: { a: { input, decide: () => [] } } })
    expect(told(() => prepare(made, 'a', 'x'))).toBe("invalid-app: input of command 'a': its schema threw: boom")
  })

  const scoped = (scope: unknown) => prepare(make({ commands: { a: { scope: () => scope, decide: () => [] } } }), 'a', undefined)

  test('the forms of a scope', () => {
    expect(prepare(make({ commands: { a: { decide: () => [] } } }), 'a', undefined)).toMatchObject({ reads: '*', writes: '*' })
    expect(scoped('*')).toMatchObject({ reads: '*', writes: '*' })
    expect(scoped([])).toMatchObject({ reads: [], writes: [] })
    expect(scoped(['a', 'b'])).toMatchObject({ reads: ['a', 'b'], writes: ['a', 'b'] })
    expect(scoped({ reads: '*', writes: ['b'] })).toMatchObject({ reads: '*', writes: ['b'] })
    expect(scoped(['x'.repeat(256), 'ä:€:😀'])).toMatchObject({ reads: [expect.any(String), 'ä:€:😀'] })
  })

  test.each([
    [[''], /scope of command 'a' has the tag ""\. A tag is one line of 1 to 256 characters, and not '\*'$/],
    [['x'.repeat(257)], /has the tag "x+"/],
    [['a\nb'], /has the tag "a\\nb"/],
    [['a\u0085'], /A tag is one line/],
    [['*'], /has the tag "\*"/],
    [['\ud800'], /has the tag/],
    [{ reads: ['a'], writes: [''] }, /scope\.writes of command 'a' has the tag ""/],
  ])('a tag that no tag can be comes of an input that will not do: %j', (scope, message) => {
    expect(told(() => scoped(scope))).toMatch(/^invalid-input: /)
    expect(told(() => scoped(scope))).toMatch(message)
  })

  test.each([
    [['a', 7], /has the tag 7/],
    [[undefined], /has the tag undefined/],
    [{ reads: 'a', writes: [] }, /scope\.reads of command 'a' is 'a'. It must be a list of tags, or '\*'/],
    [{ reads: ['a'] }, /scope of command 'a' returned an object. Return a list of tags, '\*', or \{ reads, writes \}/],
    ['seat:1', /returned 'seat:1'/],
    [undefined, /returned undefined/],
    [null, /returned null/],
    [Promise.resolve(['a']), /returned an instance of Promise/],
  ])('an illegal scope: %j', (scope, message) => {
    expect(told(() => scoped(scope))).toMatch(/^invalid-scope: /)
    expect(told(() => scoped(scope))).toMatch(message)
  })

  test('a scope that throws', () => {
    const cause = new TypeError('no seat')
    const made = make({
      commands: {
        a: {
          scope: () => {
            throw cause
          },
          decide: () => [],
        },
      },
    })
    expect(failure(() => prepare(made, 'a', undefined))).toMatchObject({
      code: 'invalid-scope',
      message: "scope of command 'a' threw: no seat",
      cause,
    })
  })

  test('the caller may change its object afterwards, also where the schema gives it on as it is', () => {
    const made = make({ commands: { a: { input: type({ list: 'number[]', o: { a: 'number' } }), decide: () => [] } } })
    const input = { list: [1], o: { a: 1 } }
    const prepared = prepare(made, 'a', input)
    input.list.push(2)
    input.o.a = 2
    expect(prepared.input).toEqual({ list: [1], o: { a: 1 } })
  })
})

describe('decide', () => {
  const a = (data: unknown) => ({ type: 'A', schema: 1, data })

  test('gets the input, the handle and the time', () => {
    const db = {}
    const seen = vi.fn((_input: unknown, _ctx: unknown) => [])
    run(seen, { a: 1 }, { db, now: 1_234 })
    expect(seen).toHaveBeenCalledWith({ a: 1 }, expect.objectContaining({ now: new Date(1_234) }))
    expect((seen.mock.calls[0]![1] as { db: unknown }).db).toBe(db)
  })

  test('the forms of a decision', () => {
    expect(run((_, { emit }) => emit('A', 1))).toEqual({ events: [a(1)] })
    expect(run((_, { emit }) => [emit('A', 1), emit('A', 2)])).toEqual({ events: [a(1), a(2)] })
    expect(run((_, { emit }) => [emit('A', 1), emit('A', 2)].reverse())).toEqual({ events: [a(2), a(1)] })
    expect(run(() => [])).toEqual({ events: [] })
    expect(run((_, { emit }) => ({ events: emit('A', 1), result: { a: 1 } }))).toEqual({ events: [a(1)], result: { a: 1 } })
    expect(run((_, { emit }) => ({ events: [emit('A', 1)], result: undefined }))).toEqual({ events: [a(1)] })
    expect(run(() => ({ events: [], result: null }))).toEqual({ events: [], result: null })
    expect(run((_, { reject }) => reject('no'))).toEqual({ events: [], rejection: { code: 'no' } })
    expect(run((_, { reject }) => reject('no', { a: undefined, b: 1 }))).toEqual({
      events: [],
      rejection: { code: 'no', details: { b: 1 } },
    })
  })

  test('a rejection drops what was emitted before it', () => {
    const loop = (_: unknown, { emit, reject }: any) => {
      emit('A', 1)
      return reject('late')
    }
    expect(run(loop)).toEqual({ events: [], rejection: { code: 'late' } })
  })

  test.each<[string, (input: any, ctx: any) => unknown, RegExp]>([
    ['a promise', async () => [], /returned a promise. It must answer at once: it may not be async/],
    ['a promise that fails', async () => Promise.reject(new Error('late')), /returned a promise/],
    ['a thenable', () => ({ [['then'].join()]: () => {} }), /returned a promise/],
    ['nothing', () => undefined, /returned nothing. Is a return missing\? To accept without events, return \[\]/],
    ['no events in an object', () => ({ events: undefined, result: 1 }), /returned nothing/],
    [
      'null',
      () => null,
      /returned null, which is no decision. Return emit\(\.\.\.\), a list of such, \{ events, result \}, or reject\(\.\.\.\)/,
    ],
    ['true', () => true, /returned true, which is no decision/],
    ['a home-made event', () => ({ type: 'A', schema: 1, data: 1 }), /returned an object, which is no decision/],
    ['a home-made rejection', () => ({ code: 'no' }), /returned an object, which is no decision/],
    ['a hole in a list', (_, { emit }) => [emit('A', 1), false], /returned false, which is no decision/],
    [
      'a gap in a list',
      (_, { emit }) => {
        const list = [emit('A', 1)]
        emit('A', 2)
        list.length = 2
        return list
      },
      /returned undefined, which is no/,
    ],
    ['a rejection in a list', (_, { reject }) => [reject('no')], /rejected but not returned: no. Write return reject/],
    ['a generator', function* () {}, /which is no decision/],
    [
      'a misspelt result',
      (_, { emit }) => ({ events: emit('A', 1), results: 1 }),
      /returned an object with 'results'. It may have events and result only/,
    ],
    [
      'the same event twice',
      (_, { emit }) => {
        const e = emit('A', 1)
        return [e, e]
      },
      /returned the same A twice. Emit it twice to have two/,
    ],
    [
      'not all events',
      (_, { emit }) => {
        emit('A', 0)
        return emit('A', 1)
      },
      /emitted but not returned: A. An event counts only if it is returned/,
    ],
    [
      'none of the events',
      (_, { emit }) => {
        emit('A', 1)
        emit('B', 1)
        return []
      },
      /emitted but not returned: A, B\. /,
    ],
    [
      'nothing after emit',
      (_, { emit }) => {
        emit('A', 1)
      },
      /emitted but not returned: A; it returned nothing. Is a return missing/,
    ],
    [
      'an event after a forgotten return',
      (_, { emit, reject }) => {
        reject('no')
        return emit('A', 1)
      },
      /rejected but not returned: no. Write return reject/,
    ],
    [
      'nothing after reject',
      (_, { reject }) => {
        reject('no')
      },
      /rejected but not returned: no/,
    ],
    ['a rejection without a code', (_, { reject }) => reject(''), /reject needs a code, such as 'seat-taken', not ''/],
    [
      'a result that is not JSON',
      () => ({ events: [], result: { at: new Date(0) } }),
      /result of command 'run' is not plain JSON at at: an instance of Date/,
    ],
    ['details that are not JSON', (_, { reject }) => reject('no', [1n]), /details of rejection 'no' is not plain JSON at \[0\]: a bigint/],
    [
      'a throw',
      () => {
        throw new Error('boom')
      },
      /decide of 'run' threw: boom/,
    ],
    [
      'a throw of no error',
      () => {
        throw 'boom'
      },
      /decide of 'run' threw: 'boom'/,
    ],
    ['an attempt to write', (_, { db }) => db.run('DELETE'), /decide of 'run' threw: db\.run is not a function/],
  ])('fails on %s', (_, decideIt, message) => {
    const error = failure(() => run(decideIt, undefined, { events: { B: any }, db: {} }))
    expect(error).toMatchObject({ code: 'decide-failed', retry: 'no' })
    expect(error.message).toMatch(message)
  })

  test('an event of another call is no decision', () => {
    let kept: unknown
    run((_, { emit }) => (kept = emit('A', 1)))
    expect(told(() => run(() => kept))).toMatch(/^decide-failed: .* which is no decision/)
    expect(told(() => run((_, { emit }) => [kept, emit('A', 1)]))).toMatch(/^decide-failed: .* which is no decision/)
  })

  test('keeps the cause', () => {
    const cause = new Error('boom')
    expect(
      failure(() =>
        run(() => {
          throw cause
        }),
      ).cause,
    ).toBe(cause)
  })

  test('other errors of the engine pass through, so that a full disk is not taken for a defect of the app', () => {
    const own = new EngineError('data-unusable', 'the disk is full')
    const refused = new EngineError('decide-failed', 'decide may not write', { details: 7 })
    const named = { code: 'decide-failed', message: "decide of 'run' threw: decide may not write", details: 7, cause: refused }
    expect(
      failure(() =>
        run(() => {
          throw own
        }),
      ),
    ).toBe(own)
    expect(
      failure(() =>
        run(() => {
          throw refused
        }),
      ),
    ).toMatchObject(named)
  })

  test('emit and reject end with decide', () => {
    let kept: any
    run((_, ctx) => {
      kept = ctx
      return []
    })
    expect(told(() => kept.emit('A', 1))).toMatch(/^decide-failed: emit was called while no decide was running/)
    expect(told(() => kept.reject('no'))).toMatch(/^decide-failed: reject was called while no decide was running/)
    failure(() =>
      run((_, ctx) => {
        kept = ctx
        throw new Error('boom')
      }),
    )
    expect(told(() => kept.emit('A', 1))).toMatch(/no decide was running/)
  })

  test('one decide inside another keeps its events to itself', () => {
    const outer = run((_, { emit }) => {
      const first = emit('A', 1)
      expect(run((_, { emit }) => emit('A', 'inner'))).toEqual({ events: [a('inner')] })
      return [first, emit('A', 2)]
    })
    expect(outer).toEqual({ events: [a(1), a(2)] })
  })

  test('decided again, it sees the input that it saw at first', () => {
    const seen: unknown[] = []
    const input = z.object({ list: z.array(z.number()), o: z.object({ a: z.number() }) })
    const made = make({
      commands: {
        run: {
          input,
          decide(input: { list: number[]; o: { a: number } }) {
            seen.push(structuredClone(input))
            input.list.pop()
            input.o.a = 7
            return []
          },
        },
      },
    })
    const prepared = prepare(made, 'run', { list: [1, 2], o: { a: 1 } })
    decide(made, prepared, undefined, 0)
    decide(made, prepared, undefined, 0)
    expect(seen).toEqual([
      { list: [1, 2], o: { a: 1 } },
      { list: [1, 2], o: { a: 1 } },
    ])
  })

  test('an input cannot reach the prototype of what decide sees', () => {
    const hostile: unknown = JSON.parse('{"__proto__": {"admin": true}, "o": {"__proto__": {"admin": true}}}')
    run(
      input => {
        expect(input.admin).toBeUndefined()
        expect(input.o.admin).toBeUndefined()
        return []
      },
      hostile,
      { input: type('object') },
    )
    expect(({} as { admin?: true }).admin).toBeUndefined()
  })
})

describe('emit', () => {
  const emitted = (data: unknown, schema: unknown = any) =>
    run((_, { emit }) => emit('A', data), undefined, { events: { A: schema } }).events[0]!

  test('knows its events', () => {
    expect(told(() => run((_, { emit }) => emit('B', 1)))).toBe("invalid-event: app 'x' has no event 'B'. Did you mean 'A'? Known: A")
    expect(told(() => run((_, { emit }) => emit(undefined, 1)))).toMatch(/^invalid-event: app 'x' has no event undefined/)
  })

  test('checks the data, and keeps the output of the schema', () => {
    const schema = z.object({ seat: z.string().trim(), at: z.date().transform(at => at.toISOString()), n: z.number().default(7) })
    expect(emitted({ seat: ' A1 ', at: new Date(0) }, schema).data).toEqual({ seat: 'A1', at: '1970-01-01T00:00:00.000Z', n: 7 })
    const error = failure(() => emitted({ seat: 1, at: new Date(0) }, schema))
    expect(error).toMatchObject({ code: 'invalid-event', details: [{ path: ['seat'] }] })
    expect(error.message).toMatch(/^data of event 'A' is not valid: seat: /)
  })

  test('its error passes through a decide that does not look', () => {
    expect(
      told(() =>
        run((_, { emit }) => {
          emit('A', { a: NaN })
          return []
        }),
      ),
    ).toMatch(/^invalid-event: /)
  })

  class Money {
    cents = 1
  }
  const cycle: { self?: unknown; list: unknown[] } = { list: [] }
  cycle.list.push({ cycle })
  const deep = (levels: number) => {
    let value: unknown = 1
    for (let i = 0; i < levels; i++) value = i % 2 ? [value] : { a: value }
    return value
  }

  test.each<[string, unknown, RegExp]>([
    ['NaN', { a: NaN }, /^data of event 'A' is not plain JSON at a: NaN is no number that JSON knows$/],
    ['Infinity', { a: [1, -Infinity] }, /at a\[1\]: -Infinity is no number/],
    ['undefined', undefined, /is not plain JSON: undefined; use null$/],
    ['undefined in a list', [1, undefined], /at \[1\]: undefined; use null/],
    ['a gap in a list', { a: { b: Object.assign([1], { 2: 3 }) } }, /at a\.b\[1\]: a gap in an array/],
    ['a Date', { a: { at: new Date(0) } }, /at a\.at: an instance of Date/],
    ['a Map', [new Map()], /at \[0\]: an instance of Map/],
    ['a Set', { a: new Set() }, /at a: an instance of Set/],
    ['bytes', { a: new Uint8Array(1) }, /at a: an instance of Uint8Array/],
    ['an instance of a class', { a: new Money() }, /at a: an instance of Money/],
    ['a boxed string', { a: new String('a') }, /at a: an instance of String/],
    ['bigint', { a: 1n }, /at a: a bigint/],
    ['a function', { a: () => 1 }, /at a: a function/],
    ['toJSON', { toJSON: () => 1 }, /at toJSON: a function/],
    ['a symbol', { a: Symbol('a') }, /at a: a symbol/],
    ['a cycle', cycle, /at list\[0\]\.cycle: it contains itself/],
    ['__proto__', JSON.parse('{"a": {"__proto__": 1}}'), /at a\.__proto__: a key that JavaScript gives a meaning of its own/],
    ['too deep', deep(MAX_DEPTH + 1), /it is nested deeper than 100$/],
  ])('refuses what JSON does not carry: %s', (_, data, message) => {
    const error = failure(() => emitted(data))
    expect(error).toMatchObject({ code: 'invalid-event', retry: 'no' })
    expect(error.message).toMatch(message)
  })

  test.each<[string, unknown]>([
    ['null', null],
    ['a string', 'ä\u0000\ud800😀'],
    ['numbers', [0, -0, 1e308, 5e-324, 2 ** 53, 0.1]],
    ['undefined properties', { a: undefined, b: { c: undefined, d: 1 } }],
    ['keys of all kinds', { '': 1, 'a.b': 2, 2: 3, 1: 4, constructor: 5, toJSON: 6, length: 7 }],
    ['no prototype', Object.assign(Object.create(null), { a: 1 })],
    [
      'the same object twice',
      (() => {
        const o = { a: 1 }
        return { x: o, y: [o, o] }
      })(),
    ],
    ['as deep as allowed', deep(MAX_DEPTH)],
  ])('the live path sees what a replay parses: %s', (_, data) => {
    const live = emitted(data).data
    const replayed: unknown = JSON.parse(JSON.stringify(live))
    expect(live).toStrictEqual(replayed)
    expect(JSON.stringify(live)).toBe(JSON.stringify(replayed))
    expect(JSON.stringify(live)).toBe(JSON.stringify(data))
  })

  test('-0 becomes 0', () => {
    expect(Object.is((emitted({ n: -0 }).data as { n: number }).n, 0)).toBe(true)
  })

  test('what was emitted does not change any more', () => {
    const data = { list: [1] }
    const made = make({
      events: { A: type('object') },
      commands: {
        run: {
          decide: (_: unknown, { emit }: any) => {
            const event = emit('A', data)
            data.list.push(2)
            expect(() => event.data.list.push(3)).toThrow(TypeError)
            expect(() => Object.assign(event.data, { more: 1 })).toThrow(TypeError)
            expect(() => {
              event.data = 1
            }).toThrow(TypeError)
            return event
          },
        },
      },
    })
    expect(decide(made, prepare(made, 'run', undefined), undefined, 0).events[0]!.data).toEqual({ list: [1] })
  })

  test('schema version and tags', () => {
    const versioned = event(z.object({ a: z.string() })).next(z.object({ a: z.string(), b: z.string() }), old => ({ ...old, b: '' }))
    expect(emitted({ a: 'x', b: 'y' }, versioned)).toEqual({ type: 'A', schema: 2, data: { a: 'x', b: 'y' } })
    const tagged = (tags: unknown) =>
      emitted({ a: 'x', b: 'y' }, versioned.tags(((data: unknown) => (typeof tags === 'function' ? tags(data) : tags)) as never))
    expect(tagged(({ a, b }: { a: string; b: string }) => [a, b])).toEqual({
      type: 'A',
      schema: 2,
      data: { a: 'x', b: 'y' },
      tags: ['x', 'y'],
    })
    const list = ['x']
    const kept = tagged(list)
    list.push('y')
    expect(kept.tags).toEqual(['x'])
    expect(told(() => tagged(async () => Promise.reject(new Error('late'))))).toMatch(
      /^invalid-scope: tags of event 'A' are an instance of Promise/,
    )
    expect(tagged([])).toEqual({ type: 'A', schema: 2, data: { a: 'x', b: 'y' } })
    expect(told(() => tagged(['']))).toMatch(/^invalid-scope: tags of event 'A' has the tag ""/)
    expect(told(() => tagged('*'))).toMatch(/^invalid-scope: tags of event 'A' are '\*'. Return a list of tags/)
    expect(
      told(() =>
        tagged(() => {
          throw new Error('boom')
        }),
      ),
    ).toBe("invalid-scope: tags of event 'A' threw: boom")
  })
})

describe('project', () => {
  const versioned = event(z.object({ a: z.number() }))
    .next(z.object({ a: z.number(), b: z.number() }), old => ({ ...old, b: old.a + 1 }))
    .next(z.object({ sum: z.number() }), old => ({ sum: old.a + old.b }))
  const stored = (type: string, schema: number, data: RecordedEvent['data']): RecordedEvent => ({ type, schema, data })
  const projecting = (projection: (...args: any[]) => unknown) => make({ events: { V: versioned }, project: { V: projection } })

  test('gives handle, data and meta to the projection', () => {
    const seen = vi.fn()
    const write = {}
    project(projecting(seen), write, stored('V', 3, { sum: 1 }), 7, 1_234)
    expect(seen).toHaveBeenCalledWith(write, { sum: 1 }, { version: 7, at: new Date(1_234) })
    expect(seen.mock.calls[0]![0]).toBe(write)
  })

  test('lifts older versions to the newest', () => {
    const seen = vi.fn()
    project(projecting(seen), {}, stored('V', 1, { a: 1 }), 1, 0)
    project(projecting(seen), {}, stored('V', 2, { a: 1, b: 5 }), 2, 0)
    expect(seen.mock.calls.map(call => call[1])).toEqual([{ sum: 3 }, { sum: 6 }])
  })

  test('does not parse again what is stored', () => {
    const once = vi.fn(() => true)
    const seen = vi.fn()
    const made = make({ events: { V: z.object({ a: z.string().trim().refine(once) }) }, project: { V: seen } })
    const event = recorded(definitionOf(made), 'V', { a: ' x ' })
    project(made, {}, event, 1, 0)
    project(made, {}, stored('V', 1, { a: ' y ' }), 2, 0)
    expect(once).toHaveBeenCalledTimes(1)
    expect(seen.mock.calls.map(call => call[1])).toEqual([{ a: 'x' }, { a: ' y ' }])
  })

  test('refuses what it does not know', () => {
    expect(
      told(() =>
        project(
          projecting(() => {}),
          {},
          stored('W', 1, 1),
          7,
          0,
        ),
      ),
    ).toBe("unknown-event: event 7 is a 'W', which app 'x' does not know. Keep event types that were used")
    expect(
      told(() =>
        project(
          projecting(() => {}),
          {},
          stored('V', 4, 1),
          7,
          0,
        ),
      ),
    ).toBe("unknown-event: event 7 is a 'V' of schema version 4, app 'x' knows 3: it was written by a newer release")
  })

  test('refuses a projection that throws, is async, or changes the event', () => {
    const cause = new Error('UNIQUE constraint failed')
    const error = failure(() =>
      project(
        projecting(() => {
          throw cause
        }),
        {},
        stored('V', 3, { sum: 1 }),
        7,
        0,
      ),
    )
    expect(error).toMatchObject({
      code: 'projection-failed',
      cause,
      message: "projection of 'V', event 7, threw: UNIQUE constraint failed",
    })
    expect(
      told(() =>
        project(
          projecting(async () => Promise.reject(cause)),
          {},
          stored('V', 3, { sum: 1 }),
          7,
          0,
        ),
      ),
    ).toBe("projection-failed: projection of 'V' returned a promise. It must write at once: it may not be async")
    const made = make({ project: { A: (_: unknown, data: number[]) => data.push(1) } })
    expect(told(() => project(made, {}, recorded(definitionOf(made), 'A', [1]), 1, 0))).toMatch(
      /^projection-failed: projection of 'A', event 1, threw: /,
    )
  })

  test('other errors of the engine pass through', () => {
    const own = new EngineError('data-unusable', 'the disk is full')
    expect(
      failure(() =>
        project(
          projecting(() => {
            throw own
          }),
          {},
          stored('V', 3, { sum: 1 }),
          7,
          0,
        ),
      ),
    ).toBe(own)
  })

  test('a projection may return what a statement returned', () => {
    expect(() =>
      project(
        projecting(() => ({ changes: 1 })),
        {},
        stored('V', 3, { sum: 1 }),
        1,
        0,
      ),
    ).not.toThrow()
  })
})

describe('ask', () => {
  const asking = (run: (...args: any[]) => unknown, input?: unknown) =>
    make({ queries: { q: input === undefined ? { run } : { input, run } } })

  test('gives input, handle and version, and the answer back', () => {
    const seen = vi.fn(() => [1])
    const db = {}
    expect(ask(asking(seen, z.object({ a: z.string().trim() })), 'q', { a: ' x ' }, db, 7)).toEqual([1])
    expect(seen).toHaveBeenCalledWith({ a: 'x' }, { db, version: 7 })
  })

  test('refuses', () => {
    expect(
      told(() =>
        ask(
          asking(() => 1),
          'p',
          undefined,
          {},
          0,
        ),
      ),
    ).toBe("unknown-query: app 'x' has no query 'p'. Did you mean 'q'? Known: q")
    expect(
      told(() =>
        ask(
          asking(() => 1),
          'q',
          {},
          {},
          0,
        ),
      ),
    ).toBe("invalid-input: input of query 'q': there must be none, it has no schema")
    expect(
      told(() =>
        ask(
          asking(() => 1, z.string()),
          'q',
          1,
          {},
          0,
        ),
      ),
    ).toMatch(/^invalid-input: input of query 'q' is not valid: /)
    expect(
      told(() =>
        ask(
          asking(
            () => 1,
            z.string().refine(async () => true),
          ),
          'q',
          'x',
          {},
          0,
        ),
      ),
    ).toMatch(/^invalid-app: input of query 'q'/)
    expect(
      told(() =>
        ask(
          asking(async () => 1),
          'q',
          undefined,
          {},
          0,
        ),
      ),
    ).toBe("query-failed: query 'q' returned a promise. It must answer at once: it may not be async")
    expect(
      told(() =>
        ask(
          asking(() => [1].values()),
          'q',
          undefined,
          {},
          0,
        ),
      ),
    ).toMatch(/^query-failed: query 'q' returned rows that are not read yet/)
    const cause = new Error('boom')
    expect(
      failure(() =>
        ask(
          asking(() => {
            throw cause
          }),
          'q',
          undefined,
          {},
          0,
        ),
      ),
    ).toMatchObject({ code: 'query-failed', message: "query 'q' threw: boom", cause })
  })
})
