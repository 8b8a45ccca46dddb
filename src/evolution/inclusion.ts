/**
 * Is everything that one JSON Schema accepts also accepted by another? A sound answer, not a complete one: what is not reported is certain,
 * what is reported may be well after all, where schemas say one thing in two ways.
 *
 * The old one is taken apart into alternatives (values, and schemas of one type each), and each of them must be accepted by one of the new.
 */
import { isDeepStrictEqual } from 'node:util'

/** Draft 2020-12, as validators write it. */
export type JsonSchema = boolean | { readonly [keyword: string]: unknown }
type Keywords = { readonly [keyword: string]: unknown }

export type DifferenceKind =
  | 'field-removed'
  | 'required-added'
  | 'type-narrowed'
  | 'value-removed'
  | 'undeclared-refused'
  | 'undeclared-kept'

interface Difference {
  readonly kind: DifferenceKind
  /** Where in the data, such as `lines[].amount`; empty for the whole. */
  readonly path: string
  readonly text: string
}

/** Why something that `old` accepts may not be accepted by `now`; nothing if all of it certainly is. */
export function differences(old: JsonSchema, now: JsonSchema): Difference[] {
  if (isDeepStrictEqual(old, now)) return []
  const found = new Inclusion(old, now).included(old, now, '', 0)
  // Branches of a union may fail for one reason.
  return found.filter(({ kind, path }, index) => found.findIndex(other => other.kind === kind && other.path === path) === index)
}

/** They say nothing about what is accepted; `format` and the like do, for some validators. */
const annotations: ReadonlySet<string> = new Set([
  '$schema',
  '$id',
  '$defs',
  '$comment',
  'definitions',
  'title',
  'description',
  'default',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
  'id',
])
/** Keywords that are understood, by the type they speak of. Any other must be the same in both. */
const understood: Record<string, readonly string[]> = {
  string: ['minLength', 'maxLength', 'pattern', 'patterns'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  object: ['properties', 'required', 'additionalProperties', 'propertyNames', 'minProperties', 'maxProperties'],
}
/** What they mean depends on other keywords: the same is not enough. */
const entangled: ReadonlySet<string> = new Set([
  'patternProperties',
  'unevaluatedProperties',
  'unevaluatedItems',
  'contains',
  'then',
  'else',
])
/** What one of these means depends on the others beside it. */
const beside = ['properties', 'additionalProperties', 'patternProperties', 'items', 'prefixItems']
const types = ['string', 'number', 'boolean', 'null', 'array', 'object'] as const
const DEPTH = 64

class Inclusion {
  readonly #old: JsonSchema
  readonly #now: JsonSchema
  /** Pairs that are being compared: a recursive schema comes to them again, and they hold if nothing else speaks against them. */
  readonly #open = new Map<unknown, Set<unknown>>()

  constructor(old: JsonSchema, now: JsonSchema) {
    this.#old = old
    this.#now = now
  }

  /** Of a value, or of a part of one: coming to the same pair again is a step into the data. */
  included(given: JsonSchema, wanted: JsonSchema, path: string, depth: number): Difference[] {
    const [old, now] = [followed(given, this.#old), followed(wanted, this.#now)]
    const before = this.#open.get(old)
    if (before?.has(now)) return []
    const open = before ?? new Set()
    if (!before) this.#open.set(old, open)
    open.add(now)
    try {
      return this.#whole(old, now, path, depth)
    } finally {
      open.delete(now)
    }
  }

  #whole(old: JsonSchema, now: JsonSchema, path: string, depth: number): Difference[] {
    if (isNever(old) || now === true || (now !== false && Object.keys(bare(now)).length === 0)) return []
    if (isDeepStrictEqual(old, now) && !refers(now)) return []
    if (depth > DEPTH) return [narrowed(path, 'it is nested too deep to be compared')]
    return this.#parts(now).flatMap(part => this.#includedIn(old, part, path, depth))
  }

  /** A schema as several that must all hold, each of them a plain one or nothing but a choice. */
  #parts(schema: JsonSchema): JsonSchema[] {
    const whole = normal(schema, this.#now)
    if (typeof whole === 'boolean') return [whole]
    const { anyOf, oneOf, ...rest } = whole
    const parts: JsonSchema[] = []
    if (anyOf !== undefined) parts.push({ anyOf })
    if (oneOf !== undefined) parts.push({ oneOf })
    if (parts.length === 0 || Object.keys(rest).length > 0) parts.push(rest)
    return parts
  }

  #includedIn(old: JsonSchema, now: JsonSchema, path: string, depth: number): Difference[] {
    const found: Difference[] = []
    for (const atom of alternatives(old, this.#old, depth)) {
      if (atom === undefined) return [narrowed(path, 'it refers to itself too deep to be compared')]
      found.push(...this.#atom(atom, now, path, depth))
    }
    return found
  }

  /** @param atom a value, or a schema of one type */
  #atom(atom: Keywords, now: JsonSchema, path: string, depth: number): Difference[] {
    if (isNever(now)) return [narrowed(path, 'nothing is accepted here any more')]
    if (typeof now === 'boolean') return []
    const choice = (now['anyOf'] ?? now['oneOf']) as readonly JsonSchema[] | undefined
    if (choice === undefined) return this.#plain(atom, now, path, depth)
    const tried = choice.map(branch => this.#whole(atom, branch, path, depth + 1))
    const fitting = tried.findIndex(found => found.length === 0)
    if (fitting >= 0) {
      const only = now['oneOf'] === undefined || choice.every((branch, index) => index === fitting || this.#disjoint(atom, branch))
      return only ? [] : [narrowed(path, 'more than one of its alternatives may match, where one alone may')]
    }
    if ('const' in atom) return [valueRemoved(path, atom['const'])]
    // Told is what the likeliest alternative lacks.
    const likely = tried.filter((_, index) => !this.#disjoint(atom, choice[index]!)).sort((a, b) => a.length - b.length)[0]
    return likely ?? [narrowed(path, `${called(atom)} is not one of its alternatives any more`)]
  }

  #plain(atom: Keywords, now: Keywords, path: string, depth: number): Difference[] {
    const values = 'const' in now ? [now['const']] : (now['enum'] as readonly unknown[] | undefined)
    if ('const' in atom) {
      const value = atom['const']
      if (values && !values.some(each => isDeepStrictEqual(each, value))) return [valueRemoved(path, value)]
      const type = typeOf(value)
      if (!allows(now, type === 'number' && Number.isInteger(value) ? 'integer' : type)) return [valueRemoved(path, value)]
      // As a schema that nothing but the value passes.
      return this.#constrained(exactly(value), now, path, depth)
    }
    const type = atom['type'] as string
    if (values) return [narrowed(path, `it was any ${type}, and is one of ${values.length} values now`)]
    if (!allows(now, type)) return [narrowed(path, `it was ${called(atom)}, and is ${calledTypes(now)} now`)]
    return this.#constrained(atom, now, path, depth)
  }

  /** Both are of one type, or `now` says nothing of it. */
  #constrained(old: Keywords, now: Keywords, path: string, depth: number): Difference[] {
    const type = old['type'] === 'integer' ? 'number' : (old['type'] as string)
    const found: Difference[] = []
    const others = Object.keys(now).filter(
      keyword =>
        !['type', 'const', 'enum'].includes(keyword) &&
        !annotations.has(keyword) &&
        !Object.entries(understood).some(([, keywords]) => keywords.includes(keyword)),
    )
    for (const keyword of others)
      if (entangled.has(keyword) || refers(now[keyword]) || !isDeepStrictEqual(old[keyword], now[keyword]))
        found.push(narrowed(path, `'${keyword}' is another one, and may refuse what was accepted`))
    const least = (keyword: string, was: unknown = old[keyword]) => {
      const limit = now[keyword] as number | undefined
      if (limit !== undefined && !((was as number) >= limit)) found.push(narrowed(path, `${keyword} is ${limit} now`))
    }
    const most = (keyword: string, was: unknown = old[keyword]) => {
      const limit = now[keyword] as number | undefined
      if (limit !== undefined && !((was as number) <= limit)) found.push(narrowed(path, `${keyword} is ${limit} now`))
    }
    if (type === 'string') {
      least('minLength', old['minLength'] ?? 0)
      most('maxLength')
      for (const pattern of patternsOf(now)) {
        const value = 'value' in old ? (old['value'] as string) : undefined
        if (value === undefined ? !patternsOf(old).includes(pattern) : !matches(pattern, value))
          found.push(narrowed(path, `its pattern is another one, ${shown(pattern)}, and may refuse what was accepted`))
      }
    } else if (type === 'number') this.#numbers(old, now, found, path)
    else if (type === 'array') {
      least('minItems', old['minItems'] ?? 0)
      most('maxItems')
      this.#items(old, now, found, path, depth)
    } else if (type === 'object') {
      least('minProperties', Math.max((old['minProperties'] as number | undefined) ?? 0, required(old).size))
      most('maxProperties', old['maxProperties'] ?? (old['additionalProperties'] === false ? Object.keys(fields(old)).length : undefined))
      this.#fields(old, now, found, path, depth)
    }
    return found
  }

  #numbers(old: Keywords, now: Keywords, found: Difference[], path: string): void {
    const number = (schema: Keywords, keyword: string) => schema[keyword] as number | undefined
    const low = Math.max(number(old, 'minimum') ?? -Infinity, number(old, 'exclusiveMinimum') ?? -Infinity)
    const high = Math.min(number(old, 'maximum') ?? Infinity, number(old, 'exclusiveMaximum') ?? Infinity)
    const open = { low: low === number(old, 'exclusiveMinimum'), high: high === number(old, 'exclusiveMaximum') }
    const fail = (keyword: string) => found.push(narrowed(path, `${keyword} is ${number(now, keyword)} now`))
    const minimum = number(now, 'minimum')
    if (minimum !== undefined && !(low >= minimum)) fail('minimum')
    const above = number(now, 'exclusiveMinimum')
    if (above !== undefined && !(low > above || (low === above && open.low))) fail('exclusiveMinimum')
    const maximum = number(now, 'maximum')
    if (maximum !== undefined && !(high <= maximum)) fail('maximum')
    const below = number(now, 'exclusiveMaximum')
    if (below !== undefined && !(high < below || (high === below && open.high))) fail('exclusiveMaximum')
    const step = number(now, 'multipleOf')
    if (step === undefined) return
    const was = 'value' in old ? (old['value'] as number) : (number(old, 'multipleOf') ?? (old['type'] === 'integer' ? 1 : undefined))
    // Of fractions nobody says how a validator rounds.
    const whole = Number.isSafeInteger(step) && Number.isSafeInteger(was) && was! % step === 0
    if (!whole && !('multipleOf' in old && was === step)) fail('multipleOf')
  }

  #items(old: Keywords, now: Keywords, found: Difference[], path: string, depth: number): void {
    const first = (schema: Keywords) => (schema['prefixItems'] as readonly JsonSchema[] | undefined) ?? []
    const rest = (schema: Keywords) => (schema['items'] as JsonSchema | undefined) ?? true
    const most = (old['maxItems'] as number | undefined) ?? Infinity
    const places = Math.max(first(old).length, first(now).length)
    for (let place = 0; place < Math.min(places, most); place++) {
      const was = first(old)[place] ?? rest(old)
      found.push(...this.included(was, first(now)[place] ?? rest(now), `${path}[${place}]`, depth + 1))
    }
    if (most > places) found.push(...this.included(rest(old), rest(now), `${path}[]`, depth + 1))
  }

  #fields(old: Keywords, now: Keywords, found: Difference[], path: string, depth: number): void {
    const before = fields(old)
    const after = fields(now)
    const below = (name: string) => (path === '' ? name : `${path}.${name}`)
    const others = (schema: Keywords) => (schema['additionalProperties'] as JsonSchema | undefined) ?? true
    const must = required(old)
    for (const name of required(now))
      if (!must.has(name)) {
        const filled = typeof after[name] === 'object' && 'default' in (after[name] as object)
        const why = filled ? ': a default does not fill in what was stored without it' : ''
        found.push({ kind: 'required-added', path: below(name), text: `it is required now, and events were stored without it${why}` })
      }
    for (const [name, was] of Object.entries(before)) {
      if (Object.hasOwn(after, name)) found.push(...this.included(was, after[name]!, below(name), depth + 1))
      // A dictionary, whose fields need not be declared.
      else if (Object.keys(after).length === 0 && !isNever(others(now)))
        found.push(...this.included(was, others(now), below(name), depth + 1))
      else if (!isNever(was)) found.push({ kind: 'field-removed', path: below(name), text: 'the field was removed' })
    }
    const undeclared = others(old)
    if (!isNever(undeclared)) {
      for (const [name, is] of Object.entries(after)) {
        if (Object.hasOwn(before, name)) continue
        const lacking = this.included(undeclared, is, below(name), depth + 1)
        if (lacking.length === 0) continue
        const text = 'a field of this name may have been stored before, with any value: fields that were not declared were let through'
        found.push(undeclared === true ? { kind: 'undeclared-kept', path: below(name), text } : lacking[0]!)
      }
      const rest = others(now)
      const any = path === '' ? '*' : `${path}.*`
      if (isNever(rest))
        found.push({ kind: 'undeclared-refused', path: any, text: 'fields that are not declared were stored, and are refused now' })
      else found.push(...this.included(undeclared, rest, any, depth + 1))
    }
    const names = now['propertyNames'] as JsonSchema | undefined
    if (names === undefined) return
    const wide = isNever(undeclared)
      ? []
      : this.included({ type: 'string', ...(old['propertyNames'] as object | undefined) }, names, path, depth + 1)
    const declared = Object.keys(before).flatMap(name => this.included({ const: name }, names, below(name), depth + 1))
    if (wide.length + declared.length > 0) found.push(narrowed(path, 'names of fields that were accepted may be refused'))
  }

  /** Certainly nothing passes both. */
  #disjoint(atom: Keywords, branch: JsonSchema): boolean {
    const others = alternatives(branch, this.#now, 0)
    return others.every(other => other !== undefined && apart(atom, other, this.#old, this.#now, 0))
  }
}

// --- Parts of a schema --------------------------------------------------------------------------------------------------------------

const narrowed = (path: string, text: string): Difference => ({ kind: 'type-narrowed', path, text })

const valueRemoved = (path: string, value: unknown): Difference => ({
  kind: 'value-removed',
  path,
  text: `the value ${shown(value)} is accepted no more`,
})

const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'undefined'
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

const isNever = (schema: unknown): boolean =>
  schema === false ||
  (typeof schema === 'object' && schema !== null && 'not' in schema && (schema.not === true || isDeepStrictEqual(schema.not, {})))

const fields = (schema: Keywords): { readonly [name: string]: JsonSchema } =>
  (schema['properties'] as Record<string, JsonSchema> | undefined) ?? {}

const required = (schema: Keywords): ReadonlySet<string> => new Set(schema['required'] as readonly string[] | undefined)

const patternsOf = (schema: Keywords): readonly string[] => {
  const one = schema['pattern'] as string | undefined
  return [...(one === undefined ? [] : [one]), ...((schema['patterns'] as readonly string[] | undefined) ?? [])]
}

function matches(pattern: string, value: string): boolean {
  try {
    return new RegExp(pattern, 'u').test(value)
  } catch {
    return false
  }
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

const typesOf = (schema: Keywords): readonly string[] | undefined => {
  const type = schema['type'] as string | readonly string[] | undefined
  return typeof type === 'string' ? [type] : type
}

function allows(schema: Keywords, type: string): boolean {
  const allowed = typesOf(schema)
  return allowed === undefined || allowed.includes(type) || (type === 'integer' && allowed.includes('number'))
}

const called = (atom: Keywords): string => {
  if ('const' in atom) return shown(atom['const'])
  const type = atom['type'] as string
  return /^[aio]/.test(type) ? `an ${type}` : `a ${type}`
}

const calledTypes = (schema: Keywords): string => typesOf(schema)?.join(' or ') ?? 'something else'

/** A schema for one value: its keywords are what the value has. */
function exactly(value: unknown): Keywords {
  if (typeof value === 'string') {
    // JSON Schema counts characters, some validators count halves of them.
    return { type: 'string', minLength: Array.from(value).length, maxLength: value.length, value }
  }
  if (typeof value === 'number') return { type: Number.isInteger(value) ? 'integer' : 'number', minimum: value, maximum: value, value }
  if (Array.isArray(value)) {
    return { type: 'array', prefixItems: value.map(item => ({ const: item as unknown })), minItems: value.length, maxItems: value.length }
  }
  if (typeof value !== 'object' || value === null) return { type: typeOf(value) }
  const properties = Object.fromEntries(Object.entries(value).map(([name, part]) => [name, { const: part as unknown }]))
  return { type: 'object', properties, required: Object.keys(properties), additionalProperties: false }
}

/** With its references followed, without annotations, and in one piece as far as that goes. */
function normal(schema: JsonSchema, root: JsonSchema): JsonSchema {
  let given = schema
  for (let hops = 0; typeof given === 'object' && '$ref' in given; hops++) {
    const { $ref, ...rest } = given
    const target = hops < DEPTH ? referred($ref as string, root) : undefined
    // What cannot be followed stays, as a keyword that nobody knows.
    if (target === undefined) return { '$ref unknown': $ref, ...bare(rest) }
    const more = bare(rest)
    given = Object.keys(more).length === 0 ? target : { ...more, allOf: [target, ...((more['allOf'] as []) ?? [])] }
  }
  if (typeof given === 'boolean') return given
  const { allOf, ...whole } = bare(given)
  if (allOf === undefined) return whole
  return (allOf as readonly JsonSchema[]).reduce<JsonSchema>((joint, part) => joined(joint, normal(part, root)), whole)
}

/** Both at once. What says two things of one keyword is kept apart, under a name that nothing understands. */
function joined(one: JsonSchema, other: JsonSchema): JsonSchema {
  if (typeof one === 'boolean') return one ? other : false
  if (typeof other === 'boolean') return other ? one : false
  const speaks = (schema: Keywords) => beside.some(keyword => keyword in schema)
  if (speaks(one) && speaks(other)) return { ...one, allOf: [...((one['allOf'] as []) ?? []), other] }
  const { pattern, patterns, ...rest } = other
  const joint: Record<string, unknown> = { ...one }
  const more = patternsOf({ pattern, patterns })
  if (more.length > 0) joint['patterns'] = [...((one['patterns'] as []) ?? []), ...more]
  for (const [keyword, value] of Object.entries(rest)) {
    if (!(keyword in joint)) joint[keyword] = value
    else if (!isDeepStrictEqual(joint[keyword], value)) joint['allOf'] = [...((joint['allOf'] as []) ?? []), other]
  }
  return joint
}

const bare = (schema: Keywords): Keywords => Object.fromEntries(Object.entries(schema).filter(([keyword]) => !annotations.has(keyword)))

/** Where a schema that is nothing but a reference leads, so that the same place is known again. */
function followed(schema: JsonSchema, root: JsonSchema): JsonSchema {
  if (typeof schema === 'boolean' || !('$ref' in schema) || Object.keys(schema).length > 1) return schema
  return referred(schema['$ref'] as string, root) ?? schema
}

const refers = (schema: unknown): boolean => JSON.stringify(schema ?? null).includes('"$ref"')

function referred(ref: string, root: JsonSchema): JsonSchema | undefined {
  if (ref !== '#' && !ref.startsWith('#/')) return undefined
  let found: unknown = root
  for (const step of ref
    .slice(2)
    .split('/')
    .filter(step => step !== '')) {
    const name = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, name)) return undefined
    found = (found as Record<string, unknown>)[name]
  }
  return found as JsonSchema
}

/**
 * A schema as values and schemas of one type each, any of which its values pass; what is left out of them only makes it take more.
 * Undefined for what refers to itself without an end.
 */
function alternatives(schema: JsonSchema, root: JsonSchema, depth: number): (Keywords | undefined)[] {
  if (depth > DEPTH) return [undefined]
  const whole = normal(schema, root)
  if (isNever(whole)) return []
  const given = typeof whole === 'boolean' ? {} : whole
  if ('const' in given) return [{ const: given['const'] }]
  if ('enum' in given) return (given['enum'] as readonly unknown[]).map(value => ({ const: value }))
  const { anyOf, oneOf, ...rest } = given
  const choice = (anyOf ?? oneOf) as readonly JsonSchema[] | undefined
  if (choice !== undefined) {
    return choice.flatMap(branch => {
      const one = normal(branch, root)
      const apart = typeof one === 'boolean' || Object.keys(one).some(keyword => keyword in rest)
      return alternatives(apart ? one : { ...rest, ...one }, root, depth + 1)
    })
  }
  return (typesOf(given) ?? types).flatMap((type): Keywords[] => {
    if (type === 'null') return [{ const: null }]
    if (type === 'boolean') return [{ const: true }, { const: false }]
    return [{ ...given, type }]
  })
}

/** Of two alternatives: certainly nothing is both. */
function apart(one: Keywords, other: Keywords, rootOfOne: JsonSchema, rootOfOther: JsonSchema, depth: number): boolean {
  if (depth > 4) return false
  const kind = (atom: Keywords) =>
    'const' in atom ? typeOf(atom['const']) : atom['type'] === 'integer' ? 'number' : (atom['type'] as string)
  if (kind(one) !== kind(other)) return true
  if ('const' in one && 'const' in other) return !isDeepStrictEqual(one['const'], other['const'])
  if (kind(one) !== 'object') return false
  const [a, b] = [one, other].map(atom => ('const' in atom ? exactly(atom['const']) : atom)) as [Keywords, Keywords]
  return [...required(a)].some(name => {
    if (!required(b).has(name) || !(name in fields(a)) || !(name in fields(b))) return false
    const left = alternatives(fields(a)[name]!, rootOfOne, depth)
    const right = alternatives(fields(b)[name]!, rootOfOther, depth)
    return left.every(x => right.every(y => x !== undefined && y !== undefined && apart(x, y, rootOfOne, rootOfOther, depth + 1)))
  })
}
