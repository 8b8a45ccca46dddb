/**
 * Three brokers (three copies, two in sync needed), and under each way at once a log with two writers: a series of faults in an order of the seed, each of
 * brokers and each of writers once. `MAINSTEM_SEED` gives another course; the seed is in the message of whatever fails. Afterwards
 * everybody was answered, nothing that was acknowledged is lost, nothing is doubled, and all replicas have come to the same.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../../support/brokers.ts'
import { brokerFaults, hurtBrokers, Theatre } from '../../support/kafka/broker-faults.ts'
import { hurtWriter, writerFaults } from '../../support/kafka/writer-faults.ts'
import { seeded } from '../../../src/random.ts'
import { temporaryFolder } from '../../support/logs.ts'

const seed = Number(process.env['MAINSTEM_SEED'] ?? 1)

let cluster: Cluster
beforeAll(async () => {
  cluster = await startCluster({ brokers: 3, links: true })
})
afterAll(() => cluster.close())

test('brokers and writers come and go', { timeout: 1_800_000 }, async () => {
  const note = `seed ${seed}`
  const random = seeded(seed)
  const folder = temporaryFolder()
  const started = performance.now()
  const lap = (what: string): void =>
    void process.stdout.write(`${note}: ${what}, ${Math.round((performance.now() - started) / 1_000)} s\n`)
  await using theatre = await Theatre.open(cluster, `faults-${seed}`, folder, seed)
  const { crews } = theatre
  lap('all write')
  const course = [
    ...Object.keys(brokerFaults).map(name => ({ name, at: random(), hurt: () => hurtBrokers(theatre, name, random) })),
    ...Object.keys(writerFaults).map(name => ({
      name: `a writer ${name}`,
      at: random(),
      hurt: () => Promise.all(crews.map((crew, n) => hurtWriter(crew, name, seeded(seed * 100 + n)))),
    })),
  ].sort((a, b) => a.at - b.at)
  for (const { name, hurt } of course) {
    await hurt()
    lap(name)
  }
  for (const crew of crews) {
    const { accepted, rejected } = await crew.check(`${note}, ${crew.name}`)
    lap(`${crew.name}: ${accepted} accepted, ${rejected} rejected`)
    expect(accepted).toBeGreaterThan(100)
  }
})
