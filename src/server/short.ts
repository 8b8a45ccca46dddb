/**
 * The short way of commands and queries from node:http to their functions, without a `Request` and a `Response`, which take longer to make than
 * most commands to decide. It takes only what is written plainly, with a body whose length is told and allowed; all else goes the long way.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Answer, answered, type Call, decoded } from './call.ts'
import { command } from './commands.ts'
import { Problem } from './problem.ts'
import { query } from './queries.ts'
import type { Service } from './service.ts'

const plain = /^(?:\/tenants\/([a-z0-9][a-z0-9._-]*))?\/(commands|queries)\/([A-Za-z][\w.-]*)(?:\?([^#]*))?$/

/** @returns false: it goes the long way */
export function short(service: Service, request: IncomingMessage, response: ServerResponse): boolean {
  const { method, headers } = request
  const [, tenant, route, name, search = ''] = plain.exec(request.url ?? '') ?? []
  if (name === undefined || (method !== 'POST' && !(method === 'GET' && route === 'queries'))) return false
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > service.limits.maxBody) return false
  const call = callOf(request, response, method, name, tenant, search)
  const respond = route === 'commands' ? command : query
  answered(service, route!, false, () => respond(service, call)).then(
    answer => send(response, answer),
    // What cannot be sent: the connection says that something is wrong.
    () => response.destroy(),
  )
  return true
}

export function send(response: ServerResponse, { status, headers, body }: Answer): void {
  // As text it goes out in one piece with its head.
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) }).end(body)
}

const callOf = (
  request: IncomingMessage,
  response: ServerResponse,
  method: string,
  name: string,
  pathTenant: string | undefined,
  search: string,
): Call => ({
  method,
  name,
  pathTenant,
  header: header => request.headers[header] as string | undefined,
  parameters: () => new URLSearchParams(search),
  body: service => bodyOf(request, service),
  signal() {
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    return gone.signal
  },
  request() {
    const headers = Object.entries(request.headers).map(([key, value]): [string, string] => [key, String(value)])
    return new Request(`http://${request.headers.host ?? 'localhost'}${request.url}`, { method, headers })
  },
})

/** Its length was told and looked at, and node:http holds it to that. @throws Problem malformed, overloaded */
async function bodyOf(request: IncomingMessage, service: Service): Promise<string> {
  const bytes = await bytesOf(request, service)
  return bytes ? decoded(bytes) : ''
}

function bytesOf(request: IncomingMessage, service: Service): Promise<Buffer | undefined> {
  return new Promise((done, fail) => {
    let parts: Buffer[] | undefined
    let only: Buffer | undefined
    let held = 0
    let refused = false
    const release = () => {
      service.hold(-held)
      held = 0
    }
    request.on('data', (part: Buffer) => {
      if (refused) return
      try {
        service.hold(part.length)
        held += part.length
      } catch (error) {
        refused = true
        parts = only = undefined
        release()
        return fail(error)
      }
      if (parts) parts.push(part)
      else if (only) parts = [only, part]
      else only = part
    })
    let whole = false
    request.on('end', () => {
      whole = true
      release()
      done(parts ? Buffer.concat(parts) : only)
    })
    const cutOff = () => {
      release()
      if (!whole) fail(new Problem('malformed', { detail: 'the body was cut off' }))
    }
    request.on('error', cutOff).on('close', cutOff)
  })
}
