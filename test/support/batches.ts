/** Batches as a broker stores them: with offsets, leader epochs and markers, and a checksum to match. */
import { crc32c } from '@platformatic/kafka'
import { encodeBatch, type OutRecord } from '../../src/log/kafka/batch.ts'

export interface Stored {
  readonly offset: number
  readonly leaderEpoch?: number
  /** Bits to be set in the attributes. */
  readonly attributes?: number
}

/** The batch at its place in the log. */
export function stored(batch: Buffer, { offset, leaderEpoch = 0, attributes = 0 }: Stored): Buffer {
  const bytes = Buffer.from(batch)
  bytes.writeBigInt64BE(BigInt(offset), 0)
  bytes.writeInt32BE(leaderEpoch, 12)
  bytes.writeInt16BE(bytes.readInt16BE(21) | attributes, 21)
  return signed(bytes)
}

/** With the checksum that its bytes have now. */
export function signed(bytes: Buffer): Buffer {
  bytes.writeUInt32BE(crc32c(bytes.subarray(21)), 17)
  return bytes
}

export function plain(records: readonly OutRecord[]): Buffer {
  return encodeBatch(records, { producerId: -1n, epoch: -1, sequence: -1, transactional: false })
}

/** The end of a transaction. */
export function marker(producerId: bigint, commit: boolean, offset: number): Buffer {
  const key = Buffer.from([0, 0, 0, commit ? 1 : 0])
  const batch = encodeBatch([{ key, value: Buffer.alloc(6), time: 1 }], { producerId, epoch: 0, sequence: -1, transactional: true })
  return stored(batch, { offset, attributes: 0x20 })
}
