/** What the routes share: the app, its replica once there is one, who may come in, and how much may wait. */
import { type App, definitionOf } from '../app.ts'
import type { Replica } from '../replica.ts'
import type { Access, Action, Principal } from './access.ts'
import { Problem } from './problem.ts'

export interface HandlerOptions {
  /** Left out, everybody may do everything. */
  readonly access?: Access
  /** A body's size at most, bytes. Default 1,048,576. */
  readonly maxBody?: number
  /** How many requests may be on their way at a time; more are refused at once. Default 2,000. */
  readonly maxWaiting?: number
  /** How long a request that says nothing of it may take, ms. Default: 10,000. */
  readonly timeout?: number
  /** How long it may take at most, whatever it says, ms. Default: 60,000. */
  readonly maxTimeout?: number
}

/** Why it is not ready, for programs and for people. */
export interface Reason {
  readonly reason: string
  readonly detail?: string
  /** While it replays. */
  readonly percent?: number
  /** Seconds until it is ready, as far as that can be told. */
  readonly eta?: number
}

const LIMITS = { maxBody: 1 << 20, maxWaiting: 2_000, timeout: 10_000, maxTimeout: 60_000 }

export class Service {
  readonly app: App
  readonly access: Access | undefined
  readonly limits: typeof LIMITS
  /** Undefined while it is being opened. */
  replica: Replica | undefined
  /** Why it is not ready, beside what the replica itself says. */
  reason: Reason | undefined
  /** It takes requests still, but shall get no new ones. */
  draining = false
  #waiting = 0

  constructor(app: App, replica: Replica | undefined, { access, ...limits }: HandlerOptions) {
    this.app = app
    this.replica = replica
    this.access = access
    this.limits = { ...LIMITS, ...limits }
    if (!replica) this.reason = { reason: 'starting' }
  }

  get waiting(): number {
    return this.#waiting
  }

  /** Takes a place among those on their way. @throws Problem overloaded */
  enter(): void {
    if (this.#waiting >= this.limits.maxWaiting)
      throw new Problem('overloaded', { detail: `${this.#waiting} requests are on their way already; nothing was done` })
    this.#waiting++
  }

  leave(): void {
    this.#waiting--
  }

  /** @throws Problem not-ready */
  ready(): Replica {
    if (this.replica) return this.replica
    const { eta, ...reason } = this.reason ?? { reason: 'starting' }
    throw new Problem('not-ready', { members: { ...reason, eta }, retryAfter: Math.min(eta ?? 1, 30) })
  }

  /** Who asks, and for this tenant. Undefined: access is off. @throws Problem unauthenticated, forbidden */
  async authenticate(request: Request, tenant: string | undefined): Promise<Principal | undefined> {
    if (!this.access) return undefined
    const principal = await this.access.authenticate(request)
    const { tenants } = principal
    if (tenant === undefined || tenants === '*' || tenants.includes(tenant)) return principal
    throw new Problem('forbidden', { detail: 'this principal has no such tenant' })
  }

  /** @throws Problem forbidden; EngineError invalid-input, for no policy sees what is not legal */
  async authorize(principal: Principal | undefined, action: Action, input: unknown, tenant: string | undefined): Promise<void> {
    if (!principal || !this.access?.policy) return
    const { commands, queries } = definitionOf(this.app)
    const schema =
      action.kind === 'command' ? commands.get(action.name)?.input : action.kind === 'query' ? queries.get(action.name)?.input : undefined
    const checked = schema ? await schema['~standard'].validate(input) : { value: input }
    // The replica says what is wrong with it, and does nothing.
    if (checked.issues) return
    // A policy that forgot to answer has not said yes.
    const allowed: unknown = await this.access.policy(principal, action, checked.value, tenant)
    if (allowed === true) return
    throw new Problem('forbidden', { detail: `the policy does not allow ${action.kind} ${action.name}` })
  }
}
