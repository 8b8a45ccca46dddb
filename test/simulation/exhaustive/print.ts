/** The state of a machine as text: equal for equal states, whatever led there. */
import { fieldsOf } from './reveal.ts'
import { PlainStore } from './store.ts'

/**
 * What makes no difference to what a machine does next, by class: what it was made with, counters that are only shown, words of messages, and
 * of a request what its id says as well.
 */
const idle: Readonly<Record<string, readonly string[]>> = {
  Shard: ['options', 'out', 'time', 'foreign', 'folded', 'refused', 'conflicts', 'troubled', 'touched'],
  Tenant: ['app'],
  BatchLane: ['options', 'hindrance', 'out', 'now', 'failures'],
  TransactionLane: ['options', 'hindrance', 'out', 'now', 'failures', 'fencings'],
  Queue: ['out'],
  Initiation: ['failures'],
  Object: ['used', 'winner', 'hindrance', 'prepared', 'input', 'hash'],
}
const none: readonly string[] = []
/** Times: what counts is how long ago they were, and how long from now. */
const times: ReadonlySet<string> = new Set(['notBefore', 'retryCampaignAt', 'vacantSince', 'since', 'now'])
/** A time to come: once it has passed nobody asks when. */
const waits: ReadonlySet<string> = new Set(['notBefore', 'retryCampaignAt'])

const long = new Map<string, number>()

type Revealing = { readonly name: string; readonly [fieldsOf]?: (it: object) => object }

/** An attempt that is not its tenant's any more: whatever comes for it is passed over. */
const isOver = (value: object): boolean => 'intact' in value && (value as unknown as { home: { attempt: unknown } }).home.attempt !== value

export function print(root: unknown, now: number, cursor: number): string {
  const seen = new Map<object, number>()
  const parts: string[] = []
  const walk = (value: unknown, key: string): void => {
    if (typeof value === 'string') parts.push(value.length > 40 ? `"${numbered(value)}` : `"${value}"`)
    else if (typeof value === 'number' && times.has(key)) parts.push(String(waits.has(key) && value <= now ? 0 : value - now))
    else if (typeof value === 'function') parts.push('f')
    else if (typeof value !== 'object' || value === null) parts.push(String(value))
    else {
      const before = seen.get(value)
      if (before !== undefined) {
        parts.push(`^${before}`)
        return
      }
      seen.set(value, seen.size)
      structure(value)
    }
    parts.push(' ')
  }
  const structure = (value: object): void => {
    if (value instanceof PlainStore) parts.push(value.state)
    else if (value instanceof Error) parts.push('error')
    else if (value instanceof Uint8Array) parts.push(String(numbered(Buffer.from(value).toString('latin1'))))
    else if (isOver(value)) parts.push('over')
    else if (Array.isArray(value) || value instanceof Set) {
      parts.push('[')
      for (const each of value as Iterable<unknown>) walk(each, '')
      parts.push(']')
    } else if (value instanceof Map) {
      parts.push('<')
      for (const [key, each] of value as Map<unknown, unknown>) {
        walk(key, '')
        walk(each, '')
      }
      parts.push('>')
    } else {
      const { name, [fieldsOf]: fields } = value.constructor as Revealing
      const skipped = idle[name] ?? none
      parts.push('{')
      each(value, skipped)
      if (fields) each(fields(value), skipped)
      parts.push('}')
    }
  }
  const each = (fields: object, skipped: readonly string[]): void => {
    for (const key in fields) {
      if (skipped.includes(key)) continue
      const value = (fields as Record<string, unknown>)[key]
      parts.push(key, ':')
      // A counter of which only changes count.
      if (key === 'beat') walk(Number(value) < 0, key)
      // What the cursor has passed holds nobody up.
      else if (key === 'behind' && Number(value) < cursor) walk(-1, key)
      else walk(value, key)
    }
  }
  walk(root, '')
  return parts.join('')
}

function numbered(text: string): number {
  let number = long.get(text)
  if (number === undefined) long.set(text, (number = long.size))
  return number
}
