/** Certificates, users and server properties for clusters that do not let everybody in. Clients see them; brokers and tools have a listener of their own. */
import { execFileSync } from 'node:child_process'
import { pbkdf2Sync, randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { alterUserScramCredentialsV0, createAclsV3, deleteAclsV3, describeUserScramCredentialsV0 } from '@platformatic/kafka'
import { onConnection } from './ready.ts'

export type SaslMechanism = 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512' | 'OAUTHBEARER'

export interface SecurityOptions {
  /** TLS for clients; `mutual`: a client shows a certificate, and is the user that it names. */
  readonly tls?: boolean | 'mutual'
  /** Clients say who they are, by any of these. */
  readonly sasl?: readonly SaslMechanism[]
  /** Users other than `admin` may do what Kafka's ACLs allow: at first, nothing. Needs `sasl` or mutual TLS. */
  readonly acl?: boolean
}

/** The users of each cluster with SASL, and their passwords. `admin` may do everything. */
export const users = { admin: 'admin-secret', alice: 'alice-secret', bob: 'bob-secret' } as const

/** PEM files. */
export interface Certificates {
  /** What a client trusts. */
  readonly ca: string
  /** What a client of the user `alice` shows. */
  readonly cert: string
  readonly key: string
}

/** A token for OAUTHBEARER without a signature: brokers of tests believe it. */
export function unsecuredToken(user: string, seconds = 3_600): string {
  const now = Math.floor(Date.now() / 1_000)
  const part = (content: object): string => Buffer.from(JSON.stringify(content)).toString('base64url')
  return `${part({ alg: 'none' })}.${part({ sub: user, iat: now, exp: now + seconds })}.`
}

/** In `folder`, each certificate signed by itself and trusted by the other side. */
export function makeCertificates(folder: string): Certificates {
  const server = certificate(folder, 'server', 'localhost')
  const client = certificate(folder, 'client', 'alice')
  // Kafka wants the key and its certificate in one file.
  const store = keyStore(folder)
  if (!existsSync(store)) writeFileSync(store, readFileSync(server.key, 'utf8') + readFileSync(server.cert, 'utf8'))
  return { ca: server.cert, ...client }
}

function certificate(folder: string, file: string, name: string): { readonly cert: string; readonly key: string } {
  const cert = join(folder, `${file}.pem`)
  const key = join(folder, `${file}.key`)
  if (existsSync(cert)) return { cert, key }
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30']
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost']
  execFileSync('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', key, '-out', cert], { stdio: 'pipe' })
  return { cert, key }
}

function keyStore(folder: string): string {
  return join(folder, 'server-store.pem')
}

/** What the listener of the clients speaks. */
export function protocolOf({ tls = false, sasl = [] }: SecurityOptions): string {
  if (sasl.length > 0) return tls === false ? 'SASL_PLAINTEXT' : 'SASL_SSL'
  return tls === false ? 'PLAINTEXT' : 'SSL'
}

export function securityProperties(options: SecurityOptions, folder: string): Record<string, string | boolean> {
  const { tls = false, sasl = [], acl = false } = options
  if (acl && sasl.length === 0 && tls !== 'mutual') throw new Error('ACLs need users: ask for `sasl` or for mutual TLS, too')
  const own = 'listener.name.client'
  const properties: Record<string, string | boolean> = {}
  if (tls !== false) {
    properties[`${own}.ssl.keystore.type`] = 'PEM'
    properties[`${own}.ssl.keystore.location`] = keyStore(folder)
    properties[`${own}.ssl.principal.mapping.rules`] = 'RULE:^CN=([^,]+).*$/$1/,DEFAULT'
  }
  if (tls === 'mutual') {
    properties[`${own}.ssl.client.auth`] = 'required'
    properties[`${own}.ssl.truststore.type`] = 'PEM'
    properties[`${own}.ssl.truststore.location`] = join(folder, 'client.pem')
  }
  if (sasl.length > 0) properties[`${own}.sasl.enabled.mechanisms`] = sasl.join(',')
  for (const mechanism of sasl) properties[`${own}.${mechanism.toLowerCase()}.sasl.jaas.config`] = `${loginModule(mechanism)};`
  if (acl) {
    properties['authorizer.class.name'] = 'org.apache.kafka.metadata.authorizer.StandardAuthorizer'
    // Nobody is anonymous but brokers and tools, on the listeners that no client knows.
    properties['super.users'] = 'User:admin;User:ANONYMOUS'
  }
  return properties
}

function loginModule(mechanism: SaslMechanism): string {
  const security = 'org.apache.kafka.common.security'
  switch (mechanism) {
    case 'PLAIN': {
      const known = Object.entries(users).map(([name, password]) => ` user_${name}="${password}"`)
      return `${security}.plain.PlainLoginModule required${known.join('')}`
    }
    case 'SCRAM-SHA-256':
    case 'SCRAM-SHA-512':
      return `${security}.scram.ScramLoginModule required`
    case 'OAUTHBEARER':
      return `${security}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="admin"`
  }
}

/** Makes the users known for SCRAM, to every broker. @param ports where tools reach the brokers */
export async function addScramUsers(ports: readonly number[], sasl: readonly SaslMechanism[]): Promise<void> {
  const mechanisms = [
    { name: 'SCRAM-SHA-256', mechanism: 1, digest: 'sha256', length: 32 },
    { name: 'SCRAM-SHA-512', mechanism: 2, digest: 'sha512', length: 64 },
  ].filter(({ name }) => (sasl as readonly string[]).includes(name))
  if (mechanisms.length === 0) return
  const iterations = 4_096
  for (const { mechanism, digest, length } of mechanisms) {
    const credentials = Object.entries(users).map(([name, password]) => {
      const salt = randomBytes(16)
      return { name, mechanism, iterations, salt, saltedPassword: pbkdf2Sync(password, salt, iterations, length, digest) }
    })
    // Kafka takes a user only once in a request.
    await onConnection(ports[0]!, connection => alterUserScramCredentialsV0.api.async(connection, [], credentials))
  }
  const names = Object.keys(users).map(name => ({ name }))
  for (const port of ports) {
    await onConnection(port, async connection => {
      const knows = async (): Promise<boolean> => {
        const { results } = await describeUserScramCredentialsV0.api.async(connection, names)
        return results.every(({ credentialInfos }) => credentialInfos.length === mechanisms.length)
      }
      // A broker that has heard of nobody yet answers with an error.
      while (!(await knows().catch(() => false))) await pause(20)
    })
  }
}

/** Numbers of Kafka's protocol. */
const operations = { Read: 3, Write: 4, Create: 5, Describe: 8, DescribeConfigs: 10 } as const
const resources = { topic: 2, transactionalId: 5 } as const

/** Operations on a topic, or on the transactional ids with a prefix. */
export type Right =
  | { readonly topic: string; readonly operations: readonly (keyof typeof operations)[] }
  | { readonly transactionalId: string; readonly operations: readonly (keyof typeof operations)[] }

/** Grants rights to a user, or takes them away. The brokers hear of it a moment later. @param port where tools reach a broker */
export async function changeRights(port: number, how: 'allow' | 'take', user: string, ...rights: readonly Right[]): Promise<void> {
  const all = rights.flatMap(right => {
    const on =
      'topic' in right
        ? { resourceType: resources.topic, resourceName: right.topic, resourcePatternType: 3 as const }
        : { resourceType: resources.transactionalId, resourceName: right.transactionalId, resourcePatternType: 4 as const }
    return right.operations.map(name => ({
      ...on,
      principal: `User:${user}`,
      host: '*',
      operation: operations[name],
      permissionType: 3 as const,
    }))
  })
  const change = how === 'allow' ? createAclsV3 : deleteAclsV3
  await onConnection<unknown>(port, connection => change.api.async(connection, all))
}
