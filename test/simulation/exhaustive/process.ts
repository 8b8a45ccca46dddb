/**
 * Processes as an automaton: its points are the states that a machine has been found in, and each step from a point is taken once, by a
 * copy of that machine, and remembered.
 */
import { type Effect, type Input, type Look, Machine, type Start } from './machine.ts'

export interface Step {
  /** What it wants done. */
  readonly effects: readonly Effect[]
  readonly to: Point
}

export interface Point extends Look {
  readonly number: number
  readonly start: Start
  /** How it was found. */
  readonly from: { readonly point: Point; readonly input: Input } | undefined
  /** It was compared with the log. */
  checked: boolean
  readonly steps: Map<string, Step | undefined>
  machine: Machine | undefined
}

/** Machines that are kept, at most. */
const KEPT = 20_000

export class Processes {
  readonly #starts = new Map<string, Step>()
  readonly #points = new Map<string, Point>()
  readonly #kept: Point[] = []
  /** Steps taken for the first time, and steps taken again to lead a machine somewhere. */
  steps = 0
  again = 0

  get points(): number {
    return this.#points.size
  }

  start(start: Start): Step {
    const { name, life, log, database } = start
    const key = `${name} ${life} ${log.number} ${database}`
    let step = this.#starts.get(key)
    if (!step) {
      const machine = new Machine(start)
      const effects = machine.live()
      step = { effects, to: this.#point(machine, start, undefined) }
      this.#starts.set(key, step)
    }
    return step
  }

  /** @param key tells this input from all others. @returns undefined if the input leads nowhere: then it was not given. */
  step(point: Point, key: string, input: () => Input): Step | undefined {
    if (point.steps.has(key)) return point.steps.get(key)
    const given = input()
    const machine = this.#machineAt(point)
    const effects = machine.step(given)
    this.steps++
    const step = effects && { effects, to: this.#point(machine, point.start, { point, input: given }) }
    point.steps.set(key, step)
    return step
  }

  /** A copy of the machine that came to this point; where that is kept no more, one is led there from the last point where it is. */
  #machineAt(point: Point): Machine {
    const inputs: Input[] = []
    let at = point
    for (; !at.machine && at.from; at = at.from.point) inputs.push(at.from.input)
    const machine = at.machine?.copy() ?? new Machine(at.start)
    if (!at.machine) machine.live()
    for (const input of inputs.toReversed()) machine.step(input)
    this.again += inputs.length
    return machine
  }

  #point(machine: Machine, start: Start, from: Point['from']): Point {
    // Opens the database, so it comes first.
    const look = machine.look()
    const text = machine.text()
    let point = this.#points.get(text)
    if (point) return point
    point = { number: this.#points.size + 1, start, from, ...look, checked: false, steps: new Map(), machine }
    this.#points.set(text, point)
    this.#kept.push(point)
    if (this.#kept.length > KEPT) this.#kept.shift()!.machine = undefined
    // Once in a while: is a copy the same?
    if (point.number % 64 === 1 && machine.copy().text() !== text) throw new Error(`the copy of a machine is another one: ${text}`)
    return point
  }
}
