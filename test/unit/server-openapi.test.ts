/** The document that says what the server takes: valid for every app, and true to the schemas of the app. */
import { Validator } from '@seriousme/openapi-schema-validator'
import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import bank from '../../examples/bank/app.ts'
import seats from '../../examples/seats.ts'
import readme from '../../examples/seats-readme.ts'
import warehouse from '../../examples/warehouse.ts'
import { type App, app, openReplica, sqlite } from '../../src/index.ts'
import { type Action, handler, type Principal } from '../../src/server.ts'
import { openapi } from '../../src/server/openapi.ts'

type Tree = { [name: string]: Tree } & readonly unknown[]
const tree = (app: App, access = false): Tree => openapi(app, { access }) as unknown as Tree

const part = z.object({
  name: z.string(),
  default: z.string().default('#'),
  get enum() {
    return part.optional()
  },
  get parts() {
    return z.array(part)
  },
})
const odd = app('odd', {
  events: { Made: z.object({ kind: z.literal('#'), part }), Dated: z.object({ at: z.string() }) },
  database: sqlite('CREATE TABLE t (a TEXT) STRICT'),
  project: { Made: () => {}, Dated: () => {} },
  commands: {
    none: { decide: () => [] },
    'with.dots-and_more': { input: part, decide: () => [] },
    ark: { input: type({ a: 'string', 'b?': 'number.integer' }), decide: () => [] },
    valibot: { input: v.object({ a: v.string() }), decide: () => [] },
    date: { input: z.object({ at: z.date() }), decide: () => [] },
    parsed: { input: z.object({ count: z.string().transform(Number) }), decide: () => [] },
  },
  queries: { all: { run: () => [] }, some: { input: z.object({ a: z.string() }), run: () => [] } },
})

/** One that has compiled what documents are held against. */
const validator = new Validator()
const apps: [string, App][] = Object.entries({ bank, seats, readme, warehouse, odd })

describe.each(apps)('of %s', (_, app) => {
  test.each([false, true])('it is a valid OpenAPI 3.1 document, with access %s', async access => {
    const document = openapi(app, { access })
    expect(await validator.validate(structuredClone(document))).toEqual({ valid: true })
    expect(document['openapi']).toBe('3.1.0')
    // The validator does not ask whether that is there which is referred to.
    for (const target of references(document)) expect(at(document, target), target).toBeDefined()
    const ids = [...JSON.stringify(document).matchAll(/"operationId":"([^"]+)"/g)].map(([, id]) => id)
    expect(new Set(ids).size).toBe(ids.length)
  })
})

test('a document that is not valid is found to be so', async () => {
  const document = openapi(seats, { access: false })
  expect(await validator.validate({ ...document, paths: { 'no-slash': {} } })).toMatchObject({ valid: false })
  expect(at(document, '#/components/schemas/none')).toBeUndefined()
})

test('inputs are told as the app checks them', () => {
  const { schemas } = tree(odd)['components']!
  expect(tree(seats)['components']!['schemas']!['command.reserve']).toMatchObject({
    properties: { seat: { type: 'string', minLength: 1, maxLength: 20 } },
    required: ['seat', 'guest'],
  })
  expect(schemas!['command.ark']).toMatchObject({ properties: { a: { type: 'string' }, b: { type: 'integer' } }, required: ['a'] })
  expect(schemas!['command.parsed']).toMatchObject({ properties: { count: { type: 'string' } } })
  // Those that cannot be told are open.
  expect(schemas!['command.valibot']).toEqual({})
  expect(schemas!['command.date']).toEqual({})
  expect(schemas!['command.none']).toBeUndefined()
})

test('what refers to itself does so where it stands, and values are left alone', () => {
  const { schemas } = tree(odd)['components']!
  const own = schemas!['command.with.dots-and_more']!
  expect(own['properties']!['parts']!['items']).toEqual({ $ref: '#/components/schemas/command.with.dots-and_more' })
  expect(own['properties']!['enum']).toEqual(own['properties']!['parts']!['items'])
  expect(own['properties']!['default']!['default']).toBe('#')
  expect(schemas!['event.Made']!['properties']!['data']!['properties']!['kind']!['const']).toBe('#')
})

test('it is answered to whom the policy shows it', async () => {
  const replica = await openReplica(seats, { log: 'memory:' })
  onTestFinished(() => replica.close())
  const open = handler(replica)
  const answer = await open(new Request('http://seats/openapi.json'))
  expect(answer.headers.get('content-type')).toBe('application/json')
  expect(await answer.json()).toEqual(openapi(seats, { access: false }))
  const access = {
    authenticate: async ({ headers }: Request) => ({ name: headers.get('authorization') ?? '', tenants: [] }),
    policy: ({ name }: Principal, { kind }: Action) => kind === 'status' && name === 'Bearer ann',
  }
  const guarded = handler(replica, { access })
  const ask = (token: string) => guarded(new Request('http://seats/openapi.json', { headers: { authorization: `Bearer ${token}` } }))
  expect((await ask('ben')).status).toBe(403)
  expect(await (await ask('ann')).json()).toEqual(openapi(seats, { access: true }))
})

test('a token is wanted where access is on, but for who looks whether it lives', () => {
  const document = tree(seats, true)
  expect(document['security']).toEqual([{ bearer: [] }])
  expect(document['paths']!['/commands/reserve']!['post']!['responses']).toHaveProperty('401')
  for (const path of ['/livez', '/readyz']) expect(document['paths']![path]!['get']!['security']).toEqual([])
  expect(tree(seats)['security']).toEqual([])
  expect(JSON.stringify(tree(seats))).not.toContain('bearer')
})

function references(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(references)
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, member]) => (key === '$ref' && typeof member === 'string' ? [member] : references(member)))
}

function at(document: unknown, reference: string): unknown {
  return reference
    .slice(2)
    .split('/')
    .reduce<unknown>((place, key) => (place as Record<string, unknown> | undefined)?.[key], document)
}
