/**
 * One shard of a replica, with all its I/O: what comes from its log, timers and callers is fed to the shard's machine (`shard.ts`), and what
 * that wants done is done. What shards share (the data directory, heartbeats, sockets) stands around it (`replica.ts`).
 */
import { isDeepStrictEqual } from 'node:util'
import { type App, definitionOf } from '../app.ts'
import { type Clock, nap, timeout as timeoutOf, turn } from '../clock.ts'
import type { Strategy } from '../consistency.ts'
import { openLazily } from '../database/lazy.ts'
import type { IdEntry, Store } from '../database.ts'
import { prepare } from '../decide.ts'
import { EngineError } from '../errors.ts'
import { isId } from '../ids.ts'
import type { Chunk, Log, Position, Stored } from '../log.ts'
import { decode, inputHash } from '../record.ts'
import type { ExecuteOptions, LoggedEvent, QueryOptions } from '../replica.ts'
import type { Lag } from '../roster.ts'
import type { Input, Output, Read, Reply, Request } from '../shard/protocol.ts'
import { Shard } from '../shard.ts'
import { outcome, versionOf } from './answers.ts'
import { Checks } from './checks.ts'
import type { Databases } from './data.ts'
import { LinkError } from './link.ts'
import type { Founded } from './manifest.ts'
import type { Neighbourhood } from './neighbours.ts'
import type { Advance, Progress } from './progress.ts'
import { checkedMeta } from './options.ts'
import { shardAt } from './replay.ts'

/** For so long others are expected to go on writing, ms. */
const RIVALRY = 1_000
/** What a leader says that is none any more, or not for long. */
const passing: ReadonlySet<string> = new Set(['not-leader', 'closed', 'log-failed'])

/** A log that could not be read for so long is out of reach, ms. */
const UNREACHABLE = 3_000

/** What a read says of a log that cannot be followed any more. */
const GONE: ReadonlySet<string> = new Set(['log-behind', 'log-other'])

/** What the shards of a replica share. */
export interface Surroundings {
  readonly app: App
  readonly strategy: Strategy
  /** This incarnation of the replica. */
  readonly me: string
  readonly release: string
  /** What a command waits at most unless it says otherwise, ms. */
  readonly timeout: number
  readonly maxRecordBytes: number
  /** How many databases a shard may keep open. */
  readonly maxOpen: number
  readonly clock: Clock
  /** An id for a command that came without one. */
  newId(time: number): string
  readonly data: Databases | undefined
  readonly neighbours: Neighbourhood
  notice(text: string): void
}

interface Pending extends Request {
  resolve(outcome: unknown): void
  reject(error: EngineError): void
}

interface PendingRead extends Read {
  resolve(): void
  reject(error: EngineError): void
}

export class Engine {
  readonly log: Log
  readonly #partition: number
  readonly #around: Surroundings
  readonly #clock: Clock
  readonly #checks: Checks
  readonly #stopReading = new AbortController()
  readonly #appending = new Map<number, AbortController>()
  readonly #movers = new Set<() => void>()
  /** Read-only opens for the engine's own look-ups go through the shard, which owns the stores. */
  #shard!: Shard
  #head: Position = 0
  #following: Promise<void> = Promise.resolve()
  #cancelFlush: (() => void) | undefined
  #flushing = false
  /** As last read: monotonic, and wall clock. */
  #now = 0
  #time = 0
  #rivalsUntil = 0
  #reading = false
  #unreadableSince: number | undefined
  #looking = false
  #drained: (() => void) | undefined
  #closing = false
  #saved = -1
  /** What moved since the progress was last stored. */
  #unsaved = new Map<string, Position>()

  constructor(log: Log, partition: number, around: Surroundings) {
    this.log = log
    this.#partition = partition
    this.#around = around
    const { clock, data, notice } = around
    this.#clock = clock
    this.#checks = new Checks({
      clock,
      log,
      partition,
      data,
      notice,
      state: () => this.#shard.state,
      feed: input => this.#feed(input),
      recordAt: position => this.#storedAt(position),
      stop: this.#stopReading.signal,
    })
  }

  /** The machine, for those who look at it. */
  get shard(): Shard {
    return this.#shard
  }

  // --- Start and end --------------------------------------------------------------------------------------------------

  /** The log that the databases here were built from. */
  former(): string | undefined {
    return this.#load()?.state.log ?? undefined
  }

  /** Finds out where the last run stopped. What it gives back makes the shard, which goes on from there. */
  async prepare(manifest: Founded, signal: AbortSignal): Promise<(address: string) => void> {
    // The end that it tells of may be an old one.
    this.#head = Math.max(manifest.position, await this.log.head())
    const saved = await this.#savedProgress(manifest.state.generation, signal)
    const { app, strategy, me, release, data, maxRecordBytes, maxOpen } = this.#around
    return address => {
      this.#shard = new Shard({
        app,
        strategy,
        me,
        address,
        release,
        place: this.log.place,
        freshHead: this.log.freshHead,
        open: tenant => this.#openStore(tenant),
        discard: tenant => data?.discard(tenant),
        random: () => this.#clock.random(),
        maxRecordBytes,
        maxOpen,
        ...(saved ? { cursor: saved.cursor, state: saved.state, types: saved.types } : {}),
      })
    }
  }

  async #savedProgress(generation: number, signal: AbortSignal): Promise<Progress | undefined> {
    const { data, notice } = this.#around
    const saved = this.#load()
    const { log } = this
    const anew = (why?: string) => {
      if (why !== undefined) notice(why)
      data?.progress.forget(this.#partition)
      return undefined
    }
    if (!saved || saved.place !== log.place) return saved && anew()
    if (saved.state.generation !== generation) {
      return anew(
        `the log was restored or copied (generation ${saved.state.generation} is now ${generation}): the databases are checked against it`,
      )
    }
    // The end that a log tells of may be an old one.
    const patience = this.#clock.now() + this.#around.timeout
    while (!log.freshHead && saved.cursor > this.#head && this.#clock.now() < patience) {
      await nap(this.#clock, 50, signal)
      signal.throwIfAborted()
      this.#head = await log.head()
    }
    if (saved.cursor > this.#head) {
      throw new EngineError(
        'log-behind',
        `this replica has read ${log.description} up to position ${saved.cursor}, but the log ends at ${this.#head}: it was replaced by an older copy of itself. Bring the newer log back, or make the older one official with \`mainstem restore\`, which raises its generation`,
        { details: { cursor: saved.cursor, head: this.#head } },
      )
    }
    // It may have been replaced, and have grown since. Then nothing goes on from the state of the former one. Where the control records
    // cannot be found without a scan, the place alone has to tell: a topic that was made anew is another place.
    if (!log.selective || isDeepStrictEqual(saved.state, await shardAt(log, saved.cursor, this.#clock))) return saved
    return anew('the log does not hold what was read of it before: it is read anew, and the databases are checked against it')
  }

  #load(): Progress | undefined {
    try {
      return this.#around.data?.progress.load(this.#partition)
    } catch (error) {
      this.#around.notice(`how far the log was read is not known: ${(error as Error).message}`)
      return undefined
    }
  }

  /** Reads the log to where it ended when the replica started. */
  async catchUp(onProgress: (position: Position, head: Position) => void, signal: AbortSignal): Promise<void> {
    const lags = this.log.tails || !this.log.freshHead
    const stop = AbortSignal.any([signal, this.#stopReading.signal])
    const head = this.#head
    for (let chunks = 0; this.#shard.cursor < head; chunks++) {
      stop.throwIfAborted()
      // What stands in front of its end, and is not shown yet, is waited for.
      const chunk = await this.log.read(this.#shard.cursor, lags ? { wait: true, signal: stop } : {})
      if (chunk.reached === this.#shard.cursor && !lags) break
      this.#feed({ type: 'records', ...chunk })
      onProgress(this.#shard.cursor, head)
      // Timers and sockets get their turn.
      if (chunks % 4 === 0) await turn(this.#clock)
    }
    this.#refuseUnknownEvents()
    stop.throwIfAborted()
  }

  /** How far it is behind the end of the log, as that was last looked at. */
  get lag(): Lag {
    const { cursor, logTime } = this.#shard
    const records = Math.max(0, this.#head - cursor)
    if (records === 0) return { records, seconds: 0 }
    return { records, seconds: logTime === undefined ? null : Math.max(0, (this.#clock.time() - logTime) / 1_000) }
  }

  /** The log cannot be read, and that for more than a moment. */
  get unreachable(): boolean {
    return this.#shard.cutOff || (this.#unreadableSince !== undefined && this.#clock.now() - this.#unreadableSince > UNREACHABLE)
  }

  /** Where the log ends now, for whoever asks how far behind this replica is. */
  async lookAhead(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      this.#head = Math.max(this.#head, await this.log.head())
    } catch {
      // Whoever follows tells of it.
    } finally {
      this.#looking = false
    }
  }

  /** From here on the shard takes part. */
  live(): void {
    this.#feed({ type: 'live' })
    this.#following = this.#follow()
  }

  tick(): void {
    this.#feed({ type: 'tick' })
  }

  beats(heard: Omit<Extract<Input, { type: 'beats' }>, 'type'>): void {
    this.#feed({ type: 'beats', ...heard })
  }

  /** An app that lacks an event type of its log, or a version of it, would halt tenant by tenant; it is told at once. */
  #refuseUnknownEvents(): void {
    for (const { error } of this.#shard.tenants()) if (error?.code === 'unknown-event') throw error
    const { events } = definitionOf(this.#around.app)
    const unknown = [...this.#shard.types].filter(([type, version]) => version > (events.get(type)?.version ?? 0))
    if (unknown.length === 0) return
    const told = unknown.map(([type, version]) => {
      const known = events.get(type)?.version
      return known === undefined ? type : `${type} of schema version ${version} (the app knows ${known})`
    })
    throw new EngineError(
      'unknown-event',
      `the log holds events that the app ${this.#around.app.name} does not know: ${told.join(', ')}. Add the event types, or their newer versions, to the app, or run the app that wrote them`,
      { details: { unknown: unknown.map(([type]) => type), versions: Object.fromEntries(unknown) } },
    )
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stopReading
    while (!signal.aborted) {
      try {
        const chunk = await this.log.read(() => this.#shard.cursor, { wait: true, signal })
        this.#unreadableSince = undefined
        if (!signal.aborted && chunk.reached > this.#shard.cursor) this.#take(chunk)
      } catch (error) {
        // It is another log now, or lacks what was read of it: there is nothing to wait for.
        if (!(error instanceof EngineError && GONE.has(error.code))) await this.#unreadable(error)
        else return this.#feed({ type: 'lost', error })
      }
    }
  }

  /** Takes no more commands. Resolves when nothing is on its way and no reign is open, or when patience is over. */
  async stop(patience: number): Promise<void> {
    this.#closing = true
    const drained = new Promise<void>(resolve => {
      this.#drained = resolve
    })
    this.#feed({ type: 'stop' })
    const cancel = this.#clock.after(patience, () => this.#drained?.())
    await drained
    cancel()
    this.#feed({ type: 'end' })
    this.#stopReading.abort()
    await this.#following
    for (const wake of this.#movers) wake()
  }

  /** Lets everything go. What was to be stored was stored before. */
  close(): void {
    this.#stopReading.abort()
    this.#cancelFlush?.()
    this.#shard?.close()
  }

  /** How far this shard has come, if that is news: to be stored now, for the databases behind it were just synced. */
  advance(): Advance | undefined {
    if (this.#shard.cursor === this.#saved) return undefined
    const { cursor, state, tenants } = this.#shard.sync()
    // The others are found by a search of the log.
    if (!this.log.selective) for (const [name, position] of tenants) this.#unsaved.set(name, position)
    return { place: this.log.place, cursor, state, types: new Map(this.#shard.types), tenants: this.#unsaved }
  }

  advanced(cursor: Position): void {
    this.#saved = cursor
    this.#unsaved = new Map()
  }

  // --- The shard's machine and its log --------------------------------------------------------------------------------

  #feed(input: Input): void {
    this.#now = this.#clock.now()
    this.#time = this.#clock.time()
    this.#step(input)
  }

  #step(input: Input): void {
    for (const output of this.#shard.step(this.#now, this.#time, input)) this.#act(output)
    this.#schedule()
  }

  /** What all callers ask in one turn of the event loop comes at one time: reading the clocks for each of them costs more than it tells. */
  #lookAtClocks(): void {
    if (this.#flushing) return
    this.#now = this.#clock.now()
    this.#time = this.#clock.time()
  }

  #schedule(): void {
    if (this.#flushing) return
    const { due } = this.#shard
    if (due === undefined) return
    const wait = due - this.#clock.now()
    if (wait > 0) {
      this.#cancelFlush ??= this.#clock.after(Math.ceil(wait), () => {
        this.#cancelFlush = undefined
        this.#schedule()
      })
      return
    }
    // What all callers ask in this turn of the event loop makes one batch.
    this.#flushing = true
    this.#clock.soon(() => void this.#flush())
  }

  async #flush(): Promise<void> {
    // Where others have written of late, look first: a batch that would be refused is not decided in vain.
    if (this.log.conditional && this.#clock.now() < this.#rivalsUntil) await this.#readOn()
    this.#flushing = false
    if (this.#closing && this.#stopReading.signal.aborted) return
    this.#feed({ type: 'flush' })
  }

  async #readOn(): Promise<void> {
    // Where the waiting read tells of everything at once, it brings that, too.
    if (this.#reading || this.log.tails) return
    this.#reading = true
    try {
      for (;;) {
        const { cursor } = this.#shard
        const chunk = await this.log.read(cursor)
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
    this.#rivalsUntil = this.#clock.now() + RIVALRY
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
        void this.#checks.catchUp(output)
        return
      case 'suspect':
        void this.#checks.verify(output)
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
        const head = await this.log.head()
        this.#feed({ type: 'looked', look, head })
        return
      } catch (error) {
        await this.#unreadable(error)
      }
    }
  }

  async #unreadable(error: unknown): Promise<void> {
    this.#around.notice(`the log could not be read: ${(error as Error).message}`)
    this.#unreadableSince ??= this.#clock.now()
    this.#feed({ type: 'unreadable', error })
    await nap(this.#clock, 250, this.#stopReading.signal)
  }

  async #append({ append, records, after, fence }: Extract<Output, { do: 'append' }>): Promise<void> {
    const controller = new AbortController()
    this.#appending.set(append, controller)
    const answers = await this.log
      .append(records, { signal: controller.signal, ...(after === undefined ? {} : { after }), ...(fence === undefined ? {} : { fence }) })
      .catch((cause: unknown) => records.map(() => ({ status: 'unknown' as const, cause })))
    this.#appending.delete(append)
    this.#feed({ type: 'appended', append, answers })
  }

  #openStore(tenant: string): Store {
    const { app, data } = this.#around
    const halted = data?.halted(tenant)
    if (halted !== undefined) throw new EngineError('diverged', halted)
    const { database } = definitionOf(app)
    return data?.open(database, tenant) ?? openLazily(database, ':memory:')
  }

  // --- Commands -------------------------------------------------------------------------------------------------------

  /** @param forwarded another replica passes it on. @throws EngineError at once when the command cannot even be tried */
  execute(command: string, input: unknown, tenant: string, options: ExecuteOptions, forwarded = false): Promise<unknown> {
    const { timeout = this.#around.timeout, signal } = options
    if (this.#closing) throw new EngineError('closed', 'the replica is closed; nothing was written')
    // What is passed on may be so again before the first answer is here, and then both must come to one: what stands in the log.
    const fresh = !forwarded && options.id === undefined
    this.#lookAtClocks()
    const id = options.id === undefined ? this.#around.newId(this.#time) : options.id
    if (options.id !== undefined && !isId(id)) {
      throw new EngineError(
        'invalid-id',
        `a command id is 1 to 128 visible ASCII characters, a UUID in lower case; not ${JSON.stringify(id)}`,
      )
    }
    if (!(timeout > 0)) throw new EngineError('invalid-option', 'timeout is a number of milliseconds above 0')
    if (signal !== undefined && !(signal instanceof AbortSignal)) throw new EngineError('invalid-option', 'signal is an AbortSignal')
    if (signal?.aborted) throw new EngineError('aborted', 'the caller gave up before anything was done', { id })
    const meta = options.meta === undefined ? undefined : checkedMeta(options.meta)
    const prepared = prepare(this.#around.app, command, input)
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
        meta,
        deadline: this.#now + timeout,
        forwarded,
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
  async #storedAt(position: Position): Promise<Stored | undefined> {
    const at = { upTo: position }
    if (this.log.freshHead && !this.log.tails) return (await this.log.read(position - 1, at)).records[0]
    const { signal, cancel } = timeoutOf(this.#clock, this.#around.timeout)
    const either = AbortSignal.any([this.#stopReading.signal, signal])
    try {
      return (await this.log.read(position - 1, { ...at, wait: true, signal: either })).records[0]
    } finally {
      cancel()
    }
  }

  async #recordAt(position: Position): Promise<ReturnType<typeof decode> | undefined> {
    const stored = await this.#storedAt(position)
    return stored && decode(stored.value)
  }

  /** The first answer again: it stands in the log. */
  async #recall(request: Pending, { position, version: end }: IdEntry): Promise<unknown> {
    const { tenant, id } = request
    const history = this.#shard.look(tenant)?.store.historyAt(end)
    const record = await this.#recordAt(position)
    const index = record?.kind === 'data' ? record.decisions.findIndex(decision => decision.id === id) : -1
    if (!record) throw this.#notShown(id)
    if (record.kind !== 'data' || index < 0)
      throw new EngineError('log-behind', `the log does not hold the record of command ${id} at position ${position}`, { id })
    const decision = record.decisions[index]!
    // The record ends at `end`; what was accepted behind this decision comes off. One without a history of its own has moved nothing.
    let version = end
    if (history?.position === position) {
      for (let i = index + 1; i < record.decisions.length; i++) {
        if (!history.verdicts || history.verdicts[i] === 'accepted') version -= record.decisions[i]!.events.length
      }
    }
    if (decision.hash === request.hash) return outcome(tenant, decision, version, true)
    const first = `${decision.command}, ${decision.rejection ? `rejected (${decision.rejection.code})` : 'accepted'} at version ${version}`
    throw new EngineError('id-reused', `the id ${id} was used before, with another input: for ${first}. Use a new id for a new command`, {
      id,
      details: { command: decision.command, version },
    })
  }

  /** What stands in the log was not read: because this replica closes, or the log does not show it yet. Neither says that it is not there. */
  #notShown(id: string): EngineError {
    if (this.#stopReading.signal.aborted)
      return new EngineError('closed', 'the replica was closed before the first answer to this id was read again; ask for it elsewhere', {
        id,
      })
    if (!this.log.freshHead)
      return new EngineError(
        'timeout',
        'the first answer to this id stands in the log, but the log does not show it at present; ask again',
        { id },
      )
    return new EngineError('log-behind', `the log does not hold the record of command ${id}`, { id })
  }

  async #forward(request: Pending, address: string, term: number): Promise<void> {
    const timeout = request.deadline - this.#clock.now()
    try {
      const params = {
        command: request.command,
        input: request.input,
        id: request.id,
        tenant: request.tenant,
        timeout: Math.max(1, timeout),
        ...(request.meta === undefined ? {} : { meta: request.meta }),
      }
      const answer = (await this.#around.neighbours.forward(address, params)) as { token?: string }
      this.#feed({ type: 'forwarded', request, term, reply: 'answered' })
      // Whoever was told sees it here, too.
      const version = versionOf(answer.token ?? '', request.tenant)
      if (version !== undefined) await this.#reach(request.tenant, { version }, request.deadline).catch(() => {})
      request.resolve(answer)
    } catch (error) {
      if (error instanceof EngineError) {
        // It leads no more and cannot tell what became of it: the same id is asked for again, as long as there is time.
        if (error.code === 'outcome-unknown') this.#feed({ type: 'forwarded', request, term, reply: 'lost' })
        // The leader was none any more, or is closing: nothing was written, and the next one is asked.
        else if (passing.has(error.code)) this.#feed({ type: 'forwarded', request, term, reply: 'refused' })
        else this.#feed({ type: 'forwarded', request, term, reply: 'failed', error })
      } else {
        this.#around.notice(`a command could not be passed on: ${(error as Error).message}`)
        this.#feed({ type: 'forwarded', request, term, reply: error instanceof LinkError ? error.kind : 'lost' })
      }
    }
  }

  // --- Reads ----------------------------------------------------------------------------------------------------------

  /** A tenant's database that has come as far as `options` ask for. To be read at once: it may be closed in the next turn. */
  async store(tenant: string, { read = 'local', timeout = this.#around.timeout, signal }: QueryOptions = {}): Promise<Store> {
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
    await this.#reach(tenant, level, this.#clock.now() + timeout, signal)
    const found = this.#shard.look(tenant)
    if (found) return found.store
    throw new EngineError('not-ready', `the database of tenant ${tenant} is not open yet`)
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

  async *events(tenant: string, from: number | undefined, signal: AbortSignal | undefined): AsyncIterableIterator<LoggedEvent> {
    let next = from ?? (await this.store(tenant)).standing.version + 1
    while (!signal?.aborted && !this.#closing) {
      const store = await this.store(tenant)
      if (store.standing.version < next) {
        await this.#moved(signal)
        continue
      }
      const entry = store.historyAt(next)
      if (!entry) throw new EngineError('internal', `tenant ${tenant} has no history of version ${next}`)
      const record = await this.#recordAt(entry.position)
      if (!record && this.#stopReading.signal.aborted) return
      if (record?.kind !== 'data') throw new EngineError('log-behind', `the log does not hold position ${entry.position} any more`)
      const accepted = record.decisions.filter((_, index) => !entry.verdicts || entry.verdicts[index] === 'accepted')
      let version = entry.end - accepted.reduce((sum, { events }) => sum + events.length, 0)
      for (const { id, command, events, writes, meta } of accepted) {
        for (const { type, data, tags = [] } of events) {
          if (++version < next) continue
          if (signal?.aborted) return
          const written = writes === '*' ? tags : [...new Set([...writes, ...tags])]
          yield {
            tenant,
            version,
            type,
            data,
            at: new Date(record.time),
            id,
            command,
            tags: written,
            ...(meta === undefined ? {} : { meta }),
          }
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
}
