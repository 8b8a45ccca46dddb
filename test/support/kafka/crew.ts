/**
 * One log of the shop on real Kafka, and a crew of processes that write to it, to be hurt; with an eye on the log that tells who reigns, and
 * the check of what they did. Each writer may have a network of its own that loses what it is told to.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { control, emptyShard, type ShardState } from '../../../src/accept.ts'
import { openLogs } from '../../../src/log/open.ts'
import type { Logs } from '../../../src/log.ts'
import { decode } from '../../../src/record.ts'
import { makeLog } from '../kafka.ts'
import { type Checked, checkHistory, Worker } from '../processes.ts'
import { type Proxy, startProxy } from '../proxy.ts'
import { type Way, wayName } from '../ways.ts'
import type { Answer } from '../worker.ts'

const ACCOUNTS = 10
/** New answers of somebody are a sign that work goes on. */
const BREATH = 15
/** What takes longer has got stuck, ms: far beyond what any fault takes, on a busy machine, too. */
const STUCK = 180_000

export interface Writer {
  readonly n: number
  readonly data: string
  /** Its way to the brokers, if it is not the direct one. */
  readonly proxy: Proxy | undefined
  worker: Worker
}

export interface CrewOptions {
  /** `host:port,...` */
  readonly brokers: string
  readonly topic: string
  readonly way: Way
  readonly folder: string
  readonly seed: number
  /** For each writer whether it goes through a proxy of its own. */
  readonly writers: readonly ('proxied' | 'direct')[]
  /** Between two commands of a client, ms. */
  readonly pause?: number
}

export class Crew implements AsyncDisposable {
  readonly name: string
  readonly topic: string
  readonly log: string
  readonly writers: Writer[] = []
  readonly #options: CrewOptions
  readonly #watch: Watch
  readonly #answers: Answer[] = []
  #spawned = 0

  private constructor(options: CrewOptions, log: string, watch: Watch) {
    this.name = wayName(options.way)
    this.topic = options.topic
    this.log = log
    this.#options = options
    this.#watch = watch
  }

  /** Makes the log and starts the writers one after the other: where somebody leads, it is the first. */
  static async start(options: CrewOptions): Promise<Crew> {
    const { brokers, topic, folder, writers } = options
    const log = `kafka://${brokers}/${topic}`
    await makeLog(log, 'shop')
    const crew = new Crew(options, log, await Watch.open(log))
    try {
      for (const [n, way] of writers.entries()) {
        const proxy = way === 'proxied' ? await startProxy(brokers) : undefined
        const data = join(folder, `${topic}-${n}`)
        crew.writers.push({ n, data, proxy, worker: crew.#spawn(data, proxy) })
        await crew.patiently(crew.writers[n]!.worker.answered(1), 'first answer')
      }
      return crew
    } catch (error) {
      await crew[Symbol.asyncDispose]()
      throw error
    }
  }

  get leads(): boolean {
    return this.#options.way.strategy === 'leader'
  }

  get transactional(): boolean {
    const { strategy, fencing } = this.#options.way
    return strategy === 'optimistic' || fencing === 'transactions'
  }

  /** Whether anything is written under the log's transactional id. */
  get fenced(): boolean {
    const { strategy, fencing } = this.#options.way
    return strategy === 'optimistic' || (strategy === 'leader' && fencing !== 'term')
  }

  /** How often somebody took the reign. */
  get term(): number {
    return this.#watch.term.number
  }

  /** Resolves when somebody reigns in a later term than this one. */
  after(term: number): Promise<void> {
    return this.#watch.after(term)
  }

  /** The writer that reigns. */
  async leader(): Promise<Writer> {
    for (;;) {
      const { number, owner } = this.#watch.term
      const writer = this.writers.find(({ worker }) => worker.incarnation !== undefined && worker.incarnation === owner)
      if (writer) return writer
      await this.patiently(this.after(number), 'somebody of the crew reigns')
    }
  }

  /** One that is neither stopped nor gone has heard some answers more. */
  breath(but?: Writer): Promise<void> {
    const others = this.writers.filter(writer => writer !== but)
    return this.patiently(Promise.race(others.map(({ worker }) => worker.answered(worker.answers.length + BREATH))), 'work goes on')
  }

  /** Somebody else goes on, and reigns where somebody must. @param term before it was hurt */
  async goesOnWithout(writer: Writer, term: number): Promise<void> {
    if (this.leads) await this.patiently(this.after(term), `somebody takes over from writer ${writer.n}`)
    await this.breath(writer)
  }

  /** It has heard an answer more. */
  recovers({ n, worker }: Writer): Promise<void> {
    return this.patiently(worker.answered(worker.answers.length + 1), `writer ${n} goes on`)
  }

  async kill(writer: Writer): Promise<void> {
    await writer.worker.kill()
    this.#collect(writer.worker)
  }

  /** In the place of one that was killed. @param forgetful its databases are lost, too */
  async again(writer: Writer, forgetful = false): Promise<void> {
    if (forgetful) rmSync(writer.data, { recursive: true, force: true })
    writer.worker = this.#spawn(writer.data, writer.proxy)
    await this.recovers(writer)
  }

  /** Ends the writers in order, and checks all that they ever did and heard: nobody was told but what stands in the log, and all were told. */
  async check(note: string): Promise<Checked> {
    await this.patiently(Promise.all(this.writers.map(({ worker }) => worker.finish())), 'the writers end in order')
    for (const { worker } of this.writers) {
      expect((await worker.ended).code, `${note}: a writer failed. ${worker.complaints}`).toBe(0)
      this.#collect(worker)
    }
    const answers = this.#answers
    expect(answers.filter(({ status }) => status === 'failed').slice(0, 5), `${note}: not answered in time`).toEqual([])
    const { way, folder } = this.#options
    const scratch = join(folder, `${this.topic}-check`)
    const data = this.writers.map(writer => writer.data)
    return checkHistory({ ...way, log: this.log, folder: scratch, data, accounts: ACCOUNTS, answers, note })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.writers.map(({ worker }) => worker.kill()))
    for (const { proxy } of this.writers) await proxy?.close()
    await this.#watch.close()
  }

  /** @throws Error when it takes too long, or the log cannot be read */
  async patiently<T>(work: Promise<T>, what: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.name}: not within ${STUCK / 1_000} s: ${what}`)), STUCK)
    })
    try {
      return await Promise.race([work, late, this.#watch.failed])
    } finally {
      clearTimeout(timer)
    }
  }

  #spawn(data: string, proxy: Proxy | undefined): Worker {
    const { way, seed, brokers, pause = 20 } = this.#options
    const log = `kafka://${proxy?.bootstrap ?? brokers}/${this.topic}`
    const own = { seed: seed * 1_000 + this.#spawned++, accounts: ACCOUNTS, clients: 3, pause, timeout: 60_000 }
    return new Worker({ ...way, ...own, log, data })
  }

  #collect(worker: Worker): void {
    for (const answer of worker.answers) this.#answers.push(answer)
  }
}

/** Reads a log along, past every proxy, for what it says of who reigns. */
class Watch {
  /** Rejects when the log could not be read. */
  readonly failed: Promise<never>
  readonly #logs: Logs
  readonly #closing = new AbortController()
  readonly #waiting = new Set<() => void>()
  #state: ShardState = emptyShard

  private constructor(logs: Logs) {
    this.#logs = logs
    this.failed = this.#read().then(() => new Promise<never>(() => {}))
    this.failed.catch(() => {})
  }

  static async open(log: string): Promise<Watch> {
    return new Watch(await openLogs(log, { as: 'reader' }))
  }

  get term(): ShardState['term'] {
    return this.#state.term
  }

  /** Resolves when somebody reigns in a later term than this one. */
  async after(number: number): Promise<void> {
    while (this.term.number <= number || this.term.owner === null) await new Promise<void>(resolve => this.#waiting.add(resolve))
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#logs.close()
  }

  async #read(): Promise<void> {
    const [shard] = this.#logs.shards
    for (let after = 0; !this.#closing.signal.aborted; ) {
      const { records, reached } = await shard!.read(after, { wait: true, signal: this.#closing.signal })
      after = reached
      for (const { value } of records) {
        const record = decode(value)
        if (record.kind === 'data' || record.kind === 'foreign') continue
        const next = control(this.#state, record)
        if (typeof next !== 'string') this.#state = next
      }
      for (const resolve of this.#waiting) resolve()
      this.#waiting.clear()
    }
  }
}
