/**
 * Asking for an identity: InitProducerId until it is given. With a transactional id it also ends whatever transaction is open under it,
 * whoever opened it, and fences whoever used it before.
 */
import type { EngineError } from '../../errors.ts'
import { initiation } from './answers.ts'
import { type Call, type Identity, LAST_EPOCH, POLL, POLLING, RETRY, type Reply, SLOW_POLL } from './lane.ts'
import { refusal } from './refusals.ts'

export interface Come {
  readonly identity?: Identity
  /** It will not be given: of those who waited for it, nothing was written. */
  readonly refused?: { readonly fenced: true } | { readonly cause: EngineError }
  /** An identity that is used up nearly: the next request goes out under it, until another producer id comes. */
  readonly spent?: Identity
  readonly notBefore: number
}

export class Initiation {
  readonly #transactionalId: string | null
  #since: number | undefined
  #failures = 0

  constructor(transactionalId: string | null) {
    this.#transactionalId = transactionalId
  }

  /** @param own ends the own transaction and raises the own epoch: refused if somebody else has taken the id since */
  request(now: number, own?: Identity): Call {
    this.#since ??= now
    return { api: 'init', transactionalId: this.#transactionalId, producerId: own?.producerId ?? -1n, epoch: own?.epoch ?? -1 }
  }

  replied(now: number, reply: Reply): Come {
    const since = this.#since ?? now
    switch (initiation(reply.error)) {
      case 'done':
        // Near its end the coordinator gives a new producer id: it is asked until it does, before anything is opened.
        // Under its former epoch each request would be taken for the one before, sent again, and answered alike.
        if (this.#transactionalId !== null && reply.epoch! >= LAST_EPOCH)
          return { spent: { producerId: reply.producerId!, epoch: reply.epoch!, sequence: 0 }, notBefore: now }
        this.#end()
        return { identity: { producerId: reply.producerId!, epoch: reply.epoch!, sequence: 0 }, notBefore: now }
      case 'poll':
        return { notBefore: now + (now - since < POLLING ? POLL : SLOW_POLL) }
      case 'retry':
        return { notBefore: now + RETRY * Math.min(10, 2 ** this.#failures++) }
      case 'fenced':
        this.#end()
        return { refused: { fenced: true }, notBefore: now }
      case 'denied':
        this.#end()
        return { refused: { cause: refusal(reply, this.#transactionalId) }, notBefore: now + 10 * RETRY }
    }
  }

  #end(): void {
    this.#since = undefined
    this.#failures = 0
  }
}
