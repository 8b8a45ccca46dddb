/**
 * What the server answers when it does not do what was asked: problem details (RFC 9457) with a status, a code that stays the same, and whether
 * to repeat the request. What went wrong inside (500 and above) is told by its meaning alone: messages of an app's code, of files and of a
 * cluster are for the operator.
 *
 *     { "type": "urn:mainstem:id-reused", "title": "...", "status": 422, "code": "id-reused", "detail": "...", "retry": "no", "id": "order-17" }
 */
import { type ErrorCode, errorKinds, isEngineError, type Retry } from '../errors.ts'

/** What the engine's errors are in HTTP. */
export const statusOf = {
  'invalid-app': 500,
  'invalid-option': 400,
  'unknown-command': 404,
  'unknown-query': 404,
  'invalid-input': 422,
  'invalid-id': 400,
  'invalid-tenant': 400,
  'invalid-token': 400,
  'id-reused': 422,
  expired: 410,
  'invalid-event': 500,
  'invalid-scope': 500,
  'decide-failed': 500,
  'projection-failed': 500,
  'query-failed': 500,
  'record-too-large': 413,
  conflict: 409,
  overloaded: 503,
  timeout: 503,
  'outcome-unknown': 504,
  aborted: 504,
  'not-leader': 503,
  'not-ready': 503,
  closed: 503,
  'data-in-use': 503,
  'data-unusable': 500,
  'log-unusable': 500,
  'log-other-app': 500,
  'log-other': 500,
  'log-behind': 500,
  'log-failed': 503,
  'log-unreachable': 503,
  'log-denied': 503,
  'log-unsafe': 500,
  'log-sealed': 503,
  'unknown-event': 500,
  'no-such-version': 404,
  halted: 500,
  diverged: 500,
  internal: 500,
} as const satisfies Record<ErrorCode, number>

/** What only the server says. */
export const ownProblems = {
  malformed: { status: 400, retry: 'no', meaning: 'the request is not what the server understands' },
  unauthenticated: { status: 401, retry: 'no', meaning: 'who asks is not known' },
  forbidden: { status: 403, retry: 'no', meaning: 'who asks may not do this' },
  'not-found': { status: 404, retry: 'no', meaning: 'there is nothing at this path' },
  'method-not-allowed': { status: 405, retry: 'no', meaning: 'this path does not take this method' },
  'too-large': { status: 413, retry: 'no', meaning: 'the body is larger than the server takes' },
  'unsupported-type': { status: 415, retry: 'no', meaning: 'bodies are JSON in UTF-8: application/json' },
  rejected: { status: 422, retry: 'no', meaning: 'the app says no' },
} as const satisfies Record<string, { readonly status: number; readonly retry: Retry; readonly meaning: string }>

export type ProblemCode = ErrorCode | keyof typeof ownProblems

export interface ProblemExtras {
  /** For people; no secrets. */
  readonly detail?: string
  /** More members of the body. */
  readonly members?: { readonly [name: string]: unknown }
  readonly headers?: { readonly [name: string]: string }
  /** Seconds; for a status of 503. Default: 1. */
  readonly retryAfter?: number
  readonly cause?: unknown
}

export class Problem extends Error {
  override readonly name = 'Problem'
  readonly code: ProblemCode
  readonly status: number
  readonly headers: { readonly [name: string]: string }
  /** What is sent. */
  readonly body: { readonly [name: string]: unknown }

  constructor(code: ProblemCode, { detail, members, headers, retryAfter = 1, cause }: ProblemExtras = {}) {
    const { status, retry, meaning } =
      code in ownProblems
        ? ownProblems[code as keyof typeof ownProblems]
        : { status: statusOf[code as ErrorCode], ...errorKinds[code as ErrorCode] }
    super(detail ?? meaning, { cause })
    this.code = code
    this.status = status
    this.headers = {
      'content-type': 'application/problem+json',
      ...(status === 503 ? { 'retry-after': String(Math.max(1, Math.ceil(retryAfter))) } : {}),
      ...headers,
    }
    this.body = {
      type: `urn:mainstem:${code}`,
      title: meaning,
      status,
      code,
      ...(detail === undefined ? {} : { detail }),
      retry,
      ...members,
    }
  }

  /** Whatever was thrown. */
  static of(error: unknown): Problem {
    if (error instanceof Problem) return error
    if (!isEngineError(error)) return new Problem('internal', { cause: error })
    const { code, message, id, details } = error
    const members = id === undefined ? {} : { id }
    // Nobody knows what the app's code, a driver or the system put into words.
    if (statusOf[code] >= 500) return new Problem(code, { members, cause: error })
    return new Problem(code, { detail: message, members: details === undefined ? members : { ...members, details }, cause: error })
  }

  toAnswer(): { readonly status: number; readonly headers: { readonly [name: string]: string }; readonly body: string } {
    return { status: this.status, headers: this.headers, body: JSON.stringify(this.body) }
  }

  toResponse(): Response {
    const { body, ...head } = this.toAnswer()
    return new Response(body, head)
  }
}
