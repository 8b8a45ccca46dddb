/**
 * Two of three brokers are stopped: fewer in sync than a record needs. Commands wait up to their deadlines and then hear the right one of
 * two: that nothing was written, or that it is not known. When the brokers are back all goes on, and what was told is true.
 */
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { KafkaClient } from '../../../src/log/kafka/client.ts'
import { kafkaSettings } from '../../../src/log/kafka/settings.ts'
import { openReplica, type Replica } from '../../../src/replica.ts'
import { type Cluster, startCluster } from '../../support/brokers.ts'
import { makeLog } from '../../support/kafka.ts'
import { Ledger } from '../../support/ledger.ts'
import { temporaryFolder } from '../../support/logs.ts'
import shop from '../../support/shop.ts'
import { kafkaWays } from '../../support/ways.ts'

let cluster: Cluster
beforeAll(async () => {
  cluster = await startCluster({ brokers: 3 })
})
afterAll(() => cluster.close())

test.each(kafkaWays)('$strategy $fencing', async way => {
  const log = `kafka://${cluster.bootstrap}/isr-${way.strategy}-${way.fencing ?? 'any'}`
  await makeLog(log, 'shop')
  const folder = temporaryFolder()
  const ledger = new Ledger()
  const replicas: Replica[] = []
  for (const n of [1, 2]) {
    const replica = await openReplica(shop, { ...way, log, data: join(folder, `data-${n}`), timeout: 60_000 })
    onTestFinished(() => replica.close())
    replicas.push(replica)
  }
  for (const replica of replicas) await ledger.pay(replica)

  const client = new KafkaClient(kafkaSettings(log).settings)
  const { topic } = await client.metadata(kafkaSettings(log).topic)
  client.close()
  const others = cluster.brokers.filter(({ id }) => id !== topic!.partitions[0]!.leader)
  await Promise.all(others.map(broker => broker.stop()))
  try {
    const early = await Promise.allSettled(
      Array.from({ length: 8 }, (_, n) => ledger.pay(replicas[n % 2], `a${n}`, { id: `early-${n}`, timeout: 4_000 })),
    )
    // They were sent, so nobody knows; or found the way closed already.
    for (const answer of early)
      expect(answer).toMatchObject({
        status: 'rejected',
        reason: { retry: 'safe', code: expect.stringMatching(/^(outcome-unknown|timeout|not-leader)$/) },
      })
    const late = await Promise.allSettled(
      Array.from({ length: 8 }, (_, n) => ledger.pay(replicas[n % 2], `a${n}`, { id: `late-${n}`, timeout: 2_000 })),
    )
    // Behind those that wait: never sent.
    for (const answer of late)
      expect(answer).toMatchObject({
        status: 'rejected',
        reason: { retry: 'safe', code: expect.stringMatching(/^(outcome-unknown|timeout|not-leader)$/) },
      })
    expect(await replicas[0]!.query('total')).toBe(2)
  } finally {
    await Promise.all(others.map(broker => broker.continue()))
  }
  for (const replica of replicas) expect((await ledger.pay(replica)).status).toBe('accepted')
  for (const replica of replicas) await replica.query('total', undefined, { read: 'linearizable' })
  process.stdout.write(`${way.strategy} ${way.fencing ?? ''}: told ${JSON.stringify(ledger.words)}\n`)
  // Whoever was told that nothing was written was told the truth.
  await ledger.check(log)
  await ledger.settle(replicas[1], { timeout: 60_000 })
  const digests = await ledger.check(log)
  for (const replica of replicas) {
    expect(await replica.query('total', undefined, { read: 'linearizable' })).toBe(20)
    const { version, digest } = await replica.digest()
    expect(`${version} ${digest}`).toBe(digests.get('default'))
  }
})
