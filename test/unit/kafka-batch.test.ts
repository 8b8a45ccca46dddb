import { createRecordsBatch, crc32c, Reader, readRecordsBatch } from '@platformatic/kafka'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Aborted, type Content, decodeBatches, encodeBatch, type InRecord, type OutRecord, survey } from '../../src/log/kafka/batch.ts'
import { checksum } from '../../src/log/kafka/crc.ts'
import { marker, plain, signed, stored } from '../support/batches.ts'

const producer = { producerId: 7n, epoch: 3, sequence: 0, transactional: false }
const read = (bytes: Buffer, from = 0, aborted: Aborted[] = []) => decodeBatches(bytes, { from, aborted, committed: true })
const values = (records: readonly InRecord[]) => records.map(record => record.value)

const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 40 }), fc.constant('\uFFFD'), fc.constant('x'.repeat(500)), fc.constant(''))
/** No UTF-8, whatever comes before: a byte that never occurs in it. */
const blob = fc.uint8Array({ maxLength: 40 }).map(bytes => Buffer.concat([bytes, Buffer.from([0xff])]))
const content: fc.Arbitrary<Content> = fc.oneof({ weight: 4, arbitrary: text }, blob)
const time = fc.oneof(fc.constant(1_700_000_000_000), fc.integer({ min: 0, max: 2 ** 52 }), fc.integer({ min: 0, max: 1000 }))
const record: fc.Arbitrary<OutRecord> = fc.record(
  { key: fc.option(content), value: content, headers: fc.array(fc.tuple(text, text), { maxLength: 3 }), time },
  { requiredKeys: ['key', 'value', 'time'] },
)
const batch = fc.array(record, { minLength: 1, maxLength: 6 })

/** What a reader is to see of records that were written from this offset on. */
function seen(records: readonly OutRecord[], offset = 0): InRecord[] {
  return records.map(({ key, value, headers = [], time }, i) => ({ offset: offset + i, key, value, headers, time }))
}

/** Batches one behind the other, from offset 0. */
function log(batches: readonly (readonly OutRecord[])[]): { bytes: Buffer; records: InRecord[]; starts: number[]; ends: number[] } {
  const parts: Buffer[] = []
  const records: InRecord[] = []
  const starts: number[] = []
  const ends: number[] = []
  for (const batch of batches) {
    starts.push(ends.at(-1) ?? 0)
    const offset = records.length
    parts.push(stored(encodeBatch(batch, producer), { offset, leaderEpoch: 5 }))
    records.push(...seen(batch, offset))
    ends.push((ends.at(-1) ?? 0) + (parts.at(-1)?.length ?? 0))
  }
  return { bytes: Buffer.concat(parts), records, starts, ends }
}

describe('encode and decode', () => {
  test('give back what was put in', () => {
    fc.assert(
      fc.property(fc.array(batch, { maxLength: 4 }), batches => {
        const { bytes, records } = log(batches)
        expect(read(bytes)).toEqual({ records, next: records.length, epoch: batches.length === 0 ? -1 : 5 })
      }),
    )
  })

  test('leave out what lies below the offset that was asked for', () => {
    fc.assert(
      fc.property(fc.array(batch, { minLength: 1, maxLength: 4 }), fc.nat(25), (batches, from) => {
        const { bytes, records } = log(batches)
        expect(read(bytes, from).records).toEqual(records.filter(({ offset }) => offset >= from))
        expect(read(bytes, from).next).toBe(Math.max(from, records.length))
      }),
    )
  })

  test('agree with the library, both ways', () => {
    fc.assert(
      fc.property(
        batch,
        fc.bigInt({ min: 0n, max: 2n ** 62n }),
        fc.nat(32_000),
        fc.nat(2 ** 31 - 1),
        fc.boolean(),
        (wide, id, epoch, sequence, transactional) => {
          // The library cannot write times that lie further apart than 2^30 ms.
          const records = wide.map((record, i) => ({ ...record, time: 1_700_000_000_000 + ((i * 7) % 5) - 2 }))
          const ours = encodeBatch(records, { producerId: id, epoch, sequence, transactional })
          const bytes = (content: Content): Buffer => Buffer.from(content as string)
          const theirs = createRecordsBatch(
            records.map(({ key, value, headers = [], time }) => ({
              topic: 't',
              ...(key === null ? {} : { key: bytes(key) }),
              value: bytes(value!),
              headers: new Map(headers.map(([name, value]) => [bytes(name), bytes(value)])),
              timestamp: BigInt(time),
            })),
            {
              producerId: id,
              producerEpoch: epoch,
              partitionLeaderEpoch: -1,
              sequences: { getWithDefault: () => sequence },
              transactionalId: transactional ? 't' : null,
            } as unknown as Parameters<typeof createRecordsBatch>[1],
          ).buffer
          expect(ours.equals(theirs)).toBe(true)
          const back = readRecordsBatch(Reader.from(ours))
          expect(back.records.map(({ value }) => value)).toEqual(records.map(({ value }) => bytes(value!)))
          expect(back).toMatchObject({ producerId: id, producerEpoch: epoch, firstSequence: sequence, lastOffsetDelta: records.length - 1 })
        },
      ),
    )
  })

  test('an empty batch is refused', () => {
    expect(() => encodeBatch([], producer)).toThrow(RangeError)
  })

  test('bytes that are no UTF-8 stay bytes, and do not lie in the answer', () => {
    const bytes = plain([{ key: Buffer.from([0xc3]), value: Buffer.from([0xed, 0xa0, 0x80]), time: 1 }])
    const [record] = read(bytes).records
    bytes.fill(0)
    expect(record).toMatchObject({ key: Buffer.from([0xc3]), value: Buffer.from([0xed, 0xa0, 0x80]) })
  })

  test('the checksum is the one of the library at every length', () => {
    const bytes = Buffer.from(Array.from({ length: 1200 }, (_, i) => (i * 31) % 251))
    for (let end = 0; end <= bytes.length; end++)
      expect(checksum(bytes, 7, Math.max(end, 7))).toBe(crc32c(bytes.subarray(7, Math.max(end, 7))))
  })
})

describe('what other producers write', () => {
  const records = [
    { key: 'k', value: 'a'.repeat(1000), time: 1_700_000_000_000 },
    { key: null, value: 'b', time: 1_700_000_000_001 },
  ]

  test.each(['gzip', 'snappy', 'lz4', 'zstd'] as const)('%s is read', compression => {
    const messages = records.map(({ key, value, time }) => ({
      topic: 't',
      ...(key === null ? {} : { key: Buffer.from(key) }),
      value: Buffer.from(value),
      timestamp: BigInt(time),
    }))
    const bytes = createRecordsBatch(messages, { compression, producerId: -1n }).buffer
    expect(read(bytes).records).toEqual(seen(records))
    // The checksum fits, the compressed bytes do not.
    const nonsense = Buffer.from(bytes).fill(0xa5, 61 + 12)
    expect(read(signed(nonsense))).toMatchObject({ records: [], next: 0, damaged: { offset: 0, kind: 'compression' } })
    // Whatever came of that, the next batch is read.
    expect(read(bytes).records).toEqual(seen(records))
  })

  test.each([5, 6, 7])('compression %i is not known', codec => {
    const bytes = stored(plain(records), { offset: 0, attributes: codec })
    expect(read(bytes).damaged).toMatchObject({ kind: 'compression', why: expect.stringContaining(`codec ${codec}`) as string })
  })

  test('an old format is told', () => {
    const bytes = plain(records)
    bytes[16] = 1
    expect(read(bytes).damaged).toMatchObject({ offset: 0, kind: 'format' })
  })

  test("the broker's time counts where the topic says so", () => {
    const bytes = stored(plain(records), { offset: 0, attributes: 0x08 })
    expect(read(bytes).records.map(({ time }) => time)).toEqual([1_700_000_000_001, 1_700_000_000_001])
  })

  test('a tombstone has no value', () => {
    const bytes = createRecordsBatch([{ topic: 't', key: Buffer.from('k'), value: null as unknown as Buffer }], {
      compression: 'none',
      producerId: -1n,
    }).buffer
    expect(read(bytes).records).toMatchObject([{ key: 'k', value: null }])
  })

  test('records that are nonsense under a checksum that fits: none of the batch', () => {
    const good = stored(plain(records), { offset: 0 })
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(good.length - 62), fc.nat(255)), { minLength: 1, maxLength: 8 }), changes => {
        const bad = stored(plain(records), { offset: 2 })
        for (const [at, byte] of changes) bad[61 + at] = byte
        const answer = read(Buffer.concat([good, signed(bad)]))
        expect(answer.records.slice(0, 2)).toEqual(seen(records))
        expect(answer.records).toHaveLength(answer.damaged === undefined ? 4 : 2)
        expect(answer.next).toBe(answer.damaged === undefined ? 4 : 2)
      }),
    )
  })

  test.each([
    ['more records than are there', (bytes: Buffer) => bytes.writeInt32BE(3, 57)],
    ['fewer records than are there', (bytes: Buffer) => bytes.writeInt32BE(1, 57)],
    ['a negative number of records', (bytes: Buffer) => bytes.writeInt32BE(-1, 57)],
    ['a last offset that its records pass', (bytes: Buffer) => bytes.writeInt32BE(0, 23)],
    ['a record that is shorter than it says', (bytes: Buffer) => (bytes[61] = (bytes[61] ?? 0) + 2)],
    ['a last offset below the first', (bytes: Buffer) => bytes.writeInt32BE(-1, 23)],
  ])('%s', (_, change) => {
    const bytes = plain(records)
    change(bytes)
    expect(read(signed(bytes))).toMatchObject({ records: [], next: 0, damaged: { offset: 0, kind: 'malformed' } })
  })
})

describe('bytes that suffered', () => {
  const batches = fc.array(batch, { minLength: 1, maxLength: 4 })

  test('a last batch that was cut off is left for later', () => {
    fc.assert(
      fc.property(batches, fc.nat(), (batches, cut) => {
        const { bytes, records, ends } = log(batches)
        const end = cut % bytes.length
        const whole = ends.filter(at => at <= end).length
        const next = batches.slice(0, whole).flat().length
        const answer = read(bytes.subarray(0, end))
        expect(answer).toMatchObject({ records: records.slice(0, next), next })
        expect(answer.damaged).toBeUndefined()
        expect(answer.needs).toBe(whole === 0 && end >= 12 ? ends[0] : undefined)
      }),
    )
  })

  test('bits that flipped are noticed, and nothing of their batch is given out', () => {
    fc.assert(
      fc.property(batches, fc.array(fc.nat(), { minLength: 1, maxLength: 3 }), (batches, flips) => {
        const { bytes, records, starts } = log(batches)
        const hit = new Set<number>()
        for (const flip of flips) {
          const bit = flip % (bytes.length * 8)
          const at = bit >> 3
          const batch = starts.findLastIndex(start => start <= at)
          const inBatch = at - (starts[batch] ?? 0)
          // The checksum covers neither base offset nor leader epoch: these are tested below.
          if (inBatch < 8 || (inBatch >= 12 && inBatch < 16)) continue
          bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7))
          if (hit.has(bit)) hit.delete(bit)
          else hit.add(bit)
        }
        const first = Math.min(...[...hit].map(bit => starts.findLastIndex(start => start <= bit >> 3)))
        const answer = read(bytes)
        const sound = hit.size === 0 ? records.length : batches.slice(0, first).flat().length
        expect(answer).toMatchObject({ records: records.slice(0, sound), next: sound })
        // A length that grew looks like a batch that was cut off: the next fetch begins with it.
        if (hit.size > 0 && answer.damaged === undefined) expect(answer.next).toBeLessThan(records.length)
      }),
      { numRuns: 500 },
    )
  })

  test('an offset that flipped goes back or leaves a hole', () => {
    const { bytes, starts } = log([
      [{ key: null, value: 'a', time: 1 }],
      [{ key: null, value: 'b', time: 1 }],
      [{ key: null, value: 'c', time: 1 }],
    ])
    const back = Buffer.from(bytes)
    back[(starts[2] ?? 0) + 7] = 0
    expect(read(back)).toMatchObject({ next: 2, damaged: { offset: 2, kind: 'malformed' } })
    const ahead = Buffer.from(bytes)
    ahead[(starts[2] ?? 0) + 7] = 9
    expect(read(ahead)).toMatchObject({ next: 10, hole: 2 })
    expect(read(bytes).hole).toBeUndefined()
    // The first batch too.
    expect(read(bytes.subarray(starts[1]), 0)).toMatchObject({ hole: 0 })
  })

  test('any bytes have an answer', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(10), (bytes, from) => {
        const answer = read(Buffer.from(bytes), from)
        expect(answer.records).toEqual([])
        expect(answer.next).toBe(from)
      }),
    )
  })
})

describe('transactions', () => {
  type Step =
    | { readonly do: 'plain'; readonly who: number; readonly count: number }
    | { readonly do: 'write'; readonly who: number; readonly count: number }
    | { readonly do: 'commit' | 'abort'; readonly who: number }
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 3, arbitrary: fc.record({ do: fc.constant('write' as const), who: fc.nat(3), count: fc.integer({ min: 1, max: 3 }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('plain' as const), who: fc.nat(3), count: fc.integer({ min: 1, max: 3 }) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('commit' as const, 'abort' as const), who: fc.nat(3) }) },
  )

  /** Everything that happened, kept whole: what each offset is and how its transaction ended. */
  interface Model {
    readonly batches: readonly { readonly bytes: Buffer; readonly base: number; readonly last: number }[]
    readonly records: readonly { readonly offset: number; readonly value: string; readonly transaction: Transaction | undefined }[]
    readonly transactions: readonly Transaction[]
    readonly end: number
  }
  interface Transaction {
    readonly who: bigint
    readonly first: number
    ended?: { readonly at: number; readonly commit: boolean }
  }

  /** Mostly without transactions that are left open, for behind the first of them nothing is read. */
  const history = fc
    .tuple(fc.array(step, { minLength: 5, maxLength: 40, size: 'max' }), fc.nat(3), fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }))
    .map(([steps, leftOpen, ends]) =>
      leftOpen === 0 ? steps : [...steps, ...ends.map((commit, who): Step => ({ do: commit ? 'commit' : 'abort', who }))],
    )

  function play(steps: readonly Step[]): Model {
    const batches: { bytes: Buffer; base: number; last: number }[] = []
    const records: { offset: number; value: string; transaction: Transaction | undefined }[] = []
    const transactions: Transaction[] = []
    const open = new Map<number, Transaction>()
    let end = 0
    for (const step of steps) {
      const who = BigInt(step.who)
      if (!('count' in step)) {
        const transaction = open.get(step.who)
        if (transaction === undefined) continue
        open.delete(step.who)
        transaction.ended = { at: end, commit: step.do === 'commit' }
        batches.push({ bytes: marker(who, step.do === 'commit', end), base: end, last: end })
        end++
        continue
      }
      let transaction = open.get(step.who)
      // A broker refuses a plain batch of a producer whose transaction is open.
      if (step.do === 'plain' && transaction !== undefined) continue
      if (step.do === 'write' && transaction === undefined) {
        transaction = { who, first: end }
        open.set(step.who, transaction)
        transactions.push(transaction)
      }
      const out = Array.from({ length: step.count }, (_, i): OutRecord => ({ key: null, value: `${end + i}`, time: 1 }))
      const bytes = encodeBatch(out, { producerId: who, epoch: 0, sequence: 0, transactional: step.do === 'write' })
      batches.push({ bytes: stored(bytes, { offset: end }), base: end, last: end + step.count - 1 })
      for (const { value } of out) records.push({ offset: end++, value: value as string, transaction })
    }
    return { batches, records, transactions, end }
  }

  /** As a broker answers: whole batches from the one that `from` stands in, up to a limit, not past the last stable offset. */
  function answer({ batches, transactions }: Model, from: number, limit: number): { bytes: Buffer; aborted: Aborted[]; to: number } {
    const stable = Math.min(...transactions.filter(({ ended }) => ended === undefined).map(({ first }) => first), Number.MAX_SAFE_INTEGER)
    const given = batches.filter(({ last, base }) => last >= from && base < stable).slice(0, limit)
    const to = (given.at(-1)?.last ?? from - 1) + 1
    const aborted = transactions
      .filter(({ first, ended }) => ended?.commit === false && ended.at >= from && first < to)
      .map(({ who, first }) => ({ producerId: who, firstOffset: first }))
    return { bytes: Buffer.concat(given.map(({ bytes }) => bytes)), aborted: aborted.reverse(), to }
  }

  test('only what was committed is seen, wherever reading begins and however answers are cut', () => {
    fc.assert(
      fc.property(history, fc.nat(20), fc.integer({ min: 1, max: 20 }), (steps, start, limit) => {
        const model = play(steps)
        const got: InRecord[] = []
        let from = start
        for (;;) {
          const { bytes, aborted, to } = answer(model, from, limit)
          if (bytes.length === 0) break
          const decoded = read(bytes, from, aborted)
          expect(decoded.damaged).toBeUndefined()
          expect(decoded.hole).toBeUndefined()
          expect(decoded.next).toBe(to)
          got.push(...decoded.records)
          from = decoded.next
        }
        const wanted = model.records.filter(
          ({ offset, transaction }) =>
            offset >= start && offset < from && (transaction === undefined || transaction.ended?.commit === true),
        )
        expect(got.map(({ offset, value }) => ({ offset, value }))).toEqual(wanted.map(({ offset, value }) => ({ offset, value })))
      }),
      { numRuns: 1000 },
    )
  })

  test('a survey covers what was answered, and nothing that was not', () => {
    fc.assert(
      fc.property(history, fc.nat(20), fc.nat(80), fc.integer({ min: 1, max: 20 }), (steps, from, to, limit) => {
        const model = play(steps)
        const { bytes, aborted, to: reached } = answer(model, from, limit)
        const seen = survey(bytes, { from, to, aborted })
        expect(seen.covered).toBe(reached >= to)
        expect(seen.next).toBe(reached)
        const wanted = model.records.filter(
          ({ offset, transaction }) =>
            offset >= from && offset < Math.min(to, reached) && (transaction === undefined || transaction.ended?.commit === true),
        )
        expect(values(seen.records)).toEqual(wanted.map(({ value }) => value))
      }),
    )
  })

  test('a survey does not cover a hole', () => {
    const bytes = Buffer.concat([
      stored(plain([{ key: null, value: 'a', time: 1 }]), { offset: 0 }),
      stored(plain([{ key: null, value: 'c', time: 1 }]), { offset: 2 }),
    ])
    expect(survey(bytes, { from: 0, to: 1, aborted: [] })).toMatchObject({ covered: true })
    expect(survey(bytes, { from: 0, to: 2, aborted: [] })).toMatchObject({ covered: false, next: 1 })
    expect(survey(bytes, { from: 0, to: 3, aborted: [] })).toMatchObject({ covered: false, next: 1 })
  })

  test('plain records of a producer whose transaction was aborted count', () => {
    const out = (value: string): OutRecord[] => [{ key: null, value, time: 1 }]
    const bytes = Buffer.concat([
      stored(encodeBatch(out('a'), { producerId: 1n, epoch: 0, sequence: 0, transactional: true }), { offset: 0 }),
      stored(encodeBatch(out('b'), { producerId: 1n, epoch: 0, sequence: 1, transactional: false }), { offset: 1 }),
      marker(1n, false, 2),
    ])
    expect(values(read(bytes, 0, [{ producerId: 1n, firstOffset: 0 }]).records)).toEqual(['b'])
  })

  test('a transaction that was committed counts, though the next one of its producer was aborted', () => {
    const out = (value: string): OutRecord[] => [{ key: null, value, time: 1 }]
    const write = (value: string, offset: number) =>
      stored(encodeBatch(out(value), { producerId: 1n, epoch: 0, sequence: 0, transactional: true }), { offset })
    const bytes = Buffer.concat([
      write('a', 0),
      marker(1n, true, 1),
      write('b', 2),
      marker(1n, false, 3),
      write('c', 4),
      marker(1n, true, 5),
    ])
    expect(values(read(bytes, 0, [{ producerId: 1n, firstOffset: 2 }]).records)).toEqual(['a', 'c'])
  })

  test('what was aborted is seen by whoever asks for it', () => {
    const out = [{ key: null, value: 'a', time: 1 }]
    const bytes = Buffer.concat([
      stored(encodeBatch(out, { producerId: 1n, epoch: 0, sequence: 0, transactional: true }), { offset: 0 }),
      marker(1n, false, 1),
    ])
    const aborted = [{ producerId: 1n, firstOffset: 0 }]
    expect(decodeBatches(bytes, { from: 0, aborted, committed: false })).toMatchObject({ records: [{ value: 'a' }], next: 2 })
    expect(decodeBatches(bytes, { from: 0, aborted, committed: true })).toMatchObject({ records: [], next: 2 })
  })
})
