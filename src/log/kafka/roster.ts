/**
 * The roster of a log on Kafka: a compacted topic beside it, one key per replica. Heartbeats, whose loss costs time, never safety; and under a
 * key of its own the mark of a copy into this log that is under way (`copying.ts`). A replica that cannot reach the cluster falls silent by
 * itself, and sees so: its own beats do not come back.
 */
import { EngineError } from '../../errors.ts'
import { infoIn, type Member, type MemberInfo, type Roster } from '../../roster.ts'
import { type Content, decodeBatches, encodeBatch } from './batch.ts'
import { createTopics, fetch, produce } from './calls.ts'
import type { Conn } from './client.ts'
import { reached, Topic } from './topic.ts'

export const rosterTopic = (topic: string): string => `${topic}-roster`

/** LogAppendTime: beside the replica's own time in each beat stands the broker's, which tells how far their clocks differ. */
export const ROSTER_SETTINGS = {
  'cleanup.policy': 'compact',
  'delete.retention.ms': '3600000',
  'segment.ms': '3600000',
  'message.timestamp.type': 'LogAppendTime',
}

/** ms */
const LONG_POLL = 500
const RETRY = 250
const TIMEOUT = 1_000
/** A member that was silent for so long is struck off, ms. */
const FORGOTTEN = 3_600_000
/** How long a member that leaves waits until that is written, ms. */
const FAREWELL = 1_000

/** Keys that are no replica's: of the mark, and of what is written only to be read back. */
const COPYING = 'copying'
const LOOK = 'look'
/** How long a cluster may take to answer who opens the roster, ms. */
const PATIENCE = 10_000

/** What is copied into this log: its id, and who it is. */
export interface Copying {
  readonly log: string
  readonly place: string
}

export class KafkaRoster implements Roster {
  readonly #topic: Topic
  readonly #members = new Map<string, Member>()
  readonly #conns = new Map<string, Conn>()
  readonly #closing = new AbortController()
  readonly #following: Promise<void>
  #copying: Copying | undefined
  /** Everything below this offset was read. */
  #reached = 0
  /** What the last read came to. */
  #heardOf: string | undefined
  #beat = 0
  #writing: Promise<void> | undefined
  #next: (() => Promise<void>) | undefined

  private constructor(topic: Topic) {
    this.#topic = topic
    this.#following = this.#follow()
  }

  /** @param log the topic it belongs to. Its roster is made if it is not there. @throws EngineError log-unusable, log-denied, log-unreachable */
  static async open(log: Topic): Promise<KafkaRoster> {
    const { client } = log
    const name = rosterTopic(log.name)
    const { topic } = await reached(client.metadata(name))
    if (!topic || topic.error === 'UNKNOWN_TOPIC_OR_PARTITION') await makeRoster(log, name)
    let roster: KafkaRoster
    for (let tries = 0; ; tries++) {
      try {
        roster = new KafkaRoster(await Topic.open(client, name))
        break
      } catch (error) {
        // It takes a moment until all brokers know a new topic.
        if (tries > 50 || !(error instanceof EngineError) || error.code !== 'log-unusable') throw error
        await new Promise(resolve => setTimeout(resolve, 100))
      }
    }
    try {
      // A broker's word on the end is no evidence, and a mark must not be missed: what this process wrote is read back.
      await roster.#put(LOOK, null)
      return roster
    } catch (error) {
      await roster.close()
      throw error
    }
  }

  get copying(): Copying | undefined {
    return this.#copying
  }

  /** @throws EngineError log-unreachable, log-denied */
  async mark(copying: Copying | null): Promise<void> {
    await this.#put(COPYING, copying && JSON.stringify(copying))
  }

  beat(id: string, address: string | null, reigns = true, info?: MemberInfo): void {
    const value = JSON.stringify({ address, beat: ++this.#beat, seen: Date.now(), reigns, info })
    this.#write(id, value)
  }

  members(): Member[] {
    return [...this.#members.values()]
  }

  leave(id: string): void {
    this.#write(id, null)
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    await Promise.race([this.#settled(), new Promise(resolve => setTimeout(resolve, FAREWELL))])
    this.#closing.abort()
    for (const conn of this.#conns.values()) conn.close()
    await this.#following
  }

  async #settled(): Promise<void> {
    while (this.#writing) await this.#writing
  }

  /** One at a time; of those that wait only the newest counts. */
  #write(key: string, value: string | null): void {
    const work = async () => {
      const reply = await this.#produce(key, value)
      if (reply?.error !== 'NONE') await this.#topic.refresh()
    }
    if (this.#writing) {
      this.#next = work
      return
    }
    this.#writing = work().finally(() => {
      this.#writing = undefined
      const next = this.#next
      this.#next = undefined
      if (next && !this.#closing.signal.aborted) this.#writing = next().finally(() => (this.#writing = undefined))
    })
  }

  #produce(key: string, value: string | null) {
    const batch = encodeBatch([{ key, value, time: Date.now() }], { producerId: -1n, epoch: -1, sequence: -1, transactional: false })
    const { id: topicId, name: topic, versions } = this.#topic
    const where = { version: versions.produce, topic, topicId, partition: 0, timeout: TIMEOUT }
    return this.#ask('roster beat', conn => produce(conn, { ...where, batch, transactionalId: null }))
  }

  /** Written for certain, and read back: then everything before it was read, too. Of two values of a key the last one counts, so that it may be sent again. */
  async #put(key: string, value: string | null): Promise<void> {
    const until = performance.now() + PATIENCE
    let error = 'no answer'
    for (let offset: number | undefined; ; ) {
      if (offset !== undefined && this.#reached > offset) return
      if (performance.now() > until)
        throw new EngineError(
          'log-unreachable',
          `the topic ${this.#topic.name}, by which replicas know of each other, cannot be used: ${error}`,
        )
      if (offset === undefined) {
        const reply = await this.#produce(key, value)
        error = reply?.error ?? 'no answer'
        if (error === 'TOPIC_AUTHORIZATION_FAILED') throw this.#denied('write into')
        if (error === 'NONE') offset = reply!.offset
        else {
          await this.#topic.refresh()
          await new Promise(resolve => setTimeout(resolve, 20))
        }
      } else {
        if (this.#heardOf === 'TOPIC_AUTHORIZATION_FAILED') throw this.#denied('read')
        error = 'it does not give back what was written into it'
        await new Promise(resolve => setTimeout(resolve, 2))
      }
    }
  }

  #denied(what: string): EngineError {
    return new EngineError(
      'log-denied',
      `this user may not ${what} the topic ${this.#topic.name}, by which replicas know of each other. Allow Describe, Read and Write on it (kafka-acls --add --topic)`,
    )
  }

  async #follow(): Promise<void> {
    const { signal } = this.#closing
    for (let after = 0; !signal.aborted; ) {
      const leader = this.#topic.leader(0)
      const reply =
        leader &&
        (await this.#ask('roster follow', conn =>
          fetch(conn, {
            topicId: this.#topic.id,
            partition: 0,
            offset: after,
            leaderEpoch: leader.epoch,
            lastFetchedEpoch: -1,
            isolation: 'read_committed',
            maxWait: LONG_POLL,
            minBytes: 1,
            maxBytes: 1 << 20,
          }),
        ))
      this.#heardOf = reply?.error
      if (reply?.error === 'NONE') {
        const { records, next } = decodeBatches(reply.bytes, { from: after, aborted: reply.aborted, committed: true })
        for (const { key, value } of records) this.#heard(key, value)
        after = next
        this.#reached = next
        continue
      }
      // What was cleaned away is of no interest.
      if (reply?.error === 'OFFSET_OUT_OF_RANGE') after = reply.logStart ?? 0
      if (signal.aborted) return
      await this.#topic.refresh()
      await new Promise(resolve => setTimeout(resolve, RETRY))
    }
  }

  #heard(key: Content | null, value: Content | null): void {
    const id = key?.toString() ?? ''
    if (id === COPYING) {
      this.#copying = value === null ? undefined : copyingIn(value.toString())
      return
    }
    const said = value === null ? undefined : parsed(value.toString())
    if (said && Date.now() - said.seen < FORGOTTEN) this.#members.set(id, { id, ...said })
    else this.#members.delete(id)
  }

  async #ask<R>(purpose: string, call: (conn: Conn) => Promise<R>): Promise<R | undefined> {
    try {
      const open = this.#conns.get(purpose)
      const conn = open && !open.closed ? open : await this.#topic.connect(0, purpose)
      if (!conn) return undefined
      if (this.#closing.signal.aborted) {
        conn.close()
        return undefined
      }
      this.#conns.set(purpose, conn)
      const reply = await call(conn)
      // Somebody else may lead now.
      if ((reply as { error?: string }).error !== 'NONE') {
        conn.close()
        this.#conns.delete(purpose)
      }
      return reply
    } catch {
      // The next beat tries again; who is silent is silent.
      this.#conns.delete(purpose)
      return undefined
    }
  }
}

async function makeRoster({ client, name: log }: Topic, name: string): Promise<void> {
  const { topic, brokers } = await reached(client.metadata(log))
  const conn = await reached(client.connect(brokers[0]!.id, 'make the roster'))
  try {
    const replicationFactor = topic?.partitions[0]?.replicas.length ?? 1
    const topics = [{ name, partitions: 1, replicationFactor, configs: ROSTER_SETTINGS }]
    const [answer] = await reached(createTopics(conn, { topics, timeout: 10_000 }))
    if (answer?.error === 'NONE' || answer?.error === 'TOPIC_ALREADY_EXISTS') return
    throw new EngineError(
      'log-denied',
      `the topic ${name}, by which replicas know of each other, could not be made (${answer?.message ?? answer?.error}). Make it with \`mainstem kafka create-log\``,
    )
  } finally {
    conn.close()
  }
}

/** Whatever stands there: something is under way. */
function copyingIn(value: string): Copying {
  try {
    const { log, place } = JSON.parse(value) as Partial<Copying>
    return { log: String(log), place: String(place) }
  } catch {
    return { log: '', place: '' }
  }
}

/** What a member says of itself; undefined if it is nothing of ours. */
export function parsed(value: string): Omit<Member, 'id'> | undefined {
  try {
    const { address, beat, seen, reigns, info } = JSON.parse(value) as Partial<Member>
    if ((address !== null && typeof address !== 'string') || !Number.isSafeInteger(beat) || !Number.isSafeInteger(seen)) return undefined
    const told = infoIn(info)
    return { address: address ?? null, beat: beat!, seen: seen!, reigns: reigns !== false, ...(told ? { info: told } : {}) }
  } catch {
    return undefined
  }
}
