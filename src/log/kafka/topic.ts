/**
 * The topic as this process knows it: its id, pinned when it was opened, and who leads which partition. A topic that was deleted and made
 * anew under the same name is another log: produce by name would go into it without a word.
 */
import { EngineError } from '../../errors.ts'
import { type Conn, Disconnected, type KafkaClient, type Versions } from './client.ts'

export interface Leader {
  readonly node: number
  readonly epoch: number
}

/** Between two looks at the cluster's metadata, ms. */
const LOOK_AGAIN = 100
/** Brokers that start, or lag behind, do not know a topic that is there; all of them, for so long, do, ms. */
const GONE = 5_000

export class Topic {
  readonly client: KafkaClient
  readonly name: string
  readonly id: string
  readonly partitions: number
  readonly versions: Versions
  #leaders: readonly (Leader | undefined)[]
  #refreshing: Promise<void> | undefined
  #refreshedAt = 0
  #failure: EngineError | undefined
  #unknownSince: number | undefined

  private constructor(client: KafkaClient, versions: Versions, name: string, id: string, leaders: readonly (Leader | undefined)[]) {
    this.client = client
    this.versions = versions
    this.name = name
    this.id = id
    this.partitions = leaders.length
    this.#leaders = leaders
  }

  /** @throws EngineError log-unreachable, log-denied, log-unusable when there is no such topic */
  static async open(client: KafkaClient, name: string): Promise<Topic> {
    const { topic } = await reached(client.metadata(name))
    if (!topic || topic.error === 'UNKNOWN_TOPIC_OR_PARTITION')
      throw new EngineError('log-unusable', `the cluster has no topic ${name}. Make it with \`mainstem kafka create-log\``)
    if (topic.error === 'TOPIC_AUTHORIZATION_FAILED')
      throw new EngineError(
        'log-denied',
        `this user may not see the topic ${name}. Allow Describe, Read and Write on it (kafka-acls --add --topic)`,
      )
    return new Topic(client, await reached(client.versions()), name, topic.id, leadersOf(topic.partitions))
  }

  /** The topic is not ours any more: nothing can be read or written. */
  get failure(): EngineError | undefined {
    return this.#failure
  }

  leader(partition: number): Leader | undefined {
    return this.#leaders[partition]
  }

  /** Somebody says he leads. Newer epochs only. */
  heard(partition: number, { node, epoch }: Leader): void {
    if (epoch <= (this.#leaders[partition]?.epoch ?? -1)) return
    this.#leaders = this.#leaders.with(partition, { node, epoch })
  }

  /** Looks who leads now. Never throws: who cannot be reached now is asked again by the next one who needs to know. */
  async refresh(): Promise<void> {
    const wait = this.#refreshedAt + LOOK_AGAIN - performance.now()
    this.#refreshing ??= this.#refresh(wait).finally(() => {
      this.#refreshing = undefined
    })
    await this.#refreshing
  }

  async #refresh(wait: number): Promise<void> {
    if (wait > 0) await new Promise(resolve => setTimeout(resolve, wait))
    try {
      const { topic } = await this.client.metadata(this.name)
      // A broker that has just started may not know it yet; the topic id is what tells.
      if (topic && topic.error === undefined) {
        if (topic.id !== this.id) return this.#fail('was deleted and made anew: it is another log now')
        const found = leadersOf(topic.partitions)
        this.#leaders = found.map((leader, partition) => {
          const known = this.#leaders[partition]
          return leader && leader.epoch >= (known?.epoch ?? -1) ? leader : known
        })
        this.#unknownSince = undefined
      } else if (topic?.error === 'UNKNOWN_TOPIC_OR_PARTITION') {
        this.#unknownSince ??= performance.now()
        if (performance.now() - this.#unknownSince > GONE) this.#fail('does not exist any more')
      }
    } catch {
      // As said above.
    } finally {
      this.#refreshedAt = performance.now()
    }
  }

  #fail(what: string): void {
    this.#failure ??= new EngineError(
      'log-other',
      `the topic ${this.name} (id ${this.id}) ${what}. Nothing more is read or written. Bring the topic back from a copy of the log, or give another data directory to begin anew`,
    )
  }

  /** A connection to whoever leads the partition. @throws Disconnected */
  async connect(partition: number, purpose: string): Promise<Conn | undefined> {
    const leader = this.leader(partition)
    return leader && (await this.client.connect(leader.node, purpose))
  }
}

/** @throws EngineError log-unreachable, log-denied */
export async function reached<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (!(error instanceof Disconnected)) throw error
    if (error.refused) throw new EngineError('log-denied', `the cluster refuses this client: ${error.message}`, { cause: error })
    throw new EngineError('log-unreachable', `the cluster cannot be reached: ${error.message}`, { cause: error })
  }
}

function leadersOf(partitions: readonly { index: number; leader: number; leaderEpoch: number }[]): (Leader | undefined)[] {
  const leaders: (Leader | undefined)[] = []
  for (const { index, leader, leaderEpoch } of partitions) leaders[index] = leader < 0 ? undefined : { node: leader, epoch: leaderEpoch }
  return leaders
}
