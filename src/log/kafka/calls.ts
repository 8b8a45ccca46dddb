/**
 * The requests of Kafka that we make, one function each: arguments to bytes, bytes to an answer. Kafka's error codes are values of the
 * answer; the only thing thrown is `Disconnected`. Nothing is retried here. Formats: https://kafka.apache.org/protocol, whose names for
 * requests and fields the comments use; an answer keeps only what we need.
 */
import { Reader, Writer } from '@platformatic/kafka'
import { type Code, codeName } from './codes.ts'
import type { Aborted } from './batch.ts'
import type { Api, BrokerVersions, Conn } from './conn.ts'

export type Isolation = 'read_committed' | 'read_uncommitted'

/** Who leads the partition now, where a broker that does not is kind enough to tell. */
export interface LeaderHint {
  readonly id: number
  readonly epoch: number
}

/** An error by name, and what the broker said about it. */
export interface Outcome {
  readonly error: Code
  readonly message: string | null
}

/** The wait on our side is this much longer than the time that the broker was given, in milliseconds. */
const grace = 5_000

const apis = {
  fetch: { key: 1, version: 17 },
  listOffsets: { key: 2, version: 8 },
  metadata: { key: 3, version: 12 },
  findCoordinator: { key: 10, version: 4 },
  apiVersions: { key: 18, version: 4, plainAnswer: true },
  createTopics: { key: 19, version: 7 },
  deleteTopics: { key: 20, version: 6 },
  initProducerId: { key: 22, version: 5 },
  // Version 4 and above are for brokers among themselves.
  addPartitions: { key: 24, version: 3 },
  describeAcls: { key: 29, version: 3 },
  describeConfigs: { key: 32, version: 4 },
  describeCluster: { key: 60, version: 1 },
  describeProducers: { key: 61, version: 0 },
  describeTransactions: { key: 65, version: 0 },
  listTransactions: { key: 66, version: 0 },
} as const satisfies Record<string, Api>

const produceKey = 0
const endTxnKey = 26

/** How long who gives out ids or coordinates may take, ms: others take over from a broker that is gone sooner than that. */
const coordination = 10_000

/** What a broker must take for us to work with it: every version that is used above, and the lowest of the two that are negotiated. */
export const needed: readonly Api[] = [...Object.values(apis), { key: produceKey, version: 11 }, { key: endTxnKey, version: 4 }]

export interface ProduceArgs {
  /** 11; 12 in transactions of version 2, which then need no `addPartitions`; 13 names the topic by its id, so that another topic of the same name is refused. */
  readonly version: 11 | 12 | 13
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  /** Of `encodeBatch`. Sent as it is. */
  readonly batch: Buffer
  /** Null outside of a transaction. */
  readonly transactionalId: string | null
  /** Milliseconds that the broker waits for its followers. */
  readonly timeout: number
  /** Milliseconds until the connection is given up; unless said otherwise a little more than `timeout`. */
  readonly patience?: number
}

export interface ProduceAnswer extends Outcome {
  /** Of the first record; -1 on an error. Again the first one's where the same batch was sent twice. */
  readonly offset: number
  readonly leader?: LeaderHint
}

/** Produce, acks=all. */
export function produce(conn: Conn, args: ProduceArgs): Promise<ProduceAnswer> {
  const { version, batch } = args
  const body = Writer.create().appendString(args.transactionalId).appendInt16(-1).appendInt32(args.timeout)
  only(body)
  if (version >= 13) body.appendUUID(args.topicId)
  else body.appendString(args.topic)
  only(body)
  body
    .appendInt32(args.partition)
    .appendUnsignedVarInt(batch.length + 1)
    .append(batch)
  // Behind partition, topic and request.
  body.appendTaggedFields().appendTaggedFields().appendTaggedFields()
  const parse = (reader: Reader): ProduceAnswer =>
    one(
      reader.readArray(() => {
        if (version >= 13) reader.readUUID()
        else reader.readString()
        return one(reader.readArray(() => produced(reader), true, false))
      }),
    )
  return conn.request({ key: produceKey, version }, body, parse, args.patience ?? args.timeout + grace)
}

function produced(reader: Reader): ProduceAnswer {
  reader.skip(4)
  const error = code(reader)
  const offset = long(reader)
  // log_append_time_ms, log_start_offset
  reader.skip(16)
  const ofRecords = reader.readArray(() => {
    reader.skip(4)
    return reader.readNullableString()
  })
  const message = said(reader) ?? ofRecords.find(text => text !== null) ?? null
  const { 0: leader } = tagged(reader, { 0: leaderHint })
  return { error, message, offset, ...(leader === undefined ? {} : { leader }) }
}

export interface FetchArgs {
  readonly topicId: string
  readonly partition: number
  readonly offset: number
  /** Of the leader that we believe in: one of another reign refuses. -1 says nothing. */
  readonly leaderEpoch: number
  /** Of the last batch that was read, so that the broker notices when that was cut off since. -1 says nothing. */
  readonly lastFetchedEpoch: number
  readonly isolation: Isolation
  /** Milliseconds that the broker may wait for `minBytes`. */
  readonly maxWait: number
  readonly minBytes: number
  /** A first batch that is larger comes whole. */
  readonly maxBytes: number
  /** Milliseconds until the connection is given up; unless said otherwise a little more than `maxWait`. */
  readonly patience?: number
}

export interface FetchAnswer {
  readonly error: Code
  /** -1 where the broker does not tell, as all offsets here. */
  readonly highWatermark: number
  /** Behind the last offset that is settled. */
  readonly lastStable: number
  readonly logStart: number
  /** The log was cut off behind us: the epoch that we read up to ends at `endOffset` there. */
  readonly diverging?: { readonly epoch: number; readonly endOffset: number }
  readonly leader?: LeaderHint
  /** What was aborted and overlaps this answer; not in order. */
  readonly aborted: readonly Aborted[]
  /** For `decodeBatches`. May lie in the memory of the socket's read. */
  readonly bytes: Buffer
}

const noBytes = Buffer.alloc(0)

/** Fetch, one partition, outside of fetch sessions. A follower answers too: look whether you ask the leader. */
export function fetch(conn: Conn, args: FetchArgs): Promise<FetchAnswer> {
  const body = Writer.create()
    .appendInt32(args.maxWait)
    .appendInt32(args.minBytes)
    .appendInt32(args.maxBytes)
    .appendInt8(isolationLevel(args.isolation))
    // No session: id 0, epoch -1.
    .appendInt32(0)
    .appendInt32(-1)
  only(body).appendUUID(args.topicId)
  only(body)
    .appendInt32(args.partition)
    .appendInt32(args.leaderEpoch)
    .appendInt64(BigInt(args.offset))
    .appendInt32(args.lastFetchedEpoch)
    // log_start_offset is for followers.
    .appendInt64(-1n)
    .appendInt32(args.maxBytes)
  body.appendTaggedFields().appendTaggedFields()
  // forgotten_topics_data, rack_id
  body.appendUnsignedVarInt(1).appendString('').appendTaggedFields()
  return conn.request(apis.fetch, body, fetched, args.patience ?? args.maxWait + grace)
}

function fetched(reader: Reader): FetchAnswer {
  reader.skip(4)
  const error = code(reader)
  if (error !== 'NONE') return { error, highWatermark: -1, lastStable: -1, logStart: -1, aborted: [], bytes: noBytes }
  reader.skip(4)
  return one(
    reader.readArray(() => {
      reader.readUUID()
      return one(reader.readArray(() => fetchedPartition(reader), true, false))
    }),
  )
}

function fetchedPartition(reader: Reader): FetchAnswer {
  reader.skip(4)
  const error = code(reader)
  const highWatermark = long(reader)
  const lastStable = long(reader)
  const logStart = long(reader)
  const aborted = reader.readArray(() => ({ producerId: reader.readInt64(), firstOffset: long(reader) }))
  // preferred_read_replica
  reader.skip(4)
  const bytes = reader.readNullableBytes() ?? noBytes
  const { 0: diverging, 1: leader } = tagged(reader, { 0: r => ({ epoch: r.readInt32(), endOffset: long(r) }), 1: leaderHint })
  return {
    error,
    highWatermark,
    lastStable,
    logStart,
    aborted,
    bytes,
    ...(diverging === undefined || diverging.epoch < 0 ? {} : { diverging }),
    ...(leader === undefined ? {} : { leader }),
  }
}

export interface ListOffsetsArgs {
  readonly topic: string
  readonly partition: number
  readonly leaderEpoch: number
  /** `read_committed` gives the last stable offset for -1, else the high watermark. */
  readonly isolation: Isolation
  /** -1: behind the last record; -2: the first; else the first record at or behind this time, in milliseconds. */
  readonly timestamp: number
}

/** ListOffsets. `offset` is -1 where no record is as late as `timestamp`. No quorum stands behind the answer. */
export function listOffsets(
  conn: Conn,
  args: ListOffsetsArgs,
): Promise<{ readonly error: Code; readonly offset: number; readonly timestamp: number; readonly leaderEpoch: number }> {
  const body = Writer.create().appendInt32(-1).appendInt8(isolationLevel(args.isolation))
  only(body).appendString(args.topic)
  only(body).appendInt32(args.partition).appendInt32(args.leaderEpoch).appendInt64(BigInt(args.timestamp))
  body.appendTaggedFields().appendTaggedFields().appendTaggedFields()
  return conn.request(apis.listOffsets, body, reader => {
    reader.skip(4)
    return one(
      reader.readArray(() => {
        reader.readString()
        return one(
          reader.readArray(() => {
            reader.skip(4)
            return { error: code(reader), timestamp: long(reader), offset: long(reader), leaderEpoch: reader.readInt32() }
          }),
        )
      }),
    )
  })
}

/** A producer id and its epoch; -1n and -1 on an error. */
export interface ProducerAnswer {
  readonly error: Code
  readonly producerId: bigint
  readonly epoch: number
}

export interface InitProducerIdArgs {
  /** Null: an id for idempotence alone. */
  readonly transactionalId: string | null
  /** Of a transaction, in milliseconds; the broker aborts one that is older. */
  readonly timeout: number
  /** -1n and -1 unless the producer goes on as itself. */
  readonly producerId: bigint
  readonly epoch: number
}

/** InitProducerId. Fences whoever had the transactional id, and aborts what they left open. */
export function initProducerId(conn: Conn, args: InitProducerIdArgs): Promise<ProducerAnswer> {
  const body = Writer.create()
    .appendString(args.transactionalId)
    .appendInt32(args.timeout)
    .appendInt64(args.producerId)
    .appendInt16(args.epoch)
    .appendTaggedFields()
  const parse = (reader: Reader): ProducerAnswer => {
    reader.skip(4)
    return { error: code(reader), producerId: reader.readInt64(), epoch: reader.readInt16() }
  }
  return conn.request(apis.initProducerId, body, parse, coordination)
}

export interface AddPartitionsArgs {
  readonly transactionalId: string
  readonly producerId: bigint
  readonly epoch: number
  readonly topic: string
  readonly partitions: readonly number[]
}

/** AddPartitionsToTxn, before the first `produce` into each partition in a transaction of version 1. The first error there is. */
export function addPartitions(conn: Conn, args: AddPartitionsArgs): Promise<{ readonly error: Code }> {
  const body = Writer.create().appendString(args.transactionalId).appendInt64(args.producerId).appendInt16(args.epoch)
  only(body)
    .appendString(args.topic)
    .appendArray([...args.partitions], (w, partition) => w.appendInt32(partition), true, false)
  body.appendTaggedFields().appendTaggedFields()
  const parse = (reader: Reader): { readonly error: Code } => {
    reader.skip(4)
    const errors = reader.readArray(() => {
      reader.readString()
      return reader.readArray(() => {
        reader.skip(4)
        return code(reader)
      })
    })
    return { error: errors.flat().find(error => error !== 'NONE') ?? 'NONE' }
  }
  return conn.request(apis.addPartitions, body, parse, coordination)
}

export interface EndTxnArgs {
  /** 5 in transactions of version 2, else 4. */
  readonly version: 4 | 5
  readonly transactionalId: string
  readonly producerId: bigint
  readonly epoch: number
  readonly commit: boolean
}

/** EndTxn. Version 5 answers with the producer id and epoch of the next transaction, version 4 with those that were given. */
export function endTxn(conn: Conn, args: EndTxnArgs): Promise<ProducerAnswer> {
  const { version, producerId, epoch } = args
  const body = Writer.create()
    .appendString(args.transactionalId)
    .appendInt64(producerId)
    .appendInt16(epoch)
    .appendBoolean(args.commit)
    .appendTaggedFields()
  const parse = (reader: Reader): ProducerAnswer => {
    reader.skip(4)
    const error = code(reader)
    return version >= 5 ? { error, producerId: reader.readInt64(), epoch: reader.readInt16() } : { error, producerId, epoch }
  }
  return conn.request({ key: endTxnKey, version }, body, parse, coordination)
}

export interface CoordinatorAnswer extends Outcome {
  /** -1 on an error. */
  readonly node: number
  readonly host: string
  readonly port: number
}

/** FindCoordinator of a transactional id. */
export function findCoordinator(conn: Conn, args: { readonly transactionalId: string }): Promise<CoordinatorAnswer> {
  const body = Writer.create().appendInt8(1)
  only(body).appendString(args.transactionalId).appendTaggedFields()
  return conn.request(apis.findCoordinator, body, reader => {
    reader.skip(4)
    return one(
      reader.readArray(() => {
        reader.readString()
        const node = reader.readInt32()
        const host = reader.readString()
        const port = reader.readInt32()
        return { error: code(reader), message: said(reader), node, host, port }
      }),
    )
  })
}

export interface Broker {
  readonly id: number
  readonly host: string
  readonly port: number
}

export interface PartitionMetadata {
  readonly index: number
  /** -1 while there is none. */
  readonly leader: number
  readonly leaderEpoch: number
  readonly replicas: readonly number[]
  readonly isr: readonly number[]
  readonly error?: Code
}

export interface TopicMetadata {
  /** All zeros where the topic is not known. */
  readonly id: string
  readonly name: string
  readonly error?: Code
  /** By index. */
  readonly partitions: readonly PartitionMetadata[]
  /** What we may do there, such as READ and WRITE, where that was asked for. */
  readonly operations?: readonly string[]
}

export interface MetadataAnswer {
  readonly brokers: readonly Broker[]
  readonly controller: number
  readonly clusterId: string | null
  readonly topics: readonly TopicMetadata[]
}

/** Metadata of these topics. Never creates one. */
export function metadata(
  conn: Conn,
  args: { readonly topics: readonly string[]; readonly operations?: boolean; readonly patience?: number },
): Promise<MetadataAnswer> {
  const body = Writer.create()
    .appendArray([...args.topics], (w, topic) => w.appendUUID(null).appendString(topic))
    .appendBoolean(false)
    .appendBoolean(args.operations ?? false)
    .appendTaggedFields()
  const parse = (reader: Reader): MetadataAnswer => {
    reader.skip(4)
    return {
      brokers: reader.readArray(() => broker(reader)),
      clusterId: reader.readNullableString(),
      controller: reader.readInt32(),
      topics: reader.readArray(() => topicMetadata(reader)),
    }
  }
  return conn.request(apis.metadata, body, parse, args.patience)
}

function topicMetadata(reader: Reader): TopicMetadata {
  const error = code(reader)
  const name = reader.readNullableString() ?? ''
  const id = reader.readUUID()
  // is_internal
  reader.skip(1)
  const partitions = reader.readArray((): PartitionMetadata => {
    const error = code(reader)
    const index = reader.readInt32()
    const leader = reader.readInt32()
    const leaderEpoch = reader.readInt32()
    const [replicas, isr] = [ints(reader), ints(reader)]
    // offline_replicas
    ints(reader)
    return { index, leader, leaderEpoch, replicas, isr, ...(error === 'NONE' ? {} : { error }) }
  })
  const operations = operationNames(reader.readInt32())
  return {
    id,
    name,
    partitions: partitions.sort((a, b) => a.index - b.index),
    ...(error === 'NONE' ? {} : { error }),
    ...(operations === undefined ? {} : { operations }),
  }
}

/**
 * ApiVersions. `error` is UNSUPPORTED_VERSION, and the rest empty, where the broker does not know this version of it.
 * Before version 4 some finalized features are missing.
 */
export function apiVersions(
  conn: Conn,
  args: { readonly version: 3 | 4; readonly patience?: number },
): Promise<BrokerVersions & { readonly error: Code }> {
  const body = Writer.create().appendString('mainstem').appendString('0').appendTaggedFields()
  const parse = (reader: Reader): BrokerVersions & { error: Code } => {
    const ranges = new Map<number, readonly [number, number]>()
    const features = new Map<string, number>()
    const error = code(reader)
    // An answer of an older version is of another form.
    if (error !== 'NONE') return { error, ranges, features }
    reader.readArray(() => ranges.set(reader.readInt16(), [reader.readInt16(), reader.readInt16()]))
    reader.skip(4)
    const finalized = (r: Reader): unknown =>
      r.readArray(() => {
        const name = r.readString()
        features.set(name, r.readInt16())
        // min_version_level
        r.skip(2)
      })
    tagged(reader, { 2: finalized })
    return { error, ranges, features }
  }
  return conn.request({ ...apis.apiVersions, version: args.version }, body, parse, args.patience)
}

export interface NewTopic {
  readonly name: string
  /** Left out where `assignments` says it. */
  readonly partitions?: number
  /** -1: what the cluster does by default. */
  readonly replicationFactor?: number
  readonly configs?: Readonly<Record<string, string>>
  /** The brokers of each partition, the preferred leader first. */
  readonly assignments?: readonly (readonly number[])[]
}

export interface CreateTopicsArgs {
  readonly topics: readonly NewTopic[]
  /** Milliseconds until the broker answers, done or not. */
  readonly timeout: number
  /** Only look whether it would work. */
  readonly validateOnly?: boolean
}

/** CreateTopics. Any broker passes it on to the controller. Brokers learn of the topic a little later. */
export function createTopics(
  conn: Conn,
  args: CreateTopicsArgs,
): Promise<readonly (Outcome & { readonly name: string; readonly topicId: string })[]> {
  const body = Writer.create()
    .appendArray([...args.topics], (w, { name, partitions = -1, replicationFactor = -1, configs = {}, assignments = [] }) => {
      w.appendString(name)
        // Where brokers are assigned, both numbers must not be told.
        .appendInt32(assignments.length === 0 ? partitions : -1)
        .appendInt16(assignments.length === 0 ? replicationFactor : -1)
        .appendArray([...assignments], (w, brokers, index) =>
          w.appendInt32(index).appendArray([...brokers], (w, id) => w.appendInt32(id), true, false),
        )
        .appendArray(Object.entries(configs), (w, [name, value]) => w.appendString(name).appendString(value))
    })
    .appendInt32(args.timeout)
    .appendBoolean(args.validateOnly ?? false)
    .appendTaggedFields()
  const parse = (reader: Reader) => {
    reader.skip(4)
    return reader.readArray(() => {
      const name = reader.readString()
      const topicId = reader.readUUID()
      const answer = { error: code(reader), message: said(reader), name, topicId }
      // num_partitions, replication_factor
      reader.skip(6)
      reader.readArray(() => {
        reader.readString()
        reader.readNullableString()
        // read_only, config_source, is_sensitive
        reader.skip(3)
      })
      return answer
    })
  }
  return conn.request(apis.createTopics, body, parse, args.timeout + grace)
}

/** DeleteTopics, by name, or by id so that another topic of the same name is not hit. */
export function deleteTopics(
  conn: Conn,
  args: { readonly topics: readonly ({ readonly name: string } | { readonly topicId: string })[]; readonly timeout: number },
): Promise<readonly (Outcome & { readonly name: string | null; readonly topicId: string })[]> {
  const body = Writer.create()
    .appendArray([...args.topics], (w, topic) =>
      'name' in topic ? w.appendString(topic.name).appendUUID(null) : w.appendString(null).appendUUID(topic.topicId),
    )
    .appendInt32(args.timeout)
    .appendTaggedFields()
  const parse = (reader: Reader) => {
    reader.skip(4)
    return reader.readArray(() => {
      const name = reader.readNullableString()
      const topicId = reader.readUUID()
      return { error: code(reader), message: said(reader), name, topicId }
    })
  }
  return conn.request(apis.deleteTopics, body, parse, args.timeout + grace)
}

const resourceTypes = { topic: 2, broker: 4 } as const
const configSources = ['unknown', 'topic', 'broker-dynamic', 'cluster-dynamic', 'broker-static', 'default'] as const

export interface ConfigResource {
  readonly type: keyof typeof resourceTypes
  /** Of a topic; the id of a broker, which must be asked itself. */
  readonly name: string
}

export interface ConfigValue {
  /** Null where it is not set, or secret. */
  readonly value: string | null
  /** Who said so. 'default': nobody. */
  readonly source: (typeof configSources)[number] | 'other'
}

/** DescribeConfigs: of each resource all settings, or those of `keys`, whoever set them. */
export function describeConfigs(
  conn: Conn,
  args: { readonly resources: readonly ConfigResource[]; readonly keys?: readonly string[] },
): Promise<readonly (Outcome & { readonly name: string; readonly configs: ReadonlyMap<string, ConfigValue> })[]> {
  const body = Writer.create()
    .appendArray([...args.resources], (w, { type, name }) => {
      const keys = args.keys === undefined ? null : [...args.keys]
      w.appendInt8(resourceTypes[type])
        .appendString(name)
        .appendArray(keys, (w, key) => w.appendString(key), true, false)
    })
    // include_synonyms, include_documentation
    .appendBoolean(false)
    .appendBoolean(false)
    .appendTaggedFields()
  return conn.request(apis.describeConfigs, body, reader => {
    reader.skip(4)
    return reader.readArray(() => {
      const error = code(reader)
      const message = said(reader)
      reader.skip(1)
      const name = reader.readString()
      const configs = new Map<string, ConfigValue>()
      reader.readArray(() => {
        const key = reader.readString()
        const value = reader.readNullableString()
        // read_only
        reader.skip(1)
        const source = configSourceNames(reader.readInt8())
        // is_sensitive
        reader.skip(1)
        reader.readArray(() => {
          reader.readString()
          reader.readNullableString()
          reader.skip(1)
        })
        // config_type
        reader.skip(1)
        reader.readNullableString()
        configs.set(key, { value, source })
      })
      return { error, message, name, configs }
    })
  })
}

export interface ProducerState {
  readonly producerId: bigint
  readonly epoch: number
  readonly lastSequence: number
  /** Milliseconds since the epoch. */
  readonly lastTime: number
  /** Where its open transaction begins, -1 if it has none. */
  readonly openFrom: number
}

/** DescribeProducers, of the partition's leader: who writes there, and whose open transaction holds up the readers. */
export function describeProducers(
  conn: Conn,
  args: { readonly topic: string; readonly partition: number },
): Promise<Outcome & { readonly producers: readonly ProducerState[] }> {
  const body = Writer.create()
  only(body).appendString(args.topic)
  only(body).appendInt32(args.partition)
  body.appendTaggedFields().appendTaggedFields()
  return conn.request(apis.describeProducers, body, reader => {
    reader.skip(4)
    return one(
      reader.readArray(() => {
        reader.readString()
        return one(
          reader.readArray(() => {
            reader.skip(4)
            const error = code(reader)
            const message = said(reader)
            const producers = reader.readArray(() => {
              const producerId = reader.readInt64()
              const epoch = reader.readInt32()
              const lastSequence = reader.readInt32()
              const lastTime = long(reader)
              // coordinator_epoch
              reader.skip(4)
              return { producerId, epoch, lastSequence, lastTime, openFrom: long(reader) }
            })
            return { error, message, producers }
          }),
        )
      }),
    )
  })
}

export interface TransactionState {
  readonly error: Code
  readonly transactionalId: string
  /** 'Empty', 'Ongoing', 'PrepareCommit', 'PrepareAbort', 'CompleteCommit', 'CompleteAbort', 'Dead', … */
  readonly state: string
  /** Milliseconds. */
  readonly timeout: number
  /** Milliseconds since the epoch, -1 if none is open. */
  readonly startTime: number
  readonly producerId: bigint
  readonly epoch: number
  readonly partitions: readonly { readonly topic: string; readonly partitions: readonly number[] }[]
}

/** DescribeTransactions, of the coordinator of the ids. */
export function describeTransactions(
  conn: Conn,
  args: { readonly transactionalIds: readonly string[] },
): Promise<readonly TransactionState[]> {
  const body = Writer.create()
    .appendArray([...args.transactionalIds], (w, id) => w.appendString(id), true, false)
    .appendTaggedFields()
  return conn.request(apis.describeTransactions, body, reader => {
    reader.skip(4)
    return reader.readArray(() => ({
      error: code(reader),
      transactionalId: reader.readString(),
      state: reader.readString(),
      timeout: reader.readInt32(),
      startTime: long(reader),
      producerId: reader.readInt64(),
      epoch: reader.readInt16(),
      partitions: reader.readArray(() => ({ topic: reader.readString(), partitions: ints(reader) })),
    }))
  })
}

/** ListTransactions: those that this broker coordinates, in any of the states (all of them if none is named). */
export function listTransactions(
  conn: Conn,
  args: { readonly states?: readonly string[] } = {},
): Promise<{
  readonly error: Code
  readonly transactions: readonly { readonly transactionalId: string; readonly producerId: bigint; readonly state: string }[]
}> {
  const body = Writer.create()
    .appendArray([...(args.states ?? [])], (w, state) => w.appendString(state), true, false)
    // producer_id_filters
    .appendUnsignedVarInt(1)
    .appendTaggedFields()
  return conn.request(apis.listTransactions, body, reader => {
    reader.skip(4)
    const error = code(reader)
    // unknown_state_filters
    reader.readArray(() => reader.readString(), true, false)
    const transactions = reader.readArray(() => ({
      transactionalId: reader.readString(),
      producerId: reader.readInt64(),
      state: reader.readString(),
    }))
    return { error, transactions }
  })
}

/** DescribeCluster. */
export function describeCluster(conn: Conn): Promise<
  Outcome & {
    readonly clusterId: string
    readonly controller: number
    readonly brokers: readonly Broker[]
    readonly operations?: readonly string[]
  }
> {
  // include_cluster_authorized_operations, endpoint_type of brokers
  const body = Writer.create().appendBoolean(true).appendInt8(1).appendTaggedFields()
  return conn.request(apis.describeCluster, body, reader => {
    reader.skip(4)
    const error = code(reader)
    const message = said(reader)
    reader.skip(1)
    const answer = {
      error,
      message,
      clusterId: reader.readString(),
      controller: reader.readInt32(),
      brokers: reader.readArray(() => broker(reader)),
    }
    const operations = operationNames(reader.readInt32())
    return operations === undefined ? answer : { ...answer, operations }
  })
}

const aclResources = { topic: 2, group: 3, cluster: 4, 'transactional-id': 5 } as const
const aclPatterns = ['unknown', 'any', 'match', 'literal', 'prefixed'] as const

export interface Acl {
  /** What the rule is made out to; a prefix where `pattern` says so. */
  readonly resource: string
  readonly pattern: (typeof aclPatterns)[number] | 'other'
  readonly principal: string
  readonly host: string
  readonly operation: string
  readonly allows: boolean
}

/** DescribeAcls: the rules that apply to this name. SECURITY_DISABLED where the cluster has none at all. */
export function describeAcls(
  conn: Conn,
  args: { readonly type: keyof typeof aclResources; readonly name: string },
): Promise<Outcome & { readonly acls: readonly Acl[] }> {
  const body = Writer.create()
    .appendInt8(aclResources[args.type])
    .appendString(args.name)
    // Patterns that match the name; any principal, host, operation and permission.
    .appendInt8(2)
    .appendString(null)
    .appendString(null)
    .appendInt8(1)
    .appendInt8(1)
    .appendTaggedFields()
  return conn.request(apis.describeAcls, body, reader => {
    reader.skip(4)
    const error = code(reader)
    const message = said(reader)
    const resources = reader.readArray(() => {
      reader.skip(1)
      const resource = reader.readString()
      const pattern = aclPatterns[reader.readInt8()] ?? 'other'
      return reader.readArray((): Acl => {
        const principal = reader.readString()
        const host = reader.readString()
        const operation = operationOf(reader.readInt8())
        return { resource, pattern, principal, host, operation, allows: reader.readInt8() === 3 }
      })
    })
    return { error, message, acls: resources.flat() }
  })
}

/** `AclOperation.java`; a bit in a set of operations has the same number. */
const operationTable = [
  'UNKNOWN',
  'ANY',
  'ALL',
  'READ',
  'WRITE',
  'CREATE',
  'DELETE',
  'ALTER',
  'DESCRIBE',
  'CLUSTER_ACTION',
  'DESCRIBE_CONFIGS',
  'ALTER_CONFIGS',
  'IDEMPOTENT_WRITE',
  'CREATE_TOKENS',
  'DESCRIBE_TOKENS',
  'TWO_PHASE_COMMIT',
] as const

function operationOf(number: number): string {
  return operationTable[number] ?? `OPERATION_${number}`
}

/** Undefined where nobody asked. */
function operationNames(bits: number): string[] | undefined {
  if (bits === -0x8000_0000) return undefined
  return operationTable.filter((_, number) => (bits & (1 << number)) !== 0)
}

function configSourceNames(number: number): ConfigValue['source'] {
  return configSources[number] ?? 'other'
}

function isolationLevel(isolation: Isolation): 0 | 1 {
  return isolation === 'read_committed' ? 1 : 0
}

/** The length of an array of one. */
function only(body: Writer): Writer {
  return body.appendUnsignedVarInt(2)
}

/** We ask for one thing and get one thing; an answer about none cannot be understood. */
function one<Item>(items: readonly Item[]): Item {
  const item = items[0]
  if (item === undefined) throw new RangeError('the answer is about nothing')
  return item
}

function code(reader: Reader): Code {
  return codeName(reader.readInt16())
}

/** What the broker has to say. Some answers say nothing by an empty text. */
function said(reader: Reader): string | null {
  const text = reader.readNullableString()
  return text === '' ? null : text
}

/** Offsets and times stay far below 2^53. */
function long(reader: Reader): number {
  return Number(reader.readInt64())
}

function ints(reader: Reader): number[] {
  return reader.readArray(() => reader.readInt32(), true, false)
}

function broker(reader: Reader): Broker {
  const answer = { id: reader.readInt32(), host: reader.readString(), port: reader.readInt32() }
  // rack
  reader.readNullableString()
  return answer
}

function leaderHint(reader: Reader): LeaderHint {
  return { id: reader.readInt32(), epoch: reader.readInt32() }
}

/** The tagged fields that are asked for, by tag; the others are skipped. */
function tagged<Fields extends Record<number, unknown>>(
  reader: Reader,
  parsers: { readonly [Tag in keyof Fields]: (reader: Reader) => Fields[Tag] },
): Partial<Fields> {
  const found: Partial<Fields> = {}
  const count = reader.readUnsignedVarInt()
  for (let i = 0; i < count; i++) {
    const tag = reader.readUnsignedVarInt()
    const size = reader.readUnsignedVarInt()
    const end = reader.position + size
    if (end > reader.length) throw new RangeError('a tagged field goes past the end')
    const parse = (parsers as Record<number, ((reader: Reader) => Fields[keyof Fields]) | undefined>)[tag]
    if (parse !== undefined) found[tag as keyof Fields] = parse(reader)
    reader.position = end
  }
  return found
}
