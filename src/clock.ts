/**
 * Where a replica has its time from, and what wakes it: the machine's clocks and timers, or those of a simulation, in which nothing waits.
 * Whatever a replica or its log waits for by itself goes through here; a call of `setTimeout` beside it could not be simulated.
 */

export interface Clock {
  /** Monotonic, ms. */
  now(): number
  /** Wall clock, ms since the epoch. */
  time(): number
  /** Runs `work` once, so many ms later. @returns takes it back */
  after(ms: number, work: () => void): () => void
  /** Runs `work` in the next turn of the event loop. */
  soon(work: () => void): void
  /** From 0 to below 1: for jitter, never for what is decided about somebody's data. */
  random(): number
}

export const machine: Clock = {
  now: () => performance.now(),
  time: () => Date.now(),
  after(ms, work) {
    const timer = setTimeout(work, ms)
    return () => clearTimeout(timer)
  },
  soon: work => void setImmediate(work),
  random: () => Math.random(),
}

/** Ends early, and well, when the signal fires. */
export function nap(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal?.aborted) return resolve()
    const done = () => {
      cancel()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const cancel = clock.after(ms, done)
    signal?.addEventListener('abort', done)
  })
}

export function turn(clock: Clock): Promise<void> {
  return new Promise(resolve => clock.soon(resolve))
}

/** Calls `work` again and again, every so many ms. @returns ends it */
export function every(clock: Clock, ms: number, work: () => void): () => void {
  let cancel = clock.after(ms, again)
  function again() {
    cancel = clock.after(ms, again)
    work()
  }
  return () => cancel()
}

/** Fires after so many ms. @returns the signal, and what takes the timer back */
export function timeout(clock: Clock, ms: number): { readonly signal: AbortSignal; readonly cancel: () => void } {
  const controller = new AbortController()
  return { signal: controller.signal, cancel: clock.after(ms, () => controller.abort()) }
}
