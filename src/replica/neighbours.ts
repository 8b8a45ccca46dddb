/**
 * The other replicas, by the addresses that stand in term records: in this process, behind a socket of this machine, or at a URL. Whoever
 * is there is asked to execute a command in our place.
 */
import { EngineError } from '../errors.ts'
import type { CommandMeta } from '../record.ts'
import type { HttpLink } from './http-link.ts'
import { Link, LinkError } from './link.ts'

/** A command that is passed on. */
export interface Forwarded {
  readonly command: string
  readonly input: unknown
  readonly id: string
  readonly tenant: string
  /** What is left of its time, ms. */
  readonly timeout: number
  readonly meta?: CommandMeta
}

type Execute = (command: Forwarded) => Promise<unknown>

/** Replicas of this process that can be reached by nothing else. */
const here = new Map<string, Execute>()
const MEMORY = 'memory:'

/** @returns the address; `leave` takes it back */
export function settle(id: string, execute: Execute): string {
  here.set(MEMORY + id, execute)
  return MEMORY + id
}

export function leave(id: string): void {
  here.delete(MEMORY + id)
}

/** What came from another process says what it should, or is refused. @throws EngineError invalid-input */
export function forwarded(params: unknown): Forwarded {
  const { command, id, tenant, timeout } = (params ?? {}) as { readonly [K in keyof Forwarded]?: unknown }
  if (typeof command === 'string' && typeof id === 'string' && typeof tenant === 'string' && typeof timeout === 'number')
    return params as Forwarded
  throw new EngineError('invalid-input', 'this is no command that a replica passes on')
}

/** Those who are asked to execute a command in our place. */
export interface Neighbourhood {
  /** @throws LinkError; EngineError as the other side threw it */
  forward(address: string, command: Forwarded): Promise<unknown>
  close(): void
}

export class Neighbours implements Neighbourhood {
  readonly #sockets = new Map<string, Link>()
  readonly #https = new Map<string, HttpLink>()
  readonly #secret: string | undefined

  constructor(secret?: string) {
    this.#secret = secret
  }

  async forward(address: string, command: Forwarded): Promise<unknown> {
    const neighbour = here.get(address)
    if (neighbour) return await neighbour(command)
    if (address.startsWith(MEMORY)) throw new LinkError('unreachable', 'the leader is gone')
    return this.ask(address, 'forward', command, command.timeout)
  }

  /** Anything else that is asked of a replica in another process. @param timeout ms */
  async ask(address: string, method: string, params: unknown, timeout: number): Promise<unknown> {
    if (/^https?:/.test(address)) return (await this.#http(address)).call(method, params, timeout)
    // A socket of this machine tells at once when nobody holds its other end.
    return this.#socket(address).call(method, params)
  }

  close(): void {
    for (const link of [...this.#sockets.values(), ...this.#https.values()]) link.close()
  }

  #socket(path: string): Link {
    let link = this.#sockets.get(path)
    if (!link) this.#sockets.set(path, (link = new Link(path)))
    return link
  }

  async #http(url: string): Promise<HttpLink> {
    // Node's HTTP takes longer to load than many a call of the command line.
    const { HttpLink } = await import('./http-link.ts')
    let link = this.#https.get(url)
    if (!link) this.#https.set(url, (link = new HttpLink(url, this.#secret)))
    return link
  }
}
