/**
 * A lane of plain batches, idempotent and acknowledged by all replicas in sync: one batch at a time, of all that waits. Under a producer id of
 * its own, or, with a transactional id, under an epoch that fences: whoever takes the id next raises the epoch, and batches of the old
 * one are refused as soon as the new one has written (plain batches under the epoch of a transactional id were seen to be fenced by it).
 *
 *   waiting -> a batch is frozen -> sent -> written: answered
 *                                        -> no answer, or one that leaves it open: the same bytes are sent again
 *                                        -> refused at the first sending: not written
 */
import { EngineError } from '../../errors.ts'
import { fateOf } from './answers.ts'
import { encodeRecords, wrapped } from './framing.ts'
import { Initiation } from './initiation.ts'
import { type Call, type Identity, type Input, type Output, positionOf, RETRY, type Reply } from './lane.ts'
import { at, type Item, Queue } from './queue.ts'
import { refusal, tooLarge } from './refusals.ts'

interface Flight {
  readonly items: readonly Item[]
  readonly batch: Buffer
  /** No earlier attempt can have reached a broker. */
  first: boolean
}

export interface LaneOptions<Id = string | null> {
  /** Null: a producer id of its own, and no fence. */
  readonly transactionalId: Id
  readonly app: string | undefined
  readonly maxBatchBytes: number
}

export class BatchLane {
  readonly #options: LaneOptions
  readonly #queue = new Queue()
  readonly #initiation: Initiation
  #identity: Identity | undefined
  #flight: Flight | undefined
  /** The request that is on its way. */
  #call: number | undefined
  #calls = 0
  #notBefore = 0
  #failures = 0
  /** What the last request came to, if to nothing. */
  #hindrance: EngineError | undefined
  #now = 0
  #closed = false
  #out: Output[] = []

  constructor(options: LaneOptions) {
    this.#options = options
    this.#initiation = new Initiation(options.transactionalId)
  }

  /** When a tick has something to do; undefined: not before another input. */
  get due(): number | undefined {
    return this.#call === undefined && (this.#flight || this.#queue.size > 0) ? this.#notBefore : undefined
  }

  step(now: number, input: Input): Output[] {
    this.#now = now
    this.#out = []
    if (input.type === 'append') this.#queue.push(input.append)
    else if (input.type === 'give-up') this.#queue.refuse({ status: 'not-written', cause: givenUp(this.#hindrance) }, input.key)
    else if (input.type === 'close') this.#close()
    else if (input.type === 'reply' && input.call === this.#call) {
      this.#call = undefined
      this.#hindrance = input.reply.error === 'NONE' ? undefined : refusal(input.reply, this.#options.transactionalId)
      if (this.#flight) this.#produced(this.#flight, input.reply)
      else this.#initiated(input.reply)
    }
    if (this.#closed) this.#queue.refuse({ status: 'not-written', fatal: true })
    this.#go()
    return [...this.#queue.drain(), ...this.#out]
  }

  #go(): void {
    if (this.#call !== undefined || this.#now < this.#notBefore) return
    for (let head = this.#queue.head; head && !this.#flight; head = this.#queue.head) {
      const { fence } = head.append
      // A reign begins under an epoch of its own.
      if (fence === 'take' && (this.#identity?.sequence ?? 0) > 0) this.#identity = undefined
      if (fence === 'hold' && !this.#identity) this.#queue.refuse({ status: 'not-written', fenced: true }, head.append.key)
      else if (!this.#identity) return this.#request(this.#initiation.request(this.#now))
      else this.#freeze(this.#identity)
    }
    if (this.#flight) this.#request({ api: 'produce', batch: this.#flight.batch, transactionalId: null })
  }

  #freeze(identity: Identity, items = this.#queue.next(this.#options.maxBatchBytes)): void {
    const batch = encodeRecords(
      items.map(({ record }) => record),
      this.#options.app,
      identity,
      false,
    )
    this.#flight = { items, batch, first: true }
  }

  #request(request: Call): void {
    this.#call = ++this.#calls
    this.#out.push({ do: 'call', call: this.#call, request })
  }

  #initiated(reply: Reply): void {
    const come = this.#initiation.replied(this.#now, reply)
    this.#notBefore = come.notBefore
    if (come.identity) this.#identity = come.identity
    if (come.refused) this.#queue.refuse({ status: 'not-written', ...come.refused })
  }

  #produced(flight: Flight, reply: Reply): void {
    const { items } = flight
    const fate = fateOf(reply.error, flight.first)
    if (fate === 'resend' || fate === 'busy') {
      flight.first = false
      return this.#backOff()
    }
    this.#flight = undefined
    const cause = fate === 'written' ? undefined : refusal(reply, this.#options.transactionalId)
    switch (fate) {
      case 'written': {
        this.#failures = 0
        const first = positionOf(reply.offset!)
        for (const [index, item] of items.entries()) this.#queue.answer(item, at(first, index))
        const { producerId, epoch, sequence } = this.#identity!
        this.#identity = { producerId, epoch, sequence: wrapped(sequence + items.length) }
        return
      }
      case 'not-written':
        this.#backOff()
        this.#queue.answerAll(items, { status: 'not-written', cause })
        return
      case 'too-large':
        // Each half by itself; a single record never fits.
        if (items.length === 1) return this.#queue.answer(items[0]!, { status: 'not-written', cause: tooLarge(items[0]!.record) })
        this.#queue.back(items.slice(items.length >> 1))
        return this.#freeze(this.#identity!, items.slice(0, items.length >> 1))
      case 'fenced':
      case 'spent':
        this.#identity = undefined
        this.#queue.answerAll(items, { status: 'not-written', cause, fenced: this.#options.transactionalId !== null })
        return
      case 'unknown':
        this.#identity = undefined
        this.#queue.answerAll(items, { status: 'unknown', cause })
    }
  }

  #backOff(): void {
    this.#notBefore = this.#now + RETRY * Math.min(10, 2 ** this.#failures++)
  }

  #close(): void {
    this.#closed = true
    const flight = this.#flight
    this.#flight = undefined
    if (flight) this.#queue.answerAll(flight.items, { status: flight.first && this.#call === undefined ? 'not-written' : 'unknown' })
    this.#call = undefined
  }
}

export function givenUp(hindrance: EngineError | undefined): EngineError {
  const why = hindrance ? `: ${hindrance.message}` : ''
  return new EngineError('timeout', `the cluster did not take it in time${why}`, { cause: hindrance })
}
