/** What waits for a lane, record by record, for records of one append may go out in several batches; and the answers, given when an append has them all. */
import type { Appended, NewRecord, Position } from '../../log.ts'
import type { Append, Output } from './lane.ts'

export interface Item {
  readonly append: Append
  readonly index: number
  readonly record: NewRecord
}

/** What a record takes beside its value: envelope, key and headers, generously, bytes. */
const OVERHEAD = 512

export class Queue {
  #items: Item[] = []
  readonly #answers = new Map<number, (Appended | undefined)[]>()
  #out: Output[] = []

  get head(): Item | undefined {
    return this.#items[0]
  }

  get size(): number {
    return this.#items.length
  }

  push(append: Append): void {
    this.#answers.set(
      append.key,
      append.records.map(() => undefined),
    )
    for (const [index, record] of append.records.entries()) this.#items.push({ append, index, record })
  }

  /** The next ones that fit together, at least one. A `take` goes alone: it is the first record under its epoch. */
  next(maxBytes: number, most = Infinity): Item[] {
    let bytes = 0
    let count = 0
    for (const { record, append } of this.#items) {
      bytes += Buffer.byteLength(record.value) + OVERHEAD
      if (count > 0 && (count === most || bytes > maxBytes || append.fence === 'take' || this.#items[0]!.append.fence === 'take')) break
      count++
    }
    return this.#items.splice(0, count)
  }

  /** Puts items that were taken, and certainly not written, back to the front. */
  back(items: readonly Item[]): void {
    this.#items = [...items, ...this.#items]
  }

  answer({ append, index }: Item, answer: Appended): void {
    const answers = this.#answers.get(append.key)
    if (!answers) return
    answers[index] = answer
    if (answers.includes(undefined)) return
    this.#answers.delete(append.key)
    this.#out.push({ do: 'answer', key: append.key, answers: answers as Appended[] })
  }

  answerAll(items: readonly Item[], answer: Appended): void {
    for (const item of items) this.answer(item, answer)
  }

  /** Answers what still waits, of one append or of all. */
  refuse(answer: Appended, key?: number): void {
    const items = this.#items
    this.#items = key === undefined ? [] : items.filter(({ append }) => append.key !== key)
    for (const item of items) if (key === undefined || item.append.key === key) this.answer(item, answer)
  }

  /** The answers that are complete since the last call. */
  drain(): Output[] {
    const out = this.#out
    this.#out = []
    return out
  }
}

/** Positions follow each other within a batch. */
export const at = (first: Position, index: number): Appended => ({ status: 'written', position: first + index })
