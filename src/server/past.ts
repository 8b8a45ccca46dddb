/**
 * `/at/VERSION-or-TIME/queries/NAME`: a query to a tenant's database as it was. Such a database is replayed, which may take long: a few are made at
 * a time, and those asked for of late are kept for a while.
 */
import { EngineError } from '../errors.ts'
import { whenOf } from '../replica/past.ts'
import type { Past, Replica } from '../replica.ts'
import { type Answer, type Call, deadlineOf, json, preferences } from './call.ts'
import { Problem } from './problem.ts'
import { asked } from './queries.ts'
import type { Service } from './service.ts'

/** How many are replayed at a time, how many are kept, and for how long after they were last asked, ms. */
const REPLAYING = 2
const KEPT = 8
const IDLE = 60_000

/** @throws Problem, EngineError no-such-version */
export async function at(service: Service, call: Call & { readonly when: string }): Promise<Answer> {
  const when = whenOf(call.when)
  if (when === undefined)
    throw new Problem('malformed', {
      detail: 'the path names neither a version (a whole number) nor a time, such as 2026-03-01 or 2026-03-01T12:00:00Z',
    })
  const { tenant, input } = await asked(service, call)
  const past = await service.pasts.open(service.ready(), tenant, when, deadlineOf(preferences(call.header('prefer')), service))
  return json(past.query(call.name, input), { 'mainstem-version': String(past.version) })
}

interface Kept {
  readonly opening: Promise<Past>
  past: Past | undefined
  used: number
}

export class Pasts {
  readonly #kept = new Map<string, Kept>()
  #closed = false
  #timer: NodeJS.Timeout | undefined

  /** To be read at once: it may be closed in the next turn. @throws Problem overloaded, not-ready where it takes longer; EngineError */
  async open(replica: Replica, tenant: string, when: number | Date, patience: number): Promise<Past> {
    const key = `${tenant} ${typeof when === 'number' ? when : when.toISOString()}`
    let kept = this.#kept.get(key)
    if (!kept) {
      if (this.#closed) throw new EngineError('closed', 'the replica is closing')
      if ([...this.#kept.values()].filter(({ past }) => !past).length >= REPLAYING)
        throw new Problem('overloaded', { detail: 'other past databases are being replayed; ask again', retryAfter: 2 })
      kept = this.#begin(key, replica.at(when, { tenant }))
    }
    kept.used = Date.now()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, fail) => {
      const problem = new Problem('not-ready', { detail: 'the past database is being replayed still; ask again', retryAfter: 2 })
      timer = setTimeout(() => fail(problem), patience)
    })
    try {
      return await Promise.race([kept.opening, late])
    } finally {
      clearTimeout(timer)
    }
  }

  #begin(key: string, opening: Promise<Past>): Kept {
    const kept: Kept = { opening, past: undefined, used: Date.now() }
    this.#kept.set(key, kept)
    opening.then(
      past => {
        kept.past = past
        if (this.#closed) this.#drop(key, kept)
        else this.#tidy()
      },
      () => this.#kept.delete(key),
    )
    this.#timer ??= setInterval(() => this.#tidy(), IDLE / 2).unref()
    return kept
  }

  #tidy(): void {
    const open = [...this.#kept].filter(([, { past }]) => past).sort(([, a], [, b]) => a.used - b.used)
    for (const [index, [key, kept]] of open.entries()) {
      if (open.length - index > KEPT || Date.now() - kept.used > IDLE) this.#drop(key, kept)
    }
  }

  /** In a turn of its own: who waits for it at this moment reads it first. */
  #drop(key: string, { past }: Kept): void {
    this.#kept.delete(key)
    setImmediate(() => void past?.close())
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    const kept = [...this.#kept.values()]
    this.#kept.clear()
    // One that is being replayed closes itself, or fails with the log.
    await Promise.allSettled(kept.flatMap(({ past }) => (past ? [past.close()] : [])))
  }
}
