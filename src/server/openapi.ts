/**
 * What the server takes and answers, as an OpenAPI 3.1 document, made from the app. Inputs and events are told by their own schemas where the
 * validator can tell them as JSON Schema (zod and arktype do, by Standard JSON Schema); where it cannot, anything is said to be legal, and
 * the server refuses what is not.
 */
import type { StandardJSONSchemaV1 } from '@standard-schema/spec'
import { type App, definitionOf, type Schema } from '../app.ts'
import { ownProblems, type ProblemCode, statusOf } from './problem.ts'

type Json = Record<string, unknown>

export interface OpenApiOptions {
  /** Whether a token is wanted. */
  readonly access: boolean
  /** Of the running code; the app's revision if left out. */
  readonly release?: string
}

const BASE = '#/components/'
const ref = (kind: 'schemas' | 'responses' | 'headers' | 'parameters', name: string): Json => ({ $ref: `${BASE}${kind}/${name}` })
const json = (schema: unknown): Json => ({ 'application/json': { schema } })

export function openapi(app: App, { access, release }: OpenApiOptions): Json {
  const { name, revision, commands, queries, events } = definitionOf(app)
  const schemas: Json = { Problem: problem, Replica: { type: 'object', additionalProperties: true } }
  const paths: Json = {}
  /** What is refused to whom, beside what a route refuses on its own. */
  const guarded = access ? [401, 403] : []

  for (const event of events.values())
    schemas[`event.${event.type}`] = {
      type: 'object',
      properties: { type: { const: event.type }, data: told(event.schema, 'output', `${BASE}schemas/event.${event.type}/properties/data`) },
      required: ['type', 'data'],
    }
  schemas['Event'] = { oneOf: [...events.keys()].map(type => ref('schemas', `event.${type}`)) }
  schemas['Accepted'] = accepted

  for (const command of commands.values()) {
    if (command.input) schemas[`command.${command.name}`] = told(command.input, 'input', `${BASE}schemas/command.${command.name}`)
    paths[`/commands/${command.name}`] = {
      post: {
        operationId: `command.${command.name}`,
        tags: ['commands'],
        parameters: [ref('parameters', 'Idempotency-Key'), ref('parameters', 'Mainstem-Tenant'), ref('parameters', 'Prefer-Wait')],
        ...bodyOf(command.input, `command.${command.name}`),
        responses: {
          200: { description: 'accepted, now or before', headers: tokenHeader, content: json(ref('schemas', 'Accepted')) },
          ...refusals(400, ...guarded, 404, 408, 409, 410, 413, 415, 422, 500, 503, 504),
        },
      },
    }
  }

  for (const query of queries.values()) {
    if (query.input) schemas[`query.${query.name}`] = told(query.input, 'input', `${BASE}schemas/query.${query.name}`)
    const reading = [ref('parameters', 'Mainstem-Tenant')]
    const levels = [ref('parameters', 'Mainstem-Token'), ref('parameters', 'Prefer')]
    const responses = {
      200: { description: 'the answer', headers: tokenHeader, content: json({}) },
      ...refusals(400, ...guarded, 404, 408, 413, 415, 422, 500, 503, 504),
    }
    const inUrl = query.input ? [{ name: 'input', in: 'query', content: json(ref('schemas', `query.${query.name}`)) }] : []
    paths[`/queries/${query.name}`] = {
      get: { operationId: `query.${query.name}`, tags: ['queries'], parameters: [...reading, ...levels, ...inUrl], responses },
      post: {
        operationId: `query.${query.name}.post`,
        tags: ['queries'],
        parameters: [...reading, ...levels],
        ...bodyOf(query.input, `query.${query.name}`),
        responses,
      },
    }
    paths[`/at/{when}/queries/${query.name}`] = {
      get: { operationId: `at.${query.name}`, tags: ['queries'], parameters: [ref('parameters', 'when'), ...reading, ...inUrl], responses },
    }
  }

  paths['/events'] = {
    get: {
      operationId: 'events',
      tags: ['events'],
      summary: 'Events as they are accepted, as Server-Sent Events: `id` is the version, `event` the type, `data` the event in JSON.',
      parameters: [
        ref('parameters', 'Mainstem-Tenant'),
        ref('parameters', 'Last-Event-ID'),
        { name: 'from', in: 'query', description: 'the first version wanted', schema: { type: 'integer', minimum: 1 } },
        list('type', 'only events of these types', { enum: [...events.keys()] }),
        list('tag', 'only events that write one of these tags', { minLength: 1, maxLength: 256 }),
      ],
      responses: {
        200: { description: 'a stream without an end', content: { 'text/event-stream': { schema: { type: 'string' } } } },
        ...refusals(400, ...guarded, 404, 408, 422, 500, 503, 504),
      },
    },
  }
  const operation = (id: string, description: string, content: Json, ...others: number[]): Json => ({
    // These belong to no tenant.
    servers: [{ url: '/' }],
    get: { operationId: id, tags: ['operation'], responses: { 200: { description, content }, ...refusals(...others) } },
  })
  const open = (id: string, description: string, content: Json, ...others: number[]): Json => {
    const path = operation(id, description, content, ...others)
    return { ...path, get: { ...(path['get'] as Json), security: [] } }
  }
  paths['/livez'] = open('livez', 'the process lives', json({ type: 'object' }))
  paths['/readyz'] = {
    ...open('readyz', 'it takes requests', json({ type: 'object' })),
  }
  ;((paths['/readyz'] as Json)['get'] as { responses: Json }).responses['503'] = {
    description: 'it is not ready, and why',
    content: json({ type: 'object' }),
  }
  paths['/openapi.json'] = operation('openapi', 'this document', json({ type: 'object' }), ...guarded)
  paths['/status'] = operation('status', 'how the replica is doing', json(ref('schemas', 'Replica')), ...guarded, 503)
  paths['/metrics'] = operation('metrics', 'figures for Prometheus', { 'text/plain': { schema: { type: 'string' } } }, ...guarded)

  return {
    openapi: '3.1.0',
    info: {
      title: name,
      version: release ?? revision.slice(0, 12),
      description: `The app ${name}, served by Mainstem. Everything that belongs to a tenant stands below /tenants/NAME, too.`,
      license: { name: 'as the app says', url: 'about:blank' },
    },
    servers: [{ url: '/' }, { url: '/tenants/{tenant}', variables: { tenant: { default: 'default' } } }],
    tags: ['commands', 'queries', 'events', 'operation'].map(tag => ({ name: tag })),
    security: access ? [{ bearer: [] }] : [],
    paths,
    components: {
      schemas,
      parameters,
      responses: responses(),
      headers: { 'Mainstem-Token': { description: tokenMeaning, schema: { type: 'string' } } },
      securitySchemes: access ? { bearer: { type: 'http', scheme: 'bearer', description: 'a static token or a JWT' } } : {},
    },
  }
}

// --- Parts that all apps share ----------------------------------------------------------------------------------------------------

const tokenMeaning = 'what a later request sends back to see at least this, on any replica'
const tokenHeader = { 'Mainstem-Token': ref('headers', 'Mainstem-Token') }
const header = (name: string, description: string, schema: Json): Json => ({ name, in: 'header', description, schema })
const list = (name: string, description: string, items: Json): Json => ({
  name,
  in: 'query',
  description,
  schema: { type: 'array', items: { type: 'string', ...items } },
})

const parameters: Json = {
  'Idempotency-Key': header('Idempotency-Key', 'the command id: the same one wins once, and is answered the same again', {
    type: 'string',
    pattern: '^[!-~]{1,128}$',
  }),
  'Mainstem-Tenant': header('Mainstem-Tenant', 'the tenant; left out: default', {
    type: 'string',
    pattern: '^[a-z0-9][a-z0-9._-]{0,63}$',
  }),
  'Mainstem-Token': header('Mainstem-Token', `of an earlier answer: ${tokenMeaning}`, { type: 'string' }),
  'Prefer-Wait': header('Prefer', 'wait=SECONDS: how long it may take', { type: 'string', examples: ['wait=2'] }),
  Prefer: header('Prefer', 'read=linearizable: all that was acknowledged before; wait=SECONDS: how long it may take', {
    type: 'string',
    examples: ['read=linearizable', 'wait=2'],
  }),
  'Last-Event-ID': header('Last-Event-ID', 'the version of the last event that was seen: what comes behind it is wanted', {
    type: 'string',
    pattern: '^[0-9]{1,15}$',
  }),
  when: {
    name: 'when',
    in: 'path',
    required: true,
    description: 'a version, or a time',
    schema: {
      oneOf: [
        { type: 'integer', minimum: 0 },
        { type: 'string', format: 'date-time' },
      ],
    },
  },
}

const accepted: Json = {
  type: 'object',
  properties: {
    status: { const: 'accepted' },
    version: { type: 'integer', description: "the tenant's version after its events" },
    token: { type: 'string', description: tokenMeaning },
    events: { type: 'array', items: ref('schemas', 'Event') },
    result: { description: 'what the command hands to its caller; left out if nothing' },
    duplicate: { type: 'boolean', description: 'the command id had won before; this is that answer' },
  },
  required: ['status', 'version', 'token', 'events', 'duplicate'],
}

/** RFC 9457. */
const problem: Json = {
  type: 'object',
  properties: {
    type: { type: 'string', format: 'uri' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string' },
    detail: { type: 'string' },
    retry: { enum: ['no', 'safe', 'unknown'], description: 'whether to repeat the request; safe: with the same Idempotency-Key' },
    id: { type: 'string', description: 'the command id to repeat it with' },
  },
  required: ['type', 'title', 'status', 'code', 'retry'],
}

const kinds: readonly (readonly [code: ProblemCode, status: number])[] = [
  ...Object.entries(ownProblems).map(([code, { status }]) => [code as ProblemCode, status] as const),
  ...Object.entries(statusOf).map(([code, status]) => [code as ProblemCode, status] as const),
]
const statuses = [...new Set(kinds.map(([, status]) => status))]

const refusals = (...given: number[]): Json =>
  Object.fromEntries(given.filter(status => statuses.includes(status)).map(status => [status, ref('responses', `${status}`)]))

function responses(): Json {
  return Object.fromEntries(
    statuses.map(status => {
      const codes = kinds.filter(([, other]) => other === status).map(([code]) => code)
      const schema = { allOf: [ref('schemas', 'Problem'), { properties: { status: { const: status }, code: { enum: codes } } }] }
      return [status, { description: codes.join(', '), ...headersOf(status), content: { 'application/problem+json': { schema } } }]
    }),
  )
}

function headersOf(status: number): Json {
  if (status === 401) return { headers: { 'WWW-Authenticate': { schema: { type: 'string' } } } }
  if (status === 503) return { headers: { 'Retry-After': { description: 'seconds', schema: { type: 'integer', minimum: 1 } } } }
  return {}
}

function bodyOf(schema: Schema | undefined, name: string): Json {
  return schema ? { requestBody: { required: true, content: json(ref('schemas', name)) } } : {}
}

// --- Schemas of the app -------------------------------------------------------------------------------------------------------------

/** @param place where it will stand: what refers to its root refers to there */
function told(schema: Schema, side: 'input' | 'output', place: string): Json {
  try {
    const { jsonSchema } = schema['~standard'] as Partial<StandardJSONSchemaV1.Props>
    const { $schema: _, ...made } = jsonSchema?.[side]({ target: 'draft-2020-12' }) ?? {}
    return moved(made, place) as Json
  } catch {
    // It holds something that JSON Schema has no words for.
    return {}
  }
}

/** What stands below is values, not schemas: what looks like a reference there is none. */
const ofValues = new Set(['const', 'enum', 'default', 'examples'])
/** What stands below has names of the app's as its keys. */
const ofNames = new Set(['properties', 'patternProperties', '$defs', 'dependentSchemas'])

/** Lets what refers to the root of a schema, or to what stands below it, refer to `place`. */
function moved(value: unknown, place: string, named = false): unknown {
  if (Array.isArray(value)) return value.map(item => moved(item, place))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => {
      if (!named && ofValues.has(key)) return [key, member]
      if (!named && key === '$ref' && typeof member === 'string' && member.startsWith('#')) return [key, `${place}${member.slice(1)}`]
      return [key, moved(member, place, !named && ofNames.has(key))]
    }),
  )
}
