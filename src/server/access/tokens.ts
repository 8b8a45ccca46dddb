/**
 * Static tokens, from a file with one of them a line: the token or `sha256:` and its hash in hex, the principal's name, its tenants (names
 * apart by commas, or `*`). Empty lines and those that begin with # are left out.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { isLine, isTenant } from '../../ids.ts'
import type { Principal } from '../access.ts'

/** What is shorter could be guessed. */
const LEAST = 16

interface Entry {
  readonly hash: Buffer
  readonly principal: Principal
}

export type Tokens = readonly Entry[]

/** @throws Error that names the line, and nothing of what stands there */
export function readTokens(text: string): Tokens {
  const lines = new Map<string, number>()
  const entries: Entry[] = []
  for (const [index, line] of text.split('\n').entries()) {
    const refuse = (why: string) => new Error(`line ${index + 1} ${why}`)
    const content = line.trim()
    if (content === '' || content.startsWith('#')) continue
    const [token, name, tenants, ...more] = content.split(/\s+/) as [string, ...string[]]
    if (name === undefined || tenants === undefined || more.length > 0)
      throw refuse('is not TOKEN PRINCIPAL TENANTS, with spaces between them: tenants are names apart by commas, or *')
    const hash = hashOf(token)
    if (hash === undefined)
      throw refuse(`has a token that is none: it is ${LEAST} or more visible ASCII characters, or sha256: and 64 hex digits`)
    if (!isLine(name)) throw refuse('has a principal that is none: it is a name of 256 characters at most')
    const list = tenants === '*' ? '*' : tenants.split(',')
    if (list !== '*' && !list.every(isTenant)) throw refuse('names a tenant that cannot be one')
    const hex = hash.toString('hex')
    const former = lines.get(hex)
    if (former !== undefined) throw refuse(`has the token of line ${former}`)
    lines.set(hex, index + 1)
    entries.push({ hash, principal: { name, tenants: list } })
  }
  if (entries.length === 0) throw new Error('there is no token in it')
  return entries
}

function hashOf(token: string): Buffer | undefined {
  if (token.startsWith('sha256:')) return /^sha256:[0-9a-f]{64}$/i.test(token) ? Buffer.from(token.slice(7), 'hex') : undefined
  return token.length >= LEAST && /^[!-~]+$/.test(token) ? sha256(token) : undefined
}

/** Whose token it is, in a time that does not tell how near it came. */
export function ownerOf(tokens: Tokens, token: string): Principal | undefined {
  const hash = sha256(token)
  let owner: Principal | undefined
  for (const entry of tokens) if (timingSafeEqual(entry.hash, hash)) owner = entry.principal
  return owner
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()
