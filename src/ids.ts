/**
 * Names and ids that stand in records: their syntax, and UUIDv7. The syntax is part of the rules of the log: a record that breaks it
 * is `foreign` to every replica, so whoever writes must ask here first.
 */
import { randomFillSync } from 'node:crypto'

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const lowerUuidv7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const invisible = /[^!-~]/
const tenant = /^[a-z0-9][a-z0-9._-]{0,63}$/
const name = /^[A-Za-z][A-Za-z0-9_.-]{0,127}$/
const control = /\p{Cc}/u

/**
 * Command ids, log ids, incarnations: 1 to 128 visible ASCII characters. What looks like a UUID must be in lower case, else one UUID
 * would have many spellings and each could win once.
 */
export const isId = (id: unknown): id is string =>
  typeof id === 'string' &&
  id.length > 0 &&
  id.length <= 128 &&
  !invisible.test(id) &&
  (id.length !== 36 || id === id.toLowerCase() || !uuid.test(id))

/** Tenants: 1 to 64 of a-z 0-9 . _ - beginning with a letter or digit. Also a legal part of a file name. */
export const isTenant = (value: unknown): value is string => typeof value === 'string' && tenant.test(value)

/** Apps, commands, event types: 1 to 128 of A-Z a-z 0-9 . _ - beginning with a letter. */
export const isName = (value: unknown): value is string => typeof value === 'string' && name.test(value)

/** One line of text: 1 to `max` UTF-16 units of well-formed Unicode without control characters. */
export const isLine = (text: unknown, max = 256): text is string =>
  typeof text === 'string' && text.length > 0 && text.length <= max && !control.test(text) && text.isWellFormed()

/** Tags: one line of up to 256 characters. Not '*', which would be one tag where somebody meant everything. */
export const isTag = (tag: unknown): tag is string => isLine(tag) && tag !== '*'

// UUIDv7 (RFC 9562, 6.2 method 1): 48 bits of time, 12 bits that count within a millisecond, 62 random bits.
const digits = '0123456789abcdef'
const pool = Buffer.alloc(2048)
/** 'yxxx-xxxxxxxxxxxx' of the next ids: the variant and the random bits. */
const tails: string[] = []
let last = 0
let prefix = '00000000-0000-7'
let count = 0

/**
 * A new UUIDv7. Each one is greater than those made before in this process, also within a millisecond or when the clock steps back.
 * @param now milliseconds since the epoch
 */
export function uuidv7(now: number): string {
  // A full count borrows from the next millisecond: order matters more than the time's last digit.
  const ms = Math.floor(now)
  if (ms > last) startAt(ms)
  else if (++count > 0xfff) startAt(last + 1)
  if (tails.length === 0) makeTails()
  return `${prefix}${digits[count >> 8]!}${digits[(count >> 4) & 15]!}${digits[count & 15]!}-${tails.pop()!}`
}

function startAt(ms: number): void {
  last = ms
  count = 0
  const time = ms.toString(16).padStart(12, '0')
  prefix = `${time.slice(0, 8)}-${time.slice(8)}-7`
}

function makeTails(): void {
  const random = randomFillSync(pool).toString('hex')
  for (let at = 0; at < random.length; at += 16) {
    tails.push(`${digits[8 | ((pool[at >> 1]! >> 4) & 3)]!}${random.slice(at + 1, at + 4)}-${random.slice(at + 4, at + 16)}`)
  }
}

export const isUuidv7 = (id: string): boolean => id.length === 36 && id[14] === '7' && lowerUuidv7.test(id)

/** The time in a UUIDv7, milliseconds since the epoch; undefined for any other id. */
export function uuidv7Time(id: string): number | undefined {
  if (!isUuidv7(id)) return undefined
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
}
