/**
 * The other replicas, by the addresses that stand in term records: in this process, or behind a socket of this machine. Whoever is
 * there is asked to execute a command in our place.
 */
import { Link, LinkError } from './link.ts'

/** A command that is passed on. */
export interface Forwarded {
  readonly command: string
  readonly input: unknown
  readonly id: string
  readonly tenant: string
  /** What is left of its time, ms. */
  readonly timeout: number
  /** Whether it is passed on for the first time, under an id that was made for it. */
  readonly fresh: boolean
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

export class Neighbours {
  readonly #links = new Map<string, Link>()

  /** @throws LinkError; EngineError as the other side threw it */
  async forward(address: string, command: Forwarded): Promise<unknown> {
    const neighbour = here.get(address)
    if (neighbour) return await neighbour(command)
    if (address.startsWith(MEMORY)) throw new LinkError('unreachable', 'the leader is gone')
    return this.#link(address).call('forward', command)
  }

  close(): void {
    for (const link of this.#links.values()) link.close()
  }

  #link(address: string): Link {
    let link = this.#links.get(address)
    if (!link) this.#links.set(address, (link = new Link(address)))
    return link
  }
}
