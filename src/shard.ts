/**
 * What a replica does next with one shard, as a synchronous machine: `step(now, input)` gives outputs. Logs, sockets, timers and
 * the roster are outside (`replica.ts` feeds them in); the tenants' databases are a synchronous port. Nothing here waits, and
 * nothing here reads a clock or draws a random number that was not handed in.
 *
 * The way of a command: queue -> one batch of its tenant is decided and projected in an open transaction (the speculation)
 * -> one record is appended -> it is read back through the fold -> commit, answers. A record of somebody else in between voids
 * the speculation: roll back, fold, decide again.
 */
import { behind, control, emptyShard, isHome, type ShardState } from './accept.ts'
import { Heartbeats, PATIENCE, type Role, roleOf } from './consistency.ts'
import { EngineError, type ErrorCode } from './errors.ts'
import type { Appended, NewRecord, Position, Stored } from './log.ts'
import { type Folded, Tenant } from './projection.ts'
import { type ControlRecord, type DataRecord, decode, encodeControl, encodeRecord } from './record.ts'
import { decideBatch } from './shard/batch.ts'
import { asEngineError, expired, notReady, passedBack, speaksOfDoubt, superseded, unknownOutcome } from './shard/failures.ts'
import type { Input, Output, Peer, Read, Reply, Request, ShardOptions } from './shard/protocol.ts'

/** A tenant that was used within this time is not closed: whoever asked for it is about to read, ms. */
const IDLE = 100
/** How long the answer of the log, or of the leader, is waited for behind a deadline, ms. */
const GIVING_UP = 200
/** Ticks come far more often: a longer silence means that this process was stopped or busy, ms. */
const STALL = 500
const CONFLICT_BUDGET = 64
const MAX_BATCH = 4_096
/** Tenants whose batches may share one append. */
const MAX_TENANTS = 32
/** How long a candidate or owner that was fenced leaves the field to whoever did it, ms, and up to twice that. */
const WITHDRAWN = 300
/** A campaign that was not settled by then is tried again, ms. */
const CAMPAIGN_PATIENCE = 2_000
/** How long others leave a vacant shard to the one who should own it, ms; and how long one who handed it over does. */
const GRACE = 500
const HANDED_GRACE = 2_000
/** How long somebody of the active release, who may just be starting, is waited for where nobody must reign, ms. */
const STRANDED = 3_000

interface Attempt {
  readonly home: Home
  /** The record as it goes into the log; undefined if nothing needs to. */
  readonly value: string | undefined
  readonly record: DataRecord
  readonly requests: readonly Request[]
  /** What needs no record if the speculation held: rejections of fresh ids, failures of the app's code. */
  readonly quiet: readonly { readonly request: Request; readonly reply: Reply }[]
  /** Nothing of this tenant, and no control record but barriers, was folded since its base. */
  intact: boolean
  /** The cursor when it was sent. */
  after: Position
  /** The append that it is part of, until that is answered. */
  append: number | undefined
  /** When the log was asked to give it up. */
  givenUp: number | undefined
}

/** The types of its events, in order of appearance. */
const kindsOf = ({ decisions }: DataRecord): string[] => [...new Set(decisions.flatMap(({ events }) => events.map(({ type }) => type)))]

/** To write it again would fail again. */
const isFinal = (cause: unknown): cause is EngineError =>
  cause instanceof EngineError && (cause.code === 'record-too-large' || cause.code === 'log-denied')
/** For so long a failure of the log explains why somebody waits, ms: reads, campaigns and barriers are tried again sooner. */
const TROUBLE = 2_000

/** Whatever cannot be written any more stands in the log. */
function close(home: Home, lazily = false): void {
  const { tenant } = home
  home.tenant = undefined
  try {
    tenant?.close(lazily)
  } catch {
    // Of a tenant that halted, its error is the one to tell.
    try {
      tenant?.store.close()
    } catch {
      // The next start will tell.
    }
  }
}

/** A tenant as the shard keeps it: closed ones cost a few words. */
interface Home {
  readonly name: string
  tenant: Tenant | undefined
  /** `checking`: its place in the log is being checked; records for it wait in `pending`. */
  status: 'closed' | 'checking' | 'open' | 'halted'
  /** Its place was checked during this run. */
  checked: boolean
  error: EngineError | undefined
  queue: Request[]
  attempt: Attempt | undefined
  pending: { stored: Stored; record: DataRecord; state: ShardState }[]
  /** Backoff: no new batch before this time. */
  notBefore: number
  /** No new batch before the cursor has passed this: the log refused the last one, for something stands behind it. */
  behind: Position
  used: number
  /** Where it stood when it was closed. */
  position: Position
  version: number
  winner: string | undefined
  /** So many decisions make a record at most: fewer where the log found the last one too large. */
  limit: number
  /** Why the log did not take the last record. */
  hindrance: unknown
}

interface Look {
  readonly reads: Read[]
  readonly attempts: Attempt[]
  target: Position | undefined
}

export class Shard {
  readonly #options: ShardOptions
  readonly #homes = new Map<string, Home>()
  /** Tenants with commands that wait. */
  readonly #queued = new Set<Home>()
  /** Tenants with a batch on its way. */
  readonly #flying = new Set<Home>()
  readonly #open = new Set<Home>()
  readonly #following = new Set<Home>()
  readonly #heartbeats = new Heartbeats()
  readonly #appends = new Map<number, { attempts: Attempt[] } | { campaign: number } | { barrier: string }>()
  /** Barriers on their way, by nonce: what is settled when they are read back. */
  readonly #barriers = new Map<string, { reads: Read[]; attempts: Attempt[] }>()
  readonly #looks = new Map<number, Look>()
  /** Passed on and not yet answered: in which term, to whom, and whether it was in doubt before. */
  readonly #forwarded = new Map<Request, { readonly term: number; readonly to: string; readonly inDoubt: boolean }>()
  readonly #waiting: Read[] = []
  readonly #types: Map<string, number>
  readonly #startedAt: Position
  readonly #patience: number
  readonly #maxOpen: number
  /** Tenants that had records since the last `sync`, and where the last one stands. */
  #touched = new Map<string, Position>()
  #newReads: Read[] = []
  #quietAttempts: Attempt[] = []
  #doubtful: Attempt[] = []
  #cursor: Position
  #state: ShardState
  /** The last failure of the log that leaves somebody waiting. */
  #troubled: { readonly at: number; readonly cause: EngineError } | undefined
  #campaign: { readonly number: number; readonly since: number; readonly value: string } | undefined
  /** A term record is on its way, and the log has not answered yet. */
  #claiming = false
  #retryCampaignAt = 0
  /** The number of an own term in which the log has refused to write for it. */
  #fenced = 0
  /** The log and the roster cannot be reached from here, or do not answer. */
  #cutOff = false
  /** Whom commands may be passed on to while another release is the active one. */
  #peers: readonly Peer[] = []
  /** The own release is to be made the active one if the log has none. */
  #founds = false
  /** Since when there is nobody of the active release. */
  #strandedSince: number | undefined
  /** Who should own the shard, as far as that is known. */
  #preferred: string | undefined
  /** Who is next, should the owner lay it down. */
  #heir: string | undefined
  /** Since when nobody reigns, or nobody that lives. */
  #vacantSince: number | undefined
  /** Who the shard was last handed over to, until somebody reigns; and who did not take it. */
  #handedTo: string | undefined
  readonly #unwilling = new Set<string>()
  readonly #halts = new Set<ErrorCode>()
  #live = false
  #stopping = false
  #drained = false
  #failure: EngineError | undefined
  #logTime: number | undefined
  #foreign = 0
  #folded = 0
  #refused = 0
  #conflicts = 0
  #sequence = 0
  #now = 0
  #time = 0
  #out: Output[] = []

  constructor(options: ShardOptions) {
    this.#options = options
    this.#cursor = this.#startedAt = options.cursor ?? 0
    this.#state = options.state ?? emptyShard
    this.#types = new Map(options.types)
    // So that not all campaign at once.
    this.#patience = PATIENCE * (1 + options.random() / 3)
    this.#maxOpen = options.maxOpen ?? 64
  }

  get cursor(): Position {
    return this.#cursor
  }

  get state(): ShardState {
    return this.#state
  }

  /** Event types that stand in the log up to the cursor, each with the newest schema version that it was written with. */
  get types(): ReadonlyMap<string, number> {
    return this.#types
  }

  get counters(): { readonly foreign: number; readonly records: number; readonly refused: number; readonly conflicts: number } {
    return { foreign: this.#foreign, records: this.#folded, refused: this.#refused, conflicts: this.#conflicts }
  }

  /** Time of the latest record that was read in this run, ms since the epoch; undefined before the first. */
  get logTime(): number | undefined {
    return this.#logTime
  }

  /** Another release is the active one: nothing is written here. */
  get superseded(): boolean {
    return this.#isSuperseded()
  }

  /** The log, and the roster that lives with it, cannot be reached from here. */
  get cutOff(): boolean {
    return this.#cutOff
  }

  get failure(): EngineError | undefined {
    return this.#failure
  }

  /** Why tenants have halted. */
  get halts(): ReadonlySet<ErrorCode> {
    return this.#halts
  }

  /** Whether this incarnation owns the shard. */
  get reigning(): boolean {
    return this.#state.term.owner === this.#options.me
  }

  /** The tenants that were met in this run. */
  *tenants(): Iterable<{
    readonly name: string
    readonly version: number
    readonly status: Home['status']
    readonly error: EngineError | undefined
  }> {
    for (const { name, version, status, error } of this.#homes.values()) yield { name, version, status, error }
  }

  /** A tenant's database for reading between two steps; undefined while it is being checked. @throws its EngineError if it is halted */
  look(name: string): Tenant | undefined {
    const home = this.#home(name)
    if (home.error) throw home.error
    if (home.status === 'closed') this.#openHome(home)
    if (home.error) throw home.error
    home.used = this.#now
    return home.status === 'open' ? home.tenant : undefined
  }

  /** When `flush` has something to do next: 0 is now, undefined not before another input. */
  get due(): number | undefined {
    if (this.#newReads.length > 0 || this.#quietAttempts.length > 0 || this.#doubtful.length > 0) return 0
    if (!this.#live || this.#queued.size === 0 || (!this.#state.sealed && (this.#role().may === 'wait' || this.#yields()))) return undefined
    let due: number | undefined
    for (const home of this.#queued) {
      if (!this.#mayStart(home)) continue
      if (home.notBefore <= this.#now) return 0
      due = Math.min(due ?? home.notBefore, home.notBefore)
    }
    return due
  }

  /**
   * Makes all that is committed durable; what is returned may then be stored. Drops what the window and the id table need no more.
   * `tenants`: who had records since the last call, and where the last one stands: as far as each database must have come once the cursor is
   * stored, also one that is halted or still being checked.
   */
  sync(): { readonly cursor: Position; readonly state: ShardState; readonly tenants: ReadonlyMap<string, Position> } {
    for (const { tenant, status } of this.#open) if (status === 'open') tenant?.tidy(this.#state)
    const tenants = this.#touched
    this.#touched = new Map()
    return { cursor: this.#cursor, state: this.#state, tenants }
  }

  close(): void {
    for (const home of this.#open) close(home)
    this.#open.clear()
  }

  /**
   * @param now monotonic, ms: deadlines, backoff and heartbeats go by it.
   * @param time wall clock, whole ms since the epoch: what `decide` sees and records carry. Nothing is decided by it here.
   */
  step(now: number, time: number, input: Input): Output[] {
    if (now - this.#now > STALL) this.#heartbeats.excuse(now - this.#now)
    this.#now = now
    this.#time = time
    this.#out = []
    switch (input.type) {
      case 'command':
        this.#command(input.request)
        break
      case 'read':
        this.#read(input.read)
        break
      case 'flush':
        this.#flush()
        break
      case 'records':
        for (const stored of input.records) {
          this.#take(stored)
          // In the records of a moment there may be more tenants than there can be open files.
          this.#evict(2 * this.#maxOpen, Infinity)
        }
        if (input.reached > this.#cursor) this.#cursor = input.reached
        this.#endOfFold()
        break
      case 'appended':
        this.#appended(input.append, input.answers)
        break
      case 'unreadable':
        this.#trouble(input.error)
        break
      case 'lost':
        this.#lost(input.error)
        break
      case 'looked':
        this.#looked(input.look, input.head)
        break
      case 'forwarded':
        this.#wasForwarded(input)
        break
      case 'abandon':
        this.#abandon(input.item, input.error)
        break
      case 'caught-up':
        this.#caughtUp(input)
        break
      case 'misplaced':
        this.#misplaced(input.tenant, input.error)
        break
      case 'beats':
        this.#heartbeats.observe(input.beats, now)
        this.#preferred = input.preferred
        this.#heir = input.heir
        this.#peers = input.peers ?? []
        this.#founds = input.founds ?? false
        this.#feelPulse()
        this.#recallForwarded()
        this.#reign()
        break
      case 'live':
        this.#live = true
        this.#reign()
        break
      case 'tick':
        this.#sweep()
        this.#reign()
        this.#openWanted()
        this.#serveWaiting()
        this.#evict(this.#maxOpen, now - IDLE)
        break
      case 'stop':
        this.#stopping = true
        this.#reign()
        break
      case 'end':
        this.#end()
        break
    }
    if (this.#stopping) this.#checkDrained()
    return this.#out
  }

  // --- Commands come in ---------------------------------------------------------------------------------------------

  #command(request: Request): void {
    if (this.#stopping)
      return this.#refuse(request, new EngineError('closed', 'the replica is closing; nothing was written', { id: request.id }))
    if (this.#failure) return this.#refuse(request, this.#failure)
    const home = this.#home(request.tenant)
    if (home.error) return this.#refuse(request, home.error)
    if (this.#passesBack(request)) return
    if (home.queue.length >= (this.#options.maxQueue ?? 10_000)) {
      const error = new EngineError(
        'overloaded',
        `${home.queue.length} commands of tenant ${home.name} wait already; nothing was written`,
        { id: request.id },
      )
      return this.#refuse(request, error)
    }
    home.queue.push(request)
    this.#queued.add(home)
  }

  #role(): Role {
    const { strategy, me } = this.#options
    const { owner } = this.#state.term
    if (owner === me && (this.#fenced === this.#state.term.number || this.#cutOff)) return { may: 'wait', campaign: 'claim' }
    const lives = owner !== null && owner !== me && this.#heartbeats.lives(owner, this.#now, this.#patience)
    const role = roleOf(strategy, me, this.#state.term, lives)
    if (role.may === 'forward' || !this.#isSuperseded()) return role
    // It neither writes nor campaigns.
    const peer = this.#successor()
    return peer ? { may: 'forward', owner: peer.id, address: peer.address } : { may: 'wait', campaign: 'claim' }
  }

  /** Somebody of the active release. Where one of them must reign first, it is given the time for it. */
  #successor(): Peer | undefined {
    const { strategy, me } = this.#options
    if (strategy.reigns && this.#now - (this.#vacantSince ?? this.#now) < HANDED_GRACE) return undefined
    const { release } = this.#state
    const there = this.#peers.filter(peer => peer.release === release && peer.id !== me && this.#isAlive(peer.id))
    return there[Math.floor(this.#options.random() * there.length)]
  }

  #isAlive(who: string): boolean {
    return this.#heartbeats.lives(who, this.#now, this.#patience)
  }

  /** One hop only: who passed a command on asks the next one himself, and not a replica that would do no more than that. */
  #passesBack(request: Request): boolean {
    if (!request.forwarded || !this.#isSuperseded()) return false
    this.#refuse(request, passedBack(request, this.#state.release!))
    return true
  }

  /** One batch per tenant that has something to do; all records go out in one append. */
  #flush(): void {
    this.#lookNow()
    if (!this.#live || this.#queued.size === 0) return
    if (this.#state.sealed)
      return this.#refuseAll(new EngineError('log-sealed', 'this log was sealed: it goes on in its copy. Open that one'))
    const role = this.#role()
    if (role.may === 'wait' || this.#yields()) return this.#reign()
    if (role.may === 'forward') return this.#forwardAll(role.owner, role.address)
    const attempts: Attempt[] = []
    let decisions = 0
    for (const home of this.#queued) {
      if (attempts.length === MAX_TENANTS || decisions >= MAX_BATCH) break
      if (!this.#mayStart(home) || home.notBefore > this.#now) continue
      if (home.status === 'closed') {
        if (!this.#roomToOpen()) {
          home.notBefore = this.#now + 5
          continue
        }
        this.#openHome(home)
      }
      if (home.status !== 'open') continue
      const attempt = this.#speculate(home)
      if (home.queue.length === 0) this.#queued.delete(home)
      if (attempt?.value === undefined) continue
      attempts.push(attempt)
      decisions += attempt.requests.length
    }
    this.#lookNow()
    if (attempts.length === 0) return
    const records = attempts.map(
      ({ value, record }): NewRecord => ({ value: value!, tenant: record.tenant, time: record.time, kinds: kindsOf(record) }),
    )
    const append = ++this.#sequence
    for (const attempt of attempts) attempt.append = append
    this.#appends.set(append, { attempts })
    const after = this.#options.strategy.conditional ? { after: this.#cursor } : {}
    this.#out.push({ do: 'append', append, records, ...after, ...(this.reigning ? { fence: 'hold' as const } : {}) })
  }

  #mayStart(home: Home): boolean {
    return !home.attempt && this.#cursor > home.behind && home.status !== 'checking'
  }

  /** Decides and projects what waits, up to a record's size, in an open transaction. */
  #speculate(home: Home): Attempt | undefined {
    const tenant = home.tenant!
    // A projection that throws leaves half its rows: the batch is undone and made again up to that command, which then comes first.
    for (let { limit } = home; ; ) {
      try {
        tenant.speculate()
      } catch (error) {
        this.#halt(home, asEngineError(error, 'data-unusable'))
        return undefined
      }
      const moment = { now: this.#now, time: this.#time, forgetBefore: this.#state.forgetBefore }
      const batch = decideBatch(home.queue, tenant, limit, moment, this.#options)
      for (const { request, reply } of batch.answered) this.#reply(request, reply)
      for (const request of batch.late) this.#refuse(request, this.#lateError(request, false))
      if (batch.failed) {
        tenant.rollback()
        if (batch.decisions.length > 0) limit = batch.decisions.length
        else batch.failed.request.done = !this.#fail(batch.failed.request, batch.failed.error)
        continue
      }
      home.queue = batch.rest
      if (batch.decisions.length === 0) tenant.rollback()
      if (batch.decisions.length === 0 && batch.quiet.length === 0) return undefined
      const { log, rules, term } = this.#state
      const record: DataRecord = {
        kind: 'data',
        log: log!,
        rules: rules.number,
        term: { number: term.number, owner: term.owner },
        release: this.#options.release,
        tenant: home.name,
        base: tenant.state.version,
        digest: tenant.state.digest,
        time: this.#time,
        decisions: batch.decisions,
      }
      const value = batch.decisions.length === 0 ? undefined : encodeRecord(record, batch.parts)
      const attempt: Attempt = {
        home,
        value,
        record,
        requests: batch.requests,
        quiet: batch.quiet,
        intact: true,
        after: this.#cursor,
        append: undefined,
        givenUp: undefined,
      }
      home.attempt = attempt
      this.#flying.add(home)
      if (value === undefined) this.#quietAttempts.push(attempt)
      return attempt
    }
  }

  /**
   * Where the roster lives with the log, own beats that do not come back mean that the log cannot be reached either. Others see that silence, too,
   * and elect somebody: an owner steps down by itself, and its callers hear so before their deadlines.
   */
  #feelPulse(): void {
    const { me, freshHead } = this.#options
    if (freshHead) return
    this.#cutOff = this.#heartbeats.knows(me) && !this.#heartbeats.lives(me, this.#now, this.#patience)
    if (!this.#cutOff || !this.reigning) return
    for (const home of this.#queued) {
      for (const request of home.queue) {
        if (request.forwarded)
          this.#refuse(
            request,
            new EngineError('not-leader', 'this replica cannot reach the log now; nothing was written', { id: request.id }),
          )
      }
    }
  }

  // --- What the log answered ----------------------------------------------------------------------------------------

  #appended(append: number, answers: readonly Appended[]): void {
    const what = this.#appends.get(append)
    if (!what) return
    this.#appends.delete(append)
    if ('barrier' in what) {
      if (answers[0]!.status !== 'written') this.#lostBarrier(what.barrier, answers[0]!)
      this.#out.push({ do: 'read-on' })
      return
    }
    if ('campaign' in what) {
      const answer = answers[0]!
      this.#claiming = false
      // Its outcome is read from the log, whatever the answer was. Where that is unknown the next one is itself the barrier: of two records
      // with the same number the first counts.
      if (answer.status !== 'written') this.#campaign = undefined
      this.#noteTrouble(answer)
      if (answer.status === 'unknown') this.#retryCampaignAt = this.#now + 50 + this.#options.random() * 100
      // Somebody else campaigns, too, and was later: it withdraws for a while.
      if (answer.status === 'not-written')
        this.#retryCampaignAt = this.#now + (answer.fenced ? WITHDRAWN : 50) * (1 + this.#options.random())
      this.#noteFatal(answer)
      this.#out.push({ do: 'read-on' })
      return
    }
    let behind = false
    for (const [index, attempt] of what.attempts.entries()) {
      const answer = answers[index]!
      attempt.append = undefined
      // It may have been read back already.
      if (attempt.home.attempt !== attempt) continue
      switch (answer.status) {
        case 'written':
          if (answer.previous === this.#cursor)
            this.#take({ position: answer.position, value: attempt.value!, tenant: attempt.record.tenant })
          else behind = true
          break
        case 'conflict':
          this.#conflicts++
          behind = true
          attempt.home.behind = attempt.after
          this.#void(attempt)
          this.#land(attempt)
          this.#again(attempt, true)
          break
        case 'not-written':
          this.#void(attempt)
          this.#land(attempt)
          this.#noteFatal(answer)
          if (answer.fenced && this.reigning) this.#fencedOff()
          attempt.home.notBefore = this.#now + 5 + this.#options.random() * 20
          // Each half of what is too large by itself; what is too large alone never fits.
          if (isFinal(answer.cause)) {
            if (answer.cause.code === 'record-too-large' && attempt.requests.length > 1) attempt.home.limit = attempt.requests.length >> 1
            else for (const request of attempt.requests) this.#refuse(request, answer.cause)
          }
          attempt.home.hindrance = answer.cause
          this.#again(attempt, false)
          break
        case 'unknown':
          for (const request of attempt.requests) {
            request.inDoubt = true
            request.fresh = false
          }
          this.#void(attempt)
          if (answer.fatal) {
            this.#land(attempt)
            this.#unknownForGood(attempt, answer.cause)
          } else this.#doubtful.push(attempt)
          break
      }
    }
    if (behind) this.#out.push({ do: 'read-on' })
    this.#endOfFold()
  }

  /** Somebody has taken the fence: a new reign is about to begin. Should it not, this one begins another. */
  #fencedOff(): void {
    if (this.#fenced === this.#state.term.number) return
    this.#fenced = this.#state.term.number
    this.#retryCampaignAt = this.#now + WITHDRAWN * (1 + this.#options.random())
  }

  /** Nothing is answered any more that the log must stand behind; what is here can still be looked at. */
  #lost(error: EngineError): void {
    this.#failure ??= error
    // Their records are not read back any more.
    for (const { attempt } of this.#flying) if (attempt) this.#abort(attempt, error)
    for (const request of this.#forwarded.keys()) this.#refuse(request, unknownOutcome(request, error))
    this.#refuseAll(error)
    for (const read of this.#allReads()) this.#serve(read, error)
    this.#doubtful = []
    this.#quietAttempts = []
    this.#newReads = []
  }

  /** Nobody will ever know what became of it. */
  #abort(attempt: Attempt, error: EngineError): void {
    this.#void(attempt)
    this.#land(attempt)
    for (const request of attempt.requests) this.#refuse(request, unknownOutcome(request, error))
    for (const { request } of attempt.quiet) this.#refuse(request, error)
  }

  #allReads(): Read[] {
    const reads = [...this.#waiting, ...this.#newReads]
    for (const look of this.#looks.values()) reads.push(...look.reads)
    for (const barrier of this.#barriers.values()) reads.push(...barrier.reads)
    return reads
  }

  #noteFatal(answer: Appended): void {
    if (answer.status === 'written' || answer.status === 'conflict' || !answer.fatal) return
    this.#failure ??=
      answer.cause instanceof EngineError
        ? answer.cause
        : new EngineError('log-failed', 'the log can no longer be written', { cause: answer.cause })
    this.#refuseAll(this.#failure)
  }

  #noteTrouble(answer: Appended): void {
    if (answer.status !== 'written' && answer.status !== 'conflict') this.#trouble(answer.cause)
  }

  #trouble(cause: unknown): void {
    if (cause instanceof EngineError) this.#troubled = { at: this.#now, cause }
  }

  /** What keeps the log from being read, or anybody from leading, at present. */
  #why(): EngineError | undefined {
    return this.#troubled && this.#now - this.#troubled.at < TROUBLE ? this.#troubled.cause : undefined
  }

  #unknownForGood(attempt: Attempt, cause: unknown): void {
    const why = cause instanceof Error ? cause.message : String(cause)
    for (const request of [...attempt.requests, ...attempt.quiet.map(({ request }) => request)]) {
      const error = new EngineError('outcome-unknown', `the log failed while the record was written: ${why}. Ask again under the same id`, {
        id: request.id,
        cause,
      })
      this.#refuse(request, error)
    }
    this.#noteFatal({ status: 'unknown', fatal: true, cause })
  }

  // --- Folding ------------------------------------------------------------------------------------------------------

  /** The next record of the log. Whatever it is, the shard goes on. */
  #take(stored: Stored): void {
    if (stored.position <= this.#cursor) return
    this.#cursor = stored.position
    this.#folded++
    const own = stored.tenant === null ? undefined : this.#homes.get(stored.tenant)?.attempt
    const record = own && own.value === stored.value ? own.record : decode(stored.value)
    if (record.kind !== 'foreign') this.#logTime = Math.max(this.#logTime ?? 0, record.time)
    if (record.kind === 'foreign') this.#foreign++
    else if (record.kind === 'data') {
      const { log } = this.#state
      if (record.tenant !== stored.tenant || log === null || record.log !== log || !isHome(this.#state, record.tenant)) this.#foreign++
      else this.#takeData(stored, record)
    } else if (stored.tenant !== null) this.#foreign++
    else this.#takeControl(record, stored)
  }

  #takeControl(record: ControlRecord, stored: Stored): void {
    const next = control(this.#state, record)
    if (typeof next === 'string') {
      if (record.log !== this.#state.log || this.#state.sealed) this.#foreign++
    } else {
      this.#state = next
      if (record.kind !== 'barrier') for (const { attempt } of this.#homes.values()) if (attempt) this.#void(attempt)
    }
    if (record.kind === 'barrier') this.#settleBarrier(record.nonce)
    if (this.#campaign && this.#isUsed(this.#campaign, record, stored)) {
      this.#campaign = undefined
      this.#claiming = false
    }
    if (record.kind === 'release' && this.#isSuperseded())
      for (const { queue } of this.#queued) for (const each of queue) this.#passesBack(each)
    if (record.kind === 'term' || record.kind === 'release' || record.kind === 'seal') {
      this.#recallForwarded()
      for (const home of this.#homes.values()) if (home.queue.length > 0) this.#queued.add(home)
      this.#reign()
    }
  }

  /** Whether the number of a campaign is somebody's now. */
  #isUsed({ number, value }: { readonly number: number; readonly value: string }, record: ControlRecord, stored: Stored): boolean {
    if (record.kind === 'term') return stored.value === value || record.number >= number
    return record.kind === 'release' && (stored.value === value || this.#state.term.number >= number)
  }

  #takeData(stored: Stored, record: DataRecord): void {
    const home = this.#home(record.tenant)
    this.#touched.set(home.name, stored.position)
    if (home.status === 'closed') this.#openHome(home)
    if (home.status === 'checking') {
      home.pending.push({ stored, record, state: this.#state })
      return
    }
    if (home.status === 'open') this.#foldInto(home, this.#state, stored, record)
  }

  #foldInto(home: Home, shard: ShardState, stored: Stored, record: DataRecord): void {
    const tenant = home.tenant!
    if (stored.position <= tenant.position) return
    const { attempt } = home
    // As a rule it was recognized already: then the bytes need not be compared again.
    const own = attempt !== undefined && (attempt.record === record || attempt.value === stored.value)
    if (attempt && !own) this.#void(attempt)
    home.used = this.#now
    let folded: Folded
    try {
      folded = tenant.fold(shard, stored.position, stored.value, record, this.#options.place)
    } catch (error) {
      const halted = asEngineError(error, 'halted')
      // The next run begins behind it, and must not find out only when somebody asks for the tenant.
      if (halted.code === 'unknown-event') this.#met(halted.details as { readonly type: string; readonly schema: number })
      return this.#halt(home, halted)
    }
    home.version = tenant.state.version
    this.#following.add(home)
    for (const [index, { events }] of record.decisions.entries()) {
      if (folded.verdicts[index] === 'accepted') for (const event of events) this.#met(event)
    }
    if (folded.verdicts[0] === 'foreign') this.#foreign++
    if (folded.verdicts[0] === 'diverged') this.#out.push({ do: 'suspect', tenant: home.name, ...tenant.state, position: stored.position })
    if (own) this.#settle(attempt, folded)
    else {
      this.#countRefused(folded)
      const [first] = record.decisions
      if (first) home.winner = `${first.command} (${first.writes === '*' ? 'everything' : first.writes.join(', ')})`
    }
  }

  #met({ type, schema }: { readonly type: string; readonly schema: number }): void {
    if (schema > (this.#types.get(type) ?? 0)) this.#types.set(type, schema)
  }

  /** Our own record was read back: what it says is the answer. */
  #settle(attempt: Attempt, folded: Folded): void {
    const { home, record, requests } = attempt
    home.hindrance = undefined
    home.limit = Math.min(MAX_BATCH, home.limit * 2)
    this.#countRefused(folded)
    if (!this.#commit(home)) return
    this.#land(attempt)
    const again: Request[] = []
    for (const [index, request] of requests.entries()) {
      const verdict = folded.verdicts[index]!
      if (verdict === 'accepted')
        this.#reply(request, { kind: 'decided', decision: record.decisions[index]!, version: folded.versions[index]! })
      else if (verdict === 'expired') this.#refuse(request, expired(request.id))
      else {
        // A duplicate is found in the id table when it is its turn again.
        if (verdict === 'duplicate') request.inDoubt = true
        request.fresh = false
        if (verdict === 'conflict' || verdict === 'too-old') request.conflicts++
        again.push(request)
      }
    }
    for (const { request, reply } of attempt.quiet) {
      if (folded.confirmed) this.#reply(request, reply)
      else again.push(request)
    }
    if (again.length > 0) this.#requeue(home, again)
  }

  #countRefused({ verdicts }: Folded): void {
    for (const verdict of verdicts) if (verdict !== 'accepted' && verdict !== 'foreign') this.#refused++
  }

  /** Undoes a speculation that can no longer come true. Its record may still be on its way. */
  #void(attempt: Attempt): void {
    if (!attempt.intact) return
    attempt.intact = false
    attempt.home.tenant?.rollback()
  }

  /** The attempt is over; the tenant may start another. */
  #land({ home }: Attempt): void {
    home.attempt = undefined
    this.#flying.delete(home)
    if (home.queue.length > 0) this.#queued.add(home)
  }

  /** Puts a batch that was certainly not written back to the front of its queue. */
  #again(attempt: Attempt, conflict: boolean): void {
    const requests = [...attempt.requests, ...attempt.quiet.map(({ request }) => request)]
    if (conflict) for (const request of requests) request.conflicts++
    this.#requeue(attempt.home, requests)
  }

  #requeue(home: Home, requests: readonly Request[]): void {
    const again: Request[] = []
    let most = 0
    for (const request of requests) {
      if (request.done || this.#passesBack(request)) continue
      if (this.#failure) this.#refuse(request, this.#failure)
      else if (request.conflicts > CONFLICT_BUDGET) this.#refuse(request, this.#conflictError(home, request))
      else {
        again.push(request)
        most = Math.max(most, request.conflicts)
      }
    }
    if (again.length === 0) return
    home.queue = again.concat(home.queue)
    this.#queued.add(home)
    // The first retry goes at once; later ones wait longer and longer, each a random while.
    if (most > 1) home.notBefore = Math.max(home.notBefore, this.#now + this.#options.random() * Math.min(20, 0.5 * 2 ** Math.min(most, 6)))
  }

  #conflictError(home: Home, request: Request): EngineError {
    const { reads } = request.prepared
    const winner = home.winner ?? 'another command'
    return new EngineError(
      'conflict',
      `${request.command} lost ${request.conflicts} times to others that wrote what it reads (${reads === '*' ? 'everything' : reads.join(', ')}), last to ${winner}. Nothing was written; try again, or narrow its scope`,
      { id: request.id, details: { command: request.command, reads, winner } },
    )
  }

  #endOfFold(): void {
    for (const home of this.#following) this.#commit(home)
    this.#following.clear()
    for (const [key, look] of this.#looks) {
      if (look.target === undefined || this.#cursor < look.target) continue
      this.#looks.delete(key)
      for (const read of look.reads) this.#readyWhenOpen(read)
      for (const attempt of look.attempts) this.#quietDone(attempt)
    }
    this.#openWanted()
    this.#serveWaiting()
    this.#evict(this.#maxOpen, this.#now - IDLE)
    this.#out.push({ do: 'moved' })
  }

  #commit(home: Home): boolean {
    try {
      home.tenant?.commit()
      return true
    } catch (error) {
      this.#halt(home, asEngineError(error, 'halted'))
      return false
    }
  }

  #halt(home: Home, error: EngineError): void {
    home.status = 'halted'
    home.error = error
    this.#halts.add(error.code)
    this.#open.delete(home)
    this.#following.delete(home)
    this.#queued.delete(home)
    close(home)
    const { attempt, queue } = home
    home.attempt = undefined
    home.queue = []
    this.#flying.delete(home)
    for (const request of attempt?.requests ?? []) this.#refuse(request, unknownOutcome(request, error))
    for (const { request } of attempt?.quiet ?? []) this.#refuse(request, error)
    for (const request of queue) this.#refuse(request, error)
    for (const read of this.#waiting.filter(({ tenant }) => tenant === home.name)) this.#serve(read, error)
  }

  // --- Tenants ------------------------------------------------------------------------------------------------------

  #home(name: string): Home {
    let home = this.#homes.get(name)
    if (!home) {
      home = {
        name,
        tenant: undefined,
        status: 'closed',
        checked: false,
        error: undefined,
        queue: [],
        attempt: undefined,
        pending: [],
        notBefore: 0,
        behind: -1,
        used: 0,
        position: 0,
        version: 0,
        winner: undefined,
        limit: MAX_BATCH,
        hindrance: undefined,
      }
      this.#homes.set(name, home)
    }
    return home
  }

  /** @param rebuilt in the middle of the run: what was read so far must be read again. */
  #openHome(home: Home, rebuilt = false): void {
    if (this.#state.log === null) return
    try {
      const store = this.#options.open(home.name)
      home.tenant = new Tenant(this.#options.app, home.name, store, this.#state.log)
      home.version = store.standing.version
      home.used = this.#now
      this.#open.add(home)
      // A database that is new, in a run that has seen the log from its beginning, cannot have missed anything.
      home.checked ||= !rebuilt && store.standing.position === 0 && this.#startedAt === 0
      // Somebody deleted it, or put an older one in its place, while it was closed.
      if (store.standing.position < home.position) home.checked = false
      home.status = home.checked ? 'open' : 'checking'
      if (home.checked) return
      const { position } = store.standing
      const least = rebuilt ? Number.MAX_SAFE_INTEGER : home.position
      this.#out.push({ do: 'catch-up', tenant: home.name, store, upTo: Math.max(this.#cursor, position), least })
    } catch (error) {
      this.#halt(home, asEngineError(error, 'data-unusable'))
    }
  }

  #caughtUp({ tenant: name, shard, records, last }: Extract<Input, { type: 'caught-up' }>): void {
    const home = this.#home(name)
    let state = shard
    for (const stored of records) {
      if (home.status !== 'checking') return
      const record = decode(stored.value)
      if (record.kind === 'foreign') continue
      if (record.kind === 'data') {
        if (record.tenant === name && stored.tenant === name && record.log === state.log) this.#foldInto(home, state, stored, record)
      } else if (stored.tenant === null) state = behind(state, record)
    }
    if (last && home.status === 'checking') {
      home.status = 'open'
      home.checked = true
      this.#goOn(home)
    }
    this.#endOfFold()
  }

  /** A tenant was checked: what came for it meanwhile is folded. */
  #goOn(home: Home): void {
    const { pending } = home
    home.pending = []
    for (const { stored, record, state } of pending) if (home.tenant) this.#foldInto(home, state, stored, record)
    if (home.queue.length > 0) this.#queued.add(home)
  }

  #misplaced(name: string, error: EngineError | 'rebuild'): void {
    const home = this.#home(name)
    if (error !== 'rebuild') return this.#halt(home, error)
    // In a run that has seen the log from its beginning, all that the tenant ever had waits here, unless some of it was folded before.
    const missed = this.#startedAt > 0 || home.position > 0
    close(home)
    this.#open.delete(home)
    home.status = 'closed'
    home.version = home.position = 0
    this.#options.discard(name)
    this.#openHome(home, missed)
    if (home.checked) this.#goOn(home)
    this.#endOfFold()
  }

  /** Closes the tenants that were idle longest, if there are more than so many; only those that nobody has used since. */
  #evict(most: number, since: number): void {
    if (this.#open.size <= most) return
    const wanted = new Set(this.#waiting.map(({ tenant }) => tenant))
    const idle = [...this.#open].filter(
      home => home.status === 'open' && !home.attempt && home.queue.length === 0 && home.used < since && !wanted.has(home.name),
    )
    idle.sort((a, b) => a.used - b.used)
    for (const home of idle.slice(0, this.#open.size - Math.ceil(this.#maxOpen * 0.75))) {
      if (!this.#commit(home)) continue
      home.position = home.tenant?.position ?? 0
      close(home, true)
      home.status = 'closed'
      this.#open.delete(home)
    }
  }

  // --- Reads --------------------------------------------------------------------------------------------------------

  #read(read: Read): void {
    if (this.#failure && read.level === 'linearizable' && !this.#options.freshHead) return this.#serve(read, this.#failure)
    if (read.level === 'linearizable') this.#newReads.push(read)
    else this.#readyWhenOpen(read)
  }

  #readyWhenOpen(read: Read): void {
    if (read.done) return
    this.#waiting.push(read)
    const home = this.#home(read.tenant)
    if (home.status === 'closed' && this.#roomToOpen()) this.#openHome(home)
    this.#serveWaiting()
  }

  /** Whether one more may be opened, perhaps in the place of another. Each takes some files, of which a process has so many. */
  #roomToOpen(): boolean {
    const most = 4 * this.#maxOpen
    this.#evict(most - 1, Infinity)
    return this.#open.size < most
  }

  /** Opens what was read when there was no room for it. */
  #openWanted(): void {
    for (const { tenant } of this.#waiting) {
      const home = this.#home(tenant)
      if (home.status !== 'closed') continue
      if (!this.#roomToOpen()) return
      this.#openHome(home)
    }
  }

  #serveWaiting(): void {
    for (let index = 0; index < this.#waiting.length; ) {
      const read = this.#waiting[index]!
      const home = this.#home(read.tenant)
      const enough = typeof read.level !== 'object' || home.version >= read.level.version
      if (read.done) this.#waiting.splice(index, 1)
      else if (home.error || (enough && home.status === 'open')) this.#serve(read, home.error)
      else index++
    }
  }

  #serve(read: Read, error: EngineError | undefined): void {
    const index = this.#waiting.indexOf(read)
    if (index >= 0) this.#waiting.splice(index, 1)
    if (read.done) return
    read.done = true
    this.#home(read.tenant).used = this.#now
    this.#out.push({ do: 'ready', read, ...(error ? { error } : {}) })
  }

  /**
   * A fresh look at the end of the log, for reads and for rejections that shall not be recorded. It serves only those that began before it
   * was sent. Where the log's own word is no evidence, a barrier is sent and read back instead.
   */
  #lookNow(): void {
    const { freshHead } = this.#options
    const attempts = this.#quietAttempts
    const reads = this.#newReads
    const doubtful = this.#doubtful
    if (reads.length === 0 && attempts.length === 0 && doubtful.length === 0) return
    const key = ++this.#sequence
    if (freshHead && (reads.length > 0 || attempts.length > 0)) {
      this.#looks.set(key, { reads, attempts, target: undefined })
      this.#newReads = []
      this.#quietAttempts = []
      this.#out.push({ do: 'look', look: key })
    }
    if (doubtful.length === 0 && freshHead) return
    if (this.#state.log === null) return
    const nonce = `${this.#options.me}/${key}`
    this.#barriers.set(nonce, { reads: this.#newReads, attempts: [...this.#quietAttempts, ...doubtful] })
    this.#newReads = []
    this.#quietAttempts = []
    this.#doubtful = []
    const append = ++this.#sequence
    this.#appends.set(append, { barrier: nonce })
    const value = encodeControl({ kind: 'barrier', log: this.#state.log, time: this.#time, nonce })
    this.#out.push({ do: 'append', append, records: [{ value, tenant: null, time: this.#time, barrier: true, kinds: ['barrier'] }] })
  }

  #looked(key: number, head: Position): void {
    const look = this.#looks.get(key)
    if (!look) return
    look.target = head
    if (head > this.#cursor) this.#out.push({ do: 'read-on' })
    this.#endOfFold()
  }

  /** A batch without a record: its answers stand if nothing was folded in between. */
  #quietDone(attempt: Attempt): void {
    const { home } = attempt
    if (home.attempt !== attempt) return
    this.#land(attempt)
    if (attempt.intact) for (const { request, reply } of attempt.quiet) this.#reply(request, reply)
    else this.#again(attempt, false)
  }

  /** Everything that was sent before this barrier has been read, or is not there. */
  #settleBarrier(nonce: string): void {
    const barrier = this.#barriers.get(nonce)
    if (!barrier) return
    this.#barriers.delete(nonce)
    for (const read of barrier.reads) this.#readyWhenOpen(read)
    for (const attempt of barrier.attempts) {
      if (attempt.home.attempt !== attempt) continue
      if (attempt.value === undefined) this.#quietDone(attempt)
      else {
        // Not there. Should it arrive yet, the same ids cannot win twice: they stay in doubt, and are sent again.
        this.#land(attempt)
        this.#again(attempt, false)
      }
    }
  }

  #lostBarrier(nonce: string, answer: Appended): void {
    const barrier = this.#barriers.get(nonce)
    this.#barriers.delete(nonce)
    if (!barrier) return
    this.#noteFatal(answer)
    this.#noteTrouble(answer)
    const attempts = barrier.attempts.filter(attempt => attempt.home.attempt === attempt)
    if (this.#failure) {
      // The next one would not be written either.
      for (const read of barrier.reads) this.#serve(read, this.#failure)
      for (const attempt of attempts) this.#abort(attempt, this.#failure)
      return
    }
    this.#newReads.push(...barrier.reads.filter(({ done }) => !done))
    for (const attempt of attempts) (attempt.value === undefined ? this.#quietAttempts : this.#doubtful).push(attempt)
  }

  // --- Leadership ---------------------------------------------------------------------------------------------------

  /** Campaigns where nobody reigns, or nobody that lives; hands over when stopping, or to who should own the shard. */
  #reign(): void {
    if (!this.#live || this.#failure || this.#state.log === null || this.#isVoid()) return
    if (this.#now < this.#retryCampaignAt || (this.#campaign && this.#now - this.#campaign.since < CAMPAIGN_PATIENCE)) return
    // Out of reach they would pile up.
    if (this.#claiming) return
    const { me, strategy, address } = this.#options
    const { term } = this.#state
    // Who is stopping takes the shard only for those who wait already.
    if (this.#stopping && !this.#busy()) {
      if (term.owner === me) this.#propose(term.number + 1, null, null)
      return
    }
    if (this.#founds && this.#state.release === null) return this.#found()
    const role = this.#role()
    if (term.owner === me && role.may === 'write') {
      this.#vacantSince = undefined
      if (!this.#yields() || this.#flying.size > 0) return
      this.#handedTo = this.#preferred
      return this.#propose(term.number + 1, null, null)
    }
    if (role.may !== 'wait') {
      this.#vacantSince = this.#handedTo = undefined
      return
    }
    if (role.campaign === 'end' && this.#queued.size === 0) return
    this.#vacantSince ??= this.#now
    if (role.campaign === 'claim' && this.#defers()) return
    if (this.#handedTo !== undefined) this.#unwilling.add(this.#handedTo)
    this.#handedTo = undefined
    this.#retryCampaignAt = this.#now + this.#options.random() * 50
    if (role.campaign === 'claim' && strategy.reigns) this.#propose(term.number + 1, me, address)
    else this.#propose(term.number + 1, null, null)
  }

  /** Whether this owner makes room for the one who should own the shard: it begins nothing more, and hands over once nothing is on its way. */
  #yields(): boolean {
    return this.reigning && this.#isAnother(this.#preferred)
  }

  /** Whatever this replica wrote would be. */
  #isVoid(): boolean {
    return this.#state.sealed || this.#isSuperseded()
  }

  /** Another release is the active one. */
  #isSuperseded(): boolean {
    const { release } = this.#state
    return release !== null && release !== this.#options.release
  }

  /** Whether a vacant shard is left to the one who should own it. */
  #defers(): boolean {
    const grace = this.#handedTo === undefined ? GRACE : HANDED_GRACE
    // Two who claim at once may fence each other. A dead one's reign is ended by whoever notices first.
    const next = this.#preferred ?? (this.#state.term.owner === null ? this.#heir : undefined)
    return this.#isAnother(next) && this.#now - this.#vacantSince! < grace
  }

  /** Somebody else, who lives and is willing. */
  #isAnother(member: string | undefined): boolean {
    if (member === undefined || member === this.#options.me || this.#unwilling.has(member)) return false
    return this.#heartbeats.lives(member, this.#now, this.#patience)
  }

  /** So that a later release begins as one that only follows. Of several who do it at once the first counts. */
  #found(): void {
    const { release } = this.#options
    const value = encodeControl({ kind: 'release', log: this.#state.log!, time: this.#time, release, replaces: null })
    this.#change('release', value)
  }

  #propose(number: number, owner: string | null, address: string | null): void {
    const value = encodeControl({ kind: 'term', log: this.#state.log!, time: this.#time, number, owner, address })
    // A claim keeps out whoever reigned before.
    this.#change('term', value, owner === null ? {} : { fence: 'take' })
  }

  /** Each of them uses the next number of a term. */
  #change(kind: 'term' | 'release', value: string, fence: { readonly fence?: 'take' } = {}): void {
    const number = this.#state.term.number + 1
    const append = ++this.#sequence
    this.#campaign = { number, since: this.#now, value }
    this.#appends.set(append, { campaign: number })
    this.#claiming = true
    this.#out.push({ do: 'append', append, records: [{ value, tenant: null, time: this.#time, kinds: [kind] }], ...fence })
  }

  #forwardAll(to: string, address: string): void {
    const term = this.#state.term.number
    for (const home of this.#queued) {
      if (home.attempt) continue
      const { queue } = home
      home.queue = []
      for (const request of queue) {
        if (request.done) continue
        if (request.forwarded) {
          this.#refuse(
            request,
            new EngineError('not-leader', 'this replica does not lead any more; nothing was written', { id: request.id }),
          )
          continue
        }
        this.#forwarded.set(request, { term, to, inDoubt: request.inDoubt })
        // Until the leader says otherwise.
        request.inDoubt = true
        this.#out.push({ do: 'forward', request, address, term })
      }
      this.#queued.delete(home)
    }
  }

  #wasForwarded(input: Extract<Input, { type: 'forwarded' }>): void {
    const { request, term, reply } = input
    const sent = this.#forwarded.get(request)
    // An answer is an answer, also one that was no longer waited for.
    if (reply === 'answered') {
      this.#forwarded.delete(request)
      request.done = true
      return
    }
    if (sent?.term !== term) return
    this.#forwarded.delete(request)
    if (request.done) return
    if (reply === 'failed') {
      request.inDoubt = sent.inDoubt
      return this.#refuse(request, input.error)
    }
    // Where it was sent and no answer came, it may have been written.
    if (reply === 'unreachable') request.inDoubt = sent.inDoubt
    else request.fresh = false
    const home = this.#home(request.tenant)
    home.notBefore = this.#now + 5 + this.#options.random() * 20
    home.queue.push(request)
    this.#queued.add(home)
  }

  /**
   * The term has changed, or who owns nothing has fallen silent: one that is stopped, or cut off, would leave its callers without an answer until
   * their deadline.
   */
  #recallForwarded(): void {
    const { number, owner } = this.#state.term
    for (const [request, { term, to }] of this.#forwarded) {
      if (term === number && (to === owner || this.#isAlive(to))) continue
      this.#forwarded.delete(request)
      if (request.done) continue
      request.fresh = false
      const home = this.#home(request.tenant)
      home.queue.push(request)
      this.#queued.add(home)
    }
  }

  // --- Ends ---------------------------------------------------------------------------------------------------------

  #reply(request: Request, reply: Reply): void {
    if (request.done) return
    request.done = true
    // Whatever an error says of "nothing", it does not speak of earlier attempts.
    if (reply.kind === 'failed' && request.inDoubt && !speaksOfDoubt.has(reply.error.code)) {
      this.#out.push({ do: 'reply', request, reply: { kind: 'failed', error: unknownOutcome(request, reply.error) } })
    } else this.#out.push({ do: 'reply', request, reply })
  }

  #refuse(request: Request, error: EngineError): void {
    const own =
      error.id === request.id ? error : new EngineError(error.code, error.message, { id: request.id, details: error.details, cause: error })
    this.#reply(request, { kind: 'failed', error: own })
  }

  /** @returns false: the request was answered */
  #fail(request: Request, error: unknown): false {
    this.#refuse(request, asEngineError(error, 'projection-failed', request))
    return false
  }

  #refuseAll(error: EngineError): void {
    for (const home of this.#queued) {
      const { queue } = home
      home.queue = []
      for (const request of queue) this.#refuse(request, error)
    }
    this.#queued.clear()
  }

  /** Deadlines. Those whose record may be in the log hear so. */
  #sweep(): void {
    const now = this.#now
    const late = (request: Request) => !request.done && request.deadline <= now
    for (const home of this.#queued) {
      for (const request of home.queue) if (late(request)) this.#refuse(request, this.#lateError(request, false))
      if (home.queue.some(request => request.done)) home.queue = home.queue.filter(request => !request.done)
      if (home.queue.length === 0) this.#queued.delete(home)
    }
    for (const { attempt } of this.#flying) {
      if (!attempt) continue
      for (const { request } of attempt.quiet) if (late(request)) this.#refuse(request, this.#lateError(request, false))
      if (!attempt.requests.some(late)) continue
      // It may not even have begun. The log's answer says so, and then nobody needs to be left in doubt.
      if (attempt.append !== undefined && attempt.givenUp === undefined) {
        attempt.givenUp = now
        this.#out.push({ do: 'give-up', append: attempt.append })
      }
      if (attempt.append !== undefined && now - attempt.givenUp! < GIVING_UP) continue
      for (const request of attempt.requests) if (late(request)) this.#refuse(request, this.#lateError(request, true))
    }
    for (const request of this.#forwarded.keys()) {
      // The leader has the same deadline, waits as long for its log, and then knows whether anything was written; or it is just found that
      // there is none.
      if (request.deadline + 2 * GIVING_UP <= now) this.#refuse(request, this.#lateError(request, true))
      if (request.done) this.#forwarded.delete(request)
    }
    for (const read of this.#allReads()) if (read.deadline <= now) this.#serve(read, notReady(read, this.#why()))
    this.#sweepStranded()
  }

  /** Commands of another release than the active one that cannot be passed on. */
  #sweepStranded(): void {
    if (!this.#isSuperseded()) {
      this.#strandedSince = undefined
      return
    }
    const { owner } = this.#state.term
    this.#vacantSince = owner !== null && this.#isAlive(owner) ? undefined : (this.#vacantSince ?? this.#now)
    this.#strandedSince = this.#role().may === 'wait' ? (this.#strandedSince ?? this.#now) : undefined
    // Where a reign is waited for, deadlines tell.
    if (this.#options.strategy.reigns || this.#strandedSince === undefined) return
    if (this.#now - this.#strandedSince > STRANDED) this.#refuseAll(this.#superseded())
  }

  #superseded(): EngineError {
    return superseded(this.#state.release!, this.#options.release)
  }

  #lateError(request: Request, sent: boolean): EngineError {
    const { id } = request
    if (sent) return unknownOutcome(request, this.#why())
    const late = (code: 'not-leader' | 'timeout', message: string, cause: unknown): EngineError =>
      cause instanceof Error ? new EngineError(code, `${message}: ${cause.message}`, { id, cause }) : new EngineError(code, message, { id })
    if (this.#isSuperseded()) {
      const { code, message } = this.#superseded()
      return new EngineError(code, message, { id })
    }
    if (this.#role().may !== 'write')
      return late('not-leader', 'no leader could be reached before the deadline; nothing was written', this.#why())
    if (!this.#live)
      return new EngineError('not-ready', 'the replica was still reading the log when the deadline passed; nothing was written', { id })
    return late('timeout', 'the deadline passed before anything was written', this.#home(request.tenant).hindrance ?? this.#why())
  }

  #abandon(item: Request | Read, error: EngineError): void {
    if ('level' in item) this.#serve(item, error)
    else this.#refuse(item, error)
  }

  #end(): void {
    const error = new EngineError('closed', 'the replica was closed before this could be done')
    for (const request of this.#forwarded.keys()) this.#refuse(request, unknownOutcome(request, error))
    for (const { attempt } of this.#flying) {
      for (const request of attempt?.requests ?? []) this.#refuse(request, unknownOutcome(request, error))
      for (const { request } of attempt?.quiet ?? []) this.#refuse(request, error)
    }
    this.#refuseAll(error)
    for (const read of this.#allReads()) this.#serve(read, error)
  }

  #busy(): boolean {
    if (this.#forwarded.size > 0 || this.#flying.size > 0) return true
    for (const home of this.#queued) if (home.queue.some(request => !request.done)) return true
    return false
  }

  #checkDrained(): void {
    if (this.#drained || this.#busy()) return
    // On a sealed log no reign can be laid down, nor does it keep anybody out.
    if (this.reigning && !this.#failure && this.#live && !this.#isVoid()) return this.#reign()
    this.#drained = true
    this.#out.push({ do: 'drained' })
  }
}
