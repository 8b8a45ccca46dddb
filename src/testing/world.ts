/**
 * A world in virtual time: whole replicas, as they run in production, on the model of one file or of a Kafka cluster, with clients that ask
 * and misfortunes that come as planned. What it gives back is plain data, for others to judge. Rooms in `world/`.
 */
import { type App, definitionOf, revision, withQuery } from '../app.ts'
import { EngineError } from '../errors.ts'
import { PartitionLog } from '../log/kafka/partition.ts'
import type { Log, Logs } from '../log.ts'
import { encodeControl } from '../record.ts'
import { type Ground, type Replica, startReplica } from '../replica.ts'
import { versionOf } from '../replica/answers.ts'
import { LinkError } from '../replica/link.ts'
import type { Member, Roster } from '../roster.ts'
import { Cluster } from './cluster.ts'
import { forge } from './world/alien.ts'
import { Disk } from './world/disk.ts'
import { type DiskFault, EmbeddedFile, EmbeddedLog } from './world/embedded.ts'
import { type Armed, Network } from './world/network.ts'
import { type Ask, GREEN, type Look, type Misfortune, type Operation, type Plan, RELEASES } from './world/plan.ts'
import type { Source } from '../snapshot/source.ts'
import { seeded, uuidOf } from '../random.ts'
import type { Answered, Chunk, Happening, Looked, Run, Said, Trouble } from './world/run.ts'
import { EPOCH, Process, Scheduler } from './world/scheduler.ts'
import { DiskSnapshot } from './world/snapshot.ts'
import { ClusterDriver, SimulatedWire } from './world/wire.ts'

const LOG = 'simulated'
/** A query for all rows, at one version. */
const DUMP = 'all rows'
const TOPIC = '00000000-0000-4000-8000-000000000001'
const DISK_FAULTS: ReadonlySet<string> = new Set(['fsync-error', 'disk-full', 'slow-disk'])
const MESSAGE_FAULTS: ReadonlySet<string> = new Set(['lose-request', 'lose-reply', 'delay-request', 'delay-reply', 'double'])
/** A client that hears nothing beyond its command's own time asks again, ms. */
const GRACE = 1_000
/** Between two attempts of a client, ms. */
const AGAIN = 20
/** How long all must have come to an end after the misfortunes have, ms; and how many things may happen in all. */
const PATIENCE = 60_000
const MOST_EVENTS = 300_000
/** How often replicas store how far they have come, ms: a plan is over before they would do so by themselves. */
const CHECKPOINT = 700
/** A replica whose log has failed for good is started anew after so long, ms. */
const SUPERVISION = 500
/** How long nothing is asked before the replicas are compared, ms. */
const SETTLING = 2_000

/** What a replica looks like from outside. Survives its processes. */
interface Node {
  readonly number: number
  readonly name: string
  disk: Disk
  life: number
  process: Process
  replica: Replica | undefined
  serve: ((method: string, params: unknown) => Promise<unknown>) | undefined
  /** It is being closed in good order. */
  leaving: boolean
  mutedUntil: number
  skew: number
  diskFaults: DiskFault[]
}

export interface WorldOptions {
  readonly app: App
  readonly plan: Plan
  /** Asked of every tenant on every replica at the end: each must get an answer. */
  readonly probe?: { readonly name: string; readonly input: unknown }
  /** SQL that gives all rows of the tables as one text. */
  readonly dump: string
  /** Of the same name and the same mind, with other tables: what replicas of the second release run. */
  readonly green?: { readonly app: App; readonly dump: string } | undefined
}

export class World {
  /** By release. */
  readonly #apps: (release: string) => App
  readonly #plan: Plan
  readonly #options: WorldOptions
  readonly #scheduler = new Scheduler()
  readonly #random: () => number
  readonly #stream: (number: number) => () => number
  readonly #network: Network
  readonly #nodes: Node[]
  readonly #members = new Map<string, Member>()
  readonly #file: EmbeddedFile | undefined
  readonly #cluster: ClusterDriver | undefined
  readonly #outside: Process
  readonly #operator: Log
  readonly #answered: Answered[] = []
  readonly #looked: Looked[] = []
  readonly #troubles: Trouble[] = []
  readonly #happenings: Happening[] = []
  readonly #tenants = new Set<string>()
  /** Whether it may ever fail. */
  readonly #power: boolean
  /** By tenant: the highest version that anybody was told of, and the latest token. */
  readonly #told = new Map<string, { version: number; token: string }>()
  /** Data records that somebody has tried to write, for whoever copies them. */
  readonly #written: { readonly value: string; readonly tenant: string }[] = []
  #rules = 1
  #unfinished = 0
  #origin = 0
  #calm = false

  constructor(options: WorldOptions) {
    const { plan, green = options } = options
    const looked = ({ app, dump }: { readonly app: App; readonly dump: string }) =>
      withQuery(app, DUMP, (_, { db, version }) => ({ version, rows: String(db.get(dump).rows) }))
    const apps = [looked(options), looked(green)] as const
    this.#apps = release => apps[release === GREEN ? 1 : 0]
    this.#plan = plan
    this.#options = options
    // Streams of their own: what is left out of a plan changes as little as possible of what the rest meets.
    const stream = (number: number) => seeded(plan.seed * 1_009 + number)
    this.#stream = stream
    this.#random = stream(1)
    const armed = plan.misfortunes.filter((each): each is Armed => MESSAGE_FAULTS.has(each.kind))
    this.#network = new Network(armed, stream(2), fault => this.#happened(fault.node, 'met', fault))
    const { log } = plan
    if (log.kind === 'file') this.#file = new EmbeddedFile()
    else {
      const { brokers, transactions, firstEpoch } = log
      const cluster = new Cluster({
        brokers,
        minIsr: Math.min(2, brokers),
        transactionVersion: transactions,
        topicId: TOPIC,
        random: stream(3),
        sessionTimeout: 2_000,
        lagTime: 2_000,
        transactionCheck: 1_000,
        firstEpoch,
      })
      this.#cluster = new ClusterDriver(cluster, brokers, this.#scheduler)
    }
    this.#power = plan.misfortunes.some(each => each.kind === 'crash' && each.power)
    this.#outside = new Process(this.#scheduler, stream(4), 0)
    this.#operator = this.#openLog(-1, this.#outside, 'term')
    this.#nodes = plan.nodes.map((_, number): Node => {
      const name = `replica-${number + 1}`
      const process = new Process(this.#scheduler, stream(5), 0)
      const disk = new Disk(name, this.#power)
      return {
        number,
        name,
        disk,
        life: 0,
        process,
        replica: undefined,
        serve: undefined,
        leaving: false,
        mutedUntil: 0,
        skew: 0,
        diskFaults: [],
      }
    })
    for (const { tenant } of plan.asks) this.#tenants.add(tenant)
  }

  async run(): Promise<Run> {
    const onRejection = (error: unknown) => this.#trouble('crash', `an error that nobody caught: ${trace(error)}`)
    process.on('unhandledRejection', onRejection)
    try {
      await this.#boot()
      for (const node of this.#nodes) this.#start(node)
      const { asks, looks, operations, misfortunes, calmAt } = this.#plan
      for (const ask of asks) this.#later(ask.at, () => this.#ask(ask))
      for (const look of looks) this.#later(look.at, () => this.#look(look))
      for (const operation of operations) this.#later(operation.at, () => this.#operate(operation))
      for (const misfortune of misfortunes)
        if (!MESSAGE_FAULTS.has(misfortune.kind)) this.#later(misfortune.at, () => this.#strike(misfortune))
      await this.#runUntil(this.#origin + calmAt)
      this.#calmDown()
      // Some ask once more in the calm.
      await this.#runUntil(Math.max(this.#scheduler.now, this.#origin + asks.reduce((last, { at }) => Math.max(last, at), 0)))
      await this.#runUntil(this.#scheduler.now + PATIENCE, () => this.#unfinished === 0 && this.#allThere())
      await this.#end()
      return await this.#result()
    } finally {
      process.off('unhandledRejection', onRejection)
      for (const node of this.#nodes) {
        node.process.kill()
        node.disk.destroy()
      }
      this.#outside.kill()
    }
  }

  // --- Beginning and end ----------------------------------------------------------------------------------------------

  async #boot(): Promise<void> {
    const { window } = this.#plan
    const manifest = {
      kind: 'manifest',
      log: LOG,
      time: EPOCH,
      app: this.#options.app.name,
      partitions: 1,
      partition: 0,
      rules: 1,
      window,
      generation: 1,
    } as const
    let there = false
    void this.#write(encodeControl(manifest), null).then(() => {
      there = true
    })
    await this.#runUntil(this.#scheduler.now + PATIENCE, () => there)
    if (!there) this.#trouble('progress', 'the log could not be made')
    this.#origin = this.#scheduler.now
  }

  /** Only what may take part in it goes on: the rest ends at once. */
  async #runUntil(time: number, done: () => boolean = () => false): Promise<void> {
    const goOn = () => !done() && this.#scheduler.events < MOST_EVENTS && !this.#troubles.some(({ check }) => check === 'crash')
    await this.#scheduler.run(time, goOn)
    if (this.#scheduler.events >= MOST_EVENTS) this.#trouble('progress', `it goes round in circles: ${MOST_EVENTS} things have happened`)
  }

  #allThere(): boolean {
    return this.#nodes.every(({ replica, leaving }) => replica && !leaving)
  }

  #calmDown(): void {
    this.#calm = true
    this.#network.calm()
    for (const node of this.#nodes) {
      node.process.continue()
      node.mutedUntil = 0
      node.diskFaults = []
    }
  }

  async #end(): Promise<void> {
    const { probe } = this.#options
    if (this.#unfinished > 0) return
    const sealed = this.#plan.operations.some(each => each.do === 'seal')
    if (probe && !sealed) {
      for (const { number } of this.#nodes) {
        for (const tenant of this.#tenants) {
          this.#ask({
            at: this.#scheduler.now,
            node: number,
            tenant,
            ...probe,
            id: `probe-${number}-${tenant}`,
            timeout: 10_000,
            repeat: true,
          })
        }
      }
      await this.#runUntil(this.#scheduler.now + PATIENCE, () => this.#unfinished === 0)
    }
  }

  async #result(): Promise<Run> {
    // What is read on after the last answer of all comes, too; and whoever is started anew for a failure at the very end.
    await this.#runUntil(this.#scheduler.now + SETTLING)
    await this.#runUntil(this.#scheduler.now + PATIENCE, () => this.#allThere())
    const finals: Run['finals'][number][] = []
    let waiting = 0
    for (const node of this.#nodes) {
      for (const tenant of this.#tenants) {
        const { replica } = node
        if (!replica) continue
        waiting++
        const told = this.#told.get(tenant)
        const read = told ? { read: { atLeast: told.token } } : {}
        void (async () => {
          try {
            const { version: standing, rows } = (await replica.query(DUMP, undefined, { tenant, timeout: 20_000, ...read })) as Dump
            const { version, digest } = await replica.digest(tenant)
            finals.push({ node: node.name, tenant, version, digest, floor: node.disk.floor(tenant), rows, standing })
          } catch (error) {
            this.#trouble('halt', `${node.name}, tenant ${tenant}: ${(error as Error).message}`)
          }
          waiting--
        })()
      }
    }
    await this.#runUntil(this.#scheduler.now + PATIENCE, () => waiting === 0)
    if (waiting > 0) this.#trouble('progress', `${waiting} replicas do not come to the end of the log`)
    return {
      plan: this.#plan,
      log: this.#file ? { kind: 'file', entries: this.#file.entries } : { kind: 'kafka', chunks: await this.#chunks() },
      place: this.#operator.place,
      answered: this.#answered,
      looked: this.#looked,
      finals,
      troubles: this.#troubles,
      happenings: this.#happenings,
      events: this.#scheduler.events,
      time: this.#scheduler.now,
    }
  }

  /** The whole log, as a broker gives it to whoever reads what is committed. */
  async #chunks(): Promise<Chunk[]> {
    const wire = new SimulatedWire(this.#cluster!, this.#outside, this.#network, { node: -1, transactions: 2, topicId: TOPIC })
    const chunks: Chunk[] = []
    let done = false
    const read = async () => {
      for (let from = 0; ; ) {
        await wire.refresh()
        const leader = wire.leader()
        if (!leader) continue
        const line = await wire.connect(leader.node, 'read it all')
        const about = {
          topicId: TOPIC,
          partition: 0,
          offset: from,
          leaderEpoch: -1,
          lastFetchedEpoch: -1,
          maxWait: 0,
          minBytes: 1,
          maxBytes: 1 << 30,
        }
        const { error, bytes, aborted, lastStable } = await line.fetch({ ...about, isolation: 'read_committed' })
        if (error !== 'NONE') continue
        if (from >= lastStable) break
        chunks.push({ bytes, aborted, from })
        from = lastStable
      }
      done = true
    }
    read().catch(error => this.#trouble('crash', trace(error)))
    await this.#runUntil(this.#scheduler.now + PATIENCE, () => done)
    if (!done) this.#trouble('progress', 'the log cannot be read to its end')
    return chunks
  }

  // --- Replicas -------------------------------------------------------------------------------------------------------

  #openLog(node: number, process: Process, fencing: 'epoch' | 'transactions' | 'term'): Log {
    if (this.#file) return new EmbeddedLog(this.#file, process, () => this.#diskFault(node))
    const { transactions } = this.#plan.log as Extract<Plan['log'], { kind: 'kafka' }>
    const wire = new SimulatedWire(this.#cluster!, process, this.#network, { node, transactions, topicId: TOPIC })
    return new PartitionLog(wire, 0, {
      description: 'kafka://simulated/log',
      fencing,
      app: this.#options.app.name,
      maxBatchBytes: 1 << 19,
      clock: process,
    })
  }

  #diskFault(node: number): DiskFault | undefined {
    const fault = this.#nodes?.[node]?.diskFaults.shift()
    if (fault) this.#happened(node, 'met', fault)
    return fault
  }

  #start(node: Node, snapshots?: Source): void {
    const life = ++node.life
    const process = new Process(this.#scheduler, this.#stream(100 * (node.number + 1) + life), node.skew)
    const { strategy, release } = this.#plan.nodes[node.number]!
    const { log } = this.#plan
    node.process = process
    const me = `${node.name}/${life}`
    const shard = this.#openLog(node.number, process, log.kind === 'kafka' ? log.fencing : 'term')
    const append = shard.append.bind(shard)
    shard.append = (records, options) => {
      for (const { value, tenant } of records) if (tenant !== null && typeof value === 'string') this.#written.push({ value, tenant })
      return append(records, options)
    }
    const roster: Roster = {
      beat: (id, address, reigns = true, info) => {
        if (node.mutedUntil > this.#scheduler.now) return
        const beat = (this.#members.get(id)?.beat ?? 0) + 1
        this.#members.set(id, { id, address, beat, seen: process.time(), reigns, ...(info ? { info } : {}) })
      },
      members: () => [...this.#members.values()],
      leave: id => void this.#members.delete(id),
      close: () => {},
    }
    const logs: Logs = {
      description: shard.description,
      shards: [shard],
      roster,
      spans: log.kind === 'kafka' ? 'network' : 'process',
      close: () => shard.close(),
    }
    const ground: Ground = {
      me,
      clock: process,
      newId: time => uuidOf(time, process.random),
      data: node.disk.mount(),
      snapshots,
      checkpoint: CHECKPOINT,
      // Nothing here hangs on how far behind a replica is.
      lookAhead: 0,
      maxOpen: this.#plan.open,
      neighbours: { forward: (address, command) => this.#forward(node, process, address, command), close: () => {} },
      listen: async serve => {
        node.serve = serve
        return { address: me, close: async () => {} }
      },
    }
    const options = { log: logs, strategy, release, timeout: 10_000, data: node.name }
    startReplica(this.#apps(release), options, logs, ground).then(
      replica => {
        if (process.dead) return
        node.replica = replica
        this.#happened(node.number, 'started', {})
        this.#watch(node, process)
      },
      (error: unknown) => {
        if (process.dead) return
        // The cluster may be out of reach: whoever runs it starts it again. What says that data is wrong is a finding.
        if (!(error instanceof EngineError) || !['log-unreachable', 'timeout', 'log-failed'].includes(error.code))
          this.#trouble('halt', `${node.name} does not start: ${trace(error)}`)
        else this.#restart(node, SUPERVISION)
      },
    )
  }

  /** Whoever runs a replica starts it anew when its log has failed for good, and says what it halts at. */
  #watch(node: Node, process: Process): void {
    process.after(SUPERVISION, () => {
      void node.replica?.status().then(({ failure, tenants }) => {
        if (process.dead) return
        for (const [tenant, { error }] of Object.entries(tenants))
          if (error) this.#trouble('halt', `${node.name}, tenant ${tenant}: ${error}`)
        if (failure === null) this.#watch(node, process)
        else this.#restart(node, 0)
      })
    })
  }

  #kill(node: Node): void {
    node.process.kill()
    node.replica = undefined
    node.leaving = false
    node.serve = undefined
    node.diskFaults = []
    this.#file?.forget(node.process)
    node.disk.unmount()
  }

  #restart(node: Node, downtime: number): void {
    const { life } = node
    this.#kill(node)
    this.#at(this.#scheduler.now + downtime, () => {
      if (node.life === life) this.#start(node)
    })
  }

  /** Of the machine nothing is left. */
  #replace(node: Node, { from, downtime, snapshot: condition }: Extract<Misfortune, { kind: 'replace' }>): void {
    const { life, name } = node
    this.#kill(node)
    node.disk.destroy()
    node.disk = new Disk(name, this.#power)
    const other = this.#nodes[from]!
    const app = this.#apps(this.#plan.nodes[from]!.release)
    const about = { app: app.name, revision: revision(app), database: definitionOf(app).database, condition }
    const snapshot = new DiskSnapshot(other.name, other.disk, about)
    this.#at(this.#scheduler.now + downtime, () => {
      if (node.life === life) this.#start(node, snapshot)
    })
  }

  #forward(node: Node, process: Process, address: string, command: { readonly timeout: number }): Promise<unknown> {
    const fault = this.#network.fate(this.#scheduler.now, node.number, 'neighbour')
    return new Promise((resolve, reject) => {
      const lost = () => reject(new LinkError('lost', 'the connection broke'))
      process.after(command.timeout + 400, lost)
      if (fault?.kind === 'lose-request') {
        process.after(this.#network.delay(), lost)
        return
      }
      const ask = () => {
        const other = this.#nodes.find(each => `${each.name}/${each.life}` === address)
        const there = other?.process
        if (!other?.serve || there?.dead)
          return process.after(this.#network.delay(), () => reject(new LinkError('unreachable', 'nobody is there')))
        const { serve } = other
        there!.after(0, () => {
          const answer = (settle: () => void) => {
            if (fault?.kind === 'lose-reply') return process.after(this.#network.delay(), lost)
            const late = fault?.kind === 'delay-reply' ? fault.by : 0
            return process.after(late + this.#network.delay(), settle)
          }
          serve('forward', command).then(
            outcome => answer(() => resolve(outcome)),
            error => answer(() => reject(error)),
          )
        })
        // Whoever dies with a connection open is noticed.
        const watch = () => (there!.dead ? lost() : process.after(100, watch))
        return process.after(100, watch)
      }
      const late = fault?.kind === 'delay-request' ? fault.by : 0
      if (late > 0) process.after(this.#network.delay(), lost)
      this.#at(this.#scheduler.now + late + this.#network.delay(), ask)
      if (fault?.kind === 'double') this.#at(this.#scheduler.now + fault.by, ask)
    })
  }

  // --- Clients --------------------------------------------------------------------------------------------------------

  #ask(ask: Ask, attempt = 1): void {
    if (attempt === 1) this.#unfinished++
    const node = this.#nodes[attempt === 1 ? ask.node : Math.floor(this.#random() * this.#nodes.length)]!
    const begun = this.#scheduler.now
    const before = this.#told.get(ask.tenant)?.version ?? 0
    let heard = false
    const hear = (said: Said) => {
      if (heard) return
      heard = true
      this.#answered.push({ ask, attempt, node: node.name, begun, ended: this.#scheduler.now, told: before, said })
      this.#happened(node.number, 'answered', { ask, said })
      if ('status' in said) this.#tell(ask.tenant, said.version, said.token)
      const again = ask.repeat && ('error' in said ? said.retry === 'safe' || said.error === 'log-failed' : said === lost)
      if (again && (!this.#calm || this.#scheduler.now < begun + PATIENCE))
        this.#at(this.#scheduler.now + AGAIN, () => this.#ask(ask, attempt + 1))
      else this.#unfinished--
    }
    this.#happened(node.number, 'asked', { ask, attempt })
    this.#at(begun + ask.timeout + GRACE, () => hear(lost))
    this.#at(begun + this.#network.delay(), () => {
      const { process } = node
      const back = (said: Said) => this.#at(this.#scheduler.now + this.#network.delay(), () => hear(said))
      if (process.dead || !node.replica) return back(refused)
      const watch = () => {
        if (heard) return
        if (process.dead) back(lost)
        else this.#at(this.#scheduler.now + 50, watch)
      }
      watch()
      process.after(0, () => {
        if (!node.replica) return back(refused)
        const { name, input, id, tenant, timeout } = ask
        const execute = node.replica.execute as (...args: unknown[]) => Promise<Record<string, unknown>>
        execute
          .call(node.replica, name, input, { tenant, timeout, ...(id === undefined ? {} : { id }) })
          .then(outcome => back(outcome.status === 'accepted' ? accepted(outcome) : rejected(outcome, tenant)))
          .catch((error: unknown) => {
            if (error instanceof EngineError) back({ error: error.code, retry: error.retry, message: error.message, id: error.id ?? null })
            else this.#trouble('crash', trace(error))
          })
      })
    })
  }

  #tell(tenant: string, version: number, token: string): void {
    if (version >= (this.#told.get(tenant)?.version ?? 0)) this.#told.set(tenant, { version, token })
  }

  #look({ node: number, tenant, read }: Look): void {
    const node = this.#nodes[number]!
    const told = this.#told.get(tenant)
    const level = read === 'token' ? (told ? { atLeast: told.token } : 'local') : read
    const { process, replica } = node
    if (process.dead || !replica) return
    const begun = this.#scheduler.now
    process.after(0, () => {
      replica.query(DUMP, undefined, { tenant, read: level, timeout: 5_000 }).then(
        (answer: unknown) => {
          const { version, rows } = answer as Dump
          const looked = { node: node.name, tenant, read, begun, told: told?.version ?? 0, version, rows }
          this.#looked.push(looked)
        },
        (error: unknown) => {
          // It may say that it cannot, never what is not so.
          if (!(error instanceof EngineError)) this.#trouble('crash', trace(error))
        },
      )
    })
  }

  // --- Operators and misfortunes --------------------------------------------------------------------------------------

  #operate(operation: Operation): void {
    this.#happened(-1, 'wrote', operation)
    const time = this.#outside.time()
    if (operation.do === 'alien') {
      for (const { value, tenant } of forge(this.#written, operation.change, this.#random, time)) void this.#write(value, tenant)
      return
    }
    void this.#shardRecord(operation, time)
  }

  async #shardRecord(operation: Exclude<Operation, { do: 'alien' }>, time: number): Promise<void> {
    const at = { log: LOG, time }
    switch (operation.do) {
      case 'forget':
        return this.#write(encodeControl({ kind: 'forget', ...at, before: EPOCH + operation.before }), null)
      case 'release': {
        // Whichever is the active one: of these two records one counts at most.
        const release = this.#named(operation.release)
        for (const replaces of [...RELEASES.filter(other => other !== operation.release).map(other => this.#named(other)), null])
          await this.#write(encodeControl({ kind: 'release', ...at, release, replaces }), null)
        return
      }
      case 'rules':
        return this.#write(encodeControl({ kind: 'rules', ...at, number: ++this.#rules, window: operation.window }), null)
      case 'seal':
        return this.#write(encodeControl({ kind: 'seal', ...at }), null)
      case 'barrier':
        return this.#write(encodeControl({ kind: 'barrier', ...at, nonce: `outside-${time}` }), null, true)
    }
  }

  #named(release: string): string {
    return `${revision(this.#apps(release)).slice(0, 12)}+${release}`
  }

  async #write(value: string, tenant: string | null, barrier = false): Promise<void> {
    if (this.#file) {
      this.#file.write({ value, tenant, barrier, time: this.#outside.time() })
      return
    }
    for (;;) {
      const [answer] = await this.#operator.append([{ value, tenant, barrier, time: this.#outside.time() }])
      if (answer?.status !== 'not-written' || answer.fatal) return
      await new Promise<void>(resolve => this.#outside.after(100, resolve))
    }
  }

  #strike(misfortune: Misfortune): void {
    if (this.#calm) return
    const number = 'node' in misfortune ? misfortune.node : -1
    const node = this.#nodes[number]
    const now = this.#scheduler.now
    if (!DISK_FAULTS.has(misfortune.kind)) this.#happened(number, 'met', misfortune)
    switch (misfortune.kind) {
      case 'crash':
        if (node!.process.dead) return
        this.#kill(node!)
        if (misfortune.power) node!.disk.powerCut(this.#random)
        return this.#restart(node!, misfortune.downtime)
      case 'replace':
        return node!.process.dead ? undefined : this.#replace(node!, misfortune)
      case 'pause':
        return node!.process.stop(now + misfortune.for)
      case 'restart': {
        const { replica, process } = node!
        if (!replica || process.dead) return
        const { life } = node!
        node!.leaving = true
        process.after(
          0,
          () => void replica.close().then(() => !process.dead && node!.life === life && this.#restart(node!, misfortune.downtime)),
        )
        return
      }
      case 'clock-jump':
        node!.skew += misfortune.by
        node!.process.skew = node!.skew
        return
      case 'step-down': {
        const { replica, process } = node!
        if (replica && !process.dead) process.after(0, () => replica.stepDown())
        return
      }
      case 'mute':
        node!.mutedUntil = now + misfortune.for
        return
      case 'kill-broker':
        if (!this.#cluster || this.#cluster.isDead(misfortune.broker)) return
        this.#cluster.kill(misfortune.broker)
        return void this.#at(now + misfortune.for, () => this.#cluster!.start(misfortune.broker))
      case 'stop-broker':
        if (!this.#cluster || this.#cluster.isDead(misfortune.broker)) return
        this.#cluster.stop(misfortune.broker)
        return void this.#at(now + misfortune.for, () => this.#cluster!.continue(misfortune.broker))
      case 'part':
        this.#cluster?.part(misfortune.brokers)
        return void this.#at(now + misfortune.for, () => this.#cluster?.join(misfortune.brokers))
      default:
        if (DISK_FAULTS.has(misfortune.kind)) node!.diskFaults.push(misfortune as DiskFault)
    }
  }

  // --- Time -----------------------------------------------------------------------------------------------------------

  #later(at: number, run: () => void): void {
    this.#at(this.#origin + at, run)
  }

  #at(time: number, run: () => void): void {
    this.#scheduler.at(time, () => {
      try {
        run()
      } catch (error) {
        this.#trouble('crash', trace(error))
      }
    })
  }

  #trouble(check: Trouble['check'], message: string): void {
    this.#troubles.push({ check, message, at: this.#scheduler.now - this.#origin })
  }

  #happened<W extends Happening['what']>(node: number, what: W, details: Extract<Happening, { what: W }>['details']): void {
    const who = this.#nodes?.[node]?.name ?? 'the operator'
    this.#happenings.push({ at: this.#scheduler.now - this.#origin, who, what, details } as Happening)
  }
}

interface Dump {
  readonly version: number
  readonly rows: string
}

const lost: Said = { silence: 'lost' }
const refused: Said = { error: 'refused', retry: 'safe', message: 'nobody listens', id: null }

const accepted = ({ version, token, events, result, duplicate }: Record<string, unknown>): Said => ({
  status: 'accepted',
  version: version as number,
  token: token as string,
  answer: JSON.stringify({ events: (events as { type: string; data: unknown }[]).map(({ type, data }) => [type, data]), result }),
  duplicate: duplicate as boolean,
})

const rejected = ({ code, details, token, duplicate }: Record<string, unknown>, tenant: string): Said => ({
  status: 'rejected',
  version: versionOf(token as string, tenant)!,
  token: token as string,
  answer: JSON.stringify({ code, details }),
  duplicate: duplicate as boolean,
})

const trace = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error))
