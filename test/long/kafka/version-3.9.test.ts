/** The oldest Kafka that is taken: its transactions are of version 1, where a new one has the epoch of the last one. */
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest'
import type { LoggedEvent } from '../../../src/replica.ts'
import { openReplica } from '../../../src/replica.ts'
import { KafkaClient } from '../../../src/log/kafka/client.ts'
import { kafkaSettings } from '../../../src/log/kafka/settings.ts'
import { conformance } from '../../conformance/suite.ts'
import { type Cluster, startCluster } from '../../support/brokers.ts'
import { makeLog, newUrl } from '../../support/kafka.ts'
import { temporaryFolder } from '../../support/logs.ts'
import { type Action, startProxy } from '../../support/proxy.ts'
import shop from '../../support/shop.ts'

let cluster: Cluster
beforeAll(async () => {
  cluster = await startCluster({ version: '3.9.2' })
  vi.stubEnv('KAFKA_BROKERS', cluster.bootstrap)
}, 300_000)
afterAll(async () => {
  vi.unstubAllEnvs()
  await cluster?.close()
})

it('speaks version 1', async () => {
  const client = new KafkaClient(kafkaSettings(newUrl()).settings)
  onTestFinished(() => client.close())
  expect(await client.versions()).toMatchObject({ transactions: 1, endTxn: 4, produceInTransaction: 11 })
})

const ways = [
  { strategy: 'leader', fencing: 'epoch' },
  { strategy: 'leader', fencing: 'transactions' },
  { strategy: 'optimistic' },
  { strategy: 'first-wins' },
] as const
conformance(ways.map(way => ({ log: 'kafka' as const, ...way })))

/** EndTxn. */
const END = 26

it.each<[string, 'request' | 'reply', Action]>([
  ['requests are lost with their connections', 'request', 'cut'],
  ['answers are lost with their connections', 'reply', 'cut'],
  ['requests come late', 'request', { delay: 300 }],
])('two optimistic replicas contend while the ends of transactions get lost (%s): nothing is doubled', async (_, direction, action) => {
  const direct = newUrl()
  await makeLog(direct, 'shop')
  await using proxy = await startProxy(cluster.bootstrap)
  const lossy = direct.replace(cluster.bootstrap, proxy.bootstrap)
  const open = (log: string) => openReplica(shop, { log, data: temporaryFolder(), strategy: 'optimistic' })
  const replicas = [await open(direct), await open(lossy)]
  onTestFinished(async () => void (await Promise.all(replicas.map(replica => replica.close()))))

  const rules = [2, 5, 9].map(nth => proxy.on({ direction, api: END, where: ({ version }) => version === 4, nth }, action))
  const answers = new Map<string, string>()
  await Promise.all(
    replicas.map(async (replica, n) => {
      // One after the other: each has a transaction of its own.
      for (let i = 0; i < 25; i++) {
        const id = `${n}-${i}`
        const { status } = await replica.execute('pay', { account: 'ann', cents: 1 }, { id, timeout: 60_000 })
        answers.set(id, status)
      }
    }),
  )
  for (const rule of rules) expect(rule.count).toBe(1)
  expect([...answers.values()].filter(status => status !== 'accepted')).toEqual([])
  for (const replica of replicas) {
    expect(await replica.query('total', undefined, { read: 'linearizable' })).toBe(50)
    const ids: string[] = []
    for await (const { id } of replica.events({ from: 1 }) as AsyncIterable<LoggedEvent>) if (ids.push(id) === 50) break
    expect([...ids].sort()).toEqual([...answers.keys()].sort())
  }
  const digests = await Promise.all(replicas.map(replica => replica.digest()))
  expect(digests[0]).toEqual(digests[1])
})
