/**
 * Where the cluster is and who we are: from a log's URL and the environment. The URL names hosts and topic, the environment
 * the rest; secrets come from the environment or from files only, for a URL ends up in logs and process lists.
 */
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { EngineError } from '../../errors.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

export interface TlsSettings {
  /** PEM. Without them the authorities that Node.js knows. */
  readonly ca?: string
  /** PEM, for brokers that ask for a client's certificate. Always with `key`. */
  readonly cert?: string
  readonly key?: string
  /** The name that the brokers' certificates are made out to, where it is not their host. */
  readonly servername?: string
}

/** How a leader keeps out the one before it. `term`: not by Kafka at all, for clusters that grant no transactional id; `accept` does. */
export const fencings = ['epoch', 'transactions', 'term'] as const
export type Fencing = (typeof fencings)[number]

const mechanisms = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512', 'OAUTHBEARER'] as const

export interface SaslSettings {
  readonly mechanism: (typeof mechanisms)[number]
  readonly username?: string
  /** Asked anew for each connection, so that a file may change under a running replica. */
  readonly password?: () => string
  /** As `password`; for OAUTHBEARER. */
  readonly token?: () => string
}

export interface KafkaSettings {
  /** At least one. */
  readonly bootstrap: readonly Address[]
  readonly clientId: string
  readonly tls?: TlsSettings
  readonly sasl?: SaslSettings
  /** Milliseconds until a broker that gives no answer is given up; calls may say otherwise. */
  readonly requestTimeout: number
  /** Milliseconds for TCP, TLS and SASL together. */
  readonly connectTimeout: number
}

/** Environment variables by name. */
type Env = Readonly<Record<string, string | undefined>>

const defaultPort = 9092

/**
 * @param url 'kafka://host:9092,host2:9093/topic'; 'kafka:///topic' or 'kafka:topic' where KAFKA_BROKERS names the hosts
 * @throws EngineError invalid-option; no secret is ever part of its message
 */
export function kafkaSettings(url: string, env: Env = process.env): { settings: KafkaSettings; topic: string } {
  const { hosts, topic } = parseUrl(url)
  const tls = tlsSettings(env)
  const sasl = saslSettings(env)
  const brokers = value(env, 'KAFKA_BROKERS')
  const named = hosts === '' ? brokers : hosts
  if (named === undefined) throw invalid(`the log '${url}' names no broker: write 'kafka://host:9092/${topic}', or set KAFKA_BROKERS`)
  return {
    settings: {
      bootstrap: addresses(named, hosts === '' ? 'KAFKA_BROKERS' : `the log '${url}'`),
      clientId: clientId(env),
      ...(tls === undefined ? {} : { tls }),
      ...(sasl === undefined ? {} : { sasl }),
      requestTimeout: 30_000,
      connectTimeout: 5_000,
    },
    topic,
  }
}

function parseUrl(url: string): { hosts: string; topic: string } {
  // Before the URL is part of any message.
  if (/^[^/]*\/\/[^/]*@/.test(url) || /^kafka:[^/]*@/.test(url)) {
    throw invalid(
      'the URL of a log holds no user or password: set KAFKA_SASL_USERNAME, and KAFKA_SASL_PASSWORD or KAFKA_SASL_PASSWORD_FILE',
    )
  }
  const match = /^kafka:(?:\/\/(?<hosts>[^/]*)\/)?(?<topic>[^/]*)$/.exec(url)
  if (match === null) throw invalid(`'${url}' names no log: write 'kafka://host:9092/topic'`)
  const { hosts = '', topic = '' } = match.groups ?? {}
  if (topic === '') throw invalid(`'${url}' names no topic: write 'kafka://host:9092/topic'`)
  if (!/^[a-zA-Z0-9._-]{1,249}$/.test(topic) || topic === '.' || topic === '..') {
    throw invalid(`'${topic}' is no name of a topic: 1 to 249 of a-z A-Z 0-9 . _ - and neither '.' nor '..'`)
  }
  return { hosts, topic }
}

function addresses(text: string, where: string): Address[] {
  return text.split(',').map(part => {
    const match = /^(?:\[(?<v6>[0-9a-fA-F:.]+)\]|(?<name>[a-zA-Z0-9._-]+))(?::(?<port>[0-9]{1,5}))?$/.exec(part.trim())
    const { v6, name, port } = match?.groups ?? {}
    const host = v6 ?? name
    const number = port === undefined ? defaultPort : Number(port)
    // KAFKA_BROKERS may hold a password by mistake.
    if (host === undefined || number < 1 || number > 65_535) {
      throw invalid(`${where} names a broker that is not 'host' or 'host:port', port 1 to 65535${part.includes('@') ? '' : `: '${part}'`}`)
    }
    return { host, port: number }
  })
}

function clientId(env: Env): string {
  const id = value(env, 'KAFKA_CLIENT_ID') ?? 'mainstem'
  if (!/^[a-zA-Z0-9._-]{1,249}$/.test(id)) throw invalid('KAFKA_CLIENT_ID is not 1 to 249 of a-z A-Z 0-9 . _ -')
  return id
}

function tlsSettings(env: Env): TlsSettings | undefined {
  const ca = value(env, 'KAFKA_SSL_CA')
  const cert = value(env, 'KAFKA_SSL_CERT')
  const key = value(env, 'KAFKA_SSL_KEY')
  const servername = value(env, 'KAFKA_SSL_SERVERNAME')
  const given = Object.entries({ KAFKA_SSL_CA: ca, KAFKA_SSL_CERT: cert, KAFKA_SSL_KEY: key, KAFKA_SSL_SERVERNAME: servername })
  const first = given.find(([, text]) => text !== undefined)?.[0]
  if (!flag(env, 'KAFKA_SSL')) {
    if (first !== undefined) throw invalid(`${first} is set, but KAFKA_SSL is not 'true'`)
    return undefined
  }
  if ((cert === undefined) !== (key === undefined))
    throw invalid('KAFKA_SSL_CERT and KAFKA_SSL_KEY belong together: one of them is missing')
  const read = {
    ...(ca === undefined ? {} : { ca: file('KAFKA_SSL_CA', ca) }),
    ...(cert === undefined ? {} : { cert: file('KAFKA_SSL_CERT', cert) }),
    ...(key === undefined ? {} : { key: file('KAFKA_SSL_KEY', key) }),
  }
  // Node.js takes whatever is no certificate for an authority, and then trusts nobody.
  if (read.ca !== undefined)
    usable(`KAFKA_SSL_CA names a file that holds no certificate in PEM: ${ca}`, () => new X509Certificate(read.ca!))
  if (read.cert !== undefined) {
    const what = `KAFKA_SSL_CERT and KAFKA_SSL_KEY are no certificate in PEM and its key, without a passphrase: ${cert}, ${key}`
    usable(what, () => createSecureContext(read))
  }
  return { ...read, ...(servername === undefined ? {} : { servername }) }
}

function usable(what: string, attempt: () => unknown): void {
  try {
    attempt()
  } catch (cause) {
    throw invalid(`${what} (${(cause as NodeJS.ErrnoException).code ?? (cause as Error).message})`)
  }
}

function saslSettings(env: Env): SaslSettings | undefined {
  const mechanism = mechanismOf(env)
  const username = secret(env, 'KAFKA_SASL_USERNAME')
  const password = secret(env, 'KAFKA_SASL_PASSWORD')
  const token = secret(env, 'KAFKA_SASL_TOKEN')
  if (mechanism === undefined) {
    if ((username ?? password ?? token) !== undefined) throw invalid(`KAFKA_SASL_MECHANISM is missing: one of ${mechanisms.join(', ')}`)
    return undefined
  }
  if (mechanism === 'OAUTHBEARER') {
    if (token === undefined) throw invalid('OAUTHBEARER needs KAFKA_SASL_TOKEN or KAFKA_SASL_TOKEN_FILE')
    if ((username ?? password) !== undefined) throw invalid('OAUTHBEARER takes a token, no user name and no password')
    return { mechanism, token }
  }
  if (token !== undefined) throw invalid(`${mechanism} takes a user name and a password, no token`)
  if (username === undefined) throw invalid(`${mechanism} needs KAFKA_SASL_USERNAME`)
  if (password === undefined) throw invalid(`${mechanism} needs KAFKA_SASL_PASSWORD or KAFKA_SASL_PASSWORD_FILE`)
  return { mechanism, username: username(), password }
}

function mechanismOf(env: Env): SaslSettings['mechanism'] | undefined {
  const text = value(env, 'KAFKA_SASL_MECHANISM')
  if (text === undefined) return undefined
  const mechanism = mechanisms.find(known => known === text.toUpperCase())
  if (mechanism === undefined) throw invalid(`KAFKA_SASL_MECHANISM is '${text}', but must be one of ${mechanisms.join(', ')}`)
  return mechanism
}

/** A variable, or what NAME_FILE holds. Read once here, so that a file that is missing is told at once. */
function secret(env: Env, name: string): (() => string) | undefined {
  const direct = value(env, name)
  const path = value(env, `${name}_FILE`)
  if (path === undefined) return direct === undefined ? undefined : () => direct
  if (direct !== undefined) throw invalid(`${name} and ${name}_FILE are both set: which one holds?`)
  const read = (): string => {
    const text = file(`${name}_FILE`, path).replace(/\r?\n$/, '')
    if (text === '') throw invalid(`${name}_FILE names an empty file: ${path}`)
    return text
  }
  read()
  return read
}

function file(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw invalid(`${name} names a file that cannot be read: ${path} (${(cause as NodeJS.ErrnoException).code})`)
  }
}

function flag(env: Env, name: string): boolean {
  const text = value(env, name)
  if (text === undefined || text === 'false') return false
  if (text === 'true') return true
  throw invalid(`${name} is '${text}', but must be 'true' or 'false'`)
}

/** Empty means not set, as a compose file or a unit file leaves it. */
function value(env: Env, name: string): string | undefined {
  const text = env[name]
  return text === undefined || text === '' ? undefined : text
}

function invalid(message: string): EngineError {
  return new EngineError('invalid-option', message)
}
