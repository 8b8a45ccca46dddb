/** Measures a span of time less the time in which this machine let nobody run: on a busy one, a bound on it still means something. */
export class Stopwatch {
  readonly #start = performance.now()
  #last = this.#start
  #stalled = 0
  readonly #timer: NodeJS.Timeout

  constructor() {
    this.#timer = setInterval(() => this.#look(), 10)
  }

  /** ms; ends the measurement. */
  stop(): { readonly elapsed: number; readonly undisturbed: number } {
    clearInterval(this.#timer)
    this.#look()
    const elapsed = this.#last - this.#start
    return { elapsed, undisturbed: elapsed - this.#stalled }
  }

  #look(): void {
    const now = performance.now()
    // A timer of 10 ms that comes later than that was kept waiting, and so, it may be assumed, were the processes that are watched.
    this.#stalled += Math.max(0, now - this.#last - 15)
    this.#last = now
  }
}
