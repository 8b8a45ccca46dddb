/** Records as tests write them, and the smallest replica: a log folded in memory, with an id table and a history as a database keeps them. */
import { accept, control, emptyShard, enter, genesis, restore, type ShardState, type TenantState, type Verdict } from '../../src/accept.ts'
import { uuidv7Time } from '../../src/ids.ts'
import {
  type ControlRecord,
  type DataRecord,
  type Decision,
  decode,
  encodeControl,
  encodeDecision,
  encodeRecord,
  inputHash,
  type LogRecord,
  type Manifest,
  type Tags,
} from '../../src/record.ts'
import type { WindowEntry } from '../../src/window.ts'

export const LOG = 'log-1'

export const encode = (record: LogRecord): string =>
  record.kind === 'data' ? encodeRecord(record, record.decisions.map(encodeDecision)) : encodeControl(record)

export const manifest = (over: Partial<Manifest> = {}): Manifest => ({
  kind: 'manifest',
  log: LOG,
  time: 1,
  app: 'bank',
  partitions: 1,
  partition: 0,
  rules: 1,
  window: 100,
  generation: 1,
  ...over,
})

/** A decision with one event that reads and writes `tags`. */
export const decision = (id: string, tags: Tags = '*', over: Partial<Decision> = {}): Decision => ({
  id,
  command: 'note',
  hash: inputHash('note', id),
  reads: tags,
  writes: tags,
  events: [{ type: 'Noted', schema: 1, data: { id } }],
  ...over,
})

/** A v7 UUID of this time (ms) and number. */
export const uuidAt = (time: number, n: number): string => {
  const ms = time.toString(16).padStart(12, '0')
  return `${ms.slice(0, 8)}-${ms.slice(8)}-7000-8000-${n.toString(16).padStart(12, '0')}`
}

interface Kept {
  state: TenantState
  readonly ids: Set<string>
  readonly history: WindowEntry[]
}

export class Fold {
  shard: ShardState = emptyShard
  readonly #tenants = new Map<string, Kept>()

  tenant(name = 'default'): Kept {
    let kept = this.#tenants.get(name)
    if (!kept) {
      kept = { state: genesis(this.shard.log ?? LOG, name), ids: new Set(), history: [] }
      this.#tenants.set(name, kept)
    }
    return kept
  }

  /** A record of the newest base and standing, as an honest writer makes it. */
  data(decisions: readonly Decision[], over: Partial<DataRecord> = {}): DataRecord {
    const { shard } = this
    const tenant = over.tenant ?? 'default'
    const { version, digest } = this.tenant(tenant).state
    const { number, owner } = shard.term
    return {
      kind: 'data',
      log: shard.log ?? LOG,
      rules: shard.rules.number,
      term: { number, owner },
      release: shard.release ?? 'r1',
      tenant,
      base: version,
      digest,
      time: 1,
      decisions,
      ...over,
    }
  }

  /** Takes a record: the verdicts; `ok` or the reason for a control record or what is foreign. */
  take(value: string | Uint8Array): Verdict[] | string {
    const record = decode(value)
    if (record.kind === 'foreign') return record.reason
    return record.kind === 'data' ? this.#fold(record, value) : this.#control(record)
  }

  /** Takes a record that must be a data record: its verdicts. */
  judge(record: DataRecord): Verdict[] {
    const answer = this.take(encode(record))
    if (typeof answer === 'string') throw new Error(answer)
    return answer
  }

  /** Takes decisions made at the newest state, all of which must be accepted. */
  add(...decisions: Decision[]): void {
    const verdicts = this.judge(this.data(decisions))
    if (verdicts.some(verdict => verdict !== 'accepted')) throw new Error(verdicts.join())
  }

  /** Forgets the states and takes them from what a database would have kept. */
  reopen(): void {
    for (const [name, kept] of this.#tenants) {
      const { version, floor, digest } = kept.state
      // As `thin` does: below the floor no writes are kept. As `window` does: the answer is of when it is asked.
      const thinned = () => kept.history.map(entry => (entry.end < floor ? { ...entry, writes: null } : entry))
      kept.state = restore(this.shard.log ?? LOG, name, { version, floor, digest }, () => thinned().filter(({ end }) => end >= floor))
    }
  }

  /** Drops the ids that a forget record lets go. */
  forget(): void {
    for (const { ids } of this.#tenants.values())
      for (const id of ids) if ((uuidv7Time(id) ?? Infinity) < this.shard.forgetBefore) ids.delete(id)
  }

  #control(record: ControlRecord): string {
    const next = control(this.shard, record)
    if (typeof next === 'string') return next
    this.shard = next
    return 'ok'
  }

  #fold(record: DataRecord, value: string | Uint8Array): Verdict[] {
    const { state, ids, history } = this.tenant(record.tenant)
    const verdicts = accept(this.shard, state, record, id => ids.has(id))
    const entered = enter(this.shard, state, record, value, verdicts)
    for (const [i, { id }] of record.decisions.entries()) if (verdicts[i] === 'accepted') ids.add(id)
    if (entered.history) history.push(entered.history)
    return verdicts
  }
}
