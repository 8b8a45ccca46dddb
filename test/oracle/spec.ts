/**
 * The rules of `accept` once more, as plainly as they can be said: each question is answered from the whole log, without windows,
 * maps, or anything kept from record to record. Slow on purpose; shares no code with `src/accept.ts`.
 */
import { createHash } from 'node:crypto'
import { murmur2 } from '@platformatic/kafka'
import type { Verdict } from '../../src/accept.ts'
import type { ControlRecord, DataRecord, Decision, Tags } from '../../src/record.ts'

/** What the control records so far say. */
interface Law {
  readonly log: string
  readonly rules: number
  readonly window: number
  readonly term: number
  readonly owner: string | null
  readonly release: string | null
  readonly forgetBefore: number
  readonly sealed: boolean
  readonly partitions: number
  readonly partition: number
}

interface Past {
  readonly record: DataRecord
  readonly value: string
  readonly verdicts: readonly Verdict[]
  readonly window: number
}

const homeOf = (tenant: string, partitions: number) => Number(BigInt.asUintN(31, BigInt(murmur2(tenant)))) % partitions

const digestOf = (text: string) => createHash('sha256').update(text, 'utf8').digest('base64url')

export class Spec {
  law: Law | undefined
  readonly #past: Past[] = []

  control(record: ControlRecord): void {
    const { law } = this
    if (!law) {
      if (record.kind !== 'manifest') return
      const { log, rules, window, partitions, partition } = record
      this.law = { log, rules, window, partitions, partition, term: 0, owner: null, release: null, forgetBefore: 0, sealed: false }
    } else if (!law.sealed && record.log === law.log) this.law = amended(law, record)
  }

  data(record: DataRecord, value: string): readonly Verdict[] {
    const verdicts = this.judge(record)
    this.#past.push({ record, value, verdicts, window: this.law?.window ?? 0 })
    return verdicts
  }

  /** Where a tenant stands: the accepted decisions with events and the version after each, the ends of records and digests there. */
  standing(tenant: string) {
    let version = 0
    let floor = 0
    let digest = digestOf(`${this.law?.log}\n${tenant}`)
    const ends = new Map([[0, digest]])
    const written: { readonly version: number; readonly writes: Tags }[] = []
    for (const { record, value, verdicts, window } of this.#past) {
      if (record.tenant !== tenant) continue
      const began = version
      for (const [i, decision] of record.decisions.entries()) {
        if (verdicts[i] !== 'accepted' || decision.events.length === 0) continue
        version += decision.events.length
        written.push({ version, writes: writesOf(decision) })
      }
      if (version === began) continue
      digest = digestOf(`${digest}\n${verdicts.join(',')}\n${value}`)
      ends.set(version, digest)
      floor = Math.max(floor, version - window)
    }
    return { version, floor, digest, ends, written }
  }

  judge(record: DataRecord): Verdict[] {
    const all = (verdict: Verdict) => record.decisions.map(() => verdict)
    const { law } = this
    if (!law || law.sealed || record.log !== law.log) return all('foreign')
    if (homeOf(record.tenant, law.partitions) !== law.partition) return all('foreign')
    if (record.rules !== law.rules) return all('deposed')
    if (record.term.number !== law.term || record.term.owner !== law.owner) return all('deposed')
    if (law.release !== null && record.release !== law.release) return all('deposed')

    const { version, floor, ends, written } = this.standing(record.tenant)
    const { base, decisions } = record
    if (base < floor) return all('too-old')
    if (base > version || ends.get(base) !== record.digest) return all('diverged')

    const verdicts: Verdict[] = []
    for (const [i, decision] of decisions.entries()) {
      const { id, reads } = decision
      const expired = /^\w{8}-\w{4}-7/.test(id) && Number(`0x${id.slice(0, 13).replace('-', '')}`) < law.forgetBefore
      const before =
        this.#past.some(past => past.record.tenant === record.tenant && wasAccepted(id, past.record.decisions, past.verdicts)) ||
        wasAccepted(id, decisions, verdicts)
      const behind = written.filter(each => each.version > base)
      const stale =
        reads === '*' ? version !== base : behind.some(({ writes }) => writes === '*' || reads.some(tag => writes.includes(tag)))
      const earlier = decisions.slice(0, i).filter(each => each.events.length > 0)
      const cameTrue = version === base && decisions.slice(0, i).every((each, j) => each.events.length === 0 || verdicts[j] === 'accepted')
      const speculated = earlier.some(each => touches(reads, writesOf(each))) && !cameTrue
      verdicts.push(expired ? 'expired' : before ? 'duplicate' : stale || speculated ? 'conflict' : 'accepted')
    }
    return verdicts
  }
}

function amended(law: Law, record: ControlRecord): Law {
  switch (record.kind) {
    case 'term':
      return record.number === law.term + 1 ? { ...law, term: record.number, owner: record.owner } : law
    case 'release':
      return record.replaces === law.release && record.release !== law.release
        ? { ...law, release: record.release, term: law.term + 1, owner: null }
        : law
    case 'forget':
      return { ...law, forgetBefore: Math.max(law.forgetBefore, record.before) }
    case 'rules':
      return record.number === law.rules + 1 ? { ...law, rules: record.number, window: record.window } : law
    case 'seal':
      return { ...law, sealed: true }
    default:
      return law
  }
}

const wasAccepted = (id: string, decisions: readonly Decision[], verdicts: readonly Verdict[]) =>
  decisions.some((each, i) => each.id === id && verdicts[i] === 'accepted')

const writesOf = ({ writes, events }: Decision): Tags => (writes === '*' ? '*' : [...writes, ...events.flatMap(({ tags }) => tags ?? [])])

const touches = (reads: Tags, writes: Tags) =>
  reads === '*' || (writes === '*' ? reads.length > 0 : reads.some(tag => writes.includes(tag)))
