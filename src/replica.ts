/**
 * A replica: follows a log, keeps its tenants' databases, executes commands and answers queries. The log has one shard or many; here is what
 * callers see, which shard a tenant's call goes to, and what shards share. The work of one shard is in `replica/engine.ts`.
 */
import { randomUUID } from 'node:crypto'
import { dirname } from 'node:path'
import type { ShardState } from './accept.ts'
import { type App, type Args, definitionOf, isApp, type Outcome, revision } from './app.ts'
import { Heartbeats, PATIENCE, type StrategyName, strategyOf } from './consistency.ts'
import { type Clock, every, machine } from './clock.ts'
import { ask } from './decide.ts'
import { EngineError, type ErrorCode } from './errors.ts'
import { uuidv7 } from './ids.ts'
import type { Fencing } from './log/kafka/settings.ts'
import { oneShard, openLogs } from './log/open.ts'
import type { Log, Logs, Position } from './log.ts'
import { partitionOf } from './partition.ts'
import { type CommandMeta, MAX_RECORD_BYTES } from './record.ts'
import { DataDirectory, type Databases, socketPath } from './replica/data.ts'
import { Engine, type Surroundings } from './replica/engine.ts'
import { Spread } from './replica/spread.ts'
import { LinkServer } from './replica/link.ts'
import { checkListen, type Listen, listenOf } from './replica/listen.ts'
import { ensureManifests } from './replica/manifest.ts'
import { type Forwarded, forwarded, leave, type Neighbourhood, Neighbours, settle } from './replica/neighbours.ts'
import { acceptedIn, checkKeys, checkOptions, checkTenant, EXECUTE_KEYS, OPEN_KEYS, QUERY_KEYS } from './replica/options.ts'
import { tokenOf } from './replica/answers.ts'
import { openPast, runSql, untilOf } from './replica/past.ts'
import type { Advance } from './replica/progress.ts'
import type { ReplayProgress } from './replica/replay.ts'
import { type Account, type Sample, sampleOf } from './rollout.ts'
import { BEAT, type Lag, type Member, type MemberInfo } from './roster.ts'
import { Folder } from './snapshot/folder.ts'
import { Offers, Peer } from './snapshot/peer.ts'
import type { Source } from './snapshot/source.ts'
import { startFromSnapshot } from './snapshot/start.ts'

export interface ReplicaOptions {
  /** 'file:PATH' (shared by the processes of one machine), 'kafka://HOST:PORT/TOPIC', or 'memory:' / 'memory:NAME' (gone with the process). */
  readonly log: string | Log | Logs
  /** A directory for this replica's databases; belongs to one replica. May be left out with a log in memory. */
  readonly data?: string
  /** Default: leader on Kafka, else optimistic. */
  readonly strategy?: StrategyName
  /** Strategy leader on Kafka: how the one before is kept out. Default: epoch. */
  readonly fencing?: Fencing
  /** What `execute` waits at most, ms. Default 10,000. */
  readonly timeout?: number
  /** Identity of the running code, beside the revision. Default: MAINSTEM_RELEASE, or ''. */
  readonly release?: string
  /** A record's size at most, bytes. Default 921,600, so that it fits Kafka's default. */
  readonly maxRecordBytes?: number
  /**
   * What is unsafe about a cluster of Kafka, and shall be taken as it is: by the names that `mainstem doctor` gives. Default:
   * MAINSTEM_ACCEPT, names apart by commas.
   */
  readonly accept?: readonly string[]
  /**
   * Where other machines pass commands on to this replica while it leads; only for logs that they share (Kafka). Default: any port of this
   * machine alone. Left open, MAINSTEM_LISTEN (HOST:PORT), MAINSTEM_ADVERTISE and MAINSTEM_SECRET or MAINSTEM_SECRET_FILE say it.
   */
  readonly listen?: Listen
  /**
   * Where a replica that has nothing yet finds a snapshot to start from: a folder of them, or the URL of another replica that leads or follows on
   * Kafka. From a folder looks at the past begin, too. Default: MAINSTEM_SNAPSHOTS.
   */
  readonly snapshots?: string
  /** Called now and then while the log is read at the start. */
  readonly onProgress?: (progress: ReplayProgress) => void
  /** Cuts the start off. */
  readonly signal?: AbortSignal
}

export interface ExecuteOptions {
  /** Makes the command safe to repeat: the same id can win once only. 1 to 128 visible ASCII characters; a UUID in lower case. */
  readonly id?: string
  readonly tenant?: string
  /** ms */
  readonly timeout?: number
  readonly signal?: AbortSignal
  /** Who asks, and what it belongs to. It is no part of what a repeated id is compared by: the first one stays. */
  readonly meta?: CommandMeta
}

export interface QueryOptions {
  readonly tenant?: string
  /** `local` (default): what this replica has. `linearizable`: everything acknowledged before the call. `atLeast`: what a token stands for. */
  readonly read?: 'local' | 'linearizable' | { readonly atLeast: string }
  readonly timeout?: number
  readonly signal?: AbortSignal
}

export interface Answered<R> {
  readonly answer: R
  readonly version: number
  readonly token: string
}

export interface EventsOptions {
  readonly tenant?: string
  /** The first version wanted; left out: only what comes from now on. */
  readonly from?: number
  readonly signal?: AbortSignal
}

/** An accepted event, as `events()` gives it. */
export interface LoggedEvent {
  readonly tenant: string
  readonly version: number
  readonly type: string
  readonly data: unknown
  readonly at: Date
  /** The command that it came from. */
  readonly id: string
  readonly command: string
  /** What it wrote: its own tags and those of its command's scope; a command without a scope, which writes to all, adds none. */
  readonly tags: readonly string[]
  readonly meta?: CommandMeta
}

export interface TenantStatus {
  readonly version: number
  readonly status: 'open' | 'closed' | 'checking' | 'halted'
  readonly error?: string
}

/** Whether a replica should be sent calls, and if not, why: in the words of `docs/rollouts.md`. */
export interface Readiness {
  readonly ready: boolean
  readonly reasons: readonly string[]
}

export interface Status {
  readonly app: string
  readonly revision: string
  /** Of this replica: its revision and the name that was given. */
  readonly release: string
  /** The one that may write; null while the log names none. */
  readonly activeRelease: string | null
  readonly ready: Readiness
  readonly lag: Lag
  readonly log: string
  readonly logId: string
  readonly generation: number
  readonly data: string | null
  readonly strategy: StrategyName
  readonly incarnation: string
  readonly role: 'leader' | 'follower' | 'writer'
  readonly term: { readonly number: number; readonly owner: string | null; readonly address: string | null }
  readonly position: Position
  readonly records: number
  /** Entries that are not records of this log, or have no effect. */
  readonly foreign: number
  /** Decisions of this run that others' records beat, or that were deposed, doubled, too old. */
  readonly refused: number
  /** Appends that the log refused. */
  readonly conflicts: number
  readonly sealed: boolean
  readonly failure: string | null
  /** Those that were met in this run. */
  readonly tenants: { readonly [tenant: string]: TenantStatus }
  /** How many tenants have a database here. */
  readonly databases: number
  readonly members: readonly Member[]
  readonly notices: readonly string[]
  /** Of a log with several shards; role and term above are then those of the first, numbers the sums. */
  readonly shards?: readonly ShardStatus[]
}

export interface ShardStatus {
  readonly partition: number
  readonly activeRelease: string | null
  readonly lag: Lag
  readonly role: Status['role']
  readonly term: Status['term']
  readonly position: Position
  readonly records: number
  readonly foreign: number
  readonly refused: number
  readonly conflicts: number
  readonly sealed: boolean
  readonly failure: string | null
}

/** A tenant's database as it was; read-only, thrown away when closed. */
export interface Past<QI = any, QR = any> extends AsyncDisposable {
  readonly version: number
  /** Log time of its last record. */
  readonly at: Date
  readonly digest: string
  /** Where the database file is, until `close`. */
  readonly path: string
  query<K extends keyof QI & keyof QR & string>(name: K, ...args: Args<QI[K], object>): QR[K]
  sql(text: string, ...parameters: unknown[]): Record<string, unknown>[]
  close(): Promise<void>
}

export interface Replica<EI = any, CI = any, CR = any, QI = any, QR = any> extends AsyncDisposable {
  readonly app: App<string, EI, any, CI, CR, QI, QR>
  /** @throws EngineError; its `retry` says whether to repeat the call, its `id` under which id */
  execute<K extends keyof CI & keyof CR & string>(command: K, ...args: Args<CI[K], ExecuteOptions>): Promise<Outcome<CR[K]>>
  query<K extends keyof QI & keyof QR & string>(query: K, ...args: Args<QI[K], QueryOptions>): Promise<QR[K]>
  /** As `query`, with the version that the answer was read at, and the token that stands for it. */
  ask<K extends keyof QI & keyof QR & string>(query: K, ...args: Args<QI[K], QueryOptions>): Promise<Answered<QR[K]>>
  /** Accepted events in order, then live, until the signal fires or the replica closes. */
  events(options?: EventsOptions): AsyncIterableIterator<LoggedEvent>
  /** A tenant's database as it was at a version or a moment. @throws EngineError no-such-version */
  at(
    when: number | Date,
    options?: { readonly tenant?: string; readonly onProgress?: (progress: ReplayProgress) => void },
  ): Promise<Past<QI, QR>>
  /** Read-only SQL on a tenant's database. */
  sql(text: string, parameters?: readonly unknown[], options?: QueryOptions): Promise<Record<string, unknown>[]>
  status(): Promise<Status>
  /** At once, for whoever asks often. */
  readiness(): Readiness
  /** The digest and version of a tenant here. */
  digest(tenant?: string): Promise<{ readonly version: number; readonly digest: string }>
  /**
   * Lays its leadership down if another replica is there to take it, and takes none any more while there is. Commands are taken further, and
   * passed on: what a replica does that is about to close, so that nobody waits for its successor when it does.
   */
  stepDown(): void
  /** Stops taking commands, finishes those on their way, hands leadership over. */
  close(): Promise<void>
}

/** How others come in. */
interface Door {
  readonly address: string
  close(): Promise<void>
}

/** What a replica stands on, beside its log: this process and its disk, or a simulation. */
export interface Ground {
  /** This incarnation of the replica, as it signs its terms. */
  readonly me: string
  readonly clock: Clock
  /** An id for a command that came without one: a UUIDv7. */
  readonly newId: (time: number) => string
  readonly data: Databases | undefined
  readonly neighbours: Neighbourhood
  readonly snapshots?: Source | undefined
  /** How often the cursors are stored, ms, and how many databases a shard keeps open; where these shall not be the usual ones. */
  readonly checkpoint?: number
  /** How often the end of the log is looked at, ms; 0: never. */
  readonly lookAhead?: number
  readonly maxOpen?: number
  listen(serve: (method: string, params: unknown) => Promise<unknown>): Promise<Door>
}

const DEFAULT_TENANT = 'default'
/** How often deadlines and reigns are looked after, ms. */
const TICK = 50
/** How often the end of the log is looked at, to tell how far behind a replica is, ms. */
const LOOK_AHEAD = 1_000
/** Who is that far behind has caught up: others write meanwhile. In s. */
const CLOSE = 2
/** How often the cursors are stored while they move, ms. */
const CHECKPOINT = 5_000
/** How many databases are kept open, over all shards; each shard may keep a few in any case. */
const MAX_OPEN = 64
const MIN_OPEN = 4

/**
 * Opens a replica and reads the log to its end. Resolves when the replica is ready.
 * @throws EngineError invalid-option, log-*, data-*, unknown-event
 */
export async function openReplica<EI, EO, CI, CR, QI, QR>(
  app: App<string, EI, EO, CI, CR, QI, QR>,
  options: ReplicaOptions,
): Promise<Replica<EI, CI, CR, QI, QR>> {
  checkKeys(options, OPEN_KEYS, 'openReplica')
  if (!isApp(app))
    throw new EngineError('invalid-app', 'the first argument of openReplica is an app: what app(...) or model(...).app(...) made')
  checkOptions(options)
  const { log, fencing, maxRecordBytes } = options
  const kafka = {
    app: app.name,
    accept: options.accept ?? acceptedIn(process.env),
    transactional: options.strategy !== 'first-wins',
    ...(fencing === undefined ? {} : { fencing }),
    ...(maxRecordBytes === undefined ? {} : { maxRecordBytes }),
  }
  const logs = typeof log === 'string' ? await openLogs(log, kafka) : 'shards' in log ? log : oneShard(log)
  let data: DataDirectory | undefined
  let listen: Listen | undefined
  try {
    // The environment speaks to those only who listen.
    listen = logs.spans === 'network' ? listenOf(options.listen, process.env) : options.listen
    if (listen) checkListen(listen)
    data = options.data === undefined ? undefined : new DataDirectory(options.data, app.name, revision(app))
    data?.clean()
  } catch (error) {
    data?.close()
    if (typeof log === 'string') await logs.close()
    throw error
  }
  const snapshots = options.snapshots ?? (process.env.MAINSTEM_SNAPSHOTS || undefined)
  // From here on it is the router that closes both.
  const given = { ...options, ...(listen ? { listen } : {}), ...(snapshots === undefined ? {} : { snapshots }) }
  const me = randomUUID()
  const ground: Ground = {
    me,
    clock: machine,
    newId: uuidv7,
    data,
    neighbours: new Neighbours(listen?.secret),
    snapshots: snapshots === undefined ? undefined : sourceOf(snapshots, listen?.secret, revision(app)),
    listen: serve => openDoor(app, serve, me, given, logs, data),
  }
  return await startReplica(app, given, logs, ground)
}

/** As `openReplica`, on another ground. From here on it is the replica that closes logs and databases. */
export async function startReplica<EI, EO, CI, CR, QI, QR>(
  app: App<string, EI, EO, CI, CR, QI, QR>,
  options: ReplicaOptions,
  logs: Logs,
  ground: Ground,
): Promise<Replica<EI, CI, CR, QI, QR>> {
  return (await Router.start(app, options, logs, ground)) as unknown as Replica<EI, CI, CR, QI, QR>
}

/** Where the others reach a replica: its socket, on a network its URL, or within this process. */
async function openDoor(
  app: App,
  serve: (method: string, params: unknown) => Promise<unknown>,
  me: string,
  { listen = {} }: ReplicaOptions,
  { spans }: Logs,
  data: Databases | undefined,
): Promise<Door> {
  const server = data && (await LinkServer.listen(socketPath(data.path), serve))
  try {
    const http =
      spans === 'network'
        ? await (await import('./replica/http-link.ts')).HttpLinkServer.listen(
            listen,
            (params, method) => serve(method, params),
            offersOf(app, data),
          )
        : undefined
    const address = http?.url ?? server?.path ?? settle(me, command => serve('forward', command))
    const close = async () => {
      leave(me)
      await server?.close()
      await http?.close()
    }
    return { address, close }
  } catch (error) {
    await server?.close()
    throw error
  }
}

/** What a replica without a data directory has to give: nothing. */
function offersOf(app: App, data: Databases | undefined) {
  if (!data) return undefined
  const offers = new Offers(app, data.path, dirname(data.scratch('offered')))
  return (wanted: unknown) => offers.send(wanted)
}

const isUrl = (setting: string): boolean => /^https?:\/\//.test(setting)

const sourceOf = (setting: string, secret: string | undefined, revision: string): Source =>
  isUrl(setting) ? new Peer(setting, secret, revision) : new Folder(setting)

const defaultStrategy = (spans: Logs['spans']): StrategyName => (spans === 'network' ? 'leader' : 'optimistic')

class Router {
  readonly app: App
  readonly #logs: Logs
  readonly #ground: Ground
  readonly #options: ReplicaOptions
  readonly #engines: readonly Engine[]
  readonly #strategy: StrategyName
  readonly #named: string
  readonly #spread: Spread
  readonly #heartbeats = new Heartbeats()
  readonly #timers: (() => void)[] = []
  readonly #notices: string[] = []
  #door: Door | undefined
  /** The shards can be asked: also while they still read. */
  #open = false
  /** It has read the log to where that ended when it started. */
  #live = false
  /** While it still reads: how long that may take, s. */
  #eta: number | undefined
  /** It is on its way out, and still does what it has begun. */
  #leaving = false
  /** Since when it would rather not lead, monotonic, ms. */
  #steppedDown: number | undefined
  #closing: Promise<void> | undefined

  private constructor(app: App, options: ReplicaOptions, logs: Logs, ground: Ground) {
    this.app = app
    this.#options = options
    this.#logs = logs
    this.#ground = ground
    this.#notices.push(...(logs.notices ?? []))
    const { clock, data, neighbours, me, newId, maxOpen = Math.max(MIN_OPEN, Math.floor(MAX_OPEN / logs.shards.length)) } = ground
    const { timeout = 10_000, maxRecordBytes = MAX_RECORD_BYTES, release = process.env.MAINSTEM_RELEASE ?? '' } = options
    const strategy = options.strategy ?? defaultStrategy(logs.spans)
    this.#strategy = strategy
    this.#named = `${revision(app).slice(0, 12)}${release === '' ? '' : `+${release}`}`
    const around: Surroundings = {
      app,
      strategy: strategyOf[strategy],
      me,
      release: this.#named,
      timeout,
      maxRecordBytes,
      maxOpen: data ? maxOpen : Number.MAX_SAFE_INTEGER,
      clock,
      newId,
      data,
      neighbours,
      notice: text => this.#notice(text),
    }
    this.#engines = logs.shards.map((log, partition) => new Engine(log, partition, around))
    this.#spread = new Spread(me, around.strategy.reigns)
  }

  static async start(app: App, options: ReplicaOptions, logs: Logs, ground: Ground): Promise<Router> {
    const router = new Router(app, options, logs, ground)
    try {
      await router.#start()
      return router
    } catch (error) {
      await router.#release()
      throw error
    }
  }

  // --- Start and end --------------------------------------------------------------------------------------------------

  async #start(): Promise<void> {
    const { signal = new AbortController().signal, onProgress } = this.#options
    const { clock, checkpoint = CHECKPOINT, lookAhead = LOOK_AHEAD } = this.#ground
    const strategy = this.#strategy
    for (const { conditional, description } of this.#logs.shards) {
      if (!strategyOf[strategy].conditional || conditional) continue
      throw new EngineError(
        'invalid-option',
        `the log ${description} has no conditional append${this.#options.fencing === 'term' ? ", for fencing 'term' is without transactions" : ''}; the strategy optimistic needs it`,
      )
    }
    const former = this.#formerLog()
    const manifests = await ensureManifests(this.#logs, this.app.name, former, clock, signal)
    await this.#begin(manifests[0]!.state, signal)
    const opens = await all(this.#engines.map((engine, shard) => engine.prepare(manifests[shard]!, signal)))
    this.#door = await this.#ground.listen((method, params) => this.#serve(method, params))
    for (const open of opens) open(this.#door.address)
    this.#open = true
    const places = this.#engines.map(() => ({ position: 0, head: 0 }))
    const progress = (shard: number) => (position: number, head: number) => {
      places[shard] = { position, head }
      const told = { position: sum(places, each => each.position), head: sum(places, each => each.head), events: this.#events() }
      first ??= told.position
      this.#eta = etaOf(told.head - told.position, told.position - first, clock.now() - begun)
      onProgress?.(told)
    }
    const begun = clock.now()
    let first: number | undefined
    // The others see it coming; it is given nothing yet.
    this.#beat()
    this.#timers.push(every(clock, BEAT, () => this.#beat()))
    if (lookAhead > 0) this.#timers.push(every(clock, lookAhead, () => this.#engines.forEach(engine => void engine.lookAhead())))
    const failed = new AbortController()
    const either = AbortSignal.any([signal, failed.signal])
    await all(this.#engines.map((engine, shard) => engine.catchUp(progress(shard), either).catch(error => failed.abort(error))))
    either.throwIfAborted()
    this.#live = true
    this.#eta = undefined
    for (const engine of this.#engines) engine.live()
    this.#beat()
    this.#timers.push(every(clock, TICK, () => this.#engines.forEach(engine => engine.tick())))
    this.#timers.push(every(clock, checkpoint, () => this.#checkpoint()))
  }

  /** Where there is nothing yet, from a snapshot, if there is one. */
  async #begin({ log, generation }: ShardState, signal: AbortSignal): Promise<void> {
    const { snapshots: source, data, clock } = this.#ground
    if (!source || !data) return
    const { shards } = this.#logs
    const { app } = this
    const wanted = { app: app.name, revision: revision(app), log, generation, places: shards.map(({ place }) => place) }
    const patience = this.#options.timeout ?? 10_000
    const notice = (text: string) => this.#notice(text)
    await startFromSnapshot({ database: definitionOf(app).database, source, data, shards, wanted, clock, patience, signal, notice })
  }

  #formerLog() {
    const log = this.#engines[0]!.former()
    return log === undefined ? undefined : { log, path: this.#ground.data!.path }
  }

  /** Events of the default tenant so far. */
  #events(): number {
    for (const { name, version } of this.#engineOf(DEFAULT_TENANT).shard.tenants()) if (name === DEFAULT_TENANT) return version
    return 0
  }

  stepDown(): void {
    if (this.#steppedDown !== undefined || !this.#open) return
    this.#steppedDown = this.#ground.clock.now()
    this.#beat()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const stopped = all(this.#engines.map(engine => engine.stop(this.#options.timeout ?? 10_000)))
    this.#leaving = true
    this.#beat()
    await stopped
    this.#checkpoint()
    await this.#release()
  }

  async #release(): Promise<void> {
    for (const cancel of this.#timers) cancel()
    for (const engine of this.#engines) engine.close()
    this.#ground.neighbours.close()
    await this.#door?.close()
    try {
      this.#logs.roster.leave(this.#ground.me)
    } catch {
      // Somebody holds it: it is found to be gone by its silence.
    }
    if (typeof this.#options.log === 'string') await this.#logs.close()
    this.#ground.data?.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // --- What shards share ----------------------------------------------------------------------------------------------

  #beat(): void {
    // One that can write no more falls silent, so that somebody else may reign.
    if (this.#engines.some(({ shard }) => shard.failure)) return
    // One that still reads, or is closing, is to be given nothing.
    const reigns = strategyOf[this.#strategy].reigns && this.#live && !this.#leaving && this.#steppedDown === undefined
    try {
      this.#logs.roster.beat(this.#ground.me, this.#door?.address ?? null, reigns, this.#info())
    } catch (error) {
      // Others may take the reign away; that costs time, nothing else.
      this.#notice(`the roster could not be written: ${(error as Error).message}`)
    }
    const members = this.#members()
    const beats = new Map(members.map(({ id, beat }) => [id, beat]))
    const states = this.#engines.map(({ shard }) => shard.state)
    const owners = states.map(({ term }) => term.owner)
    const releases = states.map(({ release }) => release)
    const now = this.#ground.clock.now()
    const preferred = this.#spread.preferred(members, owners, now, this.#steppedDown, releases)
    const heir = this.#spread.heir(members, owners, now, this.#named)
    const peers = members.flatMap(({ id, address, info }) =>
      address === null || !info || info.reasons.includes('replaying') ? [] : [{ id, address, release: info.release }],
    )
    this.#heartbeats.observe(beats, now)
    const mayFound = this.#mayFound(members, now)
    for (const [partition, engine] of this.#engines.entries()) {
      // All shards go with the first.
      const founds = mayFound && (partition === 0 || releases[0] === this.#named)
      engine.beats({ beats, preferred: preferred[partition], heir, peers, founds })
    }
  }

  /** Whether this release may make itself the active one of a log that has none: not while replicas live that would be shut out unasked. */
  #mayFound(members: readonly Member[], now: number): boolean {
    if (!isNamed(this.#named) || this.#leaving) return false
    return !members.some(
      ({ id, info }) => id !== this.#ground.me && !(info && isNamed(info.release)) && this.#heartbeats.lives(id, now, PATIENCE),
    )
  }

  /** What it tells the others of itself. */
  #info(): MemberInfo {
    const engines = this.#engines
    const lag = this.#lag()
    const role = engines.some(({ shard }) => shard.reigning) ? 'leader' : this.#roleOf(engines[0]!)
    const caughtUp = this.#live && !this.#hasHalted() && !engines.some(engine => engine.unreachable) && (lag.seconds ?? Infinity) <= CLOSE
    const position = sum(engines, ({ shard }) => shard.cursor)
    const eta = this.#eta === undefined ? {} : { eta: this.#eta }
    return { release: this.#named, position, lag, role, caughtUp, ...this.readiness(), ...eta }
  }

  #lag(): Lag {
    const lags = this.#engines.map(({ lag }) => lag)
    const unknown = lags.some(({ seconds }) => seconds === null)
    return { records: sum(lags, each => each.records), seconds: unknown ? null : Math.max(...lags.map(({ seconds }) => seconds!)) }
  }

  #roleOf({ shard: { state, reigning, superseded } }: Engine): Status['role'] {
    if (reigning) return 'leader'
    return state.term.owner === null && this.#strategy !== 'leader' && !superseded ? 'writer' : 'follower'
  }

  #hasHalted(only?: ErrorCode): boolean {
    for (const { shard } of this.#engines) for (const code of shard.halts) if (only === undefined || code === only) return true
    return false
  }

  readiness(): Readiness {
    const engines = this.#engines
    const reasons: string[] = []
    if (this.#leaving || this.#steppedDown !== undefined) reasons.push('closing')
    if (!this.#live) reasons.push('replaying')
    if (engines.some(({ shard }) => shard.failure)) reasons.push('failed')
    else if (engines.some(engine => engine.unreachable)) reasons.push('unreachable')
    if (engines.every(({ shard }) => shard.state.sealed)) reasons.push('sealed')
    // Of several shards some may not have been switched yet.
    if (engines.every(({ shard }) => shard.superseded && shard.state.retired.includes(this.#named))) reasons.push('superseded')
    // One tenant keeps nobody from the others, but a release that cannot read the log must not take over.
    if (this.#hasHalted(engines.some(({ shard }) => shard.superseded) ? undefined : 'unknown-event')) reasons.push('halted')
    return { ready: reasons.length === 0, reasons }
  }

  #members(): Member[] {
    try {
      return this.#logs.roster.members()
    } catch (error) {
      this.#notice(`the roster could not be read: ${(error as Error).message}`)
      return []
    }
  }

  #notice(text: string): void {
    if (this.#notices.at(-1) !== text) this.#notices.push(text)
    if (this.#notices.length > 100) this.#notices.shift()
  }

  #checkpoint(): void {
    const { data } = this.#ground
    if (!data) return
    try {
      const advances = new Map<number, Advance>()
      for (const [partition, engine] of this.#engines.entries()) {
        const advance = engine.advance()
        if (advance) advances.set(partition, advance)
      }
      if (advances.size === 0) return
      data.progress.save(advances)
      for (const [partition, { cursor }] of advances) this.#engines[partition]!.advanced(cursor)
    } catch (error) {
      // The next start reads more of the log.
      this.#notice(`how far the log was read could not be stored: ${(error as Error).message}`)
    }
  }

  async #serve(method: string, params: unknown): Promise<unknown> {
    const p = params as { command: string; query: string; input?: unknown; sql: string; parameters?: unknown[]; options?: object }
    if (!this.#open)
      throw new EngineError(method === 'forward' ? 'not-leader' : 'not-ready', 'the replica is starting; nothing was written')
    switch (method) {
      case 'forward':
        return this.#takeOver(forwarded(params))
      case 'execute':
        return this.execute(p.command, p.input, p.options)
      case 'query':
        return this.query(p.query, p.input, p.options)
      case 'sql':
        return this.sql(p.sql, p.parameters, p.options)
      case 'status':
        return this.status()
      case 'account':
        return this.#account()
      case 'sample':
        return this.#sample(params)
    }
    throw new EngineError('internal', `no method ${method}`)
  }

  /** What whoever rolls a release out wants to know of one of its replicas. */
  #account(): Account {
    const { events, compare } = definitionOf(this.app)
    const holds: Record<string, number> = {}
    for (const { shard } of this.#engines) for (const [type, schema] of shard.types) holds[type] = Math.max(schema, holds[type] ?? 0)
    return {
      release: this.#named,
      knows: Object.fromEntries([...events].map(([type, { version }]) => [type, version])),
      holds,
      compares: compare.map(({ query }) => query),
      tenants: this.#ground.data?.tenants() ?? [],
      shards: this.#engines.map(({ shard }) => ({ cursor: shard.cursor, state: shard.state })),
    }
  }

  /** Its answers, now or as of a version. */
  async #sample(params: unknown): Promise<Sample> {
    const { tenant = DEFAULT_TENANT, version } = (params ?? {}) as { readonly tenant?: string; readonly version?: number }
    if (version === undefined) {
      const { standing, queries } = await this.#engineOf(tenant).store(tenant)
      return sampleOf(this.app, tenant, standing, query => ask(this.app, query.query, query.input, queries, standing.version))
    }
    await using past = await this.at(version, { tenant })
    return sampleOf(this.app, tenant, past, query => past.query(query.query, query.input))
  }

  /** What another replica passes on. */
  async #takeOver({ command, input, id, tenant, timeout, meta }: Forwarded): Promise<unknown> {
    return this.#engineOf(tenant).execute(command, input, tenant, { id, timeout, ...(meta === undefined ? {} : { meta }) }, true)
  }

  // --- Calls ----------------------------------------------------------------------------------------------------------

  /** The shard where a tenant lives. */
  #engineOf(tenant: string): Engine {
    checkTenant(tenant)
    return this.#engines[partitionOf(tenant, this.#engines.length)]!
  }

  execute(command: string, input?: unknown, options: ExecuteOptions = {}): Promise<unknown> {
    // Not async: this is the hot path, and one promise a command is enough.
    try {
      checkKeys(options, EXECUTE_KEYS, 'execute')
      const { tenant = DEFAULT_TENANT } = options
      return this.#engineOf(tenant).execute(command, input, tenant, options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async query(query: string, input?: unknown, options: QueryOptions = {}): Promise<unknown> {
    return (await this.ask(query, input, options)).answer
  }

  async ask(query: string, input?: unknown, options: QueryOptions = {}): Promise<Answered<unknown>> {
    checkKeys(options, QUERY_KEYS, 'query')
    const { tenant = DEFAULT_TENANT } = options
    const store = await this.#engineOf(tenant).store(tenant, options)
    const { version } = store.standing
    return { answer: ask(this.app, query, input, store.queries, version), version, token: tokenOf(tenant, version) }
  }

  async sql(text: string, parameters: readonly unknown[] = [], options: QueryOptions = {}): Promise<Record<string, unknown>[]> {
    const { tenant = DEFAULT_TENANT } = options
    return runSql(await this.#engineOf(tenant).store(tenant, options), text, parameters)
  }

  async digest(tenant: string = DEFAULT_TENANT): Promise<{ version: number; digest: string }> {
    const { standing } = await this.#engineOf(tenant).store(tenant)
    return { version: standing.version, digest: standing.digest }
  }

  async *events({ tenant = DEFAULT_TENANT, from, signal }: EventsOptions = {}): AsyncIterableIterator<LoggedEvent> {
    const engine = this.#engineOf(tenant)
    if (from !== undefined && !(Number.isSafeInteger(from) && from >= 1))
      throw new EngineError('invalid-option', 'from is a version, from 1')
    yield* engine.events(tenant, from, signal)
  }

  async at(
    when: number | Date,
    { tenant = DEFAULT_TENANT, onProgress }: { tenant?: string; onProgress?: (progress: ReplayProgress) => void } = {},
  ): Promise<Past> {
    const { log, shard } = this.#engineOf(tenant)
    const { snapshots } = this.#options
    return openPast(this.app, log, tenant, untilOf(when), this.#ground.data?.scratch(tenant) ?? ':memory:', {
      onProgress,
      known: shard.cursor,
      snapshots: snapshots === undefined || isUrl(snapshots) ? undefined : snapshots,
    })
  }

  async status(): Promise<Status> {
    const strategy = this.#strategy
    const tenants: Record<string, TenantStatus> = {}
    for (const { shard } of this.#engines) {
      for (const { name, version, status, error } of shard.tenants()) {
        tenants[name] = { version, status, ...(error ? { error: error.message } : {}) }
      }
    }
    const shards = this.#engines.map((engine, partition): ShardStatus => {
      const { state, cursor, counters, failure } = engine.shard
      return {
        partition,
        activeRelease: state.release,
        lag: engine.lag,
        role: this.#roleOf(engine),
        term: state.term,
        position: cursor,
        ...counters,
        sealed: state.sealed,
        failure: failure?.message ?? null,
      }
    })
    const { state } = this.#engines[0]!.shard
    const [first] = shards
    return {
      app: this.app.name,
      revision: revision(this.app),
      release: this.#named,
      activeRelease: state.release,
      ready: this.readiness(),
      lag: this.#lag(),
      log: this.#logs.description,
      logId: state.log ?? '',
      generation: state.generation,
      data: this.#ground.data?.path ?? null,
      strategy,
      incarnation: this.#ground.me,
      role: first!.role,
      term: first!.term,
      position: sum(shards, each => each.position),
      records: sum(shards, each => each.records),
      foreign: sum(shards, each => each.foreign),
      refused: sum(shards, each => each.refused),
      conflicts: sum(shards, each => each.conflicts),
      sealed: shards.some(({ sealed }) => sealed),
      failure: shards.find(({ failure }) => failure !== null)?.failure ?? null,
      tenants,
      databases: this.#ground.data?.tenants().length ?? Object.keys(tenants).length,
      members: this.#members(),
      notices: this.#notices,
      ...(shards.length > 1 ? { shards } : {}),
    }
  }
}

/** How long the rest will take, s, if it goes on like what was done, in `time` ms; undefined if nothing was. */
function etaOf(left: number, done: number, time: number): number | undefined {
  return done > 0 ? Math.ceil((left * time) / done / 1_000) : undefined
}

/** Whether a release is more than a revision: it was given a name. */
const isNamed = (release: string): boolean => release.includes('+')

/** Waits for all of them, also when one has failed: nothing is left running behind the error. */
async function all<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises)
  return results.map(result => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0)
}
