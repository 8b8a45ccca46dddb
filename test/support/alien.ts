/** Somebody else who writes into the topic of a log, past the engine: any bytes, under any key, in transactions of his own or not. */
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { encodeBatch, type BatchProducer, type OutRecord } from '../../src/log/kafka/batch.ts'
import { endTxn, initProducerId, produce } from '../../src/log/kafka/calls.ts'
import { KafkaClient, type Conn } from '../../src/log/kafka/client.ts'
import { kafkaSettings } from '../../src/log/kafka/settings.ts'
import { type DataRecord, decode } from '../../src/record.ts'
import { atEnd } from './end.ts'
import { recordsOf } from './ledger.ts'

export class Alien {
  readonly #url: string
  readonly #client: KafkaClient
  readonly #topic: string
  readonly #topicId: string
  readonly #conn: Conn
  readonly #coordinator: Conn
  readonly #transactionalId: string
  #open: BatchProducer | undefined

  private constructor(url: string, client: KafkaClient, topicId: string, conn: Conn, coordinator: Conn, transactionalId: string) {
    this.#url = url
    this.#client = client
    this.#topic = kafkaSettings(url).topic
    this.#topicId = topicId
    this.#conn = conn
    this.#coordinator = coordinator
    this.#transactionalId = transactionalId
  }

  static async come(url: string): Promise<Alien> {
    const { settings, topic: name } = kafkaSettings(url)
    const client = new KafkaClient(settings)
    atEnd(() => client.close())
    const { topic } = await client.metadata(name)
    const transactionalId = `alien-${randomUUID()}`
    const coordinator = await client.connect(await client.coordinator(transactionalId), 'coordinate')
    const conn = await client.connect(topic!.partitions[0]!.leader, 'write')
    return new Alien(url, client, topic!.id, conn, coordinator, transactionalId)
  }

  async write(key: string | null, value: string | Buffer | null, headers: OutRecord['headers'] = []): Promise<void> {
    await this.#produce(key, value, headers, { producerId: -1n, epoch: -1, sequence: -1, transactional: false })
  }

  /** Into a transaction that stays open until it is ended, or times out. @param timeout ms */
  async begin(key: string | null, value: string | Buffer, timeout: number): Promise<void> {
    const init = () => initProducerId(this.#coordinator, { transactionalId: this.#transactionalId, timeout, producerId: -1n, epoch: -1 })
    let answer = await init()
    // The coordinator is still about the markers of the transaction before.
    while (answer.error === 'CONCURRENT_TRANSACTIONS') {
      await pause(20)
      answer = await init()
    }
    const { error, producerId, epoch } = answer
    if (error !== 'NONE') throw new Error(error)
    this.#open = { producerId, epoch, sequence: 0, transactional: true }
    await this.#produce(key, value, [], this.#open)
  }

  async end(commit: boolean): Promise<void> {
    const { producerId, epoch } = this.#open!
    const { endTxn: version } = await this.#client.versions()
    const { error } = await endTxn(this.#coordinator, { version, transactionalId: this.#transactionalId, producerId, epoch, commit })
    if (error !== 'NONE') throw new Error(error)
  }

  /** The last data record of a tenant, and its bytes. */
  async last(tenant = 'default'): Promise<DataRecord & { readonly value: string }> {
    const records = await recordsOf(this.#url)
    for (const { value, tenant: home } of records.reverse()) {
      const record = decode(value)
      if (record.kind === 'data' && home === tenant) return { ...record, value: String(value) }
    }
    throw new Error(`tenant ${tenant} has no record`)
  }

  async #produce(key: string | null, value: string | Buffer | null, headers: OutRecord['headers'], producer: BatchProducer): Promise<void> {
    const { produce: version, produceInTransaction } = await this.#client.versions()
    const answer = await produce(this.#conn, {
      version: producer.transactional ? produceInTransaction : version,
      topic: this.#topic,
      topicId: this.#topicId,
      partition: 0,
      batch: encodeBatch([{ key, value, headers: headers ?? [], time: Date.now() }], producer),
      transactionalId: producer.transactional ? this.#transactionalId : null,
      timeout: 10_000,
    })
    if (answer.error !== 'NONE') throw new Error(`${answer.error} ${answer.message}`)
  }
}
