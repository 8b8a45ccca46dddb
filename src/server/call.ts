/** A request as the routes see it, and their answer: neither knows whether it came as a `Request` or from node:http. */
import { EngineError } from '../errors.ts'
import { isLine } from '../ids.ts'
import type { CommandMeta } from '../record.ts'
import type { QueryOptions } from '../replica.ts'
import type { Principal } from './access.ts'
import { Problem } from './problem.ts'
import type { Service } from './service.ts'

export interface Call {
  readonly method: string
  /** Of the command or query. */
  readonly name: string
  /** As the path says it. */
  readonly pathTenant: string | undefined
  header(name: string): string | undefined
  parameters(): URLSearchParams
  /** The body as text. @throws Problem too-large, malformed, overloaded */
  body(service: Service): Promise<string>
  /** Fires when whoever asks has gone. */
  signal(): AbortSignal
  /** For who looks at more of it. Its body may be gone, or left out. */
  request(): Request
}

export interface Answer {
  readonly status: number
  readonly headers: { readonly [name: string]: string }
  readonly body: string
}

/** Whatever goes wrong becomes an answer, and all is counted. @param free whether it is answered however much waits */
export async function answered<T extends { readonly status: number }>(
  service: Service,
  route: string,
  free: boolean,
  respond: () => Promise<T>,
): Promise<T | Answer> {
  let answer: T | Answer
  let entered = false
  try {
    if (!free) service.enter()
    entered = !free
    answer = await respond()
  } catch (error) {
    const problem = Problem.of(error)
    service.failed(problem, route)
    answer = problem.toAnswer()
  } finally {
    if (entered) service.leave()
  }
  service.metrics.request(route, answer.status)
  return answer
}

export const json = (value: unknown, headers: Record<string, string> = {}): Answer => ({
  status: 200,
  headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers },
  body: JSON.stringify(value) ?? 'null',
})

/** @throws Problem malformed where path and header name two */
export function tenantOf(call: Pick<Call, 'pathTenant' | 'header'>): string {
  const { pathTenant } = call
  const named = call.header('mainstem-tenant')
  if (named !== undefined && pathTenant !== undefined && named !== pathTenant)
    throw new Problem('malformed', { detail: 'the path names one tenant, and the header Mainstem-Tenant another' })
  return named ?? pathTenant ?? 'default'
}

/** The JSON of a body, undefined for none. @throws Problem */
export async function readJson(call: Call, service: Service): Promise<unknown> {
  const text = await service.aside(call.body(service))
  if (text === '') return undefined
  const type = call.header('content-type') ?? ''
  if (type !== 'application/json' && !/^application\/([\w.-]+\+)?json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(type))
    throw new Problem('unsupported-type')
  return parsed(text, 'the body')
}

/** @throws Problem malformed */
export function parsed(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Problem('malformed', { detail: `${what} is not JSON: ${(cause as Error).message}`, cause })
  }
}

export interface Preferences {
  readonly read?: 'local' | 'linearizable'
  /** ms */
  readonly wait?: number
}

/** Of the header Prefer (RFC 7240); what is not known or not legal is left out, as it says. */
export function preferences(header: string | undefined): Preferences {
  if (header === undefined) return {}
  const found: { read?: 'local' | 'linearizable'; wait?: number } = {}
  for (const part of header.split(',')) {
    const [, name, value] = /^\s*(\w+)\s*=\s*"?([\w.]+)"?\s*(?:;.*)?$/.exec(part) ?? []
    if (name?.toLowerCase() === 'read' && (value === 'local' || value === 'linearizable')) found.read ??= value
    if (name?.toLowerCase() === 'wait' && /^\d{1,6}(\.\d{1,3})?$/.test(value!) && Number(value) > 0) found.wait ??= Number(value) * 1_000
  }
  return found
}

/** How long it may take, ms. */
export const deadlineOf = ({ wait }: Preferences, { limits }: Service): number =>
  wait === undefined ? limits.timeout : Math.min(wait, limits.maxTimeout)

/** How fresh an answer must be: a token is a demand, `Prefer: read` a wish; what is linearizable has seen every token. */
export function readLevel({ read }: Preferences, token: string | undefined): NonNullable<QueryOptions['read']> {
  if (read === 'linearizable') return read
  return token === undefined ? 'local' : { atLeast: token }
}

/** Of the header Idempotency-Key: as it stands, or in the quotes of the IETF's draft. @throws EngineError invalid-id where it is empty */
export function commandId(header: string | undefined): string | undefined {
  if (header === undefined) return undefined
  const id = /^"(.*)"$/.exec(header)?.[1] ?? header
  if (id === '')
    throw new EngineError('invalid-id', 'the header Idempotency-Key is empty: a command id is 1 to 128 visible ASCII characters')
  return id
}

/** Who asks, and what it belongs to; headers that are not legal are left out. */
export function metaOf(call: Call, principal: Principal | undefined): CommandMeta | undefined {
  const correlation = call.header('x-request-id')
  const trace = call.header('traceparent')
  if (principal === undefined && correlation === undefined && trace === undefined) return undefined
  return {
    ...(principal === undefined ? {} : { principal: principal.name }),
    ...(isLine(correlation) ? { correlation } : {}),
    ...(trace !== undefined && /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(trace) ? { trace } : {}),
  }
}

/** The body of a `Request`. @throws Problem too-large, malformed, overloaded */
export async function textOf(request: Request, service: Service): Promise<string> {
  const limit = service.limits.maxBody
  // Nothing that is too large is read: the connection ends instead.
  const tooLarge = () => new Problem('too-large', { detail: `a body has at most ${limit} bytes here`, headers: { connection: 'close' } })
  if (Number(request.headers.get('content-length') ?? 0) > limit) throw tooLarge()
  if (!request.body) return ''
  const parts: Uint8Array[] = []
  let size = 0
  let held = 0
  try {
    for await (const part of request.body as unknown as AsyncIterable<Uint8Array>) {
      size += part.length
      if (size > limit) throw tooLarge()
      service.hold(part.length)
      held += part.length
      parts.push(part)
    }
  } catch (cause) {
    throw cause instanceof Problem ? cause : new Problem('malformed', { detail: 'the body was cut off', cause })
  } finally {
    service.hold(-held)
  }
  return decoded(parts.length === 1 ? parts[0]! : Buffer.concat(parts))
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** @throws Problem malformed */
export function decoded(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch (cause) {
    throw new Problem('malformed', { detail: 'the body is not UTF-8', cause })
  }
}
