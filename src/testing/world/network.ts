/** What goes wrong on the way, as the plan has it: a fault waits for the next message that it fits, and is used up by it. */

/** Where a message goes. */
export type Target = 'log' | 'neighbour'

export type MessageFault =
  /** It never arrives. */
  | { readonly kind: 'lose-request' }
  /** It arrives, and its answer does not. */
  | { readonly kind: 'lose-reply' }
  /** The sender hears nothing; it arrives so much later, ms, whatever has happened in the meantime. */
  | { readonly kind: 'delay-request'; readonly by: number }
  /** The answer comes so much later, ms. */
  | { readonly kind: 'delay-reply'; readonly by: number }
  /** It arrives twice, the second time so much later, ms. */
  | { readonly kind: 'double'; readonly by: number }

export type Armed = MessageFault & {
  /** From when on it waits for its message, ms. */
  readonly at: number
  /** Of the sender. */
  readonly node: number
  readonly to: Target
  /** Of a request to a Kafka cluster; left out: any but those that only read. */
  readonly api?: string
}

/** Most messages take so long at most, each way, ms; some much longer. */
const HOP = 2
const SLOW_HOP = 30

export class Network {
  readonly #armed: Armed[]
  readonly #random: () => number
  readonly #used: (fault: Armed) => void

  constructor(faults: readonly Armed[], random: () => number, used: (fault: Armed) => void) {
    this.#armed = [...faults]
    this.#random = random
    this.#used = used
  }

  /** What one way takes, ms. */
  delay(): number {
    return this.#random() < 0.05 ? this.#random() * SLOW_HOP : this.#random() * HOP
  }

  /** What happens to a message that is sent now. */
  fate(now: number, node: number, to: Target, api?: string): MessageFault | undefined {
    const fits = (fault: Armed) =>
      fault.at <= now &&
      fault.node === node &&
      fault.to === to &&
      (fault.api === undefined ? api === undefined || isWrite(api) : fault.api === api)
    const index = this.#armed.findIndex(fits)
    if (index < 0) return undefined
    const [fault] = this.#armed.splice(index, 1)
    this.#used(fault!)
    return fault
  }

  /** No more misfortune. */
  calm(): void {
    this.#armed.length = 0
  }
}

const isWrite = (api: string): boolean => !['fetch', 'list-offsets', 'metadata', 'find-coordinator'].includes(api)
