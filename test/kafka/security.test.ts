/** Clusters that do not let everybody in: the right ones come in, and the others do not. */
import { readFileSync } from 'node:fs'
import { Connection, type ConnectionOptions, metadataV12, produceV11, type SASLOptions } from '@platformatic/kafka'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Cluster, startCluster } from '../support/brokers.ts'
import { createTopic, portOf } from '../support/kafka/raw.ts'
import { unsecuredToken, users } from '../support/kafka/security.ts'

describe('TLS, SASL and ACLs', () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await startCluster({ tls: true, sasl: ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512', 'OAUTHBEARER'], acl: true })
    await asClient(cluster.broker(1).ports.internal, {}, connection => createTopic(connection, 'orders'))
  }, 60_000)
  afterAll(() => cluster?.close())

  const tls = () => ({ ca: readFileSync(cluster.certificates!.ca) })

  it.each<[string, SASLOptions]>([
    ['PLAIN', { mechanism: 'PLAIN', username: 'admin', password: users.admin }],
    ['SCRAM-SHA-256', { mechanism: 'SCRAM-SHA-256', username: 'admin', password: users.admin }],
    ['SCRAM-SHA-512', { mechanism: 'SCRAM-SHA-512', username: 'admin', password: users.admin }],
    ['OAUTHBEARER', { mechanism: 'OAUTHBEARER', token: unsecuredToken('admin') }],
  ])('%s lets a user in', async (_, sasl) => {
    expect(await topicsSeen(cluster, { tls: tls(), sasl })).toEqual(['orders'])
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
  }, 60_000)
})

it('mutual TLS: the certificate says who it is', async () => {
  await using cluster = await startCluster({ tls: 'mutual', acl: true })
  const { ca, cert, key } = cluster.certificates!
  const trust = { ca: readFileSync(ca) }
  await expect(topicsSeen(cluster, { tls: trust })).rejects.toThrow()
  // alice, who may do nothing.
  expect(await topicsSeen(cluster, { tls: { ...trust, cert: readFileSync(cert), key: readFileSync(key) } })).toEqual([])
}, 60_000)

/** All topics that a client gets to see. */
function topicsSeen(cluster: Cluster, options: ConnectionOptions): Promise<unknown[]> {
  return asClient(portOf(cluster.bootstrap), options, async connection => {
    const { topics } = await metadataV12.api.async(connection, null, false, false)
    return topics.filter(({ isInternal }) => !isInternal).map(({ name }) => name)
  })
}

async function asClient<T>(port: number, options: ConnectionOptions, work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = new Connection('mainstem-test', { connectTimeout: 5_000, requestTimeout: 10_000, ...options })
  connection.on('error', () => {})
  try {
    await connection.connect('127.0.0.1', port)
    return await work(connection)
  } finally {
    await Promise.resolve(connection.close()).catch(() => {})
  }
}
