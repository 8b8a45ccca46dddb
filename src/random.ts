/** Chance that repeats itself, for loads, simulations and tests. Nothing that must not be guessed may come from here. */

/** mulberry32. @returns numbers from 0 to below 1, the same for the same seed */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** A UUIDv7 of this time, ms since the epoch. */
export function uuidOf(time: number, random: () => number): string {
  const made = time.toString(16).padStart(12, '0')
  const digits = (count: number) =>
    Math.floor(random() * 16 ** count)
      .toString(16)
      .padStart(count, '0')
  return `${made.slice(0, 8)}-${made.slice(8)}-7${digits(3)}-8${digits(3)}-${digits(12)}`
}
