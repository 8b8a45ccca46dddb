/**
 * Three brokers (three copies, two in sync needed), four writer processes, and a seeded series of faults: brokers killed and stopped, writers
 * killed and stopped, all brokers restarted one after the other. `MAINSTEM_SEED` gives another course; the seed is in the message of whatever
 * fails. Afterwards nothing that was acknowledged is lost, nothing is doubled, and all replicas have come to the same.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { KafkaClient } from '../../../src/log/kafka/client.ts'
import { kafkaSettings } from '../../../src/log/kafka/settings.ts'
import { type Broker, type Cluster, startCluster } from '../../support/brokers.ts'
import { makeLog } from '../../support/kafka.ts'
import { seeded } from '../../../src/random.ts'
import { temporaryFolder } from '../../support/logs.ts'
import { checkHistory, Worker } from '../../support/processes.ts'
import { kafkaWays, wayName } from '../../support/ways.ts'
import type { Answer } from '../../support/worker.ts'

const seed = Number(process.env['MAINSTEM_SEED'] ?? 1)
const WRITERS = 4
const ACCOUNTS = 10
/** New answers of somebody, before and after each fault. */
const BREATH = 30

let cluster: Cluster
beforeAll(async () => {
  cluster = await startCluster({ brokers: 3 })
})
afterAll(() => cluster.close())

/** Who leads the only partition of a topic. */
async function leaderOf(url: string): Promise<Broker> {
  const { settings, topic: name } = kafkaSettings(url)
  const client = new KafkaClient(settings)
  try {
    for (;;) {
      const { topic } = await client.metadata(name)
      const leader = topic?.partitions[0]?.leader ?? -1
      if (leader > 0) return cluster.broker(leader)
      await pause(50)
    }
  } finally {
    client.close()
  }
}

test.each(kafkaWays)('$strategy $fencing: brokers and writers come and go', async way => {
  const note = `${wayName(way)}, seed ${seed}`
  const random = seeded(seed)
  const log = `kafka://${cluster.bootstrap}/faults-${way.strategy}-${way.fencing ?? 'any'}`
  const folder = temporaryFolder()
  await makeLog(log, 'shop')
  const data = Array.from({ length: WRITERS }, (_, n) => join(folder, `data-${n}`))
  const answers: Answer[] = []
  let spawned = 0
  const start = (n: number) =>
    new Worker({ ...way, log, data: data[n]!, seed: seed * 10_000 + spawned++, accounts: ACCOUNTS, clients: 4, pause: 20, timeout: 60_000 })
  const writers = data.map((_, n) => start(n))
  const gone = async (writer: Worker) => {
    const { code } = await writer.ended
    const failed = writer.answers.filter(({ status }) => status === 'failed').map(answer => JSON.stringify(answer))
    expect(code ?? 0, `${note}: a writer failed. ${writer.complaints}\n${failed.join('\n')}`).toBe(0)
    answers.push(...writer.answers)
  }
  /** One that is not stopped has heard so many answers more. */
  const breath = (but?: Worker) =>
    Promise.race(writers.filter(writer => writer !== but).map(writer => writer.answered(writer.answers.length + BREATH)))

  const faults: Record<string, () => Promise<void>> = {
    'the leading broker is killed': async () => {
      const broker = await leaderOf(log)
      await broker.kill()
      await breath()
      await broker.restart()
    },
    'the leading broker is stopped': async () => {
      const broker = await leaderOf(log)
      await broker.stop()
      try {
        await breath()
      } finally {
        await broker.continue()
      }
    },
    'a writer is killed': async () => {
      const n = Math.floor(random() * WRITERS)
      const writer = writers[n]!
      await writer.kill()
      await gone(writer)
      if (random() < 0.3) rmSync(data[n]!, { recursive: true, force: true })
      writers[n] = start(n)
      await writers[n].answered(1)
    },
    'a writer is stopped': async () => {
      const writer = writers[Math.floor(random() * WRITERS)]!
      writer.stop()
      await breath(writer)
      writer.continue()
      await writer.answered(writer.answers.length + 1)
    },
    'all brokers are restarted, one after the other': async () => {
      for (const broker of cluster.brokers) {
        await broker.shutdown()
        await broker.restart()
        await breath()
      }
    },
  }
  const course = Object.keys(faults)
    .map(name => ({ name, at: random() }))
    .sort((a, b) => a.at - b.at)
  try {
    await Promise.all(writers.map(writer => writer.answered(BREATH)))
    for (const { name } of course) {
      const from = performance.now()
      await breath()
      await faults[name]!()
      await breath()
      process.stdout.write(`${note}: ${name}, ${Math.round(performance.now() - from)} ms\n`)
    }
    await Promise.all(writers.map(writer => writer.finish()))
    for (const writer of writers) await gone(writer)
  } finally {
    for (const writer of writers) await writer.kill()
  }
  // Nobody was told more than that the outcome is not known, and of those there may be few.
  const failed = answers.filter(({ status }) => status === 'failed')
  const { accepted, rejected } = await checkHistory({ ...way, log, folder, data, accounts: ACCOUNTS, answers, note })
  process.stdout.write(`${note}: ${accepted} accepted, ${rejected} rejected, ${failed.length} not answered in time\n`)
  expect(accepted).toBeGreaterThan(100)
  const codes = new Set(failed.map(({ code }) => code))
  for (const code of codes) expect(['outcome-unknown', 'not-leader', 'timeout'], note).toContain(code)
  expect(failed.length, note).toBeLessThanOrEqual(answers.length / 100)
})
