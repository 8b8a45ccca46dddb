/**
 * Record batches of Kafka, format 2: bytes to records and back. Pure: no clock, no connection. Decoding is total: whatever the bytes are,
 * it answers, and it never gives out a record of a batch whose checksum does not fit.
 *
 *     offset 0  base offset       int64    23  last offset delta  int32
 *            8  length behind 12  int32    27  base time          int64
 *           12  leader epoch      int32    35  highest time       int64
 *           16  format (2)        int8     43  producer id        int64
 *           17  CRC-32C of 21..   uint32   51  producer epoch     int16
 *           21  attributes        int16    53  base sequence      int32
 *                                          57  number of records  int32
 *
 * then the records: length, attributes, time delta, offset delta, key, value, headers, all numbers zigzag varints. Source: section
 * "Message Format" of Kafka's documentation. Attributes: bits 0-2 compression, 3 time given by the broker, 4 transactional, 5 control.
 */
import { isUtf8 } from 'node:buffer'
import { checksum } from './crc.ts'
import { decompress } from './compression.ts'

export interface OutRecord {
  readonly key: Buffer | string | null
  /** Null: a tombstone, for topics that are compacted. */
  readonly value: Buffer | string | null
  readonly headers?: readonly (readonly [string, string])[]
  /** Milliseconds since the epoch. */
  readonly time: number
}

/** Whose batch it is. Without idempotence: -1n, -1, -1. */
export interface BatchProducer {
  readonly producerId: bigint
  readonly epoch: number
  /** Of the first record; each further record counts one on. Wraps from 2^31 - 1 to 0. */
  readonly sequence: number
  readonly transactional: boolean
}

/**
 * A text where the bytes are UTF-8, so that encoding it gives the same bytes back; else the bytes. Either is a copy: the answer of a
 * fetch can be let go.
 */
export type Content = string | Buffer

export interface InRecord {
  readonly offset: number
  readonly key: Content | null
  /** Null is a tombstone of somebody else. */
  readonly value: Content | null
  readonly headers: readonly (readonly [string, string])[]
  /** Milliseconds since the epoch: the producer's, or the broker's where the topic says LogAppendTime. */
  readonly time: number
}

/** A transaction that was aborted, as fetch answers list them: all that overlap the answer. */
export interface Aborted {
  readonly producerId: bigint
  readonly firstOffset: number
}

/** A batch that stays unread, and with it everything behind. */
export interface Damaged {
  /** Where the batch begins. */
  readonly offset: number
  /** `checksum`: the bytes suffered on their way or on the disk; fetching again may help. The others stay as they are. */
  readonly kind: 'checksum' | 'malformed' | 'format' | 'compression'
  /** For people. */
  readonly why: string
}

export interface Decoded {
  readonly records: readonly InRecord[]
  /** Behind the last whole batch, never below `from`: the offset to fetch next. Grows over control and aborted batches too. */
  readonly next: number
  /** Leader epoch of the last batch that was looked at, -1 if there was none: the `lastFetchedEpoch` of the next fetch. */
  readonly epoch: number
  readonly damaged?: Damaged
  /** The first offset that was skipped: a topic that keeps everything has none. `next` lies behind it all the same. */
  readonly hole?: number
  /** Not even the first batch is whole: this many bytes are needed for it. */
  readonly needs?: number
}

export interface DecodeOptions {
  /** Records below this offset are left out: a fetch begins with the whole batch that the offset stands in. */
  readonly from: number
  /** Needed for `committed`; those of this very answer. */
  readonly aborted: readonly Aborted[]
  /** Leave out what was aborted. Control batches are always left out. */
  readonly committed: boolean
}

const headerSize = 61
const crcFrom = 21
const transactionalBit = 0x10
const controlBit = 0x20
const brokerTimeBit = 0x08
const noHeaders: readonly (readonly [string, string])[] = []
const two32 = 0x1_0000_0000

/** One batch of all the records, ready for `produce`. Freeze it before the first send: it is resent as it stands. */
export function encodeBatch(records: readonly OutRecord[], producer: BatchProducer): Buffer {
  const first = records[0]
  if (first === undefined) throw new RangeError('a batch holds at least one record')
  // Of values too: to count the bytes of a large text takes as long as to write it.
  const sizes: number[] = []
  const valueSizes: number[] = []
  let total = headerSize
  let latest = first.time
  records.forEach((record, i) => {
    const valueSize = byteSize(record.value)
    const size = recordSize(record, valueSize, record.time - first.time, i)
    sizes.push(size)
    valueSizes.push(valueSize)
    total += varintSize(size) + size
    if (record.time > latest) latest = record.time
  })
  const bytes = Buffer.allocUnsafe(total)
  writeLong(bytes, 0, 0)
  bytes.writeInt32BE(total - 12, 8)
  bytes.writeInt32BE(-1, 12)
  bytes[16] = 2
  bytes.writeInt16BE(producer.transactional ? transactionalBit : 0, crcFrom)
  bytes.writeInt32BE(records.length - 1, 23)
  writeLong(bytes, first.time, 27)
  writeLong(bytes, latest, 35)
  bytes.writeBigInt64BE(producer.producerId, 43)
  bytes.writeInt16BE(producer.epoch, 51)
  bytes.writeInt32BE(producer.sequence, 53)
  bytes.writeInt32BE(records.length, 57)
  let at = headerSize
  records.forEach((record, i) => {
    at = writeVarint(bytes, sizes[i] as number, at)
    bytes[at++] = 0
    at = writeVarlong(bytes, record.time - first.time, at)
    at = writeVarint(bytes, i, at)
    at = writeContent(bytes, record.key, at)
    at = record.value === null ? writeVarint(bytes, -1, at) : writeSized(bytes, record.value, valueSizes[i] as number, at)
    const headers = record.headers ?? noHeaders
    at = writeVarint(bytes, headers.length, at)
    for (const [name, value] of headers) at = writeContent(bytes, value, writeContent(bytes, name, at))
  })
  bytes.writeUInt32BE(checksum(bytes, crcFrom, total), 17)
  return bytes
}

/**
 * The records of one fetch answer.
 *
 * What was aborted is left out as the Java client does it: an aborted transaction of the list counts from its first offset on until the
 * producer's ABORT marker, and its transactional batches are skipped. A last batch that was cut off is left for the next fetch.
 */
export function decodeBatches(bytes: Buffer, { from, aborted, committed }: DecodeOptions): Decoded {
  const records: InRecord[] = []
  const filter = committed && aborted.length > 0 ? new AbortedFilter(aborted) : undefined
  let next = from
  let epoch = -1
  let hole: number | undefined
  let damaged: Damaged | undefined
  let needs: number | undefined
  /** Behind the batch before; lower than `next` when the answer begins before `from`. */
  let behind = 0
  let at = 0
  while (bytes.length - at >= 12) {
    const base = readLong(bytes, at)
    const size = bytes.readInt32BE(at + 8) + 12
    // The checksum covers neither: an offset that goes back, or a length too short for a header, gives itself away.
    if (size < headerSize || base < 0 || !Number.isSafeInteger(base)) {
      damaged = { offset: next, kind: 'malformed', why: `the batch has offset ${base} and length ${size - 12}` }
      break
    }
    if (size > bytes.length - at) {
      if (at === 0) needs = size
      break
    }
    const format = bytes[at + 16]
    if (format !== 2) {
      damaged = { offset: next, kind: 'format', why: `the batch has format ${format}; only format 2 is read` }
      break
    }
    const end = at + size
    if (checksum(bytes, at + crcFrom, end) !== bytes.readUInt32BE(at + 17)) {
      damaged = { offset: next, kind: 'checksum', why: 'the checksum of the batch does not fit its bytes' }
      break
    }
    const last = base + bytes.readInt32BE(at + 23)
    if (last < base || base < behind) {
      damaged = { offset: next, kind: 'malformed', why: `the batch goes from ${base} to ${last}, but stands behind offset ${behind - 1}` }
      break
    }
    behind = last + 1
    const attributes = bytes.readInt16BE(at + crcFrom)
    // The filter sees every batch, in order.
    const settled = filter === undefined || filter.keep(bytes, at, end, attributes, last)
    if (settled && (attributes & controlBit) === 0 && last >= from) {
      const before = records.length
      const problem = readRecords(bytes, at, end, base, last, attributes, from, records)
      if (problem !== undefined) {
        records.length = before
        damaged = { offset: next, ...problem }
        break
      }
    }
    if (base > next) hole ??= next
    if (last >= next) next = last + 1
    epoch = bytes.readInt32BE(at + 12)
    at = end
  }
  return {
    records,
    next,
    epoch,
    ...(damaged === undefined ? {} : { damaged }),
    ...(hole === undefined ? {} : { hole }),
    ...(needs === undefined ? {} : { needs }),
  }
}

/** What is known of `[from, to)`. */
export interface Survey {
  /** Every offset of it was seen to be a record, a marker or aborted: nothing else can turn up there. */
  readonly covered: boolean
  /** The committed records in it, so far as they were seen. */
  readonly records: readonly InRecord[]
  /** Where to fetch on when it is not covered yet. */
  readonly next: number
  readonly epoch: number
  readonly damaged?: Damaged
}

/**
 * For the question whether anything stands between two offsets. The bytes must come from a `read_committed` fetch, which ends before the
 * first transaction that is still open: what it covers is settled.
 */
export function survey(bytes: Buffer, { from, to, aborted }: { from: number; to: number; aborted: readonly Aborted[] }): Survey {
  const { records, next, epoch, damaged, hole } = decodeBatches(bytes, { from, aborted, committed: true })
  const within = records.at(-1)
  return {
    covered: next >= to && (hole === undefined || hole >= to),
    records: within === undefined || within.offset < to ? records : records.filter(record => record.offset < to),
    // Whoever goes on behind a hole would take it for covered.
    next: hole === undefined ? next : hole,
    epoch,
    ...(damaged === undefined ? {} : { damaged }),
  }
}

/** Which producers are inside an aborted transaction, as the batches go by. */
class AbortedFilter {
  readonly #upcoming: readonly Aborted[]
  readonly #inside = new Set<bigint>()
  #taken = 0

  constructor(aborted: readonly Aborted[]) {
    this.#upcoming = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset)
  }

  /** Whether the records of the batch count. Called for each batch in turn. */
  keep(bytes: Buffer, at: number, end: number, attributes: number, last: number): boolean {
    for (let next = this.#upcoming[this.#taken]; next !== undefined && next.firstOffset <= last; next = this.#upcoming[++this.#taken]) {
      this.#inside.add(next.producerId)
    }
    if (this.#inside.size === 0) return true
    const producerId = bytes.readBigInt64BE(at + 43)
    if ((attributes & controlBit) !== 0) {
      if (isAbortMarker(bytes, at, end)) this.#inside.delete(producerId)
      return true
    }
    return (attributes & transactionalBit) === 0 || !this.#inside.has(producerId)
  }
}

/** The key of a control record is a format number and its kind, 0 for ABORT. */
function isAbortMarker(bytes: Buffer, at: number, end: number): boolean {
  const cursor = new Cursor(bytes, at + headerSize, end)
  cursor.varint()
  cursor.skip(1)
  cursor.varlong()
  cursor.varint()
  return cursor.varint() >= 4 && cursor.at + 4 <= end && bytes.readInt16BE(cursor.at + 2) === 0
}

/** Adds the records of one batch, or says what is wrong with them; some may have been added by then. */
function readRecords(
  bytes: Buffer,
  at: number,
  end: number,
  base: number,
  last: number,
  attributes: number,
  from: number,
  into: InRecord[],
): Omit<Damaged, 'offset'> | undefined {
  const count = bytes.readInt32BE(at + 57)
  const codec = attributes & 7
  const baseTime = readLong(bytes, at + 27)
  const brokerTime = (attributes & brokerTimeBit) === 0 ? undefined : readLong(bytes, at + 35)
  const body = codec === 0 ? bytes : decompress(codec, bytes.subarray(at + headerSize, end))
  if (typeof body === 'string') return { kind: 'compression', why: body }
  const cursor = codec === 0 ? new Cursor(body, at + headerSize, end) : new Cursor(body, 0, body.length)
  let previous = base - 1
  for (let i = 0; i < count; i++) {
    const size = cursor.varint()
    const recordEnd = cursor.at + size
    // Records have no attributes as yet.
    cursor.skip(1)
    const time = baseTime + cursor.varlong()
    const offset = base + cursor.varint()
    const wanted = offset >= from
    const key = cursor.content(wanted)
    const value = cursor.content(wanted)
    const headers = cursor.headers()
    if (cursor.failed || cursor.at !== recordEnd) return { kind: 'malformed', why: `record ${i} of the batch is not well formed` }
    if (offset <= previous || offset > last) return { kind: 'malformed', why: `record ${i} of the batch has an offset out of turn` }
    previous = offset
    if (wanted) into.push({ offset, key, value, headers, time: brokerTime ?? time })
  }
  if (cursor.at !== cursor.end) return { kind: 'malformed', why: `the batch holds more than its ${count} records` }
  return undefined
}

/** Reads on through the bytes of one batch. Past the end, or where lengths are nonsense, `failed` is set and zeros come. */
class Cursor {
  readonly bytes: Buffer
  readonly end: number
  at: number
  failed = false

  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  skip(count: number): void {
    this.at += count
    if (this.at > this.end) this.failed = true
  }

  /** A zigzag number of 32 bits. */
  varint(): number {
    const { bytes } = this
    let at = this.at
    let byte = bytes[at++] as number
    let raw = byte & 0x7f
    for (let shift = 7; byte >= 0x80 && shift < 35; shift += 7) {
      byte = bytes[at++] as number
      raw |= (byte & 0x7f) << shift
    }
    this.at = at
    if (at > this.end || byte >= 0x80) {
      this.failed = true
      return 0
    }
    return (raw >>> 1) ^ -(raw & 1)
  }

  /** A zigzag number of 64 bits; beyond 2^53 it is rounded. */
  varlong(): number {
    const start = this.at
    const { bytes } = this
    const byte = bytes[start] as number
    if (byte < 0x80) {
      this.at = start + 1
      if (this.at > this.end) this.failed = true
      return (byte >>> 1) ^ -(byte & 1)
    }
    let raw = BigInt(byte & 0x7f)
    let at = start + 1
    let more = true
    for (let shift = 7n; more && shift < 70n && at < this.end; shift += 7n) {
      const next = bytes[at++] as number
      raw |= BigInt(next & 0x7f) << shift
      more = next >= 0x80
    }
    this.at = at
    if (more) this.failed = true
    return Number(BigInt.asIntN(64, (BigInt.asUintN(64, raw) >> 1n) ^ -(raw & 1n)))
  }

  /** Length and bytes; null for length -1, or where it is not wanted. */
  content(wanted: boolean): Content | null {
    const size = this.varint()
    const start = this.at
    const end = start + Math.max(size, 0)
    if (size < -1 || end > this.end) {
      this.failed = true
      return null
    }
    this.at = end
    return wanted && size >= 0 ? toContent(this.bytes, start, end) : null
  }

  headers(): readonly (readonly [string, string])[] {
    const count = this.varint()
    if (count === 0) return noHeaders
    if (count < 0) this.failed = true
    const headers: [string, string][] = []
    for (let i = 0; i < count && !this.failed; i++) headers.push([String(this.content(true) ?? ''), String(this.content(true) ?? '')])
    return headers
  }
}

function toContent(bytes: Buffer, start: number, end: number): Content {
  const text = bytes.toString('utf8', start, end)
  // What is no UTF-8 becomes U+FFFD, which may also stand in the text itself.
  if (!text.includes('\uFFFD')) return text
  const part = bytes.subarray(start, end)
  return isUtf8(part) ? text : Buffer.from(part)
}

function readLong(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * two32 + bytes.readUInt32BE(at + 4)
}

function writeLong(bytes: Buffer, value: number, at: number): void {
  const high = Math.floor(value / two32)
  bytes.writeInt32BE(high, at)
  bytes.writeUInt32BE(value - high * two32, at + 4)
}

function recordSize(record: OutRecord, valueSize: number, timeDelta: number, index: number): number {
  const headers = record.headers ?? noHeaders
  const keySize = record.key === null ? 1 : contentSize(record.key)
  let size = 1 + varlongSize(timeDelta) + varintSize(index) + keySize + varintSize(valueSize) + valueSize + varintSize(headers.length)
  for (const [name, value] of headers) size += contentSize(name) + contentSize(value)
  return size
}

function byteSize(content: Content | null): number {
  if (content === null) return 0
  return typeof content === 'string' ? Buffer.byteLength(content) : content.length
}

function contentSize(content: Content): number {
  const size = byteSize(content)
  return varintSize(size) + size
}

function writeContent(bytes: Buffer, content: Content | null, at: number): number {
  return content === null ? writeVarint(bytes, -1, at) : writeSized(bytes, content, byteSize(content), at)
}

function writeSized(bytes: Buffer, content: Content, size: number, at: number): number {
  const start = writeVarint(bytes, size, at)
  // As many bytes as characters: all of it is ASCII, which is copied instead of converted.
  if (typeof content === 'string') bytes.write(content, start, size, size === content.length ? 'latin1' : 'utf8')
  else bytes.set(content, start)
  return start + size
}

function zigzag(value: number): number {
  return ((value << 1) ^ (value >> 31)) >>> 0
}

function varintSize(value: number): number {
  const raw = zigzag(value)
  return raw < 0x80 ? 1 : raw < 0x4000 ? 2 : raw < 0x20_0000 ? 3 : raw < 0x1000_0000 ? 4 : 5
}

function writeVarint(bytes: Buffer, value: number, at: number): number {
  let raw = zigzag(value)
  for (; raw >= 0x80; raw >>>= 7) bytes[at++] = (raw & 0x7f) | 0x80
  bytes[at++] = raw
  return at
}

/** As `Cursor.varlong` takes it; times lie close together, so that one of 32 bits nearly always does. */
function varlongSize(value: number): number {
  if (value === (value | 0)) return varintSize(value)
  let size = 1
  for (let raw = zigzagLong(value); raw >= 0x80n; raw >>= 7n) size++
  return size
}

function writeVarlong(bytes: Buffer, value: number, at: number): number {
  if (value === (value | 0)) return writeVarint(bytes, value, at)
  let raw = zigzagLong(value)
  for (; raw >= 0x80n; raw >>= 7n) bytes[at++] = Number(raw & 0x7fn) | 0x80
  bytes[at++] = Number(raw)
  return at
}

function zigzagLong(value: number): bigint {
  const whole = BigInt(value)
  return BigInt.asUintN(64, (whole << 1n) ^ (whole >> 63n))
}
