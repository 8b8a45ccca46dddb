/**
 * The record: one entry of the log, written whole or not at all. Its bytes are its JSON value; nothing else counts.
 * Here: its types, limits, `encode`, `decode`. `decode` is total: whatever stands in the log gets an answer.
 */
import { hash } from 'node:crypto'
import { canonical, isCanonical } from './canonical.ts'
import { isId, isLine, isName, isTag, isTenant } from './ids.ts'

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }

/** What a decision touches: tags, or '*' for the whole tenant. */
export type Tags = readonly string[] | '*'

export interface RecordedEvent {
  readonly type: string
  /** Version of the event type's schema, from 1. */
  readonly schema: number
  readonly data: Json
  readonly tags?: readonly string[]
}

/** Who a command came from, and what it belongs to: it stands in the record beside the command's events. Each is one line of up to 256 characters. */
export interface CommandMeta {
  /** Who did it. */
  readonly principal?: string
  /** What belongs together, such as all that one request set off. */
  readonly correlation?: string
  /** The command or event that this one follows from. */
  readonly causation?: string
  /** A W3C `traceparent`. */
  readonly trace?: string
}

/** The names of its members. */
export const META_KEYS = ['principal', 'correlation', 'causation', 'trace'] as const

export interface Decision {
  readonly id: string
  readonly command: string
  /** sha256, base64url, of the canonical JSON of [command, input as given]. */
  readonly hash: string
  readonly reads: Tags
  /** The writes of its scope. What it writes in all: these and its events' tags. */
  readonly writes: Tags
  /** None: a rejection, or an acceptance that changes nothing. */
  readonly events: readonly RecordedEvent[]
  readonly result?: Json
  readonly rejection?: { readonly code: string; readonly details?: Json }
  readonly meta?: CommandMeta
}

export interface Term {
  readonly number: number
  /** An incarnation of a replica; null while nobody owns the shard. */
  readonly owner: string | null
}

export interface DataRecord {
  readonly kind: 'data'
  readonly log: string
  readonly rules: number
  readonly term: Term
  readonly release: string
  readonly tenant: string
  /** The version that the decisions were made at, and the tenant's digest there. */
  readonly base: number
  readonly digest: string
  /** Milliseconds since the epoch; decide saw the same as `now`. */
  readonly time: number
  readonly decisions: readonly Decision[]
}

interface ControlBase {
  readonly log: string
  readonly time: number
}
export interface Manifest extends ControlBase {
  readonly kind: 'manifest'
  readonly app: string
  readonly partitions: number
  /** Which of them this log is, from 0. Left out of the bytes where it is 0. */
  readonly partition: number
  readonly rules: number
  /** W: how many versions back a base may lie. */
  readonly window: number
  /** Raised by every copy and restore. From 1. */
  readonly generation: number
}
export interface TermRecord extends ControlBase {
  readonly kind: 'term'
  readonly number: number
  readonly owner: string | null
  /** Where followers pass commands on to; null in an abdication. */
  readonly address: string | null
}
export interface ReleaseRecord extends ControlBase {
  readonly kind: 'release'
  readonly release: string
  readonly replaces: string | null
}
export interface ForgetRecord extends ControlBase {
  readonly kind: 'forget'
  /** Milliseconds since the epoch: UUIDv7 ids older than this expire. */
  readonly before: number
}
export interface RulesRecord extends ControlBase {
  readonly kind: 'rules'
  readonly number: number
  readonly window: number
}
export interface Seal extends ControlBase {
  readonly kind: 'seal'
}
export interface Barrier extends ControlBase {
  readonly kind: 'barrier'
  readonly nonce: string
}
export type ControlRecord = Manifest | TermRecord | ReleaseRecord | ForgetRecord | RulesRecord | Seal | Barrier
export type LogRecord = DataRecord | ControlRecord

/** What is not a record of ours: it has no effect, and is counted and shown. */
export interface Foreign {
  readonly kind: 'foreign'
  readonly reason: string
}

/** A data record without its decisions. */
export type RecordHead = Omit<DataRecord, 'kind' | 'decisions'>

const FORMAT = 1

/** What a writer may pack into one record, in bytes of UTF-8: well under the 1 MiB that Kafka takes by default. Readers take any size. */
export const MAX_RECORD_BYTES = 900 * 1024

/**
 * How deep events' data, results and rejections' details may be nested: JSON.parse knows no bounds, but what comes after it does. What
 * is deeper is foreign in the log, so whoever writes must look first.
 */
export const MAX_DEPTH = 100

/** sha256 in base64url, 43 characters; of a text, its UTF-8. */
export const sha256 = (value: string | Uint8Array): string => hash('sha256', value, 'base64url')

/**
 * Tells a record from any other that may stand at its place: its length and its first KiB, with the envelope (base and digest there) and the
 * first command ids. What it says is guarded by the digest; this is looked at only when a database is opened.
 */
export function recordHash(value: string | Uint8Array): string {
  const head = value.slice(0, 1_024)
  return sha256(typeof head === 'string' ? `${value.length}\n${head}` : Buffer.concat([Buffer.from(`${value.length}\n`), head]))
}

/**
 * What a repeated command id is compared by: two inputs that are the same JSON, in whatever order of keys, have the same hash.
 * @throws what JSON.stringify throws
 */
export const inputHash = (command: string, input: unknown): string =>
  sha256(`[${quoted(command)},${(isCanonical(input) ? JSON.stringify(input) : canonical(input)) ?? 'null'}]`)

// --- Encode ---------------------------------------------------------------------------------------------------------------------

/**
 * One decision, as `encodeRecord` wants it: encoded once, when it was decided, so that its size is known before the batch is closed. Left out:
 * writes that are the reads, schema version 1, and whatever is empty. (Names and hashes hold nothing that JSON escapes.)
 */
export function encodeDecision({ id, command, hash, reads, writes, events, result, rejection, meta }: Decision): string {
  let more = ''
  if (result !== undefined) more += `,"result":${JSON.stringify(result)}`
  if (rejection !== undefined) more += `,"rejection":${JSON.stringify(rejection)}`
  if (meta && Object.keys(meta).length > 0) more += `,"meta":${JSON.stringify(meta)}`
  const written = writes === reads ? '' : `,"writes":${listed(writes)}`
  const facts = events.length === 1 ? encodeEvent(events[0]!) : events.map(encodeEvent).join()
  // In one piece, which is quicker than one after the other.
  return `{"id":${quoted(id)},"command":"${command}","hash":"${hash}","reads":${listed(reads)}${written},"events":[${facts}]${more}}`
}

function encodeEvent({ type, schema, data, tags }: RecordedEvent): string {
  const version = schema === 1 ? '' : `,"schema":${schema}`
  const list = tags?.length ? `,"tags":${listed(tags)}` : ''
  return `{"type":"${type}"${version},"data":${JSON.stringify(data)}${list}}`
}

/** Names, ids and tags are well-formed and hold no control characters: two more are all that JSON escapes. To look for them is quicker than to let it look. */
const quoted = (text: string): string => (/["\\]/.test(text) ? JSON.stringify(text) : `"${text}"`)

function listed(tags: Tags): string {
  if (tags === '*') return '"*"'
  return tags.length === 1 ? `[${quoted(tags[0]!)}]` : `[${tags.map(quoted).join()}]`
}

export function encodeRecord(head: RecordHead, decisions: readonly string[]): string {
  const { log, rules, term, release, tenant, base, digest, time } = head
  const { number, owner } = term
  const fields = { mainstem: FORMAT, kind: 'data', log, rules, term: { number, owner }, release, tenant, base, digest, time }
  return `${JSON.stringify(fields).slice(0, -1)},"decisions":[${decisions.join(',')}]}`
}

export function encodeControl(record: ControlRecord): string {
  const first = record.kind === 'manifest' && record.partition === 0
  return JSON.stringify({ mainstem: FORMAT, ...record, ...(first ? { partition: undefined } : {}) })
}

// --- Decode ---------------------------------------------------------------------------------------------------------------------
// What is returned is built anew from checked fields: a field that this version does not know is allowed, and never seen.
// The readers below return a string when they refuse: the path of the field that is not legal.

type Members = { readonly [key: string]: unknown }
type Mutable<T> = { -readonly [K in keyof T]: T[K] }

// A byte order mark stays and is refused by JSON.parse: one record, one sequence of bytes.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The record in a value of the log. Never throws; the same bytes get the same answer everywhere. */
export function decode(value: string | Uint8Array): LogRecord | Foreign {
  let members: unknown
  try {
    const text = typeof value === 'string' ? value : utf8.decode(value)
    if (!text.isWellFormed()) return foreign('it is not well-formed Unicode')
    members = JSON.parse(text)
  } catch {
    return foreign('it is not JSON in UTF-8')
  }
  if (!isObject(members) || !isCount(members.mainstem)) return foreign('it is not an envelope of Mainstem')
  if (members.mainstem !== FORMAT) return foreign(`its format ${members.mainstem} is not known here`)
  const record = members.kind === 'data' ? readData(members) : readControl(members)
  return typeof record === 'string' ? foreign(`its field ${record} is not legal`) : record
}

const foreign = (reason: string): Foreign => ({ kind: 'foreign', reason })

const isObject = (value: unknown): value is Members => typeof value === 'object' && value !== null && !Array.isArray(value)
const isCount = (value: unknown, from = 0): value is number => Number.isSafeInteger(value) && (value as number) >= from
const isTime = (value: unknown): value is number => isCount(value) && value <= 8.64e15
// To look for one that is wrong is twice as fast as to match all that are right.
const isSha256 = (value: unknown): value is string => typeof value === 'string' && value.length === 43 && !/[^\w-]/.test(value)
const isTagList = (value: unknown): value is readonly string[] => Array.isArray(value) && value.every(isTag)
const isTags = (value: unknown): value is Tags => value === '*' || isTagList(value)

/** Whether JSON.stringify would give back what JSON.parse gave: not for what is nested too deeply, nor for 1e999. */
function isJson(value: unknown, depth = MAX_DEPTH): value is Json {
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object' || value === null) return value !== undefined
  if (depth === 0) return false
  if (Array.isArray(value)) return value.every(item => isJson(item, depth - 1))
  for (const key in value) if (!isJson((value as Members)[key], depth - 1)) return false
  return true
}

function readData(members: Members): DataRecord | string {
  const { log, rules, term, release, tenant, base, digest, time } = members
  if (!isId(log)) return 'log'
  if (!isCount(rules)) return 'rules'
  if (!isObject(term)) return 'term'
  const { number, owner } = term
  if (!isCount(number)) return 'term.number'
  if (owner !== null && !isId(owner)) return 'term.owner'
  if (!isLine(release)) return 'release'
  if (!isTenant(tenant)) return 'tenant'
  if (!isCount(base)) return 'base'
  if (!isSha256(digest)) return 'digest'
  if (!isTime(time)) return 'time'
  if (!Array.isArray(members.decisions) || members.decisions.length === 0) return 'decisions'
  const decisions: Decision[] = []
  for (const each of members.decisions) {
    const decision = readDecision(each)
    if (typeof decision === 'string') return `decisions[${decisions.length}]${decision}`
    decisions.push(decision)
  }
  return { kind: 'data', log, rules, term: { number, owner }, release, tenant, base, digest, time, decisions }
}

function readDecision(members: unknown): Decision | string {
  if (!isObject(members)) return ''
  const { id, command, hash, reads, writes = reads, result, rejection } = members
  if (!isId(id)) return '.id'
  if (!isName(command)) return '.command'
  if (!isSha256(hash)) return '.hash'
  if (!isTags(reads)) return '.reads'
  if (!isTags(writes)) return '.writes'
  if (!Array.isArray(members.events)) return '.events'
  const events: RecordedEvent[] = []
  for (const each of members.events) {
    const event = readEvent(each)
    if (typeof event === 'string') return `.events[${events.length}]${event}`
    events.push(event)
  }
  const decision: Mutable<Decision> = { id, command, hash, reads, writes, events }
  if (result !== undefined) {
    if (!isJson(result)) return '.result'
    decision.result = result
  }
  if (rejection !== undefined) {
    // A "no" changes nothing and gives nothing.
    if (!isObject(rejection) || typeof rejection.code !== 'string' || events.length > 0 || result !== undefined) return '.rejection'
    const { code, details } = rejection
    if (details === undefined) decision.rejection = { code }
    else if (isJson(details)) decision.rejection = { code, details }
    else return '.rejection.details'
  }
  if (members.meta !== undefined) {
    const meta = readMeta(members.meta)
    if (!meta) return '.meta'
    decision.meta = meta
  }
  return decision
}

function readEvent(members: unknown): RecordedEvent | string {
  if (!isObject(members)) return ''
  const { type, schema = 1, data, tags } = members
  if (!isName(type)) return '.type'
  if (!isCount(schema, 1)) return '.schema'
  if (!isJson(data)) return '.data'
  if (tags === undefined) return { type, schema, data }
  return isTagList(tags) ? { type, schema, data, tags } : '.tags'
}

function readMeta(members: unknown): CommandMeta | undefined {
  if (!isObject(members)) return undefined
  const meta: Mutable<CommandMeta> = {}
  for (const key of META_KEYS) {
    const text = members[key]
    if (typeof text === 'string') meta[key] = text
    else if (text !== undefined) return undefined
  }
  return meta
}

function readControl(members: Members): ControlRecord | string {
  const { kind, log, time } = members
  if (!isId(log)) return 'log'
  if (!isTime(time)) return 'time'
  switch (kind) {
    case 'manifest': {
      const { app, partitions, partition = 0, rules, window, generation } = members
      if (!isName(app)) return 'app'
      if (!isCount(partitions, 1)) return 'partitions'
      if (!isCount(partition) || partition >= partitions) return 'partition'
      if (!isCount(rules, 1)) return 'rules'
      if (!isCount(window)) return 'window'
      if (!isCount(generation, 1)) return 'generation'
      return { kind, log, time, app, partitions, partition, rules, window, generation }
    }
    case 'term': {
      const { number, owner, address } = members
      if (!isCount(number, 1)) return 'number'
      if (owner !== null && !isId(owner)) return 'owner'
      if (address !== null && (owner === null || !isLine(address, 2048))) return 'address'
      return { kind, log, time, number, owner, address }
    }
    case 'release': {
      const { release, replaces } = members
      if (!isLine(release)) return 'release'
      if (replaces !== null && !isLine(replaces)) return 'replaces'
      return { kind, log, time, release, replaces }
    }
    case 'forget': {
      const { before } = members
      return isTime(before) ? { kind, log, time, before } : 'before'
    }
    case 'rules': {
      const { number, window } = members
      if (!isCount(number, 1)) return 'number'
      return isCount(window) ? { kind, log, time, number, window } : 'window'
    }
    case 'seal':
      return { kind, log, time }
    case 'barrier': {
      const { nonce } = members
      return isId(nonce) ? { kind, log, time, nonce } : 'nonce'
    }
    default:
      return 'kind'
  }
}
