/** What stands at which path. Everything that belongs to a tenant stands below `/tenants/NAME`, too. */
import { type Context, Hono } from 'hono'
import type { Answer, Call } from './call.ts'
import { textOf } from './call.ts'
import { command } from './commands.ts'
import { openapi } from './openapi.ts'
import { Problem } from './problem.ts'
import type { Service } from './service.ts'

export function routes(service: Service): Hono {
  const tenants = new Hono().post('/commands/:name', c => answered(service, c, command)).all('/commands/:name', () => not('POST'))
  let document: string | undefined
  const app = new Hono()
    .get('/openapi.json', async ({ req, body }) => {
      const principal = await service.authenticate(req.raw, undefined)
      await service.authorize(principal, { kind: 'status', name: 'openapi.json' }, undefined, undefined)
      document ??= JSON.stringify(openapi(service.app, { access: service.access !== undefined }))
      return body(document, 200, { 'content-type': 'application/json' })
    })
    .get('/livez', c => c.json({ status: 'live' }))
    .get('/readyz', c => {
      const { reason } = service
      return reason ? c.json({ status: 'not-ready', reasons: [reason] }, 503, { 'retry-after': '1' }) : c.json({ status: 'ready' })
    })
    .route('/', tenants)
    .route('/tenants/:tenant', tenants)
  app.notFound(() => new Problem('not-found').toResponse())
  app.onError(error => Problem.of(error).toResponse())
  return app
}

type Route = (service: Service, call: Call) => Promise<Answer>

async function answered(service: Service, c: Context, route: Route): Promise<Response> {
  service.enter()
  try {
    const { status, headers, body } = await route(service, callOf(c))
    return new Response(body, { status, headers })
  } finally {
    service.leave()
  }
}

const callOf = ({ req }: Context): Call => ({
  name: req.param('name') ?? '',
  pathTenant: req.param('tenant'),
  header: name => req.header(name),
  body: limit => textOf(req.raw, limit),
  request: () => req.raw,
})

function not(allow: string): Response {
  return new Problem('method-not-allowed', { detail: `it takes ${allow}`, headers: { allow } }).toResponse()
}
