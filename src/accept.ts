/**
 * The fold, and the one authority: what a record of the log does to a shard and a tenant. Pure, synchronous, total. Every replica runs
 * it over the same log and so comes to the same state; locks and fences of a log only spare it work.
 *
 *   data record     -> accept (a verdict for each decision) -> enter (the tenant moves)
 *   control record  -> control (the shard moves, or a reason why not)
 *   anything else   -> foreign, said by `decode`
 *
 * Verdicts depend on the record's envelope and the state alone: not on app code, clock, locale, or the order of a map.
 */
import { uuidv7Time } from './ids.ts'
import { partitionOf } from './partition.ts'
import { type ControlRecord, type DataRecord, type Decision, sha256, type Tags, type Term } from './record.ts'
import { Window, type WindowEntry } from './window.ts'

export type Verdict = 'accepted' | 'duplicate' | 'conflict' | 'too-old' | 'deposed' | 'diverged' | 'expired' | 'foreign'

/** What the control records of a log have come to. Never changed in place. */
export interface ShardState {
  /** The log's id; null before its manifest, when everything else is foreign. */
  readonly log: string | null
  /** Raised by every copy and restore of the log. */
  readonly generation: number
  readonly app: string | null
  /** How many shards the app's log has, and which of them this is. */
  readonly partitions: number
  readonly partition: number
  /** `window`: W, how many versions back a base may lie. */
  readonly rules: { readonly number: number; readonly window: number }
  /** `address`: where the owner takes commands. */
  readonly term: Term & { readonly address: string | null }
  /** The active release; null until one was made active: then data records of any release count. */
  readonly release: string | null
  /** Releases that were active before and are not now, the latest last; the last few. */
  readonly retired: readonly string[]
  /** Milliseconds since the epoch: UUIDv7 ids older than this are expired. */
  readonly forgetBefore: number
  readonly sealed: boolean
}

/** How far a tenant has come. Moved by `enter` alone, in place: who undoes what was entered must restore the state anew. */
export interface TenantState {
  version: number
  /** The oldest version that a decision may be based on. Never moves back. */
  floor: number
  /** Chained over everything accepted; moves together with the version. */
  digest: string
  readonly window: Window
}

/** What a record has done to its tenant, for the tenant's database to keep. */
export interface Entered {
  /** The tenant's version after each decision, accepted or not. */
  readonly versions: readonly number[]
  /** The record's entry of the history; null if no event entered. `verdicts`: null if all were accepted. */
  readonly history: {
    readonly end: number
    readonly digest: string
    readonly verdicts: readonly Verdict[] | null
    readonly writes: Tags
  } | null
}

// --- Shards ---------------------------------------------------------------------------------------------------------------------

/** So many former releases are remembered. */
const RETIRED = 16

/** A log in which nothing stands. */
export const emptyShard: ShardState = {
  log: null,
  generation: 0,
  app: null,
  partitions: 0,
  partition: 0,
  rules: { number: 0, window: 0 },
  term: { number: 0, owner: null, address: null },
  release: null,
  retired: [],
  forgetBefore: 0,
  sealed: false,
}

/** The state after a control record, or why it has no effect. */
export function control(shard: ShardState, record: ControlRecord): ShardState | string {
  if (shard.sealed) return 'the log is sealed'
  if (record.kind === 'manifest') {
    if (shard.log !== null) return 'the log has its manifest already'
    const { log, generation, app, partitions, partition, rules, window } = record
    return { ...shard, log, generation, app, partitions, partition, rules: { number: rules, window } }
  }
  if (record.log !== shard.log) return shard.log === null ? 'the log has no manifest yet' : 'it belongs to another log'
  switch (record.kind) {
    case 'term': {
      // Every change of owner takes the next number, an abdication too. Of two who saw the same reign and want to end it only the first
      // can: whoever writes on in a reign that was ended is deposed by its number, whoever the owner may be.
      const { number, owner, address } = record
      if (number !== shard.term.number + 1) return `term ${shard.term.number + 1} would be next, not ${number}`
      return { ...shard, term: { number, owner, address } }
    }
    case 'release': {
      const { release, replaces } = record
      if (replaces !== shard.release) return `the active release is ${shard.release ?? 'not set'}, not ${replaces ?? 'unset'}`
      if (release === shard.release) return 'this release is active already'
      // The reign ends as by an abdication: also a rival's claim that was made before the release, and comes after it, has a used number.
      const retired = [...shard.retired, ...(replaces === null ? [] : [replaces])].filter(each => each !== release).slice(-RETIRED)
      return { ...shard, release, retired, term: { number: shard.term.number + 1, owner: null, address: null } }
    }
    case 'forget':
      if (record.before <= shard.forgetBefore) return 'as much was forgotten already'
      return { ...shard, forgetBefore: record.before }
    case 'rules': {
      const { number, window } = record
      if (number !== shard.rules.number + 1) return `rules ${shard.rules.number + 1} would be next, not ${number}`
      return { ...shard, rules: { number, window } }
    }
    case 'seal':
      return { ...shard, sealed: true }
    case 'barrier':
      return shard
  }
}

/** The state behind a control record, whether that has an effect or none. */
export function behind(shard: ShardState, record: ControlRecord): ShardState {
  const next = control(shard, record)
  return typeof next === 'string' ? shard : next
}

/** Whether a tenant lives on this shard. */
export const isHome = ({ partitions, partition }: ShardState, tenant: string): boolean =>
  partitions <= 1 || partitionOf(tenant, partitions) === partition

// --- Tenants --------------------------------------------------------------------------------------------------------------------

/** A tenant of which nothing was accepted. Its digest is sha256 of the log id, a line feed, and its name. */
export const genesis = (log: string, tenant: string): TenantState => restore(log, tenant, { version: 0, floor: 0, digest: '' }, () => [])

/**
 * The state of a tenant as its database keeps it.
 * @param at `digest` does not matter at version 0
 * @param history the accepted records with an end not below the floor, oldest first. Asked at most once, when a verdict first needs it;
 *   what was entered since then may be among them.
 */
export function restore(
  log: string,
  tenant: string,
  at: { readonly version: number; readonly floor: number; readonly digest: string },
  history: () => readonly WindowEntry[],
): TenantState {
  const { version, floor } = at
  const beginning = { end: 0, digest: sha256(`${log}\n${tenant}`), writes: [] }
  const older = () => history().filter(entry => entry.end <= version)
  const window = new Window(floor === 0 ? () => [beginning, ...older()] : older)
  return { version, floor, digest: version === 0 ? beginning.digest : at.digest, window }
}

/**
 * The verdict on each decision of a record that `decode` let through. Changes nothing.
 * @param known whether a decision with this id was accepted before
 */
export function accept(shard: ShardState, tenant: TenantState, record: DataRecord, known: (id: string) => boolean): Verdict[] {
  const whole = judgeRecord(shard, tenant, record)
  return whole ? record.decisions.map(() => whole) : judgeDecisions(shard, tenant, record, known)
}

/** Rules 1 to 3: the verdict on the record as a whole, undefined if its decisions are to be judged one by one. */
function judgeRecord(shard: ShardState, tenant: TenantState, record: DataRecord): Verdict | undefined {
  // 1. The syntax was judged by `decode`.
  if (shard.sealed || record.log !== shard.log || !isHome(shard, record.tenant)) return 'foreign'

  // 2.
  const { rules, term, release, base } = record
  if (rules !== shard.rules.number) return 'deposed'
  if (term.number !== shard.term.number || term.owner !== shard.term.owner) return 'deposed'
  if (shard.release !== null && release !== shard.release) return 'deposed'

  // 3.
  if (base < tenant.floor) return 'too-old'
  const digest = base === tenant.version ? tenant.digest : tenant.window.digestAt(base)
  return digest === record.digest ? undefined : 'diverged'
}

/** Rule 4. */
function judgeDecisions(shard: ShardState, tenant: TenantState, record: DataRecord, known: (id: string) => boolean): Verdict[] {
  const { base, decisions } = record
  const fresh = base === tenant.version
  const expired = (id: string): boolean => shard.forgetBefore > 0 && (uuidv7Time(id) ?? Infinity) < shard.forgetBefore
  // As a rule a record was made at the head, and its ids rise and are new: then each decision saw what has come true, and none can conflict.
  if (fresh && decisions.every(({ id }, i) => (i === 0 || id > decisions[i - 1]!.id) && !expired(id) && !known(id))) {
    return decisions.map(() => 'accepted')
  }
  const accepted = new Set<string>()
  const earlier = new Writes()
  /** Every decision so far saw what has come true: nothing but the base and the accepted events of this record. */
  let cameTrue = fresh

  const conflicts = (reads: Tags): boolean => {
    if (!fresh && (reads === '*' || tenant.window.writtenAfter(base, reads))) return true
    return !cameTrue && earlier.overlap(reads)
  }
  const judge = ({ id, reads }: Decision): Verdict => {
    if (expired(id)) return 'expired'
    if (accepted.has(id) || known(id)) return 'duplicate'
    return conflicts(reads) ? 'conflict' : 'accepted'
  }
  return decisions.map(decision => {
    const verdict = judge(decision)
    if (verdict === 'accepted') accepted.add(decision.id)
    if (decision.events.length > 0) {
      earlier.add(decision)
      cameTrue &&= verdict === 'accepted'
    }
    return verdict
  })
}

/**
 * Rule 5: moves the tenant by a record and the verdicts on it. If any event entered, the new digest is sha256 of: the old digest, a line
 * feed, the verdicts joined by commas, a line feed, the bytes of the record. (No digest or verdict holds a line feed.)
 * @param value the record as it stands in the log
 */
export function enter(
  shard: ShardState,
  tenant: TenantState,
  record: DataRecord,
  value: string | Uint8Array,
  verdicts: readonly Verdict[],
): Entered {
  const written = new Writes()
  let end = tenant.version
  const versions = record.decisions.map((decision, i) => {
    if (verdicts[i] === 'accepted' && decision.events.length > 0) {
      end += decision.events.length
      written.add(decision)
    }
    return end
  })
  if (end === tenant.version) return { versions, history: null }

  const before = `${tenant.digest}\n${verdicts.join(',')}\n`
  const digest = sha256(typeof value === 'string' ? before + value : Buffer.concat([Buffer.from(before), value]))
  const writes = written.tags()
  tenant.version = end
  tenant.digest = digest
  // By the window of today, and yet never back.
  tenant.floor = Math.max(tenant.floor, end - shard.rules.window)
  tenant.window.push({ end, digest, writes })
  tenant.window.evict(tenant.floor)
  return { versions, history: { end, digest, writes, verdicts: verdicts.every(verdict => verdict === 'accepted') ? null : verdicts } }
}

/** What some decisions write: their scopes' writes and their events' tags. Only for decisions with events. */
export class Writes {
  #any = false
  #all = false
  readonly #tags = new Set<string>()

  add({ writes, events }: Pick<Decision, 'writes' | 'events'>): void {
    this.#any = true
    if (writes === '*') this.#all = true
    else for (const tag of writes) this.#tags.add(tag)
    for (const { tags } of events) if (tags) for (const tag of tags) this.#tags.add(tag)
  }

  overlap(reads: Tags): boolean {
    if (reads === '*') return this.#any
    return (this.#all && reads.length > 0) || reads.some(tag => this.#tags.has(tag))
  }

  tags(): Tags {
    return this.#all ? '*' : [...this.#tags]
  }
}
