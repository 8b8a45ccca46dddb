/**
 * Whole logs, written by many writers who are late, wrong, repeating themselves or deposed, judged three times: by the fold, by a fold
 * that is restored from its history again and again, and by the naive specification. And what was accepted is executed again at its
 * place in the log, by the app, on the true state.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isHome, type ShardState, type Verdict } from '../../src/accept.ts'
import { partitionOf } from '../../src/partition.ts'
import { type ControlRecord, type DataRecord, type Decision, decode, inputHash } from '../../src/record.ts'
import { type Bank, type Command, decide, project } from './bank.ts'
import { encode, Fold, LOG, manifest, uuidAt } from './fold.ts'
import { Spec } from './spec.ts'

// --- Programs: what happens, in which order ---------------------------------------------------------------------------------------

const account = fc.constantFrom('a', 'b', 'c', 'd')
const cents = fc.integer({ min: 1, max: 9 })
const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ name: fc.constantFrom('deposit' as const, 'salary' as const, 'cap' as const), to: account, cents }),
  fc.record({ name: fc.constant('withdraw' as const), from: account, cents }),
  fc.record({ name: fc.constant('move' as const), from: account, to: account, cents }),
  fc.record({ name: fc.constantFrom('sweep' as const, 'look' as const), from: account }),
  { weight: 1, arbitrary: fc.record({ name: fc.constantFrom('interest' as const, 'audit' as const) }) },
)

/** A new id (with a time, or without), or one that was used before, with its own command or with another. */
const identity = fc.oneof(
  { weight: 6, arbitrary: fc.record({ is: fc.constant('uuid' as const), time: fc.integer({ min: 1, max: 40 }) }) },
  { weight: 3, arbitrary: fc.record({ is: fc.constant('plain' as const) }) },
  { weight: 2, arbitrary: fc.record({ is: fc.constantFrom('retry' as const, 'reuse' as const), which: fc.nat() }) },
)

const tenant = fc.oneof({ weight: 5, arbitrary: fc.constant('one') }, { weight: 1, arbitrary: fc.constant('two') })

const write = fc.record({
  do: fc.constant('write' as const),
  tenant,
  /** How many records the writer has not seen yet. */
  lag: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 12 })),
  batch: fc.array(fc.record({ identity, command }), { minLength: 1, maxLength: 5 }),
  wrong: fc.oneof(
    { weight: 12, arbitrary: fc.constant('nothing' as const) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('head' as const, 'digest' as const, 'base' as const, 'owner' as const, 'log' as const, 'rules' as const),
    },
    { weight: 1, arbitrary: fc.constantFrom('release' as const, 'end' as const) },
  ),
})

const owner = fc.constantFrom('r1', 'r2', null)
const release = fc.constantFrom('v1', 'v2', null)
/** Off by how much; mostly right. */
const off = fc.constantFrom(0, 0, 0, -1, 1)

const step = fc.oneof(
  { weight: 40, arbitrary: write },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('double' as const), which: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('term' as const), off, owner }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('release' as const), release, replaces: release }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const), before: fc.integer({ min: 0, max: 40 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('rules' as const), off, window: fc.integer({ min: 0, max: 25 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('barrier' as const, 'manifest' as const, 'garbage' as const, 'drop' as const) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never
type Write = Extract<Step, { do: 'write' }>

// --- The run ----------------------------------------------------------------------------------------------------------------------

/** What a replica knows at some place in the log. */
interface Seen {
  readonly shard: ShardState
  readonly tenants: { readonly [tenant: string]: { readonly bank: Bank; readonly version: number; readonly digest: string } }
}

/** How often each thing happened, over all runs: a test that never met a conflict proves nothing. */
const tally: Record<string, number> = {}
const count = (what: string) => {
  tally[what] = (tally[what] ?? 0) + 1
}

class Run {
  readonly #live = new Fold()
  /** Reads bytes, is restored again and again, and drops ids when it may. */
  readonly #restored = new Fold()
  readonly #spec = new Spec()
  readonly #log: string[] = []
  readonly #seen: Seen[] = []
  readonly #banks: { [tenant: string]: Bank } = { one: {}, two: {} }
  readonly #attempts: { readonly id: string; readonly command: Command }[] = []
  readonly #inputs = new Map<string, Command>()
  readonly #accepted = new Set<string>()

  constructor(window: number, partitions: number) {
    this.append(encode(manifest({ window, partitions, partition: partitionOf('one', partitions) })))
  }

  do(step: Step): unknown {
    const { shard } = this.#live
    const control = (record: object) => this.append(encode({ log: LOG, time: 1, ...record } as ControlRecord))
    switch (step.do) {
      case 'write':
        return this.write(step)
      case 'double':
        return this.append(this.#log[step.which % this.#log.length]!)
      case 'term':
        return control({ kind: 'term', number: shard.term.number + 1 + step.off, owner: step.owner, address: null })
      case 'release':
        return control({ kind: 'release', release: step.release ?? 'v3', replaces: step.replaces })
      case 'forget':
        return control({ kind: 'forget', before: step.before })
      case 'rules':
        return control({ kind: 'rules', number: shard.rules.number + 1 + step.off, window: step.window })
      case 'barrier':
        return control({ kind: 'barrier', nonce: 'n' })
      case 'manifest':
        return this.append(encode(manifest({ window: 0, log: 'log-2' })))
      case 'garbage':
        return this.append('{"mainstem":1,"kind":"data"')
      case 'drop':
        return this.#restored.forget()
      case 'reopen':
        return this.#restored.reopen()
    }
  }

  seal(): void {
    this.append(encode({ kind: 'seal', log: LOG, time: 1 }))
  }

  /** A writer decides a batch on what it has seen, each decision on top of those before it, and sends it. */
  write({ tenant, lag, batch, wrong }: Write): void {
    const seen = this.#seen[Math.max(0, this.#seen.length - 1 - lag)]!
    let { bank } = seen.tenants[tenant]!
    const decisions: Decision[] = []
    let honest = lag === 0 && wrong === 'nothing' && !seen.shard.sealed && isHome(seen.shard, tenant)
    for (const { identity, command } of batch) {
      const attempt = this.#attempt(identity, command)
      if (identity.is === 'retry' || identity.is === 'reuse') honest = false
      if (identity.is === 'uuid' && identity.time < seen.shard.forgetBefore) honest = false
      const decided = decide(bank, attempt.command)
      bank = project(bank, decided)
      const hash = inputHash(attempt.command.name, attempt.command)
      this.#inputs.set(hash, attempt.command)
      decisions.push({ id: attempt.id, command: attempt.command.name, hash, ...decided })
    }
    const record = { ...this.#head(seen, tenant, wrong), decisions }
    const verdicts = this.append(encode(record))
    if (honest) {
      expect(verdicts.every(verdict => verdict === 'accepted')).toBe(true)
      count('honest')
    }
  }

  /** A record comes to stand in the log: everybody folds it, and all that must hold is looked at. */
  append(value: string): readonly Verdict[] {
    const record = decode(value)
    this.#log.push(value)
    const before = position(this.#live, record.kind === 'data' ? record.tenant : 'one')
    const answer = this.#live.take(value)
    expect(this.#restored.take(Buffer.from(value))).toEqual(answer)
    expect(this.#restored.shard).toEqual(this.#live.shard)
    if (record.kind === 'data') this.#check(record, value, answer as Verdict[], before)
    else if (record.kind !== 'foreign') this.#spec.control(record)
    this.#look()
    return typeof answer === 'string' ? [] : answer
  }

  /** Another replica, that reads the whole log at the end, stands where everybody stands. */
  replay(): void {
    const late = new Fold()
    for (const value of this.#log) late.take(value)
    for (const tenant of ['one', 'two']) expect(position(late, tenant)).toEqual(position(this.#live, tenant))
    expect(late.shard).toEqual(this.#live.shard)
  }

  #attempt(identity: Write['batch'][number]['identity'], command: Command) {
    const n = this.#attempts.length
    if (identity.is === 'uuid' || identity.is === 'plain' || n === 0) {
      const fresh = { id: identity.is === 'uuid' ? uuidAt(identity.time, n) : `id-${n}`, command }
      this.#attempts.push(fresh)
      return fresh
    }
    const first = this.#attempts[identity.which % n]!
    return identity.is === 'retry' ? first : { id: first.id, command }
  }

  #head(seen: Seen, tenant: string, wrong: Write['wrong']): DataRecord {
    const { rules, term, release } = wrong === 'head' ? seen.shard : this.#live.shard
    const { version, digest } = seen.tenants[tenant]!
    const head: DataRecord = {
      kind: 'data',
      log: LOG,
      rules: rules.number,
      term: { number: term.number, owner: term.owner },
      release: release ?? 'v0',
      tenant,
      base: version,
      digest,
      time: 1,
      decisions: [],
    }
    switch (wrong) {
      case 'digest':
        return { ...head, digest: inputHash('another', 'history') }
      case 'base':
        return { ...head, base: version + 1 }
      case 'end':
        return { ...head, base: Math.max(0, version - 1) }
      case 'owner':
        return { ...head, term: { number: term.number, owner: 'r3' } }
      case 'log':
        return { ...head, log: 'log-2' }
      case 'rules':
        return { ...head, rules: rules.number + 1 }
      case 'release':
        return { ...head, release: 'v9' }
      default:
        return head
    }
  }

  #check(record: DataRecord, value: string, verdicts: readonly Verdict[], before: Position): void {
    const { tenant, base, decisions } = record
    expect(verdicts).toEqual(this.#spec.data(record, value))
    let { version } = before
    for (const [i, decision] of decisions.entries()) {
      count(verdicts[i]!)
      if (verdicts[i] !== 'accepted') continue
      // Invariant 3: once, whatever was retried, doubled or forgotten.
      const key = `${tenant} ${decision.id}`
      expect(this.#accepted.has(key)).toBe(false)
      this.#accepted.add(key)
      // Invariant 2: executed again at its place in the log, it decides the same.
      const bank = this.#banks[tenant]!
      const { id: _id, command: _command, hash, ...decided } = decision
      expect(decided).toEqual(decide(bank, this.#inputs.get(hash)!))
      this.#banks[tenant] = project(bank, decided)
      version += decided.events.length
      if (base < before.version) count('accepted though late')
      if (decided.rejection) count('rejected')
      if (i > 0) count('accepted in a batch')
    }
    // Invariants 1 and 5: dense versions; digest and version together; the same for everybody; the floor never moves back.
    const after = position(this.#live, tenant)
    const spec = this.#spec.standing(tenant)
    expect(after).toEqual({ version: spec.version, floor: spec.floor, digest: spec.digest })
    expect(position(this.#restored, tenant)).toEqual(after)
    expect(after.version).toBe(version)
    expect(after.floor).toBeGreaterThanOrEqual(before.floor)
    expect(after.digest !== before.digest).toBe(after.version !== before.version)
  }

  /** Keeps what a replica knows now, for writers who will be late. */
  #look(): void {
    const tenants: Record<string, Seen['tenants'][string]> = {}
    for (const name of ['one', 'two']) {
      const { version, digest } = this.#live.tenant(name).state
      tenants[name] = { bank: this.#banks[name]!, version, digest }
    }
    this.#seen.push({ shard: this.#live.shard, tenants })
  }
}

interface Position {
  readonly version: number
  readonly floor: number
  readonly digest: string
}

const position = (fold: Fold, tenant: string): Position => {
  const { version, floor, digest } = fold.tenant(tenant).state
  return { version, floor, digest }
}

test('logs of late, wrong, repeating and deposed writers', () => {
  const program = fc.record({
    window: fc.constantFrom(0, 3, 8, 25, 100),
    // Of five shards, two is a stranger on the one where one lives.
    partitions: fc.constantFrom(1, 1, 5),
    steps: fc.array(step, { minLength: 1, maxLength: 70, size: 'max' }),
    sealedAt: fc.oneof({ weight: 9, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 70 }) }),
  })
  fc.assert(
    fc.property(program, ({ window, partitions, steps, sealedAt }) => {
      const run = new Run(window, partitions)
      for (const [i, each] of steps.entries()) {
        if (i === sealedAt) run.seal()
        run.do(each)
      }
      run.replay()
    }),
    // A longer look: ORACLE_RUNS=20000 ORACLE_SEED=1 vitest run test/oracle
    { seed: Number(process.env.ORACLE_SEED ?? 42), numRuns: Number(process.env.ORACLE_RUNS ?? 300) },
  )
  const verdicts = ['accepted', 'duplicate', 'conflict', 'too-old', 'deposed', 'diverged', 'expired', 'foreign']
  for (const what of [...verdicts, 'accepted though late', 'accepted in a batch', 'rejected', 'honest'])
    expect(tally[what], `${what} happened too seldom`).toBeGreaterThan(100)
})
