/** Bearer tokens that are JWTs: signed by a key of a JWKS, or with a secret, for us, by the one issuer, and still good. */
import { createSecretKey, type KeyObject } from 'node:crypto'
import { createLocalJWKSet, createRemoteJWKSet, errors, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose'
import { EngineError } from '../../errors.ts'
import { isLine, isTenant } from '../../ids.ts'
import { isLoopback } from '../../replica/listen.ts'
import type { Principal } from '../access.ts'
import { keep, type Notice } from '../../replica/file.ts'

export interface JwtOptions {
  /** Where the issuer's public keys are: an https URL, or a file. */
  readonly jwks?: string
  /** A file with a secret of 32 bytes or more that the issuer and we share, instead of `jwks`. */
  readonly secretFile?: string
  /** What `iss` must be. */
  readonly issuer?: string
  /** What `aud` must be, or hold. */
  readonly audience?: string
  /** Default: with `jwks` all with a public key, with a secret HS256 alone. */
  readonly algorithms?: readonly string[]
  /** How far the issuer's clock may be off, s. Default 5. */
  readonly clockTolerance?: number
  /** The claim that lists the tenants, or is '*'. Without it a principal has none. Default: tenants. */
  readonly tenants?: string
}

/** Never `none`; and never both kinds, for a public key could then be taken for a secret. */
const publicAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']
const secretAlgorithms = ['HS256', 'HS384', 'HS512']
/** HS256 asks for a secret that is as long as its hash. */
const SECRET_BYTES = 32
/** How long keys may be on their way, ms. */
const FETCHING = 5_000

/** The token is not good: why, in words that tell nothing of it. */
export class BadToken extends Error {}
/** Nobody knows whether the token is good: the issuer's keys cannot be had. */
export class NoKeys extends Error {}

export type VerifyJwt = (token: string) => Promise<Principal>

/** @returns what throws BadToken or NoKeys. @throws EngineError invalid-option */
export function jwtOf(options: JwtOptions, notice: Notice): VerifyJwt {
  const { jwks, secretFile, issuer, audience, clockTolerance = 5, tenants: claim = 'tenants' } = options
  const refuse = (message: string) => new EngineError('invalid-option', message)
  if ((jwks === undefined) === (secretFile === undefined)) throw refuse('JWTs are checked with a JWKS or with a secret: give one of both')
  if (!issuer || !audience)
    throw refuse(
      `JWTs need an issuer and an audience (--issuer, --audience): without them a token that was made for somebody else would do`,
    )
  if (!(clockTolerance >= 0 && clockTolerance <= 300)) throw refuse('clockTolerance is from 0 to 300 seconds')
  const possible = jwks === undefined ? secretAlgorithms : publicAlgorithms
  const algorithms = [...(options.algorithms ?? (jwks === undefined ? ['HS256'] : publicAlgorithms))]
  const wrong = algorithms.find(name => !possible.includes(name))
  if (wrong !== undefined || algorithms.length === 0)
    throw refuse(
      `the algorithms of JWTs are some of ${possible.join(', ')} here${wrong === undefined ? '' : `, not ${JSON.stringify(wrong)}`}`,
    )
  const checks = { issuer, audience, algorithms, clockTolerance, requiredClaims: ['exp', 'sub'] }
  const verify = jwks === undefined ? withSecret(secretFile!, notice) : withKeys(jwks, notice)
  return async token => {
    let payload: JWTPayload
    try {
      payload = await verify(token, checks)
    } catch (error) {
      throw judged(error)
    }
    return principalOf(payload, claim)
  }
}

type Checks = Parameters<typeof jwtVerify>[2]
type Verify = (token: string, checks: Checks) => Promise<JWTPayload>

function withSecret(file: string, notice: Notice): Verify {
  const read = (text: string): KeyObject => {
    const bytes = Buffer.from(text.trim())
    if (bytes.length < SECRET_BYTES) throw new Error(`the secret is ${SECRET_BYTES} bytes or more`)
    return createSecretKey(bytes)
  }
  const secret = keep(file, 'the secret of JWTs', true, read, notice)
  return async (token, checks) => (await jwtVerify(token, secret.now(), checks)).payload
}

function withKeys(jwks: string, notice: Notice): Verify {
  if (!/^[a-z]+:\/\//i.test(jwks)) {
    const keys = keep(jwks, 'the JWKS', false, text => createLocalJWKSet(parse(text)), notice)
    return async (token, checks) => (await jwtVerify(token, keys.now(), checks)).payload
  }
  const url = URL.parse(jwks)
  const safe = url !== null && (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname)))
  if (!safe || url.username !== '' || url.password !== '')
    throw new EngineError('invalid-option', 'the JWKS is a file, or an https URL without a name and password in it')
  const keys = createRemoteJWKSet(url, { timeoutDuration: FETCHING })
  return async (token, checks) => (await jwtVerify(token, keys, checks)).payload
}

function parse(text: string): JSONWebKeySet {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Error('it is not JSON')
  }
  const keys = (value as Partial<JSONWebKeySet> | null)?.keys
  if (!Array.isArray(keys) || keys.length === 0) throw new Error('it is no JWKS: {"keys":[...]} with one key or more')
  if (keys.some(key => key?.kty === 'oct' || 'd' in (key ?? {}))) throw new Error('it holds a key that is not public')
  return value as JSONWebKeySet
}

function judged(error: unknown): Error {
  if (error instanceof errors.JWTExpired) return new BadToken('it has expired')
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason === 'missing') return new BadToken(`it has no ${shown(error.claim)}`)
    return new BadToken(error.claim === 'nbf' ? 'it is not good yet' : `its ${shown(error.claim)} is not what it must be here`)
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return new BadToken('it is signed in a way that is not allowed here')
  if (error instanceof errors.JWKSNoMatchingKey) return new BadToken('it is signed with a key that is not known here')
  if (error instanceof errors.JWKSMultipleMatchingKeys) return new BadToken('it does not say with which key it is signed')
  if (error instanceof errors.JWSSignatureVerificationFailed) return new BadToken('its signature is wrong')
  const ofToken = [errors.JWSInvalid, errors.JWTInvalid, errors.JOSENotSupported]
  if (ofToken.some(kind => error instanceof kind)) return new BadToken('it is no JWT that can be read')
  return new NoKeys(`the issuer's keys cannot be had: ${(error as Error).message}`)
}

/** Claims are named by us, so this is never text of the token. */
const shown = (claim: string): string => (/^[a-z]{1,20}$/.test(claim) ? claim : 'claim')

function principalOf(payload: JWTPayload, claim: string): Principal {
  const { sub } = payload
  if (!isLine(sub)) throw new BadToken('its sub is not a line of text of 256 characters at most')
  const tenants = payload[claim]
  if (tenants === undefined) return { name: sub, tenants: [] }
  if (tenants === '*') return { name: sub, tenants }
  if (Array.isArray(tenants) && tenants.every(isTenant)) return { name: sub, tenants }
  throw new BadToken('its tenants are neither a list of names nor *')
}
