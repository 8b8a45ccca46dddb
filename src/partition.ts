/**
 * Which shard a tenant lives on: by the hash that Kafka's own producers place keys by (murmur2), so that any client of the topic comes to
 * the same. A part of the rules: a record of a tenant that does not hash to its shard is foreign.
 */

const SEED = 0x9747b28c
const M = 0x5bd1e995

const utf8 = new TextEncoder()

/** The shard of a tenant, from 0. */
export function partitionOf(tenant: string, partitions: number): number {
  return partitions === 1 ? 0 : (murmur2(utf8.encode(tenant)) & 0x7fffffff) % partitions
}

/** MurmurHash2 as Kafka has it, as a signed number of 32 bits. */
export function murmur2(bytes: Uint8Array): number {
  const { length } = bytes
  const whole = length & ~3
  let hash = SEED ^ length
  for (let i = 0; i < whole; i += 4) {
    let k = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    k = Math.imul(k, M)
    k = Math.imul(k ^ (k >>> 24), M)
    hash = Math.imul(hash, M) ^ k
  }
  if (whole < length) {
    // What is left of the last four bytes, little-endian as the others.
    for (let i = whole; i < length; i++) hash ^= bytes[i]! << (8 * (i - whole))
    hash = Math.imul(hash, M)
  }
  hash = Math.imul(hash ^ (hash >>> 13), M)
  return hash ^ (hash >>> 15)
}
