/**
 * The cluster as a whole: which brokers there are, what they can do, who leads a partition, who coordinates a transactional id.
 * Connections for the actual work are opened here and belong to whoever asked for them. A broker that was stopped still accepts
 * connections, and one that was paused gives old answers: so several are asked at once, and who answers first with something that is not
 * older than what is known already is believed.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { EngineError } from '../../errors.ts'
import { type Broker, type TopicMetadata, apiVersions, findCoordinator, metadata, needed } from './calls.ts'
import type { Code } from './codes.ts'
import { type BrokerVersions, Conn, Disconnected } from './conn.ts'
import type { Address, KafkaSettings } from './settings.ts'

export { Conn, Disconnected } from './conn.ts'

/** The cluster said no to something that has no place for an error code in its answer. */
export class Refused extends Error {
  override readonly name = 'Refused'
  readonly code: Code

  constructor(message: string, code: Code) {
    super(message)
    this.code = code
  }
}

export interface Metadata {
  readonly brokers: readonly Broker[]
  /** A broker that passes on to the controller, -1 if none is known. */
  readonly controller: number
  readonly clusterId: string | null
  /** Only where a topic was asked for. `error` UNKNOWN_TOPIC_OR_PARTITION where there is none. */
  readonly topic?: TopicMetadata
}

/** What to use towards one broker, or the cluster. */
export interface Versions {
  /** Of `produce`, outside of transactions. */
  readonly produce: 11 | 12 | 13
  /** Of `produce`, in a transaction. 11 needs `addPartitions` first. */
  readonly produceInTransaction: 11 | 12 | 13
  readonly endTxn: 4 | 5
  /** 2: EndTxn gives a new epoch each time, and partitions need not be added (KIP-890). */
  readonly transactions: 1 | 2
  /** Finalized features, such as `metadata.version`. */
  readonly features: ReadonlyMap<string, number>
}

/** So many brokers are asked at once, and one more after each further `hedge` milliseconds without an answer. */
const atOnce = 3
const hedge = 500
/** Milliseconds that an answer which will hardly do waits for a better one: a broker may be stopped, and never give one. */
const betterWithin = 1_500
const coordinatorPause = 20

export class KafkaClient {
  readonly settings: KafkaSettings
  readonly #conns = new Set<Conn>()
  /** Connections for questions like these, by address. */
  readonly #askable = new Map<string, Promise<Conn>>()
  #brokers = new Map<number, Broker>()
  /** The highest leader epoch seen, by topic id and partition, and the id of each topic. */
  readonly #epochs = new Map<string, number>()
  readonly #topicIds = new Map<string, string>()
  #closed = false

  constructor(settings: KafkaSettings) {
    this.settings = settings
  }

  /**
   * @param node a broker; left out: any, which is good enough for `transactions` and `features`
   * @throws EngineError log-unusable if it is older than Kafka 3.9; Disconnected
   */
  async versions(node?: number): Promise<Versions> {
    if (node === undefined) return this.#race(async conn => negotiate(conn.versions))
    const broker = await this.#broker(node)
    return negotiate((await this.#ask(broker)).versions)
  }

  /**
   * The cluster, and one topic of it. When every broker's answer is older than what was known, the newest of them.
   * @param options `operations`: also what we may do with the topic
   * @throws EngineError log-unusable if a broker is older than Kafka 3.9 and no other answers; Disconnected
   */
  async metadata(topic?: string, options: { readonly operations?: boolean } = {}): Promise<Metadata> {
    const topics = topic === undefined ? [] : [topic]
    const answer = await this.#race(
      conn => metadata(conn, { topics, patience: this.settings.connectTimeout, ...options }),
      answer => answer.brokers.length > 0 && this.#isCurrent(answer.topics[0]),
    )
    this.#brokers = new Map(answer.brokers.map(broker => [broker.id, broker]))
    const found = answer.topics[0]
    this.#remember(found)
    return {
      brokers: answer.brokers,
      controller: answer.controller,
      clusterId: answer.clusterId,
      ...(found === undefined ? {} : { topic: found }),
    }
  }

  /**
   * A connection of its own to a broker, for one purpose: a long poll holds up whatever else is sent on it.
   * @param purpose for messages
   * @throws Disconnected with `sent: false`; EngineError log-unusable if the broker is older than Kafka 3.9
   */
  async connect(node: number, purpose: string): Promise<Conn> {
    const broker = await this.#broker(node)
    try {
      return await this.#dial(broker, purpose)
    } catch (error) {
      // It may have come back under another address.
      if (this.#brokers.get(node) === broker) this.#brokers.delete(node)
      throw error
    }
  }

  /**
   * The broker that coordinates a transactional id. Waits, up to `requestTimeout`, while there is none.
   * @param doubted who did not do it well: believed only where nobody names another. A broker that is parted from the others, and still
   *   reached by us, takes itself for the coordinator that it was
   * @throws Refused, as with TRANSACTIONAL_ID_AUTHORIZATION_FAILED; Disconnected
   */
  async coordinator(transactionalId: string, doubted?: number): Promise<number> {
    const deadline = Date.now() + this.settings.requestTimeout
    for (;;) {
      const { error, message, node, host, port } = await this.#race(
        conn => findCoordinator(conn, { transactionalId }),
        answer => answer.error === 'NONE' && answer.node !== doubted,
      )
      if (error === 'NONE') {
        if (!this.#brokers.has(node)) this.#brokers.set(node, { id: node, host, port })
        return node
      }
      const passing = error === 'COORDINATOR_NOT_AVAILABLE' || error === 'COORDINATOR_LOAD_IN_PROGRESS'
      if (!passing || Date.now() > deadline) {
        throw new Refused(`the coordinator of '${transactionalId}' was not found: ${message ?? error}`, error)
      }
      await sleep(coordinatorPause)
    }
  }

  /** All connections, also those that were handed out. */
  close(): void {
    this.#closed = true
    for (const conn of this.#conns) conn.close()
  }

  async #broker(node: number): Promise<Broker> {
    if (!this.#brokers.has(node)) await this.metadata()
    const broker = this.#brokers.get(node)
    if (broker === undefined) throw new Disconnected(`the cluster has no broker ${node} now`, false)
    return broker
  }

  async #dial({ host, port }: Address, purpose: string): Promise<Conn> {
    if (this.#closed) throw new Disconnected('the client was closed', false)
    const conn = await Conn.open(host, port, purpose, this.settings, {
      onDial: conn => this.#conns.add(conn),
      onClose: conn => this.#conns.delete(conn),
    })
    try {
      conn.versions = await versionsOf(conn, this.settings.connectTimeout)
      return conn
    } catch (error) {
      conn.close()
      // What was asked for was not sent yet.
      throw error instanceof Disconnected ? new Disconnected(error.message, false, error.cause) : error
    }
  }

  /** A connection for questions, opened when there is none that works. */
  async #ask(address: Address): Promise<Conn> {
    const key = `${address.host}:${address.port}`
    const known = this.#askable.get(key)
    if (known !== undefined && !(await known).closed) return known
    const dialled = this.#dial(address, 'questions')
    this.#askable.set(key, dialled)
    // Nobody may be waiting any more when it fails.
    dialled.catch(() => this.#askable.get(key) === dialled && this.#askable.delete(key))
    return dialled
  }

  /** Asks brokers until one gives an answer that will do. When none does: the last answer there was, or else the last error. */
  async #race<Answer>(question: (conn: Conn) => Promise<Answer>, willDo: (answer: Answer) => boolean = () => true): Promise<Answer> {
    const waiting = shuffle(distinct([...this.#brokers.values(), ...this.settings.bootstrap]))
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    let open = 0
    let second: { answer: Answer } | undefined
    let better: NodeJS.Timeout | undefined
    let failure: unknown
    const next = (): void => {
      const address = waiting.shift()
      if (address !== undefined) {
        open++
        void ask(address)
      } else if (open === 0) {
        if (second === undefined) reject(failure)
        else resolve(second.answer)
      }
    }
    const ask = async (address: Address): Promise<void> => {
      try {
        const answer = await question(await this.#ask(address))
        if (willDo(answer)) resolve(answer)
        else {
          second = { answer }
          better ??= setTimeout(() => resolve(second?.answer ?? answer), betterWithin)
        }
      } catch (error) {
        failure = error
      }
      open--
      next()
    }
    for (let i = 0; i < atOnce; i++) next()
    const timer = setInterval(next, hedge)
    try {
      return await promise
    } finally {
      clearInterval(timer)
      clearTimeout(better)
      waiting.length = 0
    }
  }

  /** Not older than what was seen before. A topic that is gone, or made anew, cannot be told from an old answer: others are asked first. */
  #isCurrent(topic: TopicMetadata | undefined): boolean {
    if (topic === undefined) return true
    const known = this.#topicIds.get(topic.name)
    if (known !== undefined && known !== topic.id) return false
    return topic.partitions.every(({ index, leaderEpoch }) => leaderEpoch >= (this.#epochs.get(`${topic.id}/${index}`) ?? -1))
  }

  #remember(topic: TopicMetadata | undefined): void {
    if (topic === undefined) return
    if (topic.error === undefined) this.#topicIds.set(topic.name, topic.id)
    else this.#topicIds.delete(topic.name)
    for (const { index, leaderEpoch } of topic.partitions) this.#epochs.set(`${topic.id}/${index}`, leaderEpoch)
  }
}

async function versionsOf(conn: Conn, patience: number): Promise<BrokerVersions> {
  const answer = await apiVersions(conn, { version: 4, patience })
  // Kafka 3.9 brought version 4.
  const versions = answer.error === 'UNSUPPORTED_VERSION' ? await apiVersions(conn, { version: 3, patience }) : answer
  const lacking = needed.find(({ key, version }) => {
    const [lowest, highest] = versions.ranges.get(key) ?? [0, -1]
    return version < lowest || version > highest
  })
  if (lacking === undefined) return versions
  const [, highest] = versions.ranges.get(lacking.key) ?? [0, -1]
  throw new EngineError(
    'log-unusable',
    `the broker ${conn.host}:${conn.port} runs Apache Kafka ${release(versions)}, but 3.9 or later is needed` +
      ` (it takes request ${lacking.key} up to version ${highest}; version ${lacking.version} is used)`,
  )
}

/** Told by the highest version of Fetch, for people. */
function release({ ranges }: BrokerVersions): string {
  const fetch = ranges.get(1)?.[1] ?? -1
  if (fetch >= 17) return 'of a kind that does not take all requests'
  if (fetch === 16) return '3.7 or 3.8'
  if (fetch === 15) return '3.5 or 3.6'
  return fetch >= 13 ? '3.1 to 3.4' : 'older than 3.1'
}

function negotiate({ ranges, features }: BrokerVersions): Versions {
  const highest = (key: number): number => ranges.get(key)?.[1] ?? 0
  const produce = highest(0) >= 13 ? 13 : highest(0) === 12 ? 12 : 11
  const second = (features.get('transaction.version') ?? 0) >= 2 && produce > 11 && highest(26) >= 5
  return {
    produce,
    // From version 12 on a broker takes a transaction to be one of version 2.
    produceInTransaction: second ? produce : 11,
    endTxn: second ? 5 : 4,
    transactions: second ? 2 : 1,
    features,
  }
}

function distinct(addresses: readonly Address[]): Address[] {
  return [...new Map(addresses.map(address => [`${address.host}:${address.port}`, address])).values()]
}

/** In no order: replicas must not all ask the same broker. */
function shuffle<Item>(items: Item[]): Item[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    ;[items[i], items[j]] = [items[j] as Item, items[i] as Item]
  }
  return items
}
