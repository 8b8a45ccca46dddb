/**
 * Faults of Kafka and of those who write to it, under each way. Series on one broker: writers are killed, stopped and cut off, mostly the one that
 * reigns. Series on three: brokers are killed, stopped, parted and restarted, with a log under each way at once. What they did is
 * judged at the end of each series.
 */
import { startCluster } from '../../test/support/brokers.ts'
import { brokerFaults, hurtBrokers, Theatre } from '../../test/support/kafka/broker-faults.ts'
import { Crew } from '../../test/support/kafka/crew.ts'
import { hurtWriter, writerFaults } from '../../test/support/kafka/writer-faults.ts'
import { seeded } from '../../src/random.ts'
import { temporaryFolder } from '../../test/support/logs.ts'
import { kafkaWays, type Way, wayName } from '../../test/support/ways.ts'
import type { Counts, Part } from './part.ts'

/** Each of the faults of a writer so often, in a series. */
const OFTEN = 2

export const run: Part['run'] = async ({ until, seed, report }) => {
  for (let own = seed * 1_000; Date.now() < until; own++) {
    {
      await using cluster = await startCluster()
      // Who waits for a take-over leaves the processor to others.
      const ways = [...kafkaWays]
      const lane = async (): Promise<void> => {
        for (let way = ways.shift(); way && Date.now() < until; way = ways.shift()) {
          const next = way
          await report.round(`writers-${wayName(next).replace('/', '-')}`, own, () => onOne(cluster.bootstrap, next, own))
        }
      }
      await Promise.all([lane(), lane()])
    }
    if (Date.now() >= until) return
    await report.round('brokers', own, () => onThree(own))
  }
}

async function onOne(brokers: string, way: Way, seed: number): Promise<Counts> {
  const random = seeded(seed)
  const folder = temporaryFolder()
  const topic = `torture-${seed}-${wayName(way).replace('/', '-')}`
  await using crew = await Crew.start({ brokers, topic, way, folder, seed, writers: ['proxied', 'proxied', 'proxied'] })
  const course = shuffled(Array.from({ length: OFTEN }, () => Object.keys(writerFaults)).flat(), random)
  const done: string[] = []
  try {
    for (const name of course) {
      done.push(name)
      await hurtWriter(crew, name, random)
    }
    return { rounds: course.length, ...(await crew.check(`seed ${seed}`)) }
  } catch (error) {
    throw new Error(`a writer ${done.join('; ')}`, { cause: error })
  }
}

async function onThree(seed: number): Promise<Counts> {
  const random = seeded(seed)
  const folder = temporaryFolder()
  await using cluster = await startCluster({ brokers: 3, links: true })
  await using theatre = await Theatre.open(cluster, 'torture', folder, seed)
  const course = shuffled(Object.keys(brokerFaults), random)
  const done: string[] = []
  const sums = { rounds: course.length * theatre.crews.length, accepted: 0, rejected: 0 }
  try {
    for (const name of course) {
      done.push(name)
      await hurtBrokers(theatre, name, random)
    }
    for (const crew of theatre.crews) {
      const { accepted, rejected } = await crew.check(`seed ${seed}, ${crew.name}`)
      sums.accepted += accepted
      sums.rejected += rejected
    }
    return sums
  } catch (error) {
    throw new Error(done.join('; '), { cause: error })
  }
}

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  return list
    .map(each => ({ each, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ each }) => each)
}
