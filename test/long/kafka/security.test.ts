/** Clusters that do not let everybody in: the right ones come in, and the others do not. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Connection, type ConnectionOptions, metadataV12, produceV11, type SASLOptions } from '@platformatic/kafka'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { createLog } from '../../../src/log/kafka/create.ts'
import { openReplica, type ReplicaOptions } from '../../../src/replica.ts'
import { type Cluster, startCluster } from '../../support/brokers.ts'
import { failure } from '../../support/failures.ts'
import { createTopic, portOf } from '../../support/kafka/raw.ts'
import { onConnection } from '../../support/kafka/ready.ts'
import { changeRights, type Right, type SaslMechanism, unsecuredToken, users } from '../../support/kafka/security.ts'
import { makeLog } from '../../support/kafka.ts'
import { temporaryFolder } from '../../support/logs.ts'
import shop from '../../support/shop.ts'

type Env = Readonly<Record<string, string>>

afterEach(() => vi.unstubAllEnvs())

function stub(env: Env): void {
  vi.unstubAllEnvs()
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
}

async function open(log: string, env: Env, options: Partial<ReplicaOptions> = {}) {
  stub(env)
  const replica = await openReplica(shop, { log, data: temporaryFolder(), ...options })
  onTestFinished(() => replica.close())
  return replica
}

const pay = { account: 'ann', cents: 1 }

/** A replica that does something. */
async function works(log: string, env: Env, options?: Partial<ReplicaOptions>): Promise<void> {
  const replica = await open(log, env, options)
  expect(await replica.execute('pay', pay)).toMatchObject({ status: 'accepted' })
  expect(await replica.query('balance', { account: 'ann' }, { read: 'linearizable' })).toBeGreaterThan(0)
  await replica.close()
}

const user = (name: keyof typeof users, mechanism: SaslMechanism = 'PLAIN', password: string = users[name]): Env => ({
  KAFKA_SASL_MECHANISM: mechanism,
  KAFKA_SASL_USERNAME: name,
  KAFKA_SASL_PASSWORD: password,
})
const token = (text: string): Env => ({ KAFKA_SASL_MECHANISM: 'OAUTHBEARER', KAFKA_SASL_TOKEN: text })

describe('TLS, SASL and ACLs', () => {
  let cluster: Cluster
  let log = ''
  beforeAll(async () => {
    cluster = await startCluster({ tls: true, sasl: ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512', 'OAUTHBEARER'], acl: true })
    await asClient(cluster.broker(1).ports.internal, {}, connection => createTopic(connection, 'orders'))
    log = `kafka://${cluster.bootstrap}/seats`
    stub({ ...trust(), ...user('admin') })
    await createLog(log, { app: 'shop', partitions: 1 })
  })
  afterAll(() => cluster?.close())

  const trust = (): Env => ({ KAFKA_SSL: 'true', KAFKA_SSL_CA: cluster.certificates!.ca })

  const tls = () => ({ ca: readFileSync(cluster.certificates!.ca) })

  it.each<[string, SASLOptions]>([
    ['PLAIN', { mechanism: 'PLAIN', username: 'admin', password: users.admin }],
    ['SCRAM-SHA-256', { mechanism: 'SCRAM-SHA-256', username: 'admin', password: users.admin }],
    ['SCRAM-SHA-512', { mechanism: 'SCRAM-SHA-512', username: 'admin', password: users.admin }],
    ['OAUTHBEARER', { mechanism: 'OAUTHBEARER', token: unsecuredToken('admin') }],
  ])('%s lets a user in', async (_, sasl) => {
    expect(await topicsSeen(cluster, { tls: tls(), sasl })).toContain('orders')
  })

  it('a wrong password, another CA and no TLS are turned away', async () => {
    const sasl = { mechanism: 'SCRAM-SHA-256', username: 'admin', password: 'wrong' } as const
    await expect(topicsSeen(cluster, { tls: tls(), sasl })).rejects.toThrow()
    await expect(topicsSeen(cluster, { tls: {}, sasl: { ...sasl, password: users.admin } })).rejects.toThrow()
    await expect(topicsSeen(cluster, { sasl: { ...sasl, password: users.admin }, requestTimeout: 2_000 })).rejects.toThrow()
  })

  it('a user may do what the ACLs allow', async () => {
    const alice = { tls: tls(), sasl: { mechanism: 'PLAIN', username: 'alice', password: users.alice } } as const
    expect(await topicsSeen(cluster, alice)).toEqual([])
    const acls = cluster.version === '4.3.1' ? 'org.apache.kafka.tools.AclCommand' : 'kafka.admin.AclCommand'
    await cluster.tool(acls, ['--add', '--allow-principal', 'User:alice', '--operation', 'Describe', '--topic', 'orders'])
    expect(await topicsSeen(cluster, alice)).toEqual(['orders'])
    await expect(
      asClient(portOf(cluster.bootstrap), alice, connection =>
        produceV11.api.async(connection, -1, 10_000, [{ topic: 'orders', partition: 0, value: Buffer.from('an order') }], {}),
      ),
    ).rejects.toMatchObject({ errors: [{ apiId: 'TOPIC_AUTHORIZATION_FAILED' }] })
  })

  it.each<[string, Env]>([
    ['PLAIN', user('admin', 'PLAIN')],
    ['SCRAM-SHA-256', user('admin', 'SCRAM-SHA-256')],
    ['SCRAM-SHA-512', user('admin', 'SCRAM-SHA-512')],
    ['OAUTHBEARER', token(unsecuredToken('admin'))],
  ])('a replica works with %s over TLS', async (_, sasl) => {
    await works(log, { ...trust(), ...sasl })
  })

  it('secrets may stand in files', async () => {
    const folder = temporaryFolder()
    const file = (name: string, text: string): string => {
      writeFileSync(join(folder, name), `${text}\n`)
      return join(folder, name)
    }
    const [name, password, bearer] = [file('user', 'admin'), file('password', users.admin), file('token', unsecuredToken('admin'))]
    await works(log, {
      ...trust(),
      KAFKA_SASL_MECHANISM: 'SCRAM-SHA-512',
      KAFKA_SASL_USERNAME_FILE: name,
      KAFKA_SASL_PASSWORD_FILE: password,
    })
    await works(log, { ...trust(), KAFKA_SASL_MECHANISM: 'OAUTHBEARER', KAFKA_SASL_TOKEN_FILE: bearer })
  })

  it.each<[string, () => Env, string, RegExp]>([
    ['a wrong password', () => ({ ...trust(), ...user('admin', 'PLAIN', 's3cret') }), 'log-denied', /KAFKA_SASL_PASSWORD .* PLAIN/],
    [
      'a wrong password of SCRAM',
      () => ({ ...trust(), ...user('admin', 'SCRAM-SHA-256', 's3cret') }),
      'log-denied',
      /KAFKA_SASL_PASSWORD .* SCRAM-SHA-256/,
    ],
    ['no token at all', () => ({ ...trust(), ...token('s3cret') }), 'log-denied', /invalid_token.*KAFKA_SASL_TOKEN/],
    ['no TLS', () => user('admin', 'PLAIN', 's3cret'), 'log-unreachable', /answered nothing.*TLS \(KAFKA_SSL\)/],
    ['neither TLS nor a user', () => ({}), 'log-denied', /requires TLS.*KAFKA_SSL=true/],
    ['no user', () => trust(), 'log-unreachable', /answered nothing.*KAFKA_SASL_MECHANISM/],
    ['an authority that it does not know', () => ({ KAFKA_SSL: 'true', ...user('admin') }), 'log-denied', /self-signed.*KAFKA_SSL_CA/],
    [
      'another host name',
      () => ({ ...trust(), KAFKA_SSL_SERVERNAME: 'kafka.example', ...user('admin') }),
      'log-denied',
      /kafka\.example.*KAFKA_SSL_SERVERNAME/,
    ],
  ])('%s: is told at once, with the way out and no secret', async (_, env, code, message) => {
    const from = performance.now()
    const error = await failure(open(log, env()))
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) })
    expect(error.message).not.toMatch(/s3cret|-secret/)
    expect(performance.now() - from).toBeLessThan(10_000)
  })

  it('TLS, or a user, where the port takes neither', async () => {
    await using other = await startCluster()
    const plain = `kafka://${other.bootstrap}/seats`
    await makeLog(plain, 'shop')
    expect(await failure(open(plain, trust()))).toMatchObject({
      code: 'log-unreachable',
      message: expect.stringMatching(/TLS handshake failed.*leave KAFKA_SSL out/),
    })
    expect(await failure(open(plain, user('admin')))).toMatchObject({
      code: 'log-denied',
      message: expect.stringMatching(/asks for no user: leave KAFKA_SASL_MECHANISM out/),
    })
  })

  const change = (how: 'allow' | 'take', ...rights: Right[]): Promise<void> =>
    changeRights(cluster.broker(1).ports.internal, how, 'bob', ...rights)
  const onIds: Right = { transactionalId: 'mainstem.seats.', operations: ['Describe', 'Write'] }

  it('each right that is missing is named; without transactional ids there is fencing by term, and first-wins', async () => {
    const bob = { ...trust(), ...user('bob') }
    /** Until the brokers have heard of the last right that was given. */
    const refused = (options: Partial<ReplicaOptions>, code: string, message: RegExp) =>
      vi.waitFor(
        async () => expect(await failure(open(log, bob, options))).toMatchObject({ code, message: expect.stringMatching(message) }),
        { timeout: 20_000, interval: 50 },
      )
    const byTerm = { fencing: 'term' } as const

    await refused({}, 'log-denied', /may not see the topic seats\. Allow Describe, Read and Write/)
    await change('allow', { topic: 'seats', operations: ['Describe'] })
    await refused({}, 'log-unsafe', /topic-rights: this user may not READ, WRITE on the topic seats/)
    await change('allow', { topic: 'seats', operations: ['Read', 'Write', 'DescribeConfigs'] })
    await refused(byTerm, 'log-denied', /may not see the topic seats-roster/)
    await change('allow', { topic: 'seats-roster', operations: ['Describe'] })
    await refused(byTerm, 'log-denied', /may not write into the topic seats-roster.*Allow Describe, Read and Write/)
    await change('allow', { topic: 'seats-roster', operations: ['Write'] })
    await refused(byTerm, 'log-denied', /may not read the topic seats-roster.*Allow Describe, Read and Write/)
    await change('allow', { topic: 'seats-roster', operations: ['Read'] })
    await refused({}, 'log-unsafe', /transactional-id-rights: this user may not Describe[^]*first-wins, or leader with fencing 'term'/)
    await vi.waitFor(() => works(log, bob, byTerm), { timeout: 20_000, interval: 50 })
    await works(log, bob, { strategy: 'first-wins' })
    // Whoever insists hears why nobody leads.
    const insisting = await open(log, bob, { accept: ['transactional-id-rights'] })
    expect(await failure(insisting.execute('pay', pay, { timeout: 1_500 }))).toMatchObject({
      code: 'not-leader',
      message: expect.stringMatching(/nothing was written: this user may not write under the transactional id mainstem\.seats\.0.*'term'/),
    })
    await insisting.close()
    await change('allow', onIds)
    await vi.waitFor(() => works(log, bob), { timeout: 20_000, interval: 50 })
  })

  it.each<[string, Partial<ReplicaOptions>, boolean]>([
    ['leader', {}, false],
    ['optimistic', { strategy: 'optimistic' }, true],
    ['first-wins', { strategy: 'first-wins' }, false],
  ])('%s: a right that is taken away is told, and when it is given back it goes on', async (_, options, transactional) => {
    const seats = { topic: 'seats', operations: ['Describe', 'Read', 'Write', 'DescribeConfigs'] } as const
    await change('allow', seats, { topic: 'seats-roster', operations: ['Describe', 'Read', 'Write'] }, onIds)
    const replica = await vi.waitFor(() => open(log, { ...trust(), ...user('bob') }, options), { timeout: 20_000, interval: 50 })
    const execute = (timeout: number) => replica.execute('pay', pay, { timeout })
    const goesOn = async () => expect(await execute(30_000)).toMatchObject({ status: 'accepted' })
    await goesOn()
    const cases: { right: Right; message: RegExp }[] = [
      { right: { topic: 'seats', operations: ['Write'] }, message: /may not write into the topic\. Allow/ },
      ...(transactional ? [{ right: onIds, message: /may not write under the transactional id mainstem\.seats\.0\. Allow/ }] : []),
    ]
    for (const { right, message } of cases) {
      await change('take', right)
      const denied = await vi.waitFor(() => failure(execute(30_000)), { timeout: 20_000, interval: 20 })
      expect(denied).toMatchObject({ code: 'log-denied', message: expect.stringMatching(message) })
      await change('allow', right)
      // What is denied is no reason to stop.
      await vi.waitFor(goesOn, { timeout: 20_000, interval: 20 })
    }
    await change('take', { topic: 'seats', operations: ['Read'] })
    const unread = await vi.waitFor(() => failure(execute(1_500)), { timeout: 20_000, interval: 20 })
    expect(unread.code).toMatch(/^(outcome-unknown|timeout)$/)
    expect(unread.message).toMatch(/may not read .*Allow Describe and Read/)
    expect(await failure(replica.query('total', undefined, { read: 'linearizable', timeout: 500 }))).toMatchObject({
      code: 'not-ready',
      message: expect.stringMatching(/may not read .*Allow Describe and Read/),
    })
    await change('allow', { topic: 'seats', operations: ['Read'] })
    await goesOn()
    await replica.close()
  })
})

it('mutual TLS: the certificate says who it is', async () => {
  await using cluster = await startCluster({ tls: 'mutual', acl: true })
  const { ca, cert, key } = cluster.certificates!
  const trust = { ca: readFileSync(ca) }
  await expect(topicsSeen(cluster, { tls: trust })).rejects.toThrow()
  // alice, who may do nothing.
  expect(await topicsSeen(cluster, { tls: { ...trust, cert: readFileSync(cert), key: readFileSync(key) } })).toEqual([])

  const log = `kafka://${cluster.bootstrap}/seats`
  const env = { KAFKA_SSL: 'true', KAFKA_SSL_CA: ca }
  expect(await failure(open(log, env))).toMatchObject({
    code: 'log-denied',
    message: expect.stringMatching(/asks for a certificate, set KAFKA_SSL_CERT and KAFKA_SSL_KEY/),
  })
  // The brokers' own, which they do not trust in others.
  const theirs = { KAFKA_SSL_CERT: ca, KAFKA_SSL_KEY: join(cluster.folder, 'server.key') }
  expect(await failure(open(log, { ...env, ...theirs }))).toMatchObject({
    code: 'log-denied',
    message: expect.stringMatching(/trust the certificate of KAFKA_SSL_CERT/),
  })
  const alice = { ...env, KAFKA_SSL_CERT: cert, KAFKA_SSL_KEY: key }
  expect(await failure(open(log, alice))).toMatchObject({ code: 'log-denied', message: expect.stringContaining('may not see the topic') })
  await changeRights(
    cluster.broker(1).ports.internal,
    'allow',
    'alice',
    { topic: 'seats', operations: ['Create', 'Describe', 'Read', 'Write', 'DescribeConfigs'] },
    { topic: 'seats-roster', operations: ['Create', 'Describe', 'Read', 'Write'] },
    { transactionalId: 'mainstem.seats.', operations: ['Describe', 'Write'] },
  )
  stub(alice)
  await vi.waitFor(() => createLog(log, { app: 'shop', partitions: 1 }), { timeout: 20_000, interval: 50 })
  await works(log, alice)
})

/** All topics that a client gets to see. */
function topicsSeen(cluster: Cluster, options: ConnectionOptions): Promise<unknown[]> {
  return asClient(portOf(cluster.bootstrap), options, async connection => {
    const { topics } = await metadataV12.api.async(connection, null, false, false)
    return topics.filter(({ isInternal }) => !isInternal).map(({ name }) => name)
  })
}

/** As a client, who waits longer than one who looks whether a broker is there. */
const asClient = <T>(port: number, options: ConnectionOptions, work: (connection: Connection) => Promise<T>): Promise<T> =>
  onConnection(port, work, { connectTimeout: 5_000, requestTimeout: 10_000, ...options })
