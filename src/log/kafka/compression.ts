/** Batches that somebody compressed: another producer, or the broker where the topic's `compression.type` says so. We never do. */
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { compressionsAlgorithms } from '@platformatic/kafka'

/** A batch of a few KiB must not be able to fill the memory of every replica. */
const limit = 128 * 1024 * 1024

/** By the number in the batch's attributes. */
const codecs: readonly (((bytes: Buffer) => Buffer) | undefined)[] = [
  bytes => bytes,
  bytes => gunzipSync(bytes, { maxOutputLength: limit }),
  compressionsAlgorithms.snappy.decompressSync,
  compressionsAlgorithms.lz4.decompressSync,
  bytes => zstdDecompressSync(bytes, { maxOutputLength: limit }),
]

/** The records of a batch, or why they cannot be read. */
export function decompress(codec: number, bytes: Buffer): Buffer | string {
  const read = codecs[codec]
  if (read === undefined) return `the batch is compressed with codec ${codec}, which is unknown here`
  try {
    return read(bytes)
  } catch (error) {
    return `the batch is compressed with codec ${codec} and cannot be read: ${error instanceof Error ? error.message : String(error)}`
  }
}
