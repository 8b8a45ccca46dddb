/**
 * `POST /queries/NAME` with the input as body, and `GET /queries/NAME` with the input in the query string: as JSON, `?input={"id":"A1"}`, or as
 * plain parameters, `?id=A1`. A plain parameter is text; where the schema refuses the text of one that is written like a number, or is true or
 * false, it is taken for that. One that comes several times is a list.
 */
import { definitionOf, known } from '../app.ts'
import { EngineError } from '../errors.ts'
import { type Answer, type Call, deadlineOf, json, parsed, preferences, readJson, readLevel, tenantOf } from './call.ts'
import type { Service } from './service.ts'

/** What is asked, by who may ask it. */
export interface Asked {
  readonly tenant: string
  readonly input: unknown
}

/** @throws Problem, EngineError */
export async function query(service: Service, call: Call): Promise<Answer> {
  const { tenant, input } = await asked(service, call)
  const preferred = preferences(call.header('prefer'))
  const read = readLevel(preferred, call.header('mainstem-token'))
  const timeout = deadlineOf(preferred, service)
  // Who waits can go away meanwhile.
  const waits = read === 'local' ? {} : { signal: call.signal() }
  const { answer, token } = await service.ready().ask(call.name, input, { tenant, read, timeout, ...waits })
  const applied = read === preferred.read ? { 'preference-applied': `read=${read}` } : {}
  return json(answer, { 'mainstem-token': token, ...applied })
}

/** @throws Problem, EngineError unknown-query */
export async function asked(service: Service, call: Call): Promise<Asked> {
  const { name } = call
  const tenant = tenantOf(call)
  const principal = service.access ? await service.authenticate(call.request(), tenant) : undefined
  const { queries } = definitionOf(service.app)
  if (!queries.has(name)) throw new EngineError('unknown-query', `there is no query of this name. ${known(name, queries.keys())}`)
  const input = call.method === 'POST' ? await readJson(call, service) : inputOf(service, name, call.parameters())
  if (principal) await service.authorize(principal, { kind: 'query', name }, input, tenant)
  return { tenant, input }
}

/** @throws Problem malformed */
function inputOf({ app }: Service, name: string, parameters: URLSearchParams): unknown {
  const schema = definitionOf(app).queries.get(name)?.input
  const given = parameters.getAll('input')
  const keys = new Set(parameters.keys())
  if (given.length === 1 && keys.size === 1 && !hasOwnInput(schema, given[0]!)) return parsed(given[0]!, 'the parameter input')
  if (schema === undefined && keys.size === 0) return undefined
  const text: Record<string, unknown> = Object.create(null)
  for (const key of keys) {
    const values = parameters.getAll(key)
    text[key] = values.length === 1 ? values[0] : values
  }
  const plain = { ...text }
  const checked = schema?.['~standard'].validate(plain)
  if (!checked || checked instanceof Promise || !checked.issues) return plain
  for (const { path } of checked.issues) {
    const step = path?.[0]
    const key = typeof step === 'object' ? step.key : step
    if (typeof key === 'string' && key in text) plain[key] = literal(text[key])
  }
  return plain
}

/** Whether the query's own input has a member `input`, and this is one. */
function hasOwnInput(schema: { readonly '~standard': { validate(value: unknown): unknown } } | undefined, text: string): boolean {
  const checked = schema?.['~standard'].validate({ input: text }) as { issues?: unknown; value?: unknown } | undefined
  return checked !== undefined && 'value' in checked && !checked.issues && Object.hasOwn(Object(checked.value), 'input')
}

function literal(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(literal)
  if (value === 'true' || value === 'false') return value === 'true'
  return typeof value === 'string' && /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(value) ? Number(value) : value
}
