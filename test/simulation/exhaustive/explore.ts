/** Walks through all states that can be reached, each once, depth first. */

export interface Choice<S> {
  /** In words: all that happens. */
  readonly label: readonly string[]
  readonly next: S
}

export interface Space<S> {
  readonly first: S
  /** Equal for equal states: whole numbers. */
  fingerprint(state: S): readonly number[]
  /** All that can happen next. None: it is over. */
  choices(state: S): readonly Choice<S>[]
  /** What is wrong with a state in which nothing can happen any more. */
  ended(state: S): string | undefined
}

export interface Report {
  readonly states: number
  /** Steps from state to state, those to states that were visited before included. */
  readonly steps: number
  readonly ends: number
  /** The longest way that was gone. */
  readonly depth: number
  /** States that were found and not looked at: none, unless something was wrong. */
  readonly frontier: number
}

/** What went wrong, and the way there. */
export class Wrong extends Error {
  constructor(what: string, way: readonly string[]) {
    super(`${what}\n${way.map((label, at) => `${String(at + 1).padStart(4)}. ${label}`).join('\n')}`)
  }
}

interface Frame<S> {
  readonly choices: readonly Choice<S>[]
  at: number
}

/** Thrown by `choices` where a step itself is wrong. */
export class Fault extends Error {
  readonly label: readonly string[]

  constructor(message: string, label: readonly string[]) {
    super(message)
    this.label = label
  }
}

/** @throws Wrong */
export function explore<S>(space: Space<S>, limit = Infinity): Report {
  const visited = new Visited()
  const stack: Frame<S>[] = []
  let states = 0
  let steps = 0
  let ends = 0
  let depth = 0
  const way = () => stack.slice(0, -1).map(({ choices, at }) => choices[at - 1]!.label.join(', '))
  const enter = (state: S): void => {
    if (!visited.add(space.fingerprint(state))) return
    states++
    const frame: Frame<S> = { choices: choicesOf(space, state, stack), at: 0 }
    stack.push(frame)
    depth = Math.max(depth, stack.length)
    if (frame.choices.length > 0) return
    ends++
    const wrong = space.ended(state)
    if (wrong !== undefined) throw new Wrong(wrong, way())
  }
  enter(space.first)
  while (stack.length > 0) {
    const frame = stack.at(-1)!
    const choice = frame.choices[frame.at++]
    if (!choice) stack.pop()
    else {
      steps++
      enter(choice.next)
    }
    if (states > limit)
      return { states, steps, ends, depth, frontier: stack.reduce((sum, { choices, at }) => sum + choices.length - at, 0) }
  }
  return { states, steps, ends, depth, frontier: 0 }
}

function choicesOf<S>(space: Space<S>, state: S, stack: readonly Frame<S>[]): readonly Choice<S>[] {
  try {
    return space.choices(state)
  } catch (error) {
    const way = stack.map(({ choices, at }) => choices[at - 1]!.label.join(', '))
    // The machines throw nothing: what does is wrong, too.
    const [what, last] =
      error instanceof Fault ? [error.message, error.label.join(', ')] : [String((error as Error).stack), 'one more step']
    throw new Wrong(what, [...way, last])
  }
}

/** A set of fingerprints, each kept as 64 bits: that two of some million states share theirs is less likely than one in a million. */
class Visited {
  #size = 0
  #slots = new Uint32Array(1 << 17)

  /** @returns false: it was there */
  add(values: readonly number[]): boolean {
    let low = 0x811c9dc5
    let high = 0x9747b28c
    for (const value of values) {
      low = Math.imul(low ^ value, 0x85ebca6b)
      low ^= low >>> 15
      high = Math.imul(high ^ value, 0xc2b2ae35)
      high = (high ^ (high >>> 13)) + low
    }
    low = Math.imul(low ^ (low >>> 16), 0x45d9f3b) >>> 0
    high = (Math.imul(high ^ (high >>> 15), 0x2c1b3c6d) ^ low) >>> 0
    // Nothing stands for an empty slot.
    if (low === 0 && high === 0) low = 1
    if (!this.#put(low, high)) return false
    this.#size++
    if (this.#size * 4 > this.#slots.length) this.#grow()
    return true
  }

  #put(low: number, high: number): boolean {
    const slots = this.#slots
    const mask = slots.length - 2
    for (let at = (low << 1) & mask; ; at = (at + 2) & mask) {
      if (slots[at] === 0 && slots[at + 1] === 0) {
        slots[at] = low
        slots[at + 1] = high
        return true
      }
      if (slots[at] === low && slots[at + 1] === high) return false
    }
  }

  #grow(): void {
    const old = this.#slots
    this.#slots = new Uint32Array(old.length * 2)
    for (let at = 0; at < old.length; at += 2) if (old[at] !== 0 || old[at + 1] !== 0) this.#put(old[at]!, old[at + 1]!)
  }
}
