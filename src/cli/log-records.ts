/** How records and events of a log look, for people and for programs. */
import type { DataRecord, LogRecord } from '../record.ts'
import type { Astray, Effect } from '../log/fold.ts'
import type { Stored } from '../log.ts'
import { paint, plural, printable, toJson } from './output.ts'

export interface ShownEvent {
  readonly partition: number
  readonly tenant: string
  readonly version: number
  readonly type: string
  readonly schema: number
  readonly data: unknown
  readonly at: string
  readonly id: string
  readonly command: string
  readonly position: number
}

type DataEffect = Extract<Effect, { kind: 'data' }>

const iso = (time: number) => new Date(time).toISOString()

/** The accepted events of a record. */
export function* eventsOf(partition: number, { position }: Stored, { record, verdicts, from }: DataEffect): Generator<ShownEvent> {
  let version = from
  for (const [index, { id, command, events }] of record.decisions.entries()) {
    if (verdicts[index] !== 'accepted') continue
    for (const { type, schema, data } of events) {
      yield { partition, tenant: record.tenant, version: ++version, type, schema, data, at: iso(record.time), id, command, position }
    }
  }
}

export function eventLine({ version, at, type, data, command, id }: ShownEvent): string {
  return `${String(version).padStart(6)}  ${paint.dim(at)}  ${paint.cyan(type)}  ${printable(toJson(data))}  ${paint.dim(`${command} ${id}`)}`
}

/** Everything about a record, as JSON has it. */
export function recordObject(partition: number, { position, tenant, value }: Stored, effect: Effect): object {
  if (effect.kind === 'data') {
    const { record, verdicts, from, entered } = effect
    const { decisions, kind: _, ...head } = record
    const judged = decisions.map((decision, index) => {
      const verdict = verdicts[index]
      if (verdict !== 'accepted') return { verdict, ...decision }
      const first = entered.versions[index]! - decision.events.length + 1
      return { verdict, ...decision, events: decision.events.map((event, n) => ({ version: first + n, ...event })) }
    })
    return {
      partition,
      position,
      kind: 'data',
      ...head,
      from,
      to: entered.versions.at(-1),
      digestAfter: entered.history?.digest ?? null,
      decisions: judged,
    }
  }
  if (effect.kind === 'control') return { partition, position, effect: 'accepted', ...effect.record }
  const { record, reason } = effect
  if (record) return { partition, position, tenant, effect: 'none', reason, ...record }
  return {
    partition,
    position,
    tenant,
    kind: 'foreign',
    effect: 'none',
    reason,
    ...(typeof value === 'string' ? { value } : { base64: Buffer.from(value).toString('base64') }),
  }
}

/** A record in one line. @param partition left out where there is but one */
export function recordLine({ position, tenant }: Stored, effect: Effect, partition?: number): string {
  const place = `${partition === undefined ? '' : `${partition}:`}${String(position).padStart(6)}`
  if (effect.kind === 'data') {
    const { record, verdicts, from, entered } = effect
    const to = entered.versions.at(-1)!
    const versions = to === from ? `${from}` : `${from} -> ${to}`
    const told = record.decisions.map(({ command, rejection }, index) => {
      const verdict = verdicts[index]!
      const text = verdict === 'accepted' && rejection ? `said no (${rejection.code})` : verdict
      return `${command} ${verdict === 'accepted' ? paint.green(printable(text)) : paint.yellow(verdict)}`
    })
    const shown = told.length > 8 ? [...told.slice(0, 8), `and ${told.length - 8} more`] : told
    return `${place}  ${paint.dim(iso(record.time))}  ${record.tenant}  ${versions}  ${shown.join(', ')}`
  }
  if (effect.kind === 'control')
    return `${place}  ${paint.dim(iso(effect.record.time))}  ${paint.cyan(effect.record.kind)}  ${controlText(effect.record)}`
  const { record, reason } = effect
  const who = tenant === null ? '' : `  (filed under ${tenant})`
  return `${place}  ${record ? `${paint.dim(iso(record.time))}  ` : ''}${paint.yellow(`${record?.kind ?? 'foreign'}, no effect`)}  ${printable(reason)}${who}`
}

/** Of a log that was damaged in its past. */
export function astrayText({ records, first }: Astray): string {
  const what = `${plural(records, 'record')} from position ${first} on ${records === 1 ? 'was' : 'were'} made at a digest that this log does not lead to, and ${records === 1 ? 'has' : 'have'} no effect`
  return `${paint.yellow('notice')}  ${what}: the log was altered, or a replica that wrote was damaged. \`mainstem log tail --all\` shows it`
}

export function controlText(record: Exclude<LogRecord, DataRecord>): string {
  switch (record.kind) {
    case 'manifest':
      return `app ${record.app}, log ${record.log}, ${record.partitions === 1 ? '' : `shard ${record.partition} of ${record.partitions}, `}generation ${record.generation}, rules ${record.rules}, window ${record.window}`
    case 'term':
      return record.owner === null
        ? `${record.number}, nobody leads`
        : `${record.number}, led by ${record.owner} at ${printable(record.address ?? 'no address')}`
    case 'release':
      return `${printable(record.release)} is active, before: ${record.replaces === null ? 'any' : printable(record.replaces)}`
    case 'forget':
      return `ids older than ${iso(record.before)}`
    case 'rules':
      return `${record.number}, window ${record.window}`
    case 'seal':
      return 'the log ends here'
    case 'barrier':
      return record.nonce
  }
}
