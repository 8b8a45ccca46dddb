/** Who may come in to `mainstem serve`: its options, the environment, and `access` and `tls` of the configuration, in this order. */
import type { Command } from 'commander'
import type { AccessOptions } from '../server/access.ts'
import type { JwtOptions } from '../server/access/jwt.ts'
import type { Tls } from '../replica/tls.ts'
import { CliError } from './failure.ts'

/** By the name that commander makes of the option. */
const options = {
  tokens: ['--tokens <file>', 'who may come in: a file with TOKEN PRINCIPAL TENANTS in each line'],
  jwks: ['--jwks <url>', 'who may come in: those with a JWT signed by one of these keys; an https URL or a file'],
  jwtSecretFile: ['--jwt-secret-file <file>', 'the same, signed with the secret in this file'],
  issuer: ['--issuer <text>', 'what `iss` of a JWT must be'],
  audience: ['--audience <text>', 'what `aud` of a JWT must be'],
  tlsCert: ['--tls-cert <file>', 'speak TLS, with the certificate in this file (PEM)'],
  tlsKey: ['--tls-key <file>', 'and its private key (PEM)'],
} as const

export type AccessFlags = { readonly [K in keyof typeof options]?: string }

export function withAccess(command: Command): Command {
  for (const [flags, description] of Object.values(options)) command.option(flags, description)
  return command
}

/** @throws CliError where a half of what belongs together is missing */
export function accessIn(
  flags: AccessFlags,
  env: NodeJS.ProcessEnv,
  config: { readonly access?: AccessOptions; readonly tls?: Tls },
): { readonly access?: AccessOptions; readonly tls?: Tls } {
  const given = (name: keyof AccessFlags) => flags[name] ?? (env[variableOf(name)] || undefined)
  const both = { jwks: given('jwks'), secretFile: given('jwtSecretFile') }
  const named = both.jwks !== undefined || both.secretFile !== undefined
  const claims = { issuer: given('issuer'), audience: given('audience') }
  const { jwks: _, secretFile: __, ...checks } = config.access?.jwt ?? {}
  const jwt: JwtOptions | undefined = named
    ? { ...checks, ...defined(both), ...defined(claims) }
    : config.access?.jwt && { ...config.access.jwt, ...defined(claims) }
  if (!jwt && (claims.issuer ?? claims.audience) !== undefined)
    throw new CliError('usage', '--issuer and --audience are for JWTs: give --jwks or --jwt-secret-file, too')
  const access = { ...config.access, ...defined({ tokens: given('tokens') }), ...(jwt ? { jwt } : {}) }
  const cert = given('tlsCert') ?? config.tls?.cert
  const key = given('tlsKey') ?? config.tls?.key
  if ((cert === undefined) !== (key === undefined))
    throw new CliError('usage', 'a certificate and its key belong together: give --tls-cert and --tls-key')
  return {
    ...(Object.keys(access).length === 0 ? {} : { access }),
    ...(cert === undefined || key === undefined ? {} : { tls: { cert, key } }),
  }
}

/** 'tlsCert' is MAINSTEM_TLS_CERT. */
const variableOf = (name: string): string => `MAINSTEM_${name.replaceAll(/[A-Z]/g, letter => `_${letter}`).toUpperCase()}`

const defined = <T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never
