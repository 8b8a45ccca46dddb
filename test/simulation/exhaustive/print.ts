/** The state of a machine as text: equal for equal states, whatever led there. */
import { fieldsOf } from './reveal.ts'
import { PlainStore } from './store.ts'

/**
 * What makes no difference to what a machine does next, by class: what it was made with, counters that are only shown, words of messages, and
 * of a request what its id says as well.
 */
const idle: ReadonlySet<string> = new Set(
  Object.entries({
    Shard: ['options', 'out', 'time', 'foreign', 'folded', 'refused', 'conflicts', 'troubled'],
    Tenant: ['app'],
    Object: ['used', 'winner', 'hindrance', 'prepared', 'input', 'hash'],
  }).flatMap(([name, fields]) => fields.map(field => `${name}.${field}`)),
)
/** Times: what counts is how long ago they were, and how long from now. */
const times: ReadonlySet<string> = new Set(['notBefore', 'retryCampaignAt', 'vacantSince', 'since', 'now'])
/** A time to come: once it has passed nobody asks when. */
const waits: ReadonlySet<string> = new Set(['notBefore', 'retryCampaignAt'])

const long = new Map<string, number>()

type Revealing = { readonly [fieldsOf]?: (it: object) => object }

export function print(root: unknown, now: number): string {
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
      const reveal = (value.constructor as Revealing)[fieldsOf]
      parts.push('{')
      for (const [key, each] of Object.entries({ ...value, ...reveal?.(value) })) {
        if (idle.has(`${value.constructor.name}.${key}`)) continue
        parts.push(key, ':')
        // A counter of which only changes count.
        walk(key === 'beat' ? Number(each) < 0 : each, key)
      }
      parts.push('}')
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
