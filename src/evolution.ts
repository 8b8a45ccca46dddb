/**
 * Events that change: compares the schemas of an app's events with those that were released, as JSON Schema. What is stored is never
 * validated again, so the question is one of sets: is whatever the released schema gave on also what the app of now takes for that
 * version of the event? Where that cannot be shown, it is reported. A pure function; `mainstem check` reads and writes the file.
 */
import { type App, definitionOf, type Schema } from './app.ts'
import { type DifferenceKind, differences, type JsonSchema } from './evolution/inclusion.ts'

/** Of each event type the schemas of its versions, from 1; null where the validator offers no JSON Schema. */
export interface EventSchemas {
  readonly app: string
  readonly events: { readonly [type: string]: readonly (JsonSchema | null)[] }
}

/** `breaking`: events that were stored may not be what the app takes them for. `unknown`: there is nothing to compare, or nobody can say. */
export const LEVELS = ['breaking', 'unknown', 'compatible'] as const
export type Level = (typeof LEVELS)[number]

export interface Change {
  readonly level: Level
  readonly kind:
    | DifferenceKind
    | 'widened'
    | 'event-removed'
    | 'version-dropped'
    | 'schema-lost'
    | 'no-json-schema'
    | 'event-added'
    | 'version-added'
  readonly event: string
  /** Of the schema, from 1. */
  readonly version: number
  /** Where in the event's data, such as `lines[].amount`; empty for the whole. */
  readonly path: string
  readonly text: string
  /** What to do about it. */
  readonly mend?: string
}

/** The schemas of an app's events, all versions, as they are stored. */
export function eventSchemas(app: App): EventSchemas {
  const { name, events } = definitionOf(app)
  const sorted = [...events].sort(([a], [b]) => (a < b ? -1 : 1))
  return { app: name, events: Object.fromEntries(sorted.map(([type, { schemas }]) => [type, schemas.map(stored)])) }
}

/** What a schema gives on: that is what goes into the log. Null if its validator cannot say it in JSON Schema. */
function stored(schema: Schema): JsonSchema | null {
  const { jsonSchema } = schema['~standard'] as { jsonSchema?: { output(options: { target: string }): JsonSchema } }
  try {
    return jsonSchema?.output({ target: 'draft-2020-12' }) ?? null
  } catch {
    // Of a transformation, say, no validator knows what it gives.
    return null
  }
}

/** What is different between what was released and what is, the breaking first. */
export function compareEvents(released: EventSchemas, current: EventSchemas): Change[] {
  const types = new Set([...Object.keys(released.events), ...Object.keys(current.events)])
  const of = ({ events }: EventSchemas, type: string) => (Object.hasOwn(events, type) ? events[type]! : [])
  const changes = [...types].flatMap(type => compareType(type, of(released, type), of(current, type)))
  return changes.sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level))
}

function compareType(event: string, before: EventSchemas['events'][string], now: EventSchemas['events'][string]): Change[] {
  const whole = { event, path: '' }
  if (now.length === 0) {
    const mend = 'Keep event types that were used: a log may hold them'
    return [
      { ...whole, level: 'breaking', kind: 'event-removed', version: before.length, text: 'the app has no such event any more', mend },
    ]
  }
  if (before.length === 0) return [{ ...whole, level: 'compatible', kind: 'event-added', version: now.length, text: 'a new event type' }]
  if (now.length < before.length) {
    const text = `versions up to ${before.length} were released, the app knows ${now.length === 1 ? 'one' : `${now.length}`}: versions or their upcasters are missing`
    const mend = 'Keep the former schemas, each lifted to the next: event(first).next(second, upcast)'
    return [{ ...whole, level: 'breaking', kind: 'version-dropped', version: before.length, text, mend }]
  }
  return now.flatMap((schema, index): Change[] => {
    const version = index + 1
    if (index < before.length) return compareVersion(event, version, before[index]!, schema, version === now.length)
    const text = `new, with an upcaster from version ${version - 1}`
    return [{ ...whole, level: 'compatible', kind: 'version-added', version, text }]
  })
}

function compareVersion(event: string, version: number, old: JsonSchema | null, now: JsonSchema | null, newest: boolean): Change[] {
  const where = { event, version }
  if (old === null) {
    const text = `not compared: its validator ${now === null ? 'offers' : 'offered'} no JSON Schema of what it stores`
    return [{ ...where, level: 'unknown', kind: 'no-json-schema', path: '', text }]
  }
  if (now === null) {
    const text = 'its validator offers no JSON Schema any more: nothing can be compared'
    return [{ ...where, level: 'breaking', kind: 'schema-lost', path: '', text }]
  }
  const mend = newest
    ? 'Keep the schema as it was released and lift its events: event(released).next(changed, upcast)'
    : 'Keep the schema of a former version as it was released: events were stored like that'
  const changes = differences(old, now).map(
    (found): Change =>
      found.kind === 'undeclared-kept' ? { ...where, ...found, level: 'unknown' } : { ...where, ...found, level: 'breaking', mend },
  )
  const broken = new Set(changes.filter(({ level }) => level === 'breaking').map(({ path }) => path))
  for (const { kind, path } of differences(now, old)) {
    if (broken.has(path) || kind === 'undeclared-kept') continue
    changes.push({ ...where, level: 'compatible', kind: 'widened', path, text: widened[kind] ?? 'more is accepted than before' })
  }
  return changes
}

/** What it is called when it happens the other way round. */
const widened: { readonly [kind in DifferenceKind]?: string } = {
  'field-removed': 'an optional field was added',
  'required-added': 'it is optional now',
  'value-removed': 'a value was added',
}
