/**
 * What clients of the shop asked for and were told, on any number of replicas; and the check of it against the log: what was accepted stands
 * there once, what was "not written" does not, and every decision saw what it had to see.
 */
import { expect } from 'vitest'
import type { Outcome } from '../../src/app.ts'
import { EngineError } from '../../src/errors.ts'
import { openLogs } from '../../src/log/open.ts'
import type { Stored } from '../../src/log.ts'
import { type Asked, judge } from './judge.ts'

export interface Executes {
  execute(command: string, input?: unknown, options?: object): Promise<Outcome<unknown> & { duplicate: boolean }>
}

/** Codes of those who were told that nothing is known. */
export const doubtful: ReadonlySet<string> = new Set(['outcome-unknown', 'aborted', 'none'])

export class Ledger {
  readonly #asked = new Map<string, Asked>()
  /** The last word on each id: 'accepted', 'rejected', or the code of an error. */
  readonly #told = new Map<string, string>()
  #count = 0

  /** How often each word was said last. */
  get words(): Record<string, number> {
    const words: Record<string, number> = {}
    for (const word of this.#told.values()) words[word] = (words[word] ?? 0) + 1
    return words
  }

  /** Ids whose outcome their client does not know, or that failed. */
  get open(): string[] {
    return [...this.#told].filter(([, word]) => word !== 'accepted' && word !== 'rejected').map(([id]) => id)
  }

  async execute(
    who: unknown,
    command: string,
    input: unknown,
    options: { readonly id?: string; readonly timeout?: number; readonly tenant?: string } = {},
  ): Promise<Outcome<unknown> & { duplicate: boolean }> {
    const id = options.id ?? `asked-${++this.#count}`
    this.#asked.set(id, { command, input })
    if (this.#told.get(id) === undefined) this.#told.set(id, 'none')
    try {
      const outcome = await (who as Executes).execute(command, input, { ...options, id })
      this.#told.set(id, outcome.status)
      return outcome
    } catch (error) {
      // A puppet's error has a code, too.
      const { code = 'none' } = error as { code?: string }
      this.#told.set(id, code)
      throw error
    }
  }

  /** Pays a cent. */
  pay(who: unknown, account = 'ann', options: { readonly id?: string; readonly timeout?: number; readonly tenant?: string } = {}) {
    return this.execute(who, 'pay', { account, cents: 1 }, options)
  }

  /** Asks again for what is open, under the same ids. */
  async settle(who: unknown, options: { readonly timeout?: number; readonly tenant?: string } = {}): Promise<void> {
    await Promise.all(this.open.map(id => this.execute(who, this.#asked.get(id)!.command, this.#asked.get(id)!.input, { ...options, id })))
  }

  /**
   * @returns the version and digest of each tenant, as the log has them
   */
  async check(log: string): Promise<ReadonlyMap<string, string>> {
    const { problems, accepted, digests } = judge(await recordsOf(log), id => this.#asked.get(id)!)
    expect(problems.slice(0, 5)).toEqual([])
    for (const [id, word] of this.#told) {
      const decision = accepted.get(id)
      if (word === 'accepted' || word === 'rejected') {
        expect(decision, `${id} was ${word}, and does not stand in the log`).toBeDefined()
        expect(decision!.rejection === undefined ? 'accepted' : 'rejected', id).toBe(word)
      } else if (!doubtful.has(word)) expect(decision, `${id} was told ${word}, and stands in the log`).toBeUndefined()
    }
    return digests
  }
}

/** Committed records of a log, shard by shard. Settles where the log ends by reading, for nobody writes any more. */
export async function recordsOf(log: string): Promise<Stored[]> {
  const logs = await openLogs(log)
  const records: Stored[] = []
  try {
    for (const shard of logs.shards) {
      for (let after = 0, head = await shard.head(); after < head; ) {
        const chunk = await shard.read(after, { wait: true })
        records.push(...chunk.records)
        after = chunk.reached
      }
    }
    return records
  } finally {
    await logs.close()
  }
}

/** The error of a call that must fail, of a replica or of a puppet. */
export async function refused(answer: Promise<unknown>): Promise<EngineError> {
  return (await answer.then(
    value => expect.unreachable(`expected an error, got ${JSON.stringify(value)}`),
    (error: unknown) => error,
  )) as EngineError
}
