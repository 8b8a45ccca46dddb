/**
 * Who may do what: the server asks before it does anything. Without `access` everything is allowed, which `serve` permits on loopback only.
 * Here is what is asked, and the two ways to know somebody that come with it: static tokens, and JWTs.
 */
import { EngineError } from '../errors.ts'
import { isLoopback } from '../replica/listen.ts'
import { checkKeys } from '../replica/options.ts'
import { keep, type Notice } from '../replica/file.ts'
import { BadToken, jwtOf, type JwtOptions, NoKeys } from './access/jwt.ts'
import { ownerOf, readTokens } from './access/tokens.ts'
import { Problem } from './problem.ts'

/** Somebody who was let in. The name goes into the metadata of the events that come of it. */
export interface Principal {
  readonly name: string
  /** Of others nothing is told, not even whether they are there. */
  readonly tenants: readonly string[] | '*'
}

export interface Action {
  readonly kind: 'command' | 'query' | 'events' | 'status'
  /** Of the command or query; else the last part of the path. */
  readonly name: string
}

/**
 * Asked for who was authenticated and has the tenant, before anything is done. Nothing but true allows it.
 * @param input as it passed its schema
 * @param tenant undefined for what belongs to none
 */
export type Policy = (principal: Principal, action: Action, input: unknown, tenant: string | undefined) => boolean | Promise<boolean>

export interface Access {
  /** @throws Problem unauthenticated, not-ready */
  authenticate(request: Request): Promise<Principal>
  /** Default: everything. */
  policy?: Policy
}

export interface AccessOptions {
  /** A file of static tokens. */
  readonly tokens?: string
  readonly jwt?: JwtOptions
  readonly policy?: Policy
}

const ACCESS_KEYS: ReadonlySet<string> = new Set(['tokens', 'jwt', 'policy'] satisfies (keyof AccessOptions)[])
const JWT_KEYS: ReadonlySet<string> = new Set([
  'jwks',
  'secretFile',
  'issuer',
  'audience',
  'algorithms',
  'clockTolerance',
  'tenants',
] satisfies (keyof JwtOptions)[])

/** A longer one is none of ours, and costs work. */
const MAX_TOKEN = 8_192
const realm = 'Bearer realm="mainstem"'

/**
 * Access by bearer tokens. Its files are read at once, and again when they have changed.
 * @param notice is told what is wrong with them while the server runs
 * @throws EngineError invalid-option
 */
export function bearer(options: AccessOptions, notice: Notice = text => process.emitWarning(text)): Access {
  checkKeys(options, ACCESS_KEYS, 'access')
  if (options.jwt !== undefined) checkKeys(options.jwt, JWT_KEYS, 'access.jwt')
  if (options.policy !== undefined && typeof options.policy !== 'function')
    throw new EngineError('invalid-option', 'access.policy is a function that says whether something is allowed')
  if (options.tokens === undefined && options.jwt === undefined)
    throw new EngineError('invalid-option', 'access is by tokens (a file), by jwt, or by both: give one of them')
  const tokens = options.tokens === undefined ? undefined : keep(options.tokens, 'the file of tokens', true, readTokens, notice)
  const verify = options.jwt && jwtOf(options.jwt, notice)
  const authenticate = async (request: Request): Promise<Principal> => {
    const header = request.headers.get('authorization')
    if (header === null) throw unknown('a bearer token is wanted: Authorization: Bearer TOKEN')
    const token = /^Bearer +([!-~]+)$/i.exec(header)?.[1]
    if (token === undefined || token.length > MAX_TOKEN) throw unknown('a bearer token is wanted, and nothing else', true)
    const owner = tokens && ownerOf(tokens.now(), token)
    if (owner) return owner
    if (!verify || !isJwt(token)) throw unknown('the token is not known here', true)
    try {
      return await verify(token)
    } catch (error) {
      if (error instanceof BadToken) throw unknown(`the token is not good: ${error.message}`, true)
      if (!(error instanceof NoKeys)) throw error
      notice(error.message)
      throw new Problem('not-ready', { detail: 'the keys that tokens are checked with cannot be had', cause: error })
    }
  }
  return options.policy === undefined ? { authenticate } : { authenticate, policy: options.policy }
}

const isJwt = (token: string): boolean => token.split('.').length === 3

/** @param given a token was given */
function unknown(detail: string, given = false): Problem {
  return new Problem('unauthenticated', { detail, headers: { 'www-authenticate': given ? `${realm}, error="invalid_token"` : realm } })
}

/** Before anything is opened. @throws EngineError invalid-option where strangers could come in */
export function checkOpen(host: string, hasAccess: boolean): void {
  if (hasAccess || isLoopback(host)) return
  throw new EngineError(
    'invalid-option',
    `whoever reaches ${host} could read and write everything. Say who may come in, with --tokens FILE, --jwks URL or --jwt-secret-file FILE (\`access\` in code), or listen on 127.0.0.1`,
  )
}
