/** Somebody else with access to the log: records that were written before, with something else in one place. None of them may have an effect that its envelope does not allow. */
import { type DataRecord, decode, encodeControl, encodeDecision, encodeRecord } from '../../record.ts'
import type { Alien } from './plan.ts'

/** Nobody gets there. */
const FAR = 1_000

export function forge(
  written: readonly { readonly value: string; readonly tenant: string }[],
  change: Alien,
  random: () => number,
  time: number,
): { readonly value: string; readonly tenant: string | null }[] {
  const recent = written.slice(-3)
  const source = recent[Math.floor(random() * recent.length)]
  const record = source && decode(source.value)
  if (record?.kind !== 'data') return []
  const { tenant } = source!
  const { number, owner } = record.term
  if (change === 'term-record')
    return [{ value: encodeControl({ kind: 'term', log: record.log, time, number, owner: 'an alien', address: null }), tenant: null }]
  return [{ value: encoded(changed(record, change, { number, owner }, random)), tenant: change === 'tenant' ? `${tenant}-2` : tenant }]
}

function changed(record: DataRecord, change: Alien, { number, owner }: DataRecord['term'], random: () => number): DataRecord {
  const fresh = record.decisions.map(decision => ({ ...decision, id: `alien-${Math.floor(random() * 1e9)}` }))
  const other = { ...record, decisions: fresh }
  // Reads nothing: whoever takes such an envelope accepts it.
  const careless = { ...record, decisions: fresh.map(decision => ({ ...decision, reads: [] })) }
  switch (change) {
    case 'term-owner':
      return { ...careless, term: { number, owner: owner === null ? 'an alien' : null } }
    case 'term-number':
      return { ...careless, term: { number: number + FAR, owner } }
    case 'rules':
      return { ...careless, rules: record.rules + FAR }
    case 'release':
      return { ...other, release: 'an alien' }
    case 'log':
      return { ...careless, log: 'another' }
    case 'base':
      return { ...other, base: Math.max(0, record.base + (random() < 0.5 ? 1 : -1)) }
    case 'digest':
      return { ...careless, digest: record.digest.slice(1) + record.digest.slice(0, 1) }
    // The very decisions, as a double or as new ones: whether they count is for the fold to say.
    case 'ids':
      return random() < 0.5 ? record : other
    case 'double-id':
      return { ...record, decisions: [...fresh, ...fresh] }
    default:
      return other
  }
}

const encoded = ({ kind: _, decisions, ...head }: DataRecord): string => encodeRecord(head, decisions.map(encodeDecision))
