/** Copies a machine with all that it holds, so that one and the same can go on in different ways. What never changes is shared. */
import { Heartbeats } from '../../../src/consistency.ts'
import { BatchLane } from '../../../src/log/kafka/batches.ts'
import { Initiation } from '../../../src/log/kafka/initiation.ts'
import { Queue } from '../../../src/log/kafka/queue.ts'
import { TransactionLane } from '../../../src/log/kafka/transactions.ts'
import { Tenant } from '../../../src/projection.ts'
import { Window } from '../../../src/window.ts'
import { fieldsOf, setFields } from './reveal.ts'
import { PlainStore } from './store.ts'

/** Never changed once they are made: records, what was asked for, answers. */
const shared: ReadonlySet<string> = new Set(['record', 'append', 'prepared', 'input', 'reply', 'app', 'options'])

type Class = { readonly [fieldsOf]?: (it: object) => object; readonly [setFields]?: (it: object, fields: object) => void }

export class Copying {
  readonly #made = new Map<object, object>()

  /** Copies everything that `from` holds into another one of the same class; its options it keeps. */
  into(from: object, to: object): void {
    this.#made.set(from, to)
    this.#fill(from, to)
  }

  of<T>(value: T): T {
    if (typeof value !== 'object' || value === null || value instanceof Error || value instanceof Uint8Array) return value
    const before = this.#made.get(value)
    if (before) return before as T
    const blank = this.#blank(value)
    this.#made.set(value, blank)
    if (Array.isArray(value)) for (const each of value as unknown[]) (blank as unknown[]).push(this.of(each))
    else if (value instanceof Set) for (const each of value) (blank as Set<unknown>).add(this.of(each))
    else if (value instanceof Map) for (const [key, each] of value) (blank as Map<unknown, unknown>).set(this.of(key), this.of(each))
    else if (!(value instanceof PlainStore)) this.#fill(value, blank)
    return blank as T
  }

  #blank(value: object): object {
    if (Array.isArray(value)) return []
    if (value instanceof Set) return new Set()
    if (value instanceof Map) return new Map()
    if (value instanceof PlainStore) return value.copy()
    if (value instanceof Tenant) return new Tenant(undefined as never, value.name, this.of(value.store), '')
    if (value instanceof Window) return new Window(() => [])
    if (value instanceof Heartbeats) return new Heartbeats()
    if (value instanceof BatchLane) return new BatchLane(optionsOf(value))
    if (value instanceof TransactionLane) return new TransactionLane(optionsOf(value))
    if (value instanceof Queue) return new Queue()
    if (value instanceof Initiation) return new Initiation('')
    if (Object.getPrototypeOf(value) === Object.prototype) return {}
    throw new Error(`nobody knows how to copy ${value.constructor.name}`)
  }

  #fill(from: object, to: object): void {
    const { [fieldsOf]: fields, [setFields]: set } = from.constructor as Class
    const copied = (each: object): Record<string, unknown> => {
      const copy: Record<string, unknown> = {}
      for (const key in each) {
        const value = (each as Record<string, unknown>)[key]
        copy[key] = shared.has(key) ? value : this.of(value)
      }
      return copy
    }
    Object.assign(to, copied(from))
    if (!fields || !set) return
    const own = copied(fields(from))
    // Made with its own.
    set(to, 'options' in own ? { ...own, options: (fields(to) as { options: unknown }).options } : own)
  }
}

function optionsOf<T>(lane: object): T {
  return ((lane.constructor as Class)[fieldsOf]!(lane) as { options: T }).options
}
