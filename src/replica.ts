/**
 * A replica: follows a log, keeps its tenants' databases, executes commands and answers queries. Here is all its I/O: what comes from
 * the log, the roster, sockets, timers and callers is fed to the shard (`shard.ts`), and what the shard wants done is done.
 */
import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { control } from './accept.ts'
import { type App, type Args, definitionOf, isApp, type Outcome, revision } from './app.ts'
import { type StrategyName, strategies, strategyOf } from './consistency.ts'
import { openLazily } from './database/lazy.ts'
import { openStore } from './database/sqlite.ts'
import type { IdEntry, Store } from './database.ts'
import { ask, prepare } from './decide.ts'
import { EngineError } from './errors.ts'
import { isId, isTenant, uuidv7 } from './ids.ts'
import { logPath, openLog } from './log/open.ts'
import type { Chunk, Log, Position } from './log.ts'
import { decode, encodeControl, inputHash, MAX_RECORD_BYTES, type RecordedEvent, recordHash } from './record.ts'
import { DataDirectory, discardDatabase, socketPath } from './replica/data.ts'
import { Link, LinkError, LinkServer } from './replica/link.ts'
import { digestAt, type ReplayProgress, replay, shardAt, type Until } from './replica/replay.ts'
import { BEAT, FileRoster, type Member, MemoryRoster, type Roster } from './roster.ts'
import type { Input, Output, Read, Reply, Request } from './shard/protocol.ts'
import { Shard } from './shard.ts'

export interface ReplicaOptions {
  /** 'file:PATH' (shared by the processes of one machine), or 'memory:' / 'memory:NAME' (gone with the process). */
  readonly log: string | Log
  /** A directory for this replica's databases; belongs to one replica. May be left out with a log in memory. */
  readonly data?: string
  /** Default: optimistic. */
  readonly strategy?: StrategyName
  /** What `execute` waits at most, ms. Default 10,000. */
  readonly timeout?: number
  /** Identity of the running code, beside the revision. Default: MAINSTEM_RELEASE, or ''. */
  readonly release?: string
  /** A record's size at most, bytes. Default 921,600, so that it fits Kafka's default. */
  readonly maxRecordBytes?: number
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
}

export interface QueryOptions {
  readonly tenant?: string
  /** `local` (default): what this replica has. `linearizable`: everything acknowledged before the call. `atLeast`: what a token stands for. */
  readonly read?: 'local' | 'linearizable' | { readonly atLeast: string }
  readonly timeout?: number
  readonly signal?: AbortSignal
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
}

export interface TenantStatus {
  readonly version: number
  readonly status: 'open' | 'closed' | 'checking' | 'halted'
  readonly error?: string
}

export interface Status {
  readonly app: string
  readonly revision: string
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
  /** The digest and version of a tenant here. */
  digest(tenant?: string): Promise<{ readonly version: number; readonly digest: string }>
  /** Stops taking commands, finishes those on their way, hands leadership over. */
  close(): Promise<void>
}

const DEFAULT_TENANT = 'default'
/** How often deadlines and reigns are looked after, ms. */
const TICK = 50
/** A tenant is checked against its log at most so often, ms: it means reading it all. */
const VERIFY_AGAIN = 60_000
/** For so long others are expected to go on writing, ms. */
const RIVALRY = 1_000
/** What a leader says that is none any more, or not for long. */
const passing: ReadonlySet<string> = new Set(['not-leader', 'closed', 'log-failed'])
/** How often the cursor is stored while it moves, ms. */
const CHECKPOINT = 5_000

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
  const log = typeof options.log === 'string' ? openLog(options.log) : options.log
  let data: DataDirectory | undefined
  try {
    data = options.data === undefined ? undefined : new DataDirectory(options.data, app.name, revision(app))
    data?.clean()
  } catch (error) {
    data?.close()
    if (typeof options.log === 'string') await log.close()
    throw error
  }
  // From here on it is the engine that closes both.
  return (await Engine.start(app, options, log, data)) as unknown as Replica<EI, CI, CR, QI, QR>
}

function checkOptions({ log, data, strategy, timeout, maxRecordBytes }: ReplicaOptions): void {
  const refuse = (message: string) => {
    throw new EngineError('invalid-option', message)
  }
  if (strategy !== undefined && !strategies.includes(strategy))
    refuse(`strategy is one of ${strategies.join(', ')}, not ${JSON.stringify(strategy)}`)
  if (timeout !== undefined && !(timeout > 0)) refuse('timeout is a number of milliseconds above 0')
  if (maxRecordBytes !== undefined && !(maxRecordBytes >= 4_096 && maxRecordBytes <= 64 << 20))
    refuse('maxRecordBytes is from 4,096 to 67,108,864')
  if (typeof log !== 'string' && typeof log?.append !== 'function') refuse("log is 'file:PATH' or 'memory:'")
  if (data === undefined && typeof log === 'string' && logPath(log) !== undefined)
    refuse('data is missing: a directory for the databases of this replica')
}

interface Pending extends Request {
  resolve(outcome: unknown): void
  reject(error: EngineError): void
}

/** A command that another replica passes on, and whether it does so for the first time. */
interface Forwarded {
  readonly fresh: boolean
}

interface PendingRead extends Read {
  resolve(): void
  reject(error: EngineError): void
}

class Engine {
  readonly app: App
  readonly #log: Log
  readonly #ownsLog: boolean
  readonly #data: DataDirectory | undefined
  readonly #options: ReplicaOptions
  readonly #me = randomUUID()
  readonly #roster: Roster
  readonly #stopReading = new AbortController()
  readonly #links = new Map<string, Link>()
  readonly #appending = new Map<number, AbortController>()
  readonly #timers: NodeJS.Timeout[] = []
  readonly #notices: string[] = []
  readonly #movers = new Set<() => void>()
  /** Read-only opens for the engine's own look-ups go through the shard, which owns the stores. */
  #shard!: Shard
  #server: LinkServer | undefined
  #following: Promise<void> = Promise.resolve()
  #flushTimer: NodeJS.Timeout | undefined
  #flushing = false
  /** As last read: monotonic, and wall clock. */
  #now = 0
  #time = 0
  #rivalsUntil = 0
  #reading = false
  #lastCheckpoint = -1
  #drained: (() => void) | undefined
  readonly #verifiedUntil = new Map<string, number>()
  #closing: Promise<void> | undefined

  private constructor(app: App, options: ReplicaOptions, log: Log, data: DataDirectory | undefined) {
    this.app = app
    this.#options = options
    this.#log = log
    this.#ownsLog = typeof options.log === 'string'
    this.#data = data
    const path = typeof options.log === 'string' ? logPath(options.log) : undefined
    this.#roster = path === undefined ? new MemoryRoster(log.place) : new FileRoster(`${path}.roster`)
  }

  static async start(app: App, options: ReplicaOptions, log: Log, data: DataDirectory | undefined): Promise<Engine> {
    const engine = new Engine(app, options, log, data)
    try {
      await engine.#start()
      return engine
    } catch (error) {
      engine.#shard?.close()
      await engine.#release()
      throw error
    }
  }

  // --- Start and end --------------------------------------------------------------------------------------------------

  async #start(): Promise<void> {
    const {
      app,
      strategy: name = 'optimistic',
      maxRecordBytes = MAX_RECORD_BYTES,
      release = process.env.MAINSTEM_RELEASE ?? '',
    } = this.#options as ReplicaOptions & { app?: App }
    const strategy = strategyOf[name]
    void app
    if (strategy.conditional && !this.#log.conditional) {
      throw new EngineError(
        'invalid-option',
        `the log ${this.#log.description} has no conditional append; the strategy optimistic needs it`,
      )
    }
    const manifest = await ensureManifest(this.#log, this.app.name, this.#data)
    const head = await this.#log.head()
    const saved = await this.#savedProgress(manifest.generation, head)
    if (this.#data) {
      this.#server = await LinkServer.listen(socketPath(this.#data.path), (method, params) => this.#serve(method, params))
    }
    const address = this.#server?.path ?? memoryAddress(this.#me, this)
    this.#shard = new Shard({
      app: this.app,
      strategy,
      me: this.#me,
      address,
      release: `${revision(this.app).slice(0, 12)}${release === '' ? '' : `+${release}`}`,
      place: this.#log.place,
      freshHead: this.#log.freshHead,
      open: tenant => this.#openStore(tenant),
      discard: tenant => this.#data?.discard(tenant),
      random: Math.random,
      maxRecordBytes,
      ...(this.#data ? {} : { maxOpen: Number.MAX_SAFE_INTEGER }),
      ...(saved ? { cursor: saved.cursor, state: saved.state, types: saved.types } : {}),
    })
    await this.#readUpTo(head)
    this.#refuseUnknownEvents()
    this.#options.signal?.throwIfAborted()
    this.#feed({ type: 'live' })
    this.#beat()
    this.#timers.push(setInterval(() => this.#beat(), BEAT))
    this.#timers.push(setInterval(() => this.#feed({ type: 'tick' }), TICK))
    this.#timers.push(setInterval(() => this.#checkpoint(), CHECKPOINT))
    this.#following = this.#follow()
  }

  async #savedProgress(generation: number, head: Position) {
    const saved = this.#data?.load()
    if (!saved || saved.place !== this.#log.place || saved.state.generation !== generation) {
      if (saved && saved.place === this.#log.place)
        this.#notice(
          `the log was restored or copied (generation ${saved.state.generation} is now ${generation}): the databases are checked against it`,
        )
      return undefined
    }
    if (saved.cursor <= head) {
      // It may have been replaced, and have grown since. Then nothing goes on from the state of the former one.
      if (isDeepStrictEqual(saved.state, await shardAt(this.#log, saved.cursor))) return saved
      this.#notice('the log does not hold what was read of it before: it is read anew, and the databases are checked against it')
      return undefined
    }
    throw new EngineError(
      'log-behind',
      `this replica has read ${this.#log.description} up to position ${saved.cursor}, but the log ends at ${head}: it was replaced by an older copy of itself. Bring the newer log back, or make the older one official with \`mainstem restore\`, which raises its generation`,
      { details: { cursor: saved.cursor, head } },
    )
  }

  /** Reads the log to where it ended when the replica started. */
  async #readUpTo(head: Position): Promise<void> {
    const { onProgress, signal } = this.#options
    for (let chunks = 0; this.#shard.cursor < head; chunks++) {
      signal?.throwIfAborted()
      const chunk = await this.#log.read(this.#shard.cursor)
      if (chunk.reached === this.#shard.cursor) break
      this.#feed({ type: 'records', ...chunk })
      onProgress?.({ position: this.#shard.cursor, head, events: this.#version(DEFAULT_TENANT) })
      // Timers and sockets get their turn.
      if (chunks % 4 === 0) await new Promise(resolve => setImmediate(resolve))
    }
  }

  /** An app that lacks an event type of its log would halt tenant by tenant; it is told at once. */
  #refuseUnknownEvents(): void {
    for (const { error } of this.#shard.tenants()) if (error?.code === 'unknown-event') throw error
    const { events } = definitionOf(this.app)
    const unknown = [...this.#shard.types].filter(type => !events.has(type))
    if (unknown.length === 0) return
    throw new EngineError(
      'unknown-event',
      `the log holds events that the app ${this.app.name} does not know: ${unknown.join(', ')}. Add the event types to the app, or run the app that wrote them`,
      { details: { unknown } },
    )
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stopReading
    while (!signal.aborted) {
      try {
        const chunk = await this.#log.read(() => this.#shard.cursor, { wait: true, signal })
        if (!signal.aborted && chunk.reached > this.#shard.cursor) this.#take(chunk)
      } catch (error) {
        await this.#unreadable(error)
      }
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const drained = new Promise<void>(resolve => {
      this.#drained = resolve
    })
    this.#feed({ type: 'stop' })
    const patience = setTimeout(() => this.#drained?.(), this.#options.timeout ?? 10_000)
    await drained
    clearTimeout(patience)
    this.#feed({ type: 'end' })
    this.#stopReading.abort()
    await this.#following
    for (const wake of this.#movers) wake()
    this.#checkpoint()
    this.#shard.close()
    await this.#release()
  }

  async #release(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    clearTimeout(this.#flushTimer)
    this.#stopReading.abort()
    memoryAddresses.delete(this.#me)
    for (const link of this.#links.values()) link.close()
    await this.#server?.close()
    this.#leave()
    if (this.#ownsLog) await this.#log.close()
    this.#data?.close()
  }

  #leave(): void {
    try {
      this.#roster.leave(this.#me)
    } catch {
      // Somebody holds it: it is found to be gone by its silence.
    } finally {
      this.#roster.close()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // --- The shard and its surroundings ---------------------------------------------------------------------------------

  #feed(input: Input): void {
    this.#now = performance.now()
    this.#time = Date.now()
    this.#step(input)
  }

  #step(input: Input): void {
    for (const output of this.#shard.step(this.#now, this.#time, input)) this.#act(output)
    this.#schedule()
  }

  /** What all callers ask in one turn of the event loop comes at one time: reading the clocks for each of them costs more than it tells. */
  #lookAtClocks(): void {
    if (this.#flushing) return
    this.#now = performance.now()
    this.#time = Date.now()
  }

  #schedule(): void {
    if (this.#flushing) return
    const { due } = this.#shard
    if (due === undefined) return
    const wait = due - performance.now()
    if (wait > 0) {
      this.#flushTimer ??= setTimeout(() => {
        this.#flushTimer = undefined
        this.#schedule()
      }, Math.ceil(wait))
      return
    }
    // What all callers ask in this turn of the event loop makes one batch.
    this.#flushing = true
    setImmediate(() => void this.#flush())
  }

  async #flush(): Promise<void> {
    // Where others have written of late, look first: a batch that would be refused is not decided in vain.
    if (this.#log.conditional && performance.now() < this.#rivalsUntil) await this.#readOn()
    this.#flushing = false
    if (this.#closing && this.#stopReading.signal.aborted) return
    this.#feed({ type: 'flush' })
  }

  async #readOn(): Promise<void> {
    if (this.#reading) return
    this.#reading = true
    try {
      for (;;) {
        const { cursor } = this.#shard
        const chunk = await this.#log.read(cursor)
        if (chunk.reached <= cursor || this.#stopReading.signal.aborted) return
        this.#take(chunk)
      }
    } catch (error) {
      // The follower reads the same, and tries again.
      await this.#unreadable(error)
    } finally {
      this.#reading = false
    }
  }

  /** What others wrote; own records come back with the log's answer. */
  #take(chunk: Chunk): void {
    this.#rivalsUntil = performance.now() + RIVALRY
    this.#feed({ type: 'records', ...chunk })
  }

  #act(output: Output): void {
    switch (output.do) {
      case 'append':
        void this.#append(output)
        return
      case 'give-up':
        this.#appending.get(output.append)?.abort()
        return
      case 'look':
        void this.#look(output.look)
        return
      case 'read-on':
        void this.#readOn()
        return
      case 'reply':
        this.#reply(output.request as Pending, output.reply)
        return
      case 'forward':
        void this.#forward(output.request as Pending, output.address, output.term)
        return
      case 'ready':
        if (output.error) (output.read as PendingRead).reject(output.error)
        else (output.read as PendingRead).resolve()
        return
      case 'catch-up':
        void this.#catchUp(output.tenant, output.store, output.upTo)
        return
      case 'suspect':
        void this.#verify(output)
        return
      case 'moved':
        for (const wake of this.#movers) wake()
        return
      case 'drained':
        this.#drained?.()
    }
  }

  async #look(look: number): Promise<void> {
    while (!this.#stopReading.signal.aborted) {
      try {
        const head = await this.#log.head()
        this.#feed({ type: 'looked', look, head })
        return
      } catch (error) {
        await this.#unreadable(error)
      }
    }
  }

  async #unreadable(error: unknown): Promise<void> {
    this.#notice(`the log could not be read: ${(error as Error).message}`)
    await new Promise(resolve => setTimeout(resolve, 250))
  }

  async #append({ append, records, after }: Extract<Output, { do: 'append' }>): Promise<void> {
    const controller = new AbortController()
    this.#appending.set(append, controller)
    const answers = await this.#log
      .append(records, { signal: controller.signal, ...(after === undefined ? {} : { after }) })
      .catch((cause: unknown) => records.map(() => ({ status: 'unknown' as const, cause })))
    this.#appending.delete(append)
    this.#feed({ type: 'appended', append, answers })
  }

  #beat(): void {
    // One that can write no more falls silent, so that somebody else may reign.
    if (this.#shard.failure) return
    try {
      this.#roster.beat(this.#me, this.#server?.path ?? null)
    } catch (error) {
      // Others may take the reign away; that costs time, nothing else.
      this.#notice(`the roster could not be written: ${(error as Error).message}`)
    }
    this.#feed({ type: 'beats', beats: new Map(this.#members().map(({ id, beat }) => [id, beat])) })
  }

  #members(): Member[] {
    try {
      return this.#roster.members()
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
    if (!this.#data || this.#shard.cursor === this.#lastCheckpoint) return
    try {
      const { cursor, state } = this.#shard.sync()
      this.#data.save({ place: this.#log.place, cursor, state, types: [...this.#shard.types] })
      this.#lastCheckpoint = cursor
    } catch (error) {
      // The next start reads more of the log.
      this.#notice(`how far the log was read could not be stored: ${(error as Error).message}`)
    }
  }

  // --- Tenants' databases ---------------------------------------------------------------------------------------------

  #openStore(tenant: string): Store {
    const halted = this.#data?.halted(tenant)
    if (halted !== undefined) throw new EngineError('diverged', halted)
    return openLazily(definitionOf(this.app).database, this.#data?.tenant(tenant) ?? ':memory:')
  }

  #version(tenant: string): number {
    for (const { name, version } of this.#shard.tenants()) if (name === tenant) return version
    return 0
  }

  /** Checks that the record at the database's position is the one it remembers, and folds what it has missed. */
  async #catchUp(tenant: string, store: Store, upTo: Position): Promise<void> {
    // An embedded log answers at once: a thousand tenants in a row would keep timers and sockets waiting.
    await new Promise(resolve => setImmediate(resolve))
    try {
      const { standing } = store
      if (standing.position > 0) {
        const { records: found } = await this.#log.read(standing.position - 1, { tenant, upTo: standing.position })
        const last = found.find(({ position }) => position === standing.position)
        if (!last || recordHash(last.value) !== standing.recordHash) return await this.#misplaced(tenant, store)
        const entry = store.historyAt(standing.version)
        if (standing.version > 0 && (entry?.end !== standing.version || entry.digest !== standing.digest)) {
          const message = `the database of tenant ${tenant} contradicts itself: its standing says version ${standing.version}, digest ${standing.digest}, its history ${entry ? `version ${entry.end}, digest ${entry.digest}` : 'nothing'}. Delete its file, and it is built anew from the log`
          return this.#feed({ type: 'misplaced', tenant, error: new EngineError('diverged', message, { details: { tenant, standing } }) })
        }
      }
      let shard = await shardAt(this.#log, standing.position)
      for (let after = standing.position; ; ) {
        const chunk = await this.#log.read(after, { tenant, upTo })
        const last = chunk.reached === after
        this.#feed({ type: 'caught-up', tenant, shard, records: chunk.records, last })
        if (last) return
        for (const { value, tenant: filed } of chunk.records) {
          const record = decode(value)
          if (record.kind === 'foreign' || record.kind === 'data' || filed !== null) continue
          const next = control(shard, record)
          if (typeof next !== 'string') shard = next
        }
        after = chunk.reached
        await new Promise(resolve => setImmediate(resolve))
      }
    } catch (cause) {
      const message = `tenant ${tenant} could not be checked against the log: ${(cause as Error).message}`
      this.#feed({ type: 'misplaced', tenant, error: new EngineError('halted', message, { cause }) })
    }
  }

  async #misplaced(tenant: string, store: Store): Promise<void> {
    const { position, version, generation } = store.standing
    // Only a copy or a restore raises the generation; anything else that is missing here was lost.
    if (generation < this.#shard.state.generation) {
      const { version: now } = await digestAt(this.#log, tenant, await this.#log.head())
      const lost = now < version ? `; versions ${now + 1} to ${version} are lost` : ''
      this.#notice(`tenant ${tenant} stood at version ${version} on another generation of the log, and is built anew${lost}`)
      this.#feed({ type: 'misplaced', tenant, error: 'rebuild' })
      return
    }
    const message = `the database of tenant ${tenant} stands at version ${version}, position ${position}, which this log does not hold: the log was replaced by an older copy of itself. Bring the newer log back, or make the older one official with \`mainstem restore\`, which raises its generation`
    this.#feed({ type: 'misplaced', tenant, error: new EngineError('log-behind', message, { details: { tenant, version, position } }) })
  }

  /** Somebody wrote at a digest that is not ours. Whoever is wrong: if it is us, the tenant halts. */
  async #verify({ tenant, version, digest, position }: Extract<Output, { do: 'suspect' }>): Promise<void> {
    const now = performance.now()
    if (now < (this.#verifiedUntil.get(tenant) ?? 0)) return
    this.#verifiedUntil.set(tenant, Number.POSITIVE_INFINITY)
    try {
      const log = await digestAt(this.#log, tenant, position)
      if (log.version === version && log.digest === digest) {
        this.#notice(
          `tenant ${tenant}: a record before or at position ${position} was made at a digest that this log does not lead to, and has no effect. The log was altered, or another replica is damaged; \`mainstem log tail --all\` shows it`,
        )
        return
      }
      const message = `tenant ${tenant} stopped: at position ${position} its database stands at version ${version}, digest ${digest}, but the log says version ${log.version}, digest ${log.digest}. One of the two is damaged: compare with another replica or a backup. If the log is right, delete the database file, and it is built anew`
      this.#data?.halt(tenant, message)
      this.#feed({
        type: 'misplaced',
        tenant,
        error: new EngineError('diverged', message, { details: { tenant, position, database: { version, digest }, log } }),
      })
    } catch (error) {
      await this.#unreadable(error)
    } finally {
      this.#verifiedUntil.set(tenant, performance.now() + VERIFY_AGAIN)
    }
  }

  // --- Commands -------------------------------------------------------------------------------------------------------

  execute(command: string, input?: unknown, options: ExecuteOptions = {}): Promise<unknown> {
    // Not async: this is the hot path, and one promise a command is enough.
    try {
      checkKeys(options, EXECUTE_KEYS, 'execute')
      return this.#execute(command, input, options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** @throws EngineError at once when the command cannot even be tried */
  #execute(command: string, input: unknown, options: ExecuteOptions, forwarded?: Forwarded): Promise<unknown> {
    const { tenant = DEFAULT_TENANT, timeout = this.#options.timeout ?? 10_000, signal } = options
    if (this.#closing) throw new EngineError('closed', 'the replica is closed; nothing was written')
    checkTenant(tenant)
    const fresh = forwarded ? forwarded.fresh : options.id === undefined
    this.#lookAtClocks()
    const id = options.id ?? uuidv7(this.#time)
    if (options.id !== undefined && !isId(id)) {
      throw new EngineError(
        'invalid-id',
        `a command id is 1 to 128 visible ASCII characters, a UUID in lower case; not ${JSON.stringify(id)}`,
      )
    }
    if (!(timeout > 0)) throw new EngineError('invalid-option', 'timeout is a number of milliseconds above 0')
    if (signal !== undefined && !(signal instanceof AbortSignal)) throw new EngineError('invalid-option', 'signal is an AbortSignal')
    if (signal?.aborted) throw new EngineError('aborted', 'the caller gave up before anything was done', { id })
    const prepared = prepare(this.app, command, input)
    const hash = inputHash(command, input)
    let request: Pending | undefined
    const answer = new Promise<unknown>((resolve, reject) => {
      request = {
        tenant,
        command,
        input,
        prepared,
        id,
        hash,
        deadline: this.#now + timeout,
        forwarded: forwarded !== undefined,
        fresh,
        done: false,
        inDoubt: false,
        conflicts: 0,
        resolve,
        reject,
      }
      this.#step({ type: 'command', request })
    })
    if (!signal) return answer
    const abort = () => {
      const error = new EngineError(
        'aborted',
        'the caller gave up; the command may have been written. Ask again under the same id to know',
        { id },
      )
      this.#feed({ type: 'abandon', item: request!, error })
    }
    signal.addEventListener('abort', abort)
    return answer.finally(() => signal.removeEventListener('abort', abort))
  }

  #reply(request: Pending, reply: Reply): void {
    switch (reply.kind) {
      case 'decided':
        request.resolve(outcome(request.tenant, reply.decision, reply.version, false))
        return
      case 'rejected':
        request.resolve(outcome(request.tenant, { ...reply.decided, id: request.id }, reply.version, false))
        return
      case 'failed':
        request.reject(reply.error)
        return
      case 'known':
        this.#recall(request, reply.entry).then(request.resolve, request.reject)
    }
  }

  /** What was read before. A log whose own word is no evidence may not show it at once: it is waited for. */
  async #recordAt(position: Position): Promise<ReturnType<typeof decode> | undefined> {
    const { timeout = 10_000 } = this.#options
    const patience = this.#log.freshHead
      ? {}
      : { wait: true, signal: AbortSignal.any([this.#stopReading.signal, AbortSignal.timeout(timeout)]) }
    const { records } = await this.#log.read(position - 1, { upTo: position, ...patience })
    return records[0] && decode(records[0].value)
  }

  /** The first answer again: it stands in the log. */
  async #recall(request: Pending, { position, version: end }: IdEntry): Promise<unknown> {
    const { tenant, id } = request
    const history = this.#shard.look(tenant)?.store.historyAt(end)
    const record = await this.#recordAt(position)
    const index = record?.kind === 'data' ? record.decisions.findIndex(decision => decision.id === id) : -1
    if (record?.kind !== 'data' || index < 0)
      throw new EngineError('log-behind', `the log does not hold the record of command ${id} at position ${position}`, { id })
    const decision = record.decisions[index]!
    // The record ends at `end`; what was accepted behind this decision comes off.
    const verdicts = history?.position === position ? history.verdicts : null
    let version = end
    for (let i = index + 1; i < record.decisions.length; i++) {
      if (!verdicts || verdicts[i] === 'accepted') version -= record.decisions[i]!.events.length
    }
    if (decision.hash === request.hash) return outcome(tenant, decision, version, true)
    const first = `${decision.command}, ${decision.rejection ? `rejected (${decision.rejection.code})` : 'accepted'} at version ${version}`
    throw new EngineError('id-reused', `the id ${id} was used before, with another input: for ${first}. Use a new id for a new command`, {
      id,
      details: { command: decision.command, version },
    })
  }

  async #forward(request: Pending, address: string, term: number): Promise<void> {
    const timeout = request.deadline - performance.now()
    try {
      const params = {
        command: request.command,
        input: request.input,
        id: request.id,
        tenant: request.tenant,
        timeout: Math.max(1, timeout),
        fresh: request.fresh,
      }
      const answer = (await this.#linkTo(address, params)) as { token?: string }
      this.#feed({ type: 'forwarded', request, term, reply: 'answered' })
      // Whoever was told sees it here, too.
      const version = versionOf(answer.token ?? '', request.tenant)
      if (version !== undefined) await this.#reach(request.tenant, { version }, request.deadline).catch(() => {})
      request.resolve(answer)
    } catch (error) {
      if (error instanceof EngineError) {
        // The leader was none any more, or is closing: nothing was written, and the next one is asked.
        if (passing.has(error.code)) this.#feed({ type: 'forwarded', request, term, reply: 'refused' })
        else this.#feed({ type: 'forwarded', request, term, reply: 'failed', error })
      } else this.#feed({ type: 'forwarded', request, term, reply: error instanceof LinkError ? error.kind : 'lost' })
    }
  }

  async #linkTo(
    address: string,
    params: Forwarded & { command: string; input: unknown; id: string; tenant: string; timeout: number },
  ): Promise<unknown> {
    const neighbour = memoryAddresses.get(address)
    if (neighbour) return await neighbour.#execute(params.command, params.input, params, params)
    if (address.startsWith(MEMORY)) throw new LinkError('unreachable', 'the leader is gone')
    const link = this.#links.get(address) ?? new Link(address)
    this.#links.set(address, link)
    return link.call('forward', params)
  }

  async #serve(method: string, params: unknown): Promise<unknown> {
    const p = params as {
      command: string
      query: string
      input?: unknown
      sql: string
      parameters?: unknown[]
      options?: object
      timeout: number
      tenant: string
      id: string
      fresh: boolean
    }
    switch (method) {
      case 'forward':
        return this.#execute(p.command, p.input, { id: p.id, tenant: p.tenant, timeout: p.timeout }, { fresh: p.fresh })
      case 'execute':
        return this.execute(p.command, p.input, p.options)
      case 'query':
        return this.query(p.query, p.input, p.options)
      case 'sql':
        return this.sql(p.sql, p.parameters, p.options)
      case 'status':
        return this.status()
    }
    throw new EngineError('internal', `no method ${method}`)
  }

  // --- Reads ----------------------------------------------------------------------------------------------------------

  async query(query: string, input?: unknown, options: QueryOptions = {}): Promise<unknown> {
    checkKeys(options, QUERY_KEYS, 'query')
    const store = await this.#storeFor(options)
    return ask(this.app, query, input, store.queries, store.standing.version)
  }

  async sql(text: string, parameters: readonly unknown[] = [], options: QueryOptions = {}): Promise<Record<string, unknown>[]> {
    const store = await this.#storeFor(options)
    return runSql(store, text, parameters)
  }

  async digest(tenant: string = DEFAULT_TENANT): Promise<{ version: number; digest: string }> {
    const { standing } = await this.#storeFor({ tenant })
    return { version: standing.version, digest: standing.digest }
  }

  async #storeFor({
    tenant = DEFAULT_TENANT,
    read = 'local',
    timeout = this.#options.timeout ?? 10_000,
    signal,
  }: QueryOptions): Promise<Store> {
    checkTenant(tenant)
    if (this.#closing) throw new EngineError('closed', 'the replica is closed')
    let level: Read['level']
    if (read === 'local' || read === 'linearizable') level = read
    else if (typeof read !== 'object' || typeof read?.atLeast !== 'string') {
      throw new EngineError('invalid-option', "read is 'local', 'linearizable' or { atLeast: token }")
    } else {
      const version = versionOf(read.atLeast, tenant)
      if (version === undefined)
        throw new EngineError('invalid-token', `${JSON.stringify(read.atLeast)} is not a token of tenant ${tenant}`)
      level = { version }
    }
    await this.#reach(tenant, level, performance.now() + timeout, signal)
    const found = this.#shard.look(tenant)
    if (found) return found.store
    throw new EngineError('not-ready', `the database of tenant ${tenant} is not open yet`)
  }

  #store(tenant: string): Promise<Store> {
    return this.#storeFor({ tenant })
  }

  #reach(tenant: string, level: Read['level'], deadline: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const read: PendingRead = { tenant, level, deadline, done: false, resolve, reject }
      signal?.addEventListener(
        'abort',
        () => this.#feed({ type: 'abandon', item: read, error: new EngineError('aborted', 'the caller gave up') }),
        { once: true },
      )
      this.#feed({ type: 'read', read })
      if (typeof level === 'object') void this.#readOn()
    })
  }

  async *events({ tenant = DEFAULT_TENANT, from, signal }: EventsOptions = {}): AsyncIterableIterator<LoggedEvent> {
    checkTenant(tenant)
    if (from !== undefined && !(Number.isSafeInteger(from) && from >= 1))
      throw new EngineError('invalid-option', 'from is a version, from 1')
    let next = from ?? (await this.#store(tenant)).standing.version + 1
    while (!signal?.aborted && !this.#closing) {
      const store = await this.#store(tenant)
      if (store.standing.version < next) {
        await this.#moved(signal)
        continue
      }
      const entry = store.historyAt(next)
      if (!entry) throw new EngineError('internal', `tenant ${tenant} has no history of version ${next}`)
      const record = await this.#recordAt(entry.position)
      if (record?.kind !== 'data') throw new EngineError('log-behind', `the log does not hold position ${entry.position} any more`)
      const accepted = record.decisions.filter((_, index) => !entry.verdicts || entry.verdicts[index] === 'accepted')
      let version = entry.end - accepted.reduce((sum, { events }) => sum + events.length, 0)
      for (const { id, command, events } of accepted) {
        for (const { type, data } of events) {
          if (++version < next) continue
          if (signal?.aborted) return
          yield { tenant, version, type, data, at: new Date(record.time), id, command }
        }
      }
      next = entry.end + 1
    }
  }

  #moved(signal: AbortSignal | undefined): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        this.#movers.delete(done)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      this.#movers.add(done)
      signal?.addEventListener('abort', done)
    })
  }

  async at(
    when: number | Date,
    { tenant = DEFAULT_TENANT, onProgress }: { tenant?: string; onProgress?: (progress: ReplayProgress) => void } = {},
  ): Promise<Past> {
    checkTenant(tenant)
    return openPast(this.app, this.#log, tenant, untilOf(when), this.#data?.scratch(tenant) ?? ':memory:', onProgress)
  }

  async status(): Promise<Status> {
    const { state, cursor, counters, failure, reigning } = this.#shard
    const strategy = this.#options.strategy ?? 'optimistic'
    const tenants: Record<string, TenantStatus> = {}
    for (const { name, version, status, error } of this.#shard.tenants()) {
      tenants[name] = { version, status, ...(error ? { error: error.message } : {}) }
    }
    return {
      app: this.app.name,
      revision: revision(this.app),
      log: this.#log.description,
      logId: state.log ?? '',
      generation: state.generation,
      data: this.#data?.path ?? null,
      strategy,
      incarnation: this.#me,
      role: reigning ? 'leader' : state.term.owner === null && strategy !== 'leader' ? 'writer' : 'follower',
      term: state.term,
      position: cursor,
      records: counters.records,
      foreign: counters.foreign,
      refused: counters.refused,
      conflicts: counters.conflicts,
      sealed: state.sealed,
      failure: failure?.message ?? null,
      tenants,
      databases: this.#data?.tenants().length ?? Object.keys(tenants).length,
      members: this.#members(),
      notices: this.#notices,
    }
  }
}

/** Replicas of one process that share a log in memory pass commands on directly. */
const memoryAddresses = new Map<string, Engine>()
const MEMORY = 'memory:'

function memoryAddress(id: string, engine: Engine): string {
  memoryAddresses.set(MEMORY + id, engine)
  return MEMORY + id
}

/** A past database; the caller closes it. */
export async function openPast(
  app: App,
  log: Log,
  tenant: string,
  until: Until,
  path: string,
  onProgress?: (progress: ReplayProgress) => void,
): Promise<Past> {
  const store = openStore(definitionOf(app).database, path, { mode: 'write' })
  const close = async () => {
    store.close()
    if (path !== ':memory:') discardDatabase(path)
  }
  try {
    const { version, time, digest } = await replay(app, log, tenant, store, until, onProgress)
    return {
      version,
      digest,
      at: new Date(time),
      path,
      query: (name: string, input?: unknown) => ask(app, name, input, store.queries, version) as never,
      sql: (text, ...parameters) => runSql(store, text, parameters),
      close,
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

export function untilOf(when: number | Date): Until {
  if (when instanceof Date) {
    if (Number.isNaN(when.getTime())) throw new EngineError('invalid-option', 'the date is not valid')
    return { time: when.getTime() }
  }
  if (!Number.isSafeInteger(when) || when < 0) throw new EngineError('invalid-option', `a version is a whole number from 0, not ${when}`)
  return { version: when }
}

function runSql(store: Store, text: string, parameters: readonly unknown[]): Record<string, unknown>[] {
  try {
    return (store.queries as { all(sql: string, ...p: unknown[]): Record<string, unknown>[] }).all(text, ...parameters)
  } catch (cause) {
    if (cause instanceof EngineError) throw cause
    throw new EngineError('query-failed', `${(cause as Error).message}: ${text}`, { cause })
  }
}

function outcome(
  tenant: string,
  decided: { id: string; events: readonly RecordedEvent[]; result?: unknown; rejection?: { code: string; details?: unknown } },
  version: number,
  duplicate: boolean,
): unknown {
  const token = `${tenant}@${version}`
  if (decided.rejection) return { status: 'rejected', code: decided.rejection.code, details: decided.rejection.details, token, duplicate }
  const events = decided.events.map(({ type, data }) => ({ type, data }))
  return { status: 'accepted', version, token, events, result: decided.result, duplicate }
}

/** The version that a token stands for, undefined if it is not one of this tenant. */
function versionOf(token: string, tenant: string): number | undefined {
  const [name, digits, more] = token.split('@')
  if (name !== tenant || more !== undefined || !/^\d{1,15}$/.test(digits ?? '')) return undefined
  return Number(digits)
}

const EXECUTE_KEYS: ReadonlySet<string> = new Set(['id', 'tenant', 'timeout', 'signal'])
const QUERY_KEYS: ReadonlySet<string> = new Set(['tenant', 'read', 'timeout', 'signal'])
const OPEN_KEYS: ReadonlySet<string> = new Set(['log', 'data', 'strategy', 'timeout', 'release', 'maxRecordBytes', 'onProgress', 'signal'])

/** An option that is mistyped would be left out without a word, and another tenant written to. */
function checkKeys(options: unknown, known: ReadonlySet<string>, what: string): void {
  const list = () => [...known].join(', ')
  if (typeof options !== 'object' || options === null) {
    throw new EngineError('invalid-option', `the options of ${what} are an object with ${list()}; not ${JSON.stringify(options)}`)
  }
  for (const key in options) {
    if (!known.has(key)) throw new EngineError('invalid-option', `${what} has no option ${JSON.stringify(key)}; there are ${list()}`)
  }
}

function checkTenant(tenant: string): void {
  if (isTenant(tenant)) return
  throw new EngineError(
    'invalid-tenant',
    `a tenant name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit; not ${JSON.stringify(tenant)}`,
  )
}

/** How far versions may lie back, unless the manifest says otherwise. */
const WINDOW = 10_000

/** Reads the log's manifest, or writes the first one. @throws EngineError log-other-app */
async function ensureManifest(log: Log, app: string, data: DataDirectory | undefined): Promise<{ readonly generation: number }> {
  const former = data?.load()?.state.log ?? undefined
  for (;;) {
    const state = await shardAt(log, Number.MAX_SAFE_INTEGER)
    // The databases may be all that is left of a log that was lost: they are not given up for another one.
    if (former !== undefined && state.log !== former) {
      const now = state.log === null ? 'which is empty' : `which is log ${state.log}`
      throw new EngineError(
        'log-other',
        `the databases in ${data!.path} were built from log ${former}; they do not belong to ${log.description}, ${now}. Give the right log or another data directory; if the log is lost, restore a backup of it`,
        { details: { former, log: state.log } },
      )
    }
    if (state.log !== null) {
      if (state.app === app) return state
      throw new EngineError(
        'log-other-app',
        `${log.description} is the log of the app ${state.app}, not of ${app}. Give another log, or run that app`,
      )
    }
    const value = encodeControl({
      kind: 'manifest',
      log: randomUUID(),
      time: Date.now(),
      app,
      partitions: 1,
      rules: 1,
      window: WINDOW,
      generation: 1,
    })
    const [answer] = await log.append([{ value, tenant: null, time: Date.now() }], log.conditional ? { after: await log.head() } : {})
    if (answer?.status === 'not-written' && answer.fatal)
      throw answer.cause instanceof EngineError
        ? answer.cause
        : new EngineError('log-failed', 'the log cannot be written', { cause: answer.cause })
  }
}
