/** The shard of a tenant: as Kafka's producers have it, by their own test vectors and by another implementation. */
import { murmur2 as theirs } from '@platformatic/kafka'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { murmur2, partitionOf } from '../../src/partition.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

test.each([
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
])('murmur2(%j) = %d', (text, hash) => expect(murmur2(bytes(text))).toBe(hash))

test('murmur2 of any bytes is what another implementation has', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 70 }), value => {
      expect(murmur2(value)).toBe(theirs(Buffer.from(value)) | 0)
    }),
    { numRuns: 2_000 },
  )
})

describe('partitionOf', () => {
  test('is the hash without its sign, over the number of partitions', () => {
    for (const partitions of [2, 3, 8, 12, 100]) {
      for (const tenant of ['default', 'acme', 'a', 'a.b-c_d', '0'.repeat(64)]) {
        expect(partitionOf(tenant, partitions)).toBe((murmur2(bytes(tenant)) & 0x7fffffff) % partitions)
      }
    }
    // Literally, as it is part of the rules of the log.
    expect(['foobar', '21', 'abc'].map(tenant => partitionOf(tenant, 10))).toEqual([6, 0, 7])
  })

  test('with one partition everybody is there', () => expect(partitionOf('anything', 1)).toBe(0))

  test('spreads', () => {
    const counts = Array.from({ length: 8 }, () => 0)
    for (let n = 0; n < 8_000; n++) counts[partitionOf(`tenant-${n}`, 8)]!++
    for (const count of counts) expect(count).toBeGreaterThan(800)
  })
})
