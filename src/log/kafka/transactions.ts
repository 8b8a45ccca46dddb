/**
 * A lane of transactions: each is all or nothing, and read only once it was committed. It gives Kafka the conditional append that it lacks
 * (KIP-98 for the protocol, KIP-890 for version 2):
 *
 *   produce -> look at what stands between the base and the own record -> nothing that voids it: commit, else abort
 *
 * Only one transaction of a transactional id can be open, and taking the id over ends that of the writer before: between the look and the
 * commit nobody else's transaction can slip in unless this one is aborted by it. What slips in by other means `accept` finds.
 *
 * "Fenced" does not mean that it did not happen: an EndTxn whose answer is not a clear one leaves its outcome unknown, and is never sent
 * again. A transaction whose EndTxn was not sent yet can be committed by nobody.
 */
import type { EngineError } from '../../errors.ts'
import type { Position } from '../../log.ts'
import { type Answer, endedBy, fateOf } from './answers.ts'
import { givenUp, type LaneOptions } from './batches.ts'
import { encodeRecords } from './framing.ts'
import { Initiation } from './initiation.ts'
import { type Between, type Call, type Identity, type Input, LAST_EPOCH, type Output, POLL, positionOf, RETRY, type Reply } from './lane.ts'
import { at, type Item, Queue } from './queue.ts'
import { refusal, tooLarge } from './refusals.ts'

interface Flight {
  readonly items: readonly Item[]
  readonly batch: Buffer
  stage: 'add' | 'produce' | 'gap' | 'commit' | 'abort' | 'pass'
  /** Of the first record, once it was produced. */
  first: Position
}

export interface TransactionLaneOptions extends LaneOptions<string> {
  readonly version: 1 | 2
  readonly random: () => number
}

/**
 * Two who take the id from each other can abort each other for ever. So one that was fenced waits, up to so many milliseconds, until who did it has
 * committed something: one far away would never come to that if those near came back at once. It may need two transactions, for
 * the first may be based on what was before its turn.
 */
const YIELD = 1_000
/** Then it keeps away by chance, ms, doubled each time up to the most: many who come at once do nothing else. */
const TURN = 64
const GLIMPSE = 4
const KEEP_AWAY = 1_000

export class TransactionLane {
  readonly #options: TransactionLaneOptions
  readonly #queue = new Queue()
  readonly #initiation: Initiation
  #identity: Identity | undefined
  /** The last identity was given up with a transaction open: it is ended even if nobody wants to write. */
  #open: Identity | undefined
  /** The fence was taken, and as far as known nobody has taken it since. */
  #held = false
  #flight: Flight | undefined
  /** Since when who fenced this one has its turn. */
  #fencedAt: number | undefined
  /** Since when it is waited for that. */
  #yielding: number | undefined
  /** Of the last record that was committed here. */
  #own: Position = 0
  #call: number | undefined
  #calls = 0
  #notBefore = 0
  #failures = 0
  #fencings = 0
  /** So many records make a batch at most: fewer where the last one was too large. */
  #most = Infinity
  /** What the last request came to, if to nothing. */
  #hindrance: EngineError | undefined
  #now = 0
  #closed = false
  #out: Output[] = []

  constructor(options: TransactionLaneOptions) {
    this.#options = options
    this.#initiation = new Initiation(options.transactionalId)
  }

  get due(): number | undefined {
    const wants = !this.#closed && (this.#flight || this.#open || this.#queue.size > 0)
    return this.#call === undefined && wants ? this.#notBefore : undefined
  }

  step(now: number, input: Input): Output[] {
    this.#now = now
    this.#out = []
    if (input.type === 'append') this.#queue.push(input.append)
    else if (input.type === 'give-up') this.#queue.refuse({ status: 'not-written', cause: givenUp(this.#hindrance) }, input.key)
    else if (input.type === 'close') this.#close()
    else if (input.type === 'reply' && input.call === this.#call) {
      this.#call = undefined
      if (this.#yielding !== undefined) this.#yielded(this.#yielding)
      else {
        this.#hindrance = input.reply.error === 'NONE' ? undefined : refusal(input.reply, this.#options.transactionalId)
        if (this.#flight) this.#replied(this.#flight, input.reply)
        else this.#initiated(input.reply)
      }
    }
    if (this.#closed) this.#queue.refuse({ status: 'not-written', fatal: true })
    this.#go()
    return [...this.#queue.drain(), ...this.#out]
  }

  #go(): void {
    if (this.#closed || this.#call !== undefined || this.#now < this.#notBefore) return
    while (!this.#flight) {
      // Refused if a rival has taken over: then it has ended the transaction, too.
      if (this.#open) return this.#request(this.#initiation.request(this.#now, this.#open))
      const head = this.#queue.head
      if (!head) return
      const { fence } = head.append
      if (fence === 'take' && this.#held) {
        this.#held = false
        this.#identity = undefined
      }
      if (fence === 'hold' && !this.#held) {
        this.#queue.refuse({ status: 'not-written', fenced: true }, head.append.key)
        continue
      }
      if (!this.#identity)
        return this.#fencedAt === undefined ? this.#request(this.#initiation.request(this.#now)) : this.#yield(this.#fencedAt)
      if (fence === 'take') this.#held = true
      this.#freeze(this.#identity)
    }
    this.#request(this.#next(this.#flight))
  }

  #freeze(identity: Identity): void {
    const items = this.#queue.next(this.#options.maxBatchBytes, this.#most)
    const records = items.map(({ record }) => record)
    const batch = encodeRecords(records, this.#options.app, identity, true)
    this.#flight = { items, batch, stage: this.#options.version === 1 ? 'add' : 'produce', first: 0 }
  }

  #next({ items, batch, stage, first }: Flight): Call {
    const { transactionalId } = this.#options
    switch (stage) {
      case 'add': {
        const { producerId, epoch } = this.#identity!
        return { api: 'add-partition', transactionalId, producerId, epoch }
      }
      case 'produce':
        return { api: 'produce', batch, transactionalId }
      case 'gap':
        return { api: 'gap', after: lowest(items)!, before: first }
      case 'commit':
      case 'abort': {
        const { producerId, epoch } = this.#identity!
        return { api: 'end', transactionalId, producerId, epoch, commit: stage === 'commit' }
      }
      case 'pass':
        return { api: 'passed', position: first + items.length - 1 }
    }
  }

  #request(request: Call): void {
    this.#call = ++this.#calls
    this.#out.push({ do: 'call', call: this.#call, request })
  }

  #initiated(reply: Reply): void {
    const ended = this.#open
    const { identity, spent, refused, notBefore } = this.#initiation.replied(this.#now, reply)
    this.#notBefore = notBefore
    if (spent && this.#open) this.#open = spent
    if (identity) {
      this.#identity = identity
      this.#open = undefined
    }
    if (!refused) return
    this.#held = false
    // The rival's own InitProducerId ended the transaction; nobody else was waiting for this one.
    if (ended && 'fenced' in refused) this.#open = undefined
    else this.#queue.refuse({ status: 'not-written', ...refused })
    if ('fenced' in refused) this.#fenced()
  }

  #replied(flight: Flight, reply: Reply): void {
    switch (flight.stage) {
      case 'add':
        return this.#added(flight, reply)
      case 'produce':
        return this.#produced(flight, reply)
      case 'gap':
        return this.#looked(flight, reply)
      case 'commit':
        return this.#committed(flight, reply)
      case 'abort':
        if (reply.error === 'NONE') this.#goOnWith(flight, reply)
        else this.#giveUpIdentity(flight)
        return
      case 'pass':
        this.#flight = undefined
    }
  }

  #added(flight: Flight, reply: Reply): void {
    if (reply.error === 'NONE') {
      flight.stage = 'produce'
      return
    }
    if (reply.error === 'CONCURRENT_TRANSACTIONS') return this.#poll()
    this.#failed(flight, reply)
  }

  #produced(flight: Flight, reply: Reply): void {
    const { items } = flight
    const fate = fateOf(reply.error, true)
    if (fate === 'busy') return this.#poll()
    if (fate === 'too-large') {
      this.#giveUpIdentity(flight)
      if (items.length === 1) this.#queue.answer(items[0]!, { status: 'not-written', cause: tooLarge(items[0]!.record) })
      else {
        this.#queue.back(items)
        this.#most = items.length >> 1
      }
      return
    }
    if (fate !== 'written') return this.#failed(flight, reply)
    flight.first = positionOf(reply.offset!)
    const base = lowest(items)
    // Nothing can stand between two places that follow each other.
    flight.stage = base === undefined || base + 1 === flight.first ? 'commit' : 'gap'
  }

  /** Nothing of it will ever be read: its EndTxn was not sent. */
  #failed(flight: Flight, reply: Reply): void {
    const fenced = isFenced(reply.error)
    this.#queue.answerAll(flight.items, { status: 'not-written', cause: refusal(reply, this.#options.transactionalId), fenced })
    if (fenced) this.#lost()
    else this.#giveUpIdentity(flight)
  }

  #looked(flight: Flight, { error, between = [] }: Reply): void {
    const voids = (item: Item) =>
      item.append.after !== undefined && between.some(each => each.position > item.append.after! && isRival(each, item.record.tenant))
    if (error === 'NONE' && !flight.items.some(voids)) {
      flight.stage = 'commit'
      return
    }
    // It stands or falls whole.
    for (const item of flight.items)
      this.#queue.answer(item, error === 'NONE' && voids(item) ? { status: 'conflict' } : { status: 'not-written' })
    flight.stage = 'abort'
  }

  #committed(flight: Flight, reply: Reply): void {
    const { items, first } = flight
    switch (endedBy(reply.error)) {
      case 'committed':
        for (const [index, item] of items.entries()) this.#queue.answer(item, at(first, index))
        this.#own = first + items.length - 1
        this.#failures = 0
        // Who got through goes on; the rivals are still there.
        this.#fencings >>= 1
        this.#most *= 2
        this.#goOnWith(flight, reply)
        return
      case 'aborted':
        this.#failed(flight, reply)
        return
      case 'unknown':
        this.#queue.answerAll(items, { status: 'unknown', cause: refusal(reply, this.#options.transactionalId) })
        this.#giveUpIdentity(flight)
    }
  }

  /**
   * The next transaction begins when this one was read: before that the coordinator is busy with its markers. Version 2 gives each transaction an
   * epoch of its own, so that nothing of the last one can arrive in it; version 1 does not, and is asked for one.
   */
  #goOnWith(flight: Flight, { producerId, epoch }: Reply): void {
    const own = this.#identity!
    this.#identity = undefined
    if (this.#options.version === 1) {
      // One that reigns must not take back what somebody else has taken.
      if (this.#held) this.#open = own
    } else if (epoch! < LAST_EPOCH) this.#identity = { producerId: producerId!, epoch: epoch!, sequence: 0 }
    flight.stage = 'pass'
  }

  /** A request was not answered, or not well: whatever may still arrive of it must not meet the next transaction. */
  #giveUpIdentity(_: Flight): void {
    this.#flight = undefined
    this.#open = this.#identity
    this.#identity = undefined
    this.#notBefore = this.#now + RETRY * Math.min(10, 2 ** this.#failures++) * this.#options.random()
  }

  #lost(): void {
    this.#flight = undefined
    this.#identity = undefined
    this.#held = false
    this.#fenced()
  }

  #fenced(): void {
    this.#fencedAt = this.#now
    this.#notBefore = this.#now
  }

  #yield(fencedAt: number): void {
    this.#yielding = this.#now
    this.#request({ api: 'yield', after: this.#own, patience: Math.max(0, fencedAt + YIELD - this.#now) })
  }

  #yielded(since: number): void {
    this.#yielding = undefined
    this.#fencedAt = undefined
    // Who fenced it a while ago has had its turn; one that is at it now has more to write.
    const turn = this.#now > since ? TURN : GLIMPSE
    this.#notBefore = this.#now + this.#options.random() * Math.min(KEEP_AWAY, turn * 2 ** Math.min(10, this.#fencings++))
  }

  #poll(): void {
    this.#notBefore = this.#now + POLL
  }

  #close(): void {
    this.#closed = true
    const flight = this.#flight
    this.#flight = undefined
    if (flight)
      this.#queue.answerAll(flight.items, { status: flight.stage === 'commit' && this.#call !== undefined ? 'unknown' : 'not-written' })
    this.#call = undefined
  }
}

/** The lowest base of those that have a condition. */
function lowest(items: readonly Item[]): Position | undefined {
  let low: Position | undefined
  for (const { append } of items) if (append.after !== undefined && !(append.after >= (low ?? Infinity))) low = append.after
  return low
}

const isRival = ({ tenant, barrier }: Between, own: string | null): boolean => (tenant === null ? !barrier : tenant === own)

const isFenced = (error: Answer): boolean => error === 'PRODUCER_FENCED' || error === 'INVALID_PRODUCER_EPOCH'
