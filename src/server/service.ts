/** What the routes share: the app, its replica once there is one, who may come in, and how much may wait. */
import { type App, definitionOf } from '../app.ts'
import type { Replica } from '../replica.ts'
import type { Access, Action, Principal } from './access.ts'
import type { Pace } from './events.ts'
import { Metrics } from './metrics.ts'
import { Pasts } from './past.ts'
import { Problem } from './problem.ts'

export interface HandlerOptions {
  /** Left out, everybody may do everything. */
  readonly access?: Access
  /** A body's size at most, bytes. Default: 1,048,576. */
  readonly maxBody?: number
  /** How many requests may be on their way at a time; more are refused at once. Default: 2,000. */
  readonly maxWaiting?: number
  /** How many clients may listen to events at a time. Default: 1,000. */
  readonly maxStreams?: number
  /** How long a request that says nothing of it may take, ms. Default: 10,000. */
  readonly timeout?: number
  /** How long it may take at most, whatever it says, ms. Default: 60,000. */
  readonly maxTimeout?: number
  /** How often a client of `/events` hears that its connection lives, ms. Default: 15,000. */
  readonly heartbeat?: number
  /** Told of every answer of 500, whose cause the client does not hear. Default: a line of JSON on stderr. */
  readonly onError?: (error: unknown, route: string) => void
  /** How long a client of `/events` may leave unread what was sent to it before it is cut, ms. Default: 60,000. */
  readonly stall?: number
}

/** Why it is not ready, for programs and for people. */
export interface Reason {
  readonly reason: string
  /** While it replays. */
  readonly percent?: number
  /** Seconds until it is ready, as far as that can be told. */
  readonly eta?: number
}

/** All bodies that are being read hold at most so much, as a multiple of one of the largest: who sends slowly holds what was sent. */
const BODIES = 64

const LIMITS = { maxBody: 1 << 20, maxWaiting: 2_000, maxStreams: 1_000, timeout: 10_000, maxTimeout: 60_000 }
const PACE = { heartbeat: 15_000, stall: 60_000 }

export class Service {
  readonly app: App
  readonly access: Access | undefined
  readonly limits: typeof LIMITS
  readonly pace: Pace
  readonly metrics = new Metrics()
  readonly pasts = new Pasts()
  /** Undefined while it is being opened. */
  replica: Replica | undefined
  /** Why it is not ready, beside what the replica itself says. */
  reason: Reason | undefined
  readonly #onError: (error: unknown, route: string) => void
  readonly #ending = new AbortController()
  #waiting = 0
  #held = 0
  #streams = 0

  constructor(app: App, replica: Replica | undefined, options: HandlerOptions) {
    const { access, onError = report, heartbeat = PACE.heartbeat, stall = PACE.stall, ...limits } = options
    this.app = app
    this.replica = replica
    this.access = access
    this.limits = { ...LIMITS, ...limits }
    this.#onError = onError
    this.pace = { heartbeat, stall }
    if (!replica) this.reason = { reason: 'starting' }
  }

  /** Fires when streams shall end. */
  get ending(): AbortSignal {
    return this.#ending.signal
  }

  /** Nothing of it is left: streams end, past databases are closed. The replica is the owner's. */
  async close(): Promise<void> {
    this.#ending.abort()
    await this.pasts.close()
  }

  /** Takes a place among those on their way. @throws Problem overloaded */
  enter(): void {
    if (this.#waiting >= this.limits.maxWaiting) this.#refuse()
    this.#waiting++
  }

  #refuse(): never {
    throw new Problem('overloaded', { detail: `${this.limits.maxWaiting} requests are on their way already; nothing was done` })
  }

  leave(): void {
    this.#waiting--
  }

  /** Waits for what comes from outside, such as a body: whoever sends slowly keeps no place from others. @throws Problem overloaded */
  async aside<T>(work: Promise<T>): Promise<T> {
    this.#waiting--
    try {
      return await work
    } finally {
      this.#waiting++
      if (this.#waiting > this.limits.maxWaiting) this.#refuse()
    }
  }

  /** A part of a body is kept until the rest of it is there: to be given back by its negative. @throws Problem overloaded */
  hold(bytes: number): void {
    if (bytes > 0 && this.#held + bytes > BODIES * this.limits.maxBody)
      throw new Problem('overloaded', { detail: 'too many bodies are on their way already; nothing was done' })
    this.#held += bytes
  }

  /** @throws Problem overloaded */
  openStream(): void {
    if (this.#streams >= this.limits.maxStreams)
      throw new Problem('overloaded', { detail: `${this.#streams} clients listen to events already`, retryAfter: 10 })
    this.#streams++
  }

  closeStream(): void {
    this.#streams--
  }

  failed(problem: Problem, route: string): void {
    if (problem.status !== 500) return
    try {
      this.#onError(problem.cause ?? problem, route)
    } catch (error) {
      report(error, route)
    }
  }

  /** @throws Problem not-ready */
  ready(): Replica {
    if (this.replica) return this.replica
    const reason: Reason = this.reason ?? { reason: 'starting' }
    throw new Problem('not-ready', { members: { ...reason }, retryAfter: Math.min(reason.eta ?? 1, 30) })
  }

  /** Why no load balancer should send anything; none: it is ready. */
  reasons(): Reason[] {
    if (this.reason) return [this.reason]
    return (this.replica?.readiness().reasons ?? []).map(reason => ({ reason }))
  }

  async metricsText(): Promise<string> {
    const status = await this.replica?.status()
    return this.metrics.text({ ready: this.reasons().length === 0, waiting: this.#waiting, streams: this.#streams, status })
  }

  /** Who asks, and for this tenant. Undefined: access is off. @throws Problem unauthenticated, forbidden */
  async authenticate(request: Request, tenant: string | undefined): Promise<Principal | undefined> {
    if (!this.access) return undefined
    const principal = await this.access.authenticate(request)
    const { tenants } = principal
    if (tenant === undefined || tenants === '*' || tenants.includes(tenant)) return principal
    throw new Problem('forbidden', { detail: 'this principal has no such tenant' })
  }

  /** No policy sees what is not legal: what is wrong with it the replica says, and does nothing. @throws Problem forbidden */
  async authorize(principal: Principal | undefined, action: Action, input: unknown, tenant: string | undefined): Promise<void> {
    if (!principal || !this.access?.policy) return
    const { kind, name } = action
    const { commands, queries } = definitionOf(this.app)
    const schema = kind === 'command' ? commands.get(name)?.input : kind === 'query' ? queries.get(name)?.input : undefined
    const checked = schema ? await schema['~standard'].validate(input) : { value: input }
    if (checked.issues) return
    // A policy that forgot to answer has not said yes.
    const allowed: unknown = await this.access.policy(principal, action, checked.value, tenant)
    if (allowed === true) return
    throw new Problem('forbidden', { detail: `the policy does not allow ${kind} ${name}` })
  }
}

function report(error: unknown, route: string): void {
  const { code, message, stack } = error as { code?: unknown; message?: unknown; stack?: unknown }
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level: 'error', route, code, message, stack })}\n`)
}
