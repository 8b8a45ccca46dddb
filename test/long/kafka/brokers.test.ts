/** Three real brokers that are killed and stopped: leadership moves, what was acknowledged stays. */
import { type Connection, produceV11 } from '@platformatic/kafka'
import { expect, it, vi } from 'vitest'
import { versions } from '../../support/kafka/install.ts'
import { type Broker, startCluster } from '../../support/brokers.ts'
import { connect, createTopic, partitionOf } from '../../support/kafka/raw.ts'

it.each(versions)('Kafka %s: a killed leader is followed by another, and comes back', async version => {
  await using cluster = await startCluster({ brokers: 3, version })
  const on = (broker: Broker): Promise<Connection> => connect(broker.address)
  await createTopic(await on(cluster.broker(1)), 'orders', 3)
  const first = cluster.broker((await partitionOf(await on(cluster.broker(1)), 'orders')).leaderId)
  await produce(await on(first), 'before')
  await first.kill()

  const other = cluster.brokers.find(broker => broker !== first)!
  const witness = await on(other)
  const elected = await vi.waitFor(
    async () => {
      const { leaderId } = await partitionOf(witness, 'orders')
      expect([-1, first.id]).not.toContain(leaderId)
      return cluster.broker(leaderId)
    },
    { timeout: 60_000, interval: 100 },
  )
  const successor = await on(elected)
  await produce(successor, 'after')

  await first.restart()
  await vi.waitFor(async () => expect((await partitionOf(witness, 'orders')).isrNodes.toSorted(byNumber)).toEqual([1, 2, 3]), {
    timeout: 60_000,
    interval: 100,
  })
  const args = ['--topic', 'orders', '--from-beginning', '--max-messages', '2', '--timeout-ms', '60000']
  const read = await cluster.tool('org.apache.kafka.tools.consumer.ConsoleConsumer', args)
  expect(read.trim().split('\n')).toEqual(['before', 'after'])
})

it('a stopped broker falls out of step, and is back in step when it goes on', async () => {
  await using cluster = await startCluster({
    brokers: 3,
    properties: { 'replica.lag.time.max.ms': 2_000, 'broker.session.timeout.ms': 3_000, 'broker.heartbeat.interval.ms': 500 },
  })
  const connection = await connect(cluster.broker(1).address)
  await createTopic(connection, 'orders', 3)
  const { leaderId } = await partitionOf(connection, 'orders')
  const leader = await connect(cluster.broker(leaderId).address)
  const follower = cluster.brokers.find(({ id }) => id !== leaderId)!
  const inStep = async (ids: readonly number[]) => {
    const isr = async () => (await partitionOf(leader, 'orders')).isrNodes.toSorted(byNumber)
    await vi.waitFor(async () => expect(await isr()).toEqual(ids), { timeout: 60_000, interval: 100 })
  }
  await follower.stop()
  await produce(leader, 'without it')
  await inStep([1, 2, 3].filter(id => id !== follower.id))
  await follower.continue()
  await inStep([1, 2, 3])
})

it.each(['cut', 'silent'] as const)(
  'a leader that is parted from the others (%s) takes itself for the leader, until they meet again',
  async how => {
    await using cluster = await startCluster({ brokers: 3, links: true })
    const on = (broker: Broker): Promise<Connection> => connect(broker.address)
    await createTopic(await on(cluster.broker(1)), 'orders', 3)
    const { leaderId } = await partitionOf(await on(cluster.broker(1)), 'orders')
    const first = await on(cluster.broker(leaderId))
    const witness = await on(cluster.brokers.find(({ id }) => id !== leaderId)!)
    const seenBy = async (connection: Connection) => (await partitionOf(connection, 'orders')).leaderId
    cluster.links!.part([leaderId], how)
    await vi.waitFor(async () => expect([-1, leaderId]).not.toContain(await seenBy(witness)), { timeout: 60_000, interval: 100 })
    expect(await seenBy(first)).toBe(leaderId)
    cluster.links!.heal()
    await vi.waitFor(async () => expect(await seenBy(first)).toBe(await seenBy(witness)), { timeout: 60_000, interval: 100 })
    await vi.waitFor(async () => expect((await partitionOf(first, 'orders')).isrNodes.toSorted(byNumber)).toEqual([1, 2, 3]), {
      timeout: 60_000,
      interval: 100,
    })
  },
)

const byNumber = (a: number, b: number): number => a - b

async function produce(connection: Connection, value: string): Promise<void> {
  const messages = [{ topic: 'orders', partition: 0, value: Buffer.from(value) }]
  // A broker may have to hear first that it leads. What it refuses for that it has not written.
  await vi.waitFor(() => produceV11.api.async(connection, -1, 30_000, messages, {}), { timeout: 30_000, interval: 100 })
}
