/** What stands at which path. Everything that belongs to a tenant stands below `/tenants/NAME`, too. */
import { type Context, Hono } from 'hono'
import type { Principal } from './access.ts'
import { type Answer, answered, type Call, json, textOf } from './call.ts'
import { command } from './commands.ts'
import { events } from './events.ts'
import { openapi } from './openapi.ts'
import { at } from './past.ts'
import { Problem } from './problem.ts'
import { query } from './queries.ts'
import type { Service } from './service.ts'

export function routes(service: Service): Hono {
  const serve = (c: Context, route: string, respond: (call: Call) => Promise<Answer | Response>) => served(service, c, route, respond)
  const ofTenant = new Hono()
    .post('/commands/:name', c => serve(c, 'commands', call => command(service, call)))
    .on(['GET', 'POST'], '/queries/:name', c => serve(c, 'queries', call => query(service, call)))
    .get('/at/:when/queries/:name', c => serve(c, 'at', call => at(service, { ...call, when: c.req.param('when') })))
    .get('/events', c => serve(c, 'events', call => events(service, call)))
    .all('/commands/:name', () => not('POST'))
    .all('/queries/:name', () => not('GET, HEAD, POST'))
    .all('/at/:when/queries/:name', () => not('GET, HEAD'))
    .all('/events', () => not('GET'))
  const app = new Hono()
    .get('/livez', c => serve(c, 'livez', async () => live(service)))
    .get('/readyz', c => serve(c, 'readyz', async () => ready(service)))
    .get('/status', c => serve(c, 'status', call => status(service, call)))
    .get('/metrics', c => serve(c, 'metrics', call => metrics(service, call)))
    .get('/openapi.json', c => serve(c, 'openapi.json', call => description(service, call)))
    .route('/', ofTenant)
    .route('/tenants/:tenant', ofTenant)
  for (const path of ['/livez', '/readyz', '/status', '/metrics', '/openapi.json']) app.all(path, () => not('GET, HEAD'))
  app.notFound(() => new Problem('not-found').toResponse())
  app.onError(error => Problem.of(error).toResponse())
  return app
}

/** How load balancers hear of this replica is not to depend on how much waits. */
const free: ReadonlySet<string> = new Set(['livez', 'readyz', 'metrics'])

async function served(service: Service, c: Context, route: string, respond: (call: Call) => Promise<Answer | Response>): Promise<Response> {
  const answer = await answered(service, route, free.has(route), () => respond(callOf(c)))
  return answer instanceof Response ? answer : new Response(answer.body, { status: answer.status, headers: answer.headers })
}

const callOf = ({ req }: Context): Call => ({
  method: req.method,
  name: req.param('name') ?? '',
  pathTenant: req.param('tenant'),
  header: name => req.header(name),
  parameters: () => new URL(req.url).searchParams,
  body: service => textOf(req.raw, service),
  signal: () => req.raw.signal,
  request: () => req.raw,
})

/** A replica that can write no more must be started anew. */
function live({ replica }: Service): Answer {
  return replica?.readiness().reasons.includes('failed') ? { ...json({ status: 'failed' }), status: 503 } : json({ status: 'live' })
}

function ready(service: Service): Answer {
  const reasons = service.reasons()
  if (reasons.length === 0) return json({ status: 'ready' })
  return { ...json({ status: 'not-ready', reasons }, { 'retry-after': '1' }), status: 503 }
}

async function status(service: Service, call: Call): Promise<Answer> {
  await operated(service, call, 'status')
  return json(await service.ready().status())
}

async function metrics(service: Service, call: Call): Promise<Answer> {
  await operated(service, call, 'metrics')
  return { status: 200, headers: { 'content-type': service.metrics.type }, body: await service.metricsText() }
}

async function description(service: Service, call: Call): Promise<Answer> {
  await admitted(service, call, 'openapi.json')
  return json(openapi(service.app, { access: service.access !== undefined }))
}

/** They tell of all tenants, and of machines. @throws Problem forbidden for who has only some tenants */
async function operated(service: Service, call: Call, name: string): Promise<void> {
  const principal = await admitted(service, call, name)
  if (principal && principal.tenants !== '*')
    throw new Problem('forbidden', { detail: 'this tells of all tenants, and the principal has only some' })
}

async function admitted(service: Service, call: Call, name: string): Promise<Principal | undefined> {
  const principal = await service.authenticate(call.request(), undefined)
  await service.authorize(principal, { kind: 'status', name }, undefined, undefined)
  return principal
}

function not(allow: string): Response {
  return new Problem('method-not-allowed', { detail: `it takes ${allow}`, headers: { allow } }).toResponse()
}
