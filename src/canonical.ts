/**
 * Canonical JSON: one text for one value, however its keys were ordered. Keys are sorted by UTF-16 units; numbers, strings, dropped
 * members and `toJSON` are as JSON.stringify has them.
 */

/** Whether JSON.stringify gives the canonical JSON: the keys stand in order, and nothing has a JSON of its own making. */
export function isCanonical(value: unknown): boolean {
  if (typeof value !== 'object') return typeof value !== 'function'
  if (value === null) return true
  if ('toJSON' in value) return false
  if (Array.isArray(value)) return value.every(isCanonical)
  if (Object.getPrototypeOf(value) !== Object.prototype) return false
  let last = ''
  for (const key in value) {
    if (key < last || !isCanonical((value as { readonly [key: string]: unknown })[key])) return false
    last = key
  }
  return true
}

/**
 * The canonical JSON of a value; undefined where JSON.stringify gives undefined.
 * @throws TypeError or RangeError for what JSON cannot carry: a bigint, a cycle, nesting deeper than the stack
 */
export function canonical(value: unknown, key = ''): string | undefined {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : 'null'
  if (value === null || typeof value === 'boolean') return String(value)
  if (value === undefined) return undefined
  if (typeof value === 'object' && !('toJSON' in value)) {
    if (Array.isArray(value)) return ofArray(value)
    if (Object.getPrototypeOf(value) === Object.prototype) return ofObject(value as { readonly [key: string]: unknown })
  }
  return ofPlain(value, key)
}

function ofArray(items: readonly unknown[]): string {
  let text = ''
  for (let i = 0; i < items.length; i++) text += `${i === 0 ? '' : ','}${canonical(items[i], String(i)) ?? 'null'}`
  return `[${text}]`
}

function ofObject(members: { readonly [key: string]: unknown }): string {
  let text = ''
  for (const key of Object.keys(members).sort()) {
    const member = canonical(members[key], key)
    if (member !== undefined) text += `${text && ','}${JSON.stringify(key)}:${member}`
  }
  return `{${text}}`
}

/** Dates, instances, boxed values and whatever else only JSON.stringify knows how to see: first made plain by it. */
function ofPlain(value: unknown, key: string): string | undefined {
  const plain: { readonly [key: string]: unknown } = JSON.parse(JSON.stringify({ [key]: value }))
  return Object.hasOwn(plain, key) ? canonical(plain[key]) : undefined
}
