/** Virtual time: what happens when, and the clocks of processes that see it, each in its own way. Nothing waits. */
import type { Clock } from '../../clock.ts'

/** What a simulation takes for the beginning of time, ms since the epoch. */
export const EPOCH = 1_700_000_000_000

interface Entry {
  readonly at: number
  readonly order: number
  run: (() => void) | undefined
}

export class Scheduler {
  now = 0
  /** How many things have happened. */
  events = 0
  #heap: Entry[] = []
  #orders = 0

  /** @returns takes it back */
  at(time: number, run: () => void): () => void {
    const entry: Entry = { at: Math.max(time, this.now), order: this.#orders++, run }
    const heap = this.#heap
    let i = heap.push(entry) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!before(entry, heap[parent]!)) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = entry
    return () => {
      entry.run = undefined
    }
  }

  /** Lets everything happen up to this time. What follows from one thing by promises alone has happened before the next one. */
  async run(until: number, goOn: () => boolean = () => true): Promise<void> {
    await new Promise(resolve => setImmediate(resolve))
    while (this.#heap.length > 0 && this.#heap[0]!.at <= until && goOn()) {
      const { at, run } = this.#pop()
      if (!run) continue
      this.now = at
      this.events++
      run()
      await new Promise(resolve => setImmediate(resolve))
    }
    if (this.now < until && goOn()) this.now = until
  }

  #pop(): Entry {
    const heap = this.#heap
    const top = heap[0]!
    const last = heap.pop()!
    if (heap.length > 0) {
      let i = 0
      for (;;) {
        let child = 2 * i + 1
        if (child >= heap.length) break
        if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
        if (!before(heap[child]!, last)) break
        heap[i] = heap[child]!
        i = child
      }
      heap[i] = last
    }
    return top
  }
}

const before = (a: Entry, b: Entry): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

/**
 * A process, from its start until it is killed. Stopped, it does nothing, and all that came meanwhile when it goes on; killed, nothing ever
 * again: whatever was on its way to it is dropped.
 */
export class Process implements Clock {
  readonly random: () => number
  readonly #scheduler: Scheduler
  #dead = false
  #stoppedUntil = 0
  /** How far its wall clock is off, ms. */
  skew: number

  constructor(scheduler: Scheduler, random: () => number, skew: number) {
    this.#scheduler = scheduler
    this.random = random
    this.skew = skew
  }

  get dead(): boolean {
    return this.#dead
  }

  now(): number {
    return this.#scheduler.now
  }

  time(): number {
    return EPOCH + Math.floor(this.#scheduler.now) + this.skew
  }

  after(ms: number, work: () => void): () => void {
    let cancel = () => {}
    const attempt = () => {
      if (this.#dead) return
      if (this.#stoppedUntil > this.#scheduler.now) cancel = this.#scheduler.at(this.#stoppedUntil, attempt)
      else work()
    }
    cancel = this.#scheduler.at(this.#scheduler.now + Math.max(0, ms), attempt)
    return () => cancel()
  }

  soon(work: () => void): void {
    this.after(0, work)
  }

  stop(until: number): void {
    this.#stoppedUntil = Math.max(this.#stoppedUntil, until)
  }

  continue(): void {
    this.#stoppedUntil = 0
  }

  kill(): void {
    this.#dead = true
  }
}
