/** Schemas of events, compared: whatever the released one accepts is accepted by the new one, or it is reported; and what is reported is called by its name. */
import { type } from 'arktype'
import fc from 'fast-check'
import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { compareEvents, eventSchemas } from '../../src/evolution.ts'
import { differences, type JsonSchema } from '../../src/evolution/inclusion.ts'
import { type App, app, event, type Schema, sqlite } from '../../src/index.ts'

function having(events: Record<string, Schema>): App {
  return app('till', {
    events,
    database: sqlite('CREATE TABLE entry (version INTEGER PRIMARY KEY) STRICT'),
    project: Object.fromEntries(Object.keys(events).map(name => [name, () => {}])),
    commands: {},
  } as never)
}

const changes = (before: Record<string, Schema>, now: Record<string, Schema>) =>
  compareEvents(eventSchemas(having(before)), eventSchemas(having(now)))

/** Of one event: 'level kind path'. */
const told = (before: Schema, now: Schema) =>
  changes({ A: before }, { A: now }).map(({ level, kind, path }) => `${level} ${kind} ${path}`.trimEnd())

const json = (schema: z.ZodType): JsonSchema => schema['~standard'].jsonSchema.output({ target: 'draft-2020-12' })

describe('what changed has a name', () => {
  const order = z.object({ id: z.string(), state: z.enum(['open', 'paid']), lines: z.array(z.object({ amount: z.int() })) })

  test.each<[what: string, now: z.ZodType, told: string[]]>([
    ['nothing', order, []],
    ['an optional field', order.extend({ note: z.string().optional() }), ['compatible widened note']],
    ['a field that may be left out', order.partial({ id: true }), ['compatible widened id']],
    ['a value more', order.extend({ state: z.enum(['open', 'paid', 'void']) }), ['compatible widened state']],
    ['another type as well', order.extend({ id: z.union([z.string(), z.number()]) }), ['compatible widened id']],
    ['null as well', order.extend({ id: z.string().nullable() }), ['compatible widened id']],
    ['a field removed', order.omit({ id: true }), ['breaking field-removed id']],
    ['a required field', order.extend({ note: z.string() }), ['breaking required-added note']],
    ['a field with a default, which no stored event has', order.extend({ note: z.string().default('') }), ['breaking required-added note']],
    ['another type', order.extend({ id: z.number() }), ['breaking type-narrowed id']],
    ['a value less', order.extend({ state: z.enum(['open']) }), ['breaking value-removed state']],
    ['a limit', order.extend({ id: z.string().max(9) }), ['breaking type-narrowed id']],
    ['a pattern', order.extend({ id: z.string().regex(/^o-/) }), ['breaking type-narrowed id']],
    ['deep inside', order.extend({ lines: z.array(z.object({ amount: z.int().min(0) })) }), ['breaking type-narrowed lines[].amount']],
    [
      'one field for the other',
      order.omit({ id: true }).extend({ number: z.string() }),
      ['breaking required-added number', 'breaking field-removed id'],
    ],
  ])('%s', (_, now, expected) => {
    expect(told(order, now)).toEqual(expected)
  })

  test('a fraction where a whole number is wanted, and what is not understood', () => {
    expect(differences({ type: 'integer' }, { type: 'number' })).toEqual([])
    expect(differences({ type: 'number' }, { type: 'integer' })).toMatchObject([{ kind: 'type-narrowed' }])
    expect(differences({ type: 'string' }, { type: 'string', format: 'email' })).toMatchObject([
      { text: expect.stringContaining("'format'") },
    ])
    expect(differences({ type: 'object' }, { type: 'object', dependentRequired: { a: ['b'] } })).toHaveLength(1)
    expect(differences({ $ref: '#/$defs/gone' }, { type: 'string' })).not.toEqual([])
  })

  test('alternatives, told apart by a field', () => {
    const cash = z.object({ by: z.literal('cash') })
    const card = z.object({ by: z.literal('card'), number: z.string() })
    const payment = z.discriminatedUnion('by', [cash, card])
    expect(told(payment, payment)).toEqual([])
    expect(told(payment, z.discriminatedUnion('by', [card, cash, z.object({ by: z.literal('gift') })]))).toEqual(['compatible widened'])
    expect(told(payment, z.discriminatedUnion('by', [cash, card.extend({ number: z.string().min(12) })]))).toEqual([
      'breaking type-narrowed number',
    ])
    expect(told(payment, cash)).toEqual(['breaking value-removed by', 'breaking field-removed number'])
  })

  test('schemas that hold themselves', () => {
    const tree = (leaf: z.ZodType) => {
      const made: z.ZodType = z.object({
        leaf,
        get kids() {
          return z.array(made)
        },
      })
      return made
    }
    expect(told(tree(z.string()), tree(z.string()))).toEqual([])
    expect(told(tree(z.string()), tree(z.string().optional()))).toEqual(['compatible widened leaf'])
    expect(told(tree(z.string()), tree(z.string().max(5)))).toEqual(['breaking type-narrowed leaf'])
  })

  test('event types and versions', () => {
    const first = z.object({ a: z.string() })
    const second = z.object({ a: z.string(), b: z.string() })
    const lifted = event(first).next(second, old => ({ ...old, b: '' }))
    const all = (before: Record<string, Schema>, now: Record<string, Schema>) =>
      changes(before, now).map(({ level, kind, event, version }) => `${level} ${kind} ${event} ${version}`)
    expect(all({ A: first }, { A: lifted, B: first })).toEqual(['compatible version-added A 2', 'compatible event-added B 1'])
    expect(all({ A: first, B: first }, { B: first })).toEqual(['breaking event-removed A 1'])
    expect(all({ A: lifted }, { A: second })).toEqual(['breaking version-dropped A 2'])
    // The newer schema in place of the older one: its upcaster is missing.
    const [missing] = changes({ A: first }, { A: second })
    expect(missing).toMatchObject({
      kind: 'required-added',
      path: 'b',
      mend: expect.stringMatching(/lift its events: event\(released\)\.next/),
    })
    // The older one was changed, behind an upcaster that expects it.
    const [former] = changes({ A: first }, { A: event(z.object({ c: z.string() })).next(second, () => ({ a: '', b: '' })) })
    expect(former).toMatchObject({ version: 1, level: 'breaking', mend: expect.stringContaining('a former version as it was released') })
  })

  test('validators: what none says is not taken for well, and what is let through is told', () => {
    const closed = v.object({ a: v.string() })
    expect(told(closed, v.object({ a: v.number() }))).toEqual(['unknown no-json-schema'])
    expect(told(z.object({ a: z.string() }), closed)).toEqual(['breaking schema-lost'])
    expect(told(closed, z.object({ a: z.string() }))).toEqual(['unknown no-json-schema'])
    const moving = z.object({ a: z.string().transform(text => text.length) })
    expect(told(moving, moving)).toEqual(['unknown no-json-schema'])
    // arktype keeps what is not declared, so that such a field may have been stored.
    expect(told(type({ a: 'string' }), type({ a: 'string', 'b?': 'number' }))).toEqual([
      'unknown undeclared-kept b',
      'compatible widened b',
    ])
    expect(told(type({ a: 'string' }), type({ a: '"x" | "y"' }))).toEqual(['breaking type-narrowed a'])
  })
})

/** A validator, and values that often pass it. */
interface Made {
  readonly schema: z.ZodType
  readonly value: fc.Arbitrary<unknown>
}

const text = fc.stringMatching(/^[ab]{0,4}$/)
const limit = fc.option(fc.integer({ min: 0, max: 4 }), { nil: undefined })
const limits = fc.record({ min: limit, max: limit })

const strings = fc
  .record({ limits, pattern: fc.constantFrom(undefined, /^a/, /^[ab]*$/) })
  .map(({ limits: { min, max }, pattern }): Made => {
    let schema = z.string()
    if (min !== undefined) schema = schema.min(min)
    if (max !== undefined) schema = schema.max(max)
    if (pattern) schema = schema.regex(pattern)
    return { schema, value: text }
  })

const numbers = fc
  .record({
    int: fc.boolean(),
    by: fc.constantFrom('min', 'above', 'max', 'below', undefined),
    at: fc.integer({ min: 0, max: 4 }),
    step: fc.constantFrom(undefined, undefined, 1, 2, 4),
  })
  .map(({ int, by, at, step }): Made => {
    let schema: z.ZodNumber = int ? z.int() : z.number()
    if (by === 'min') schema = schema.min(at)
    if (by === 'above') schema = schema.gt(at)
    if (by === 'max') schema = schema.max(at)
    if (by === 'below') schema = schema.lt(at)
    if (step !== undefined) schema = schema.multipleOf(step)
    return { schema, value: fc.oneof(fc.integer({ min: -1, max: 6 }), fc.constantFrom(0.5, 2.5, -0.5)) }
  })

const literals = fc.subarray(['a', 'b', 'aa', 1, 2, true, false, null] as const, { minLength: 1 }).map(
  (values): Made => ({
    schema: z.literal([...values]),
    value: fc.constantFrom(...values),
  }),
)

const flat = fc.constantFrom<Made>(
  { schema: z.boolean(), value: fc.boolean() },
  { schema: z.null(), value: fc.constant(null) },
  { schema: z.unknown(), value: fc.oneof(text, fc.integer(), fc.constant(null)) },
)

const lists = (item: Made) =>
  limits.map(({ min, max }): Made => {
    let schema = z.array(item.schema)
    if (min !== undefined) schema = schema.min(min)
    if (max !== undefined) schema = schema.max(max)
    return { schema, value: fc.array(item.value, { maxLength: 4 }) }
  })

/** Some of the parts at the places in front, or none: then all are alike. */
const tuples = ([one, other]: readonly Made[]) =>
  fc.record({ places: fc.integer({ min: 1, max: 2 }), rest: fc.constantFrom(undefined, one, other) }).map(({ places, rest }): Made => {
    const items = [one!, other!].slice(0, places)
    const schemas = items.map(({ schema }) => schema) as [z.ZodType]
    const tail = rest ? fc.array(rest.value, { maxLength: 2 }) : fc.constant([])
    return {
      schema: rest ? z.tuple(schemas, rest.schema) : z.tuple(schemas),
      value: fc.tuple(fc.tuple(...items.map(({ value }) => value)), tail).map(([head, end]) => [...head, ...end]),
    }
  })

/** Some of the parts as its fields; the last is what others may be. */
const objects = (parts: readonly Made[]) =>
  fc
    .record({
      fields: fc.subarray(['a', 'b'] as const),
      optional: fc.subarray(['a', 'b'] as const),
      how: fc.constantFrom('strict', 'strict', 'loose', 'other'),
    })
    .map(({ fields, optional, how }): Made => {
      const of = (name: 'a' | 'b') => parts[name === 'a' ? 0 : 1]!
      const shape = Object.fromEntries(fields.map(name => [name, optional.includes(name) ? of(name).schema.optional() : of(name).schema]))
      const known = fc.record(Object.fromEntries(fields.map(name => [name, of(name).value])), {
        requiredKeys: fields.filter(name => !optional.includes(name)),
      })
      if (how === 'strict') return { schema: z.strictObject(shape), value: known }
      const other = parts.at(-1)!
      const more = fc.dictionary(fc.constantFrom('a', 'b', 'c'), other.value, { maxKeys: 2 })
      return {
        schema: how === 'loose' ? z.looseObject(shape) : z.strictObject(shape).catchall(other.schema),
        value: fc.tuple(more, known).map(([others, declared]) => ({ ...others, ...declared })),
      }
    })

const dictionaries = (part: Made) =>
  fc.constantFrom(undefined, /^[ab]$/, /^c/).map(
    (pattern): Made => ({
      schema: z.record(pattern ? z.string().regex(pattern) : z.string(), part.schema),
      value: fc.dictionary(fc.constantFrom('a', 'b', 'c'), part.value, { maxKeys: 2 }),
    }),
  )

const unions = (parts: readonly Made[]) =>
  fc.subarray([...parts], { minLength: 1 }).map(
    (some): Made => ({
      schema: z.union(some.map(({ schema }) => schema)),
      value: fc.oneof(...some.map(({ value }) => value)),
    }),
  )

const kinds = (parts: readonly Made[]) =>
  fc.subarray(['x', 'y', 'z'] as const, { minLength: 2 }).map(
    (some): Made => ({
      schema: z.discriminatedUnion(
        'kind',
        some.map((kind, n) => z.strictObject({ kind: z.literal(kind), of: parts[n % parts.length]!.schema })) as never,
      ),
      value: fc.oneof(...some.map((kind, n) => parts[n % parts.length]!.value.map(of => ({ kind, of })))),
    }),
  )

const composed: readonly ((parts: readonly Made[]) => fc.Arbitrary<Made>)[] = [
  ([part]) => lists(part!),
  tuples,
  objects,
  ([part]) => dictionaries(part!),
  unions,
  kinds,
]

const leaf = fc.oneof(strings, numbers, literals, flat)
const { made } = fc.letrec<{ made: Made }>(tie => ({
  made: fc.oneof(
    { depthSize: 'small', maxDepth: 3 },
    leaf,
    ...composed.map(compose => fc.array(tie('made'), { minLength: 3, maxLength: 3 }).chain(compose)),
  ),
}))
const parts = fc.array(made, { minLength: 3, maxLength: 3 })

type Pair = readonly [old: Made, now: Made]

/** Two of one kind, of the same parts; as they are, or inside of something. */
const near: fc.Arbitrary<Pair> = fc
  .oneof(
    ...[strings, numbers, literals].map(kind => fc.tuple(kind, kind)),
    ...composed.map(compose => parts.chain(all => fc.tuple(compose(all), compose(all)))),
    fc.tuple(made, made),
  )
  .chain(([old, now]) =>
    fc.constantFrom<Pair>(
      [old, now],
      [
        { schema: z.array(old.schema), value: fc.array(old.value, { maxLength: 2 }) },
        { schema: z.array(now.schema), value: now.value },
      ],
      [
        { schema: z.strictObject({ a: old.schema }), value: old.value.map(a => ({ a })) },
        { schema: z.strictObject({ a: now.schema.optional() }), value: now.value },
      ],
      [old, { schema: z.union([z.literal('b'), now.schema]), value: now.value }],
    ),
  )

describe('whatever the released schema accepts', () => {
  test('is accepted by the new one, or the difference is reported', () => {
    let silent = 0
    let looked = 0
    fc.assert(
      fc.property(
        near.chain(([old, now]) => fc.tuple(fc.constant([old, now] as const), fc.array(old.value, { minLength: 8, maxLength: 8 }))),
        ([[old, now], values]) => {
          if (differences(json(old.schema), json(now.schema)).length > 0) return
          silent++
          for (const value of values) {
            if (!old.schema.safeParse(value).success) continue
            looked++
            expect(now.schema.safeParse(value), JSON.stringify(value)).toMatchObject({ success: true })
          }
        },
      ),
      { numRuns: 1_000 },
    )
    // It says something often enough, and of values that count.
    expect(silent).toBeGreaterThan(200)
    expect(looked).toBeGreaterThan(300)
  })

  test('is accepted without a word by a schema that only takes more', () => {
    const wider: ((one: z.ZodType, other: z.ZodType) => [z.ZodType, z.ZodType])[] = [
      one => [one, one],
      (one, other) => [one, z.union([one, other])],
      (one, other) => [one, z.union([other, one])],
      one => [one, z.unknown()],
      one => [z.array(one), z.array(one.nullable())],
      one => [z.array(one).max(2), z.array(one).max(3)],
      (one, other) => [z.strictObject({ a: one }), z.strictObject({ a: one.optional(), b: other.optional() })],
      one => [z.strictObject({ a: one }), z.looseObject({ a: one })],
      one => [z.tuple([one, one]), z.array(one)],
      one => [z.strictObject({ a: one }), z.record(z.string(), one)],
    ]
    fc.assert(
      fc.property(made, made, fc.constantFrom(...wider), (one, other, how) => {
        const [old, now] = how(one.schema, other.schema)
        expect(differences(json(old), json(now))).toEqual([])
      }),
      { numRuns: 300 },
    )
  })
})
