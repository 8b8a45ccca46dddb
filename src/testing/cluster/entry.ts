/**
 * A batch in a log of the model: the bytes as a broker stores them, and what stands in their header. Entries never change, and are shared
 * by the logs of all brokers and by all clones.
 */
import { encodeBatch } from '../../log/kafka/batch.ts'
import { checksum } from '../../log/kafka/crc.ts'
import type { Transaction } from './transaction.ts'

export interface Header {
  /** -1: none. Ids of the model are small; those of a client may be any, and the model does not tell apart two above 2^53. */
  readonly producerId: number
  readonly producerEpoch: number
  readonly sequence: number
  readonly lastSequence: number
  /** Records that the offsets run over. */
  readonly count: number
  readonly transactional: boolean
  /** Highest of its records, ms. */
  readonly time: number
}

export interface Entry extends Header {
  readonly offset: number
  readonly last: number
  readonly leaderEpoch: number
  /** What a fetch answers. Empty in the log of transactions. */
  readonly bytes: Buffer
  /** The end of a transaction. */
  readonly marker: Marker | undefined
  /** In the coordinator's log of transactions: the state that was written. */
  readonly transaction: Transaction | undefined
  /** Of everything up to here: two logs with equal digests hold the same. */
  readonly digest: number
  readonly digest2: number
}

export interface Marker {
  readonly commit: boolean
  readonly coordinatorEpoch: number
}

const crcFrom = 21
const two32 = 0x1_0000_0000

/** What a broker looks at in a batch that a client sent. */
export function headerOf(bytes: Buffer): Header {
  const sequence = bytes.readInt32BE(53)
  const delta = bytes.readInt32BE(23)
  return {
    producerId: bytes.readInt32BE(43) * two32 + bytes.readUInt32BE(47),
    producerEpoch: bytes.readInt16BE(51),
    sequence,
    // Sequences are 31 bits and begin anew at 0.
    lastSequence: sequence < 0 ? -1 : (sequence + delta) % 2 ** 31,
    count: delta + 1,
    transactional: (bytes.readInt16BE(crcFrom) & 0x10) !== 0,
    time: bytes.readInt32BE(35) * two32 + bytes.readUInt32BE(39),
  }
}

/** The batch at its place: base offset and leader epoch are the broker's to write, and the checksum does not cover them. */
export function entryOf(batch: Buffer, header: Header, offset: number, leaderEpoch: number, before: Entry | undefined): Entry {
  return placed(before, batch.readInt32BE(17), header, { offset, leaderEpoch, bytes: stored(batch, offset, leaderEpoch) })
}

/** The end of a transaction, as the coordinator has it written. */
export function markerOf(
  { producerId, producerEpoch, commit, coordinatorEpoch, time }: Marker & { producerId: number; producerEpoch: number; time: number },
  offset: number,
  leaderEpoch: number,
  before: Entry | undefined,
): Entry {
  // The key is a format number and the kind, the value a format number and the coordinator's epoch (EndTxnMarker of Kafka's source).
  const value = Buffer.alloc(6)
  value.writeInt32BE(coordinatorEpoch, 2)
  const producer = { producerId: BigInt(producerId), epoch: producerEpoch, sequence: -1, transactional: true }
  const batch = encodeBatch([{ key: Buffer.from([0, 0, 0, commit ? 1 : 0]), value, time }], producer)
  batch.writeInt16BE(0x30, crcFrom)
  batch.writeUInt32BE(checksum(batch, crcFrom, batch.length), 17)
  const header = headerOf(batch)
  const bytes = stored(batch, offset, leaderEpoch)
  return placed(before, batch.readInt32BE(17), header, { offset, leaderEpoch, bytes, marker: { commit, coordinatorEpoch } })
}

const nothing = Buffer.alloc(0)

/** A state of a transaction, in the coordinator's log. */
export function transactionEntry(transaction: Transaction, offset: number, leaderEpoch: number, before: Entry | undefined): Entry {
  const { producerId, epoch } = transaction
  const header = { producerId: -1, producerEpoch: -1, sequence: -1, lastSequence: -1, count: 1, transactional: false, time: 0 }
  const salt = mix(mix(producerId, epoch), hashOf(`${transaction.id} ${transaction.state} ${transaction.partitions.join()}`))
  return placed(before, salt, header, { offset, leaderEpoch, bytes: nothing, transaction })
}

function stored(batch: Buffer, offset: number, leaderEpoch: number): Buffer {
  const bytes = Buffer.from(batch)
  const high = Math.floor(offset / two32)
  bytes.writeInt32BE(high, 0)
  bytes.writeUInt32BE(offset - high * two32, 4)
  bytes.writeInt32BE(leaderEpoch, 12)
  return bytes
}

type Place = Pick<Entry, 'offset' | 'leaderEpoch' | 'bytes'> & Partial<Pick<Entry, 'marker' | 'transaction'>>

/** Field by field: this is done for every batch. */
function placed(before: Entry | undefined, salt: number, header: Header, at: Place): Entry {
  const { producerId, producerEpoch, sequence, lastSequence, count, transactional, time } = header
  const { offset, leaderEpoch, bytes, marker, transaction } = at
  const last = offset + count - 1
  const digest = mix(mix(before === undefined ? 1 : before.digest, salt), leaderEpoch ^ (producerEpoch << 8))
  const digest2 = mix(mix(before === undefined ? 2 : before.digest2, producerId ^ last), salt ^ 0x55555555)
  return {
    producerId,
    producerEpoch,
    sequence,
    lastSequence,
    count,
    transactional,
    time,
    offset,
    last,
    leaderEpoch,
    bytes,
    marker,
    transaction,
    digest,
    digest2,
  }
}

function mix(a: number, b: number): number {
  let h = Math.imul(a ^ b, 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b)
  return h ^ (h >>> 13)
}

function hashOf(text: string): number {
  let hash = 7
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash
}
