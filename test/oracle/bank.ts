/** A toy app without a database: balances of accounts. Its rules read one account, two, or all; some commands only write. */
import type { Decision, Json, Tags } from '../../src/record.ts'

/** Cents by account. Never changed in place. */
export type Bank = { readonly [account: string]: number }

export type Command =
  | { readonly name: 'deposit' | 'salary' | 'cap'; readonly to: string; readonly cents: number }
  | { readonly name: 'withdraw'; readonly from: string; readonly cents: number }
  | { readonly name: 'move'; readonly from: string; readonly to: string; readonly cents: number }
  | { readonly name: 'sweep' | 'look'; readonly from: string }
  | { readonly name: 'interest' | 'audit' }

interface Posting {
  readonly account: string
  readonly cents: number
  /** Tells what the decision saw: a decision made on a stale state differs in its events. */
  readonly left?: number
}

/** What a decision is made of, besides its id and hash. */
type Decided = Pick<Decision, 'reads' | 'writes' | 'events' | 'result' | 'rejection'>

const total = (bank: Bank) => Object.values(bank).reduce((sum, cents) => sum + cents, 0)

export function decide(bank: Bank, command: Command): Decided {
  const posted = (...postings: Posting[]) => events(postings)
  switch (command.name) {
    case 'deposit':
      return { reads: [], writes: [command.to], events: posted({ account: command.to, cents: command.cents }) }
    case 'salary':
      return { reads: [], writes: [], events: events([{ account: command.to, cents: command.cents }], [command.to]) }
    case 'cap': {
      const scope = { reads: '*' as Tags, writes: [command.to] }
      const sum = total(bank)
      if (sum + command.cents > 60) return { ...scope, events: [], rejection: { code: 'too much', details: { sum } } }
      return { ...scope, events: posted({ account: command.to, cents: command.cents, left: sum }) }
    }
    case 'withdraw': {
      const scope = { reads: [command.from], writes: [command.from] }
      const left = (bank[command.from] ?? 0) - command.cents
      if (left < 0) return { ...scope, events: [], rejection: { code: 'too little', details: { missing: -left } } }
      return { ...scope, events: posted({ account: command.from, cents: -command.cents, left }), result: left }
    }
    case 'move': {
      const scope = { reads: [command.from], writes: [command.from, command.to] }
      const left = (bank[command.from] ?? 0) - command.cents
      if (left < 0) return { ...scope, events: [], rejection: { code: 'too little' } }
      return {
        ...scope,
        events: posted({ account: command.from, cents: -command.cents, left }, { account: command.to, cents: command.cents }),
      }
    }
    case 'sweep': {
      const cents = bank[command.from] ?? 0
      return { reads: [command.from], writes: '*', events: cents ? posted({ account: command.from, cents: -cents }) : [], result: cents }
    }
    case 'look':
      return { reads: [command.from], writes: [], events: [], result: bank[command.from] ?? 0 }
    case 'interest': {
      const rich = Object.keys(bank).filter(account => bank[account]! > 9)
      return { reads: '*', writes: '*', events: posted(...rich.map(account => ({ account, cents: 1, left: bank[account]! }))) }
    }
    case 'audit':
      return { reads: '*', writes: [], events: [], result: total(bank) }
  }
}

const events = (postings: Posting[], tags?: string[]): Decision['events'] =>
  postings.map(posting => ({ type: 'Posted', schema: 1, data: posting as unknown as Json, ...(tags ? { tags } : {}) }))

export function project(bank: Bank, decided: Pick<Decision, 'events'>): Bank {
  const now: Record<string, number> = { ...bank }
  for (const { data } of decided.events) {
    const { account, cents } = data as unknown as Posting
    now[account] = (now[account] ?? 0) + cents
  }
  return now
}
