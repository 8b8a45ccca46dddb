/** One broker's copy of one partition: entries, the memory of producers that derives from them, and what of it may be read. */
import type { Aborted } from '../../log/kafka/batch.ts'
import type { Entry } from './entry.ts'

/** The memory of a producer. Replaced, never changed. */
export interface Producer {
  readonly epoch: number
  /** The last five of this epoch. */
  readonly batches: readonly { readonly first: number; readonly last: number; readonly offset: number; readonly lastOffset: number }[]
  /** Of the transaction that is open; -1. */
  readonly open: number
  readonly coordinatorEpoch: number
  /** When it last wrote, ms. */
  readonly at: number
}

interface Ended {
  readonly producerId: number
  readonly first: number
  /** Its marker. */
  readonly last: number
}

export interface ReplicaLog {
  entries: Entry[]
  /** Behind the last entry. */
  end: number
  highWatermark: number
  /** The high watermark on the disk, and when it was written there, ms. */
  checkpoint: number
  checkpointAt: number
  /** Where the batches of each leader begin; a leader enters its own when it takes up office. */
  epochs: { readonly epoch: number; readonly start: number }[]
  producers: Map<number, Producer>
  /** Where the open transactions begin, by producer. */
  open: Map<number, number>
  /** By marker. */
  ended: Ended[]
  aborted: Ended[]
  /** Ended, but the marker is not below the high watermark yet. */
  unsettled: Ended[]
}

/** A broker writes its high watermarks to the disk so often, ms (replica.high.watermark.checkpoint.interval.ms). */
const checkpointEvery = 5_000

export function emptyLog(): ReplicaLog {
  return {
    entries: [],
    end: 0,
    highWatermark: 0,
    checkpoint: 0,
    checkpointAt: 0,
    epochs: [],
    producers: new Map(),
    open: new Map(),
    ended: [],
    aborted: [],
    unsettled: [],
  }
}

export function cloneLog(log: ReplicaLog): ReplicaLog {
  return {
    ...log,
    entries: [...log.entries],
    epochs: [...log.epochs],
    producers: new Map(log.producers),
    open: new Map(log.open),
    ended: [...log.ended],
    aborted: [...log.aborted],
    unsettled: [...log.unsettled],
  }
}

/** Adds the entry; whether it may be added was asked before. */
export function append(log: ReplicaLog, entry: Entry, now: number): void {
  log.entries.push(entry)
  log.end = entry.last + 1
  enterEpoch(log, entry.leaderEpoch, entry.offset)
  remember(log, entry, now)
}

export function enterEpoch(log: ReplicaLog, epoch: number, start: number): void {
  const latest = log.epochs.at(-1)
  if (latest === undefined || latest.epoch < epoch) log.epochs.push({ epoch, start })
}

/** What the producer's last batches were, and where its transaction began (ProducerStateEntry of Kafka's source). */
function remember(log: ReplicaLog, entry: Entry, now: number): void {
  const { producerId, producerEpoch: epoch, marker } = entry
  if (producerId < 0) return
  const known = log.producers.get(producerId)
  const batches = known?.epoch === epoch ? known.batches : []
  if (marker) {
    const first = log.open.get(producerId)
    if (first !== undefined) {
      const ended = { producerId, first, last: entry.last }
      log.open.delete(producerId)
      log.ended.push(ended)
      log.unsettled.push(ended)
      if (!marker.commit) log.aborted.push(ended)
    }
    log.producers.set(producerId, { epoch, batches, open: -1, coordinatorEpoch: marker.coordinatorEpoch, at: now })
    return
  }
  const batch = { first: entry.sequence, last: entry.lastSequence, offset: entry.offset, lastOffset: entry.last }
  let open = known?.open ?? -1
  if (open < 0 && entry.transactional) {
    open = entry.offset
    log.open.set(producerId, open)
  }
  const coordinatorEpoch = known?.coordinatorEpoch ?? -1
  // Observed on 4.3.1: the last five batches of a producer are known.
  log.producers.set(producerId, { epoch, batches: [...batches.slice(-4), batch], open, coordinatorEpoch, at: now })
}

/** Cuts off everything from this offset on. Producers are remembered from what is left. */
export function truncate(log: ReplicaLog, end: number, now: number): void {
  if (end >= log.end) return
  const keep = log.entries.findIndex(entry => entry.last >= end)
  const entries = log.entries.slice(0, keep < 0 ? undefined : keep)
  log.entries = entries
  log.end = (entries.at(-1)?.last ?? -1) + 1
  log.highWatermark = Math.min(log.highWatermark, log.end)
  log.checkpoint = Math.min(log.checkpoint, log.end)
  log.epochs = log.epochs.filter(({ start }) => start < log.end)
  log.producers = new Map()
  log.open = new Map()
  log.ended = []
  log.aborted = []
  log.unsettled = []
  for (const entry of entries) remember(log, entry, now)
  settle(log)
}

export function raiseHighWatermark(log: ReplicaLog, to: number, now: number): void {
  log.highWatermark = to
  settle(log)
  if (now - log.checkpointAt >= checkpointEvery) {
    log.checkpoint = to
    log.checkpointAt = now
  }
}

/** What a process that was killed finds: all that was written, and a high watermark of a while ago. */
export function recovered(log: ReplicaLog): void {
  log.highWatermark = log.checkpoint
  log.unsettled = log.ended.filter(({ last }) => last >= log.highWatermark)
}

function settle(log: ReplicaLog): void {
  while (log.unsettled[0] && log.unsettled[0].last < log.highWatermark) log.unsettled.shift()
}

/** Behind the last offset that is settled: no transaction that begins before it is open, or ended by a marker that could be lost yet. */
export function lastStable(log: ReplicaLog): number {
  let stable = log.highWatermark
  for (const first of log.open.values()) if (first < stable) stable = first
  for (const { first } of log.unsettled) if (first < stable) stable = first
  return stable
}

/** The index of the entry that this offset stands in, or of the next one. */
function indexOf(log: ReplicaLog, offset: number): number {
  let [low, high] = [0, log.entries.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((log.entries[middle] as Entry).last < offset) low = middle + 1
    else high = middle
  }
  return low
}

/** Whole entries from the one that `from` stands in, below `limit`. */
export function* entriesFrom(log: ReplicaLog, from: number, limit: number): Iterable<Entry> {
  for (let i = indexOf(log, from); i < log.entries.length; i++) {
    const entry = log.entries[i] as Entry
    if (entry.last >= limit) return
    yield entry
  }
}

const nothing = Buffer.alloc(0)

/** As a broker answers: the first batch comes whole, and the last may be cut off in the middle. */
export function read(log: ReplicaLog, from: number, limit: number, maxBytes: number): Buffer {
  const first = indexOf(log, from)
  let size = 0
  let end = first
  for (let entry = log.entries[end]; entry && entry.last < limit && (end === first || size < maxBytes); entry = log.entries[end]) {
    size += entry.bytes.length
    end++
  }
  if (end === first) return nothing
  const head = (log.entries[first] as Entry).bytes
  const most = Math.max(maxBytes, head.length)
  const bytes = end === first + 1 ? head : Buffer.concat(log.entries.slice(first, end).map(entry => entry.bytes))
  return bytes.length > most ? bytes.subarray(0, most) : bytes
}

/**
 * The aborted transactions that end behind `from`. Observed on 4.3.1: each answer lists every one that overlaps it, also from the middle;
 * a broker lists those behind it as well, up to the next entry of its sparse index, which in a short log is its end.
 */
export function abortedFrom(log: ReplicaLog, from: number): Aborted[] {
  const found: Aborted[] = []
  for (let i = log.aborted.length - 1; i >= 0; i--) {
    const { producerId, first, last } = log.aborted[i] as Ended
    if (last < from) break
    found.push({ producerId: BigInt(producerId), firstOffset: first })
  }
  return found
}

/**
 * Where the entries of this leader epoch end, or of the last epoch below it (LeaderEpochFileCache.endOffsetFor of Kafka's source).
 * Undefined: the epoch is newer than everything that stands here.
 */
export function endOfEpoch(log: ReplicaLog, epoch: number): { epoch: number; end: number } | undefined {
  const latest = log.epochs.at(-1)
  if (latest === undefined || epoch > latest.epoch) return undefined
  if (epoch === latest.epoch) return { epoch, end: log.end }
  const next = log.epochs.findIndex(entry => entry.epoch > epoch)
  return { epoch: log.epochs[next - 1]?.epoch ?? epoch, end: log.epochs[next]!.start }
}
