/**
 * What happens to brokers while crews write, one crew under each way: whoever leads and whoever coordinates is killed, stopped, parted from the others,
 * and all of them are restarted, one after the other. Over when every crew goes on and all copies are in sync again.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { KafkaClient } from '../../../src/log/kafka/client.ts'
import { transactionalIdOf } from '../../../src/log/kafka/partition.ts'
import { rosterTopic } from '../../../src/log/kafka/roster.ts'
import { kafkaSettings } from '../../../src/log/kafka/settings.ts'
import type { Broker, Cluster } from '../brokers.ts'
import { kafkaWays, wayName } from '../ways.ts'
import { Crew } from './crew.ts'

const LOOK_AGAIN = 100
/** Between two commands of a client, ms: ten writers and three brokers share the machine. */
const PAUSE = 100
/** Kafka's own, of which transactional ids have their coordinator. */
const TRANSACTIONS = '__transaction_state'

/** A cluster of three with links, and a crew of two under each way: one writer with a network of its own, one without. */
export class Theatre implements AsyncDisposable {
  readonly cluster: Cluster
  readonly crews: readonly Crew[]
  readonly #client: KafkaClient

  private constructor(cluster: Cluster, crews: readonly Crew[]) {
    this.cluster = cluster
    this.crews = crews
    this.#client = new KafkaClient(kafkaSettings(`kafka://${cluster.bootstrap}/any`).settings)
  }

  /** @param name which topics begin with */
  static async open(cluster: Cluster, name: string, folder: string, seed: number): Promise<Theatre> {
    const started = await Promise.allSettled(
      kafkaWays.map(way => {
        const topic = `${name}-${wayName(way).replace('/', '-')}`
        return Crew.start({ brokers: cluster.bootstrap, topic, way, folder, seed, writers: ['proxied', 'direct'], pause: PAUSE })
      }),
    )
    const crews = started.filter(each => each.status === 'fulfilled').map(({ value }) => value)
    const theatre = new Theatre(cluster, crews)
    const failed = started.find(each => each.status === 'rejected')
    if (failed === undefined) return theatre
    await theatre[Symbol.asyncDispose]()
    throw failed.reason
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close()
    await Promise.all(this.crews.map(crew => crew[Symbol.asyncDispose]()))
  }

  async leaderOf({ topic }: Crew): Promise<Broker> {
    for (;;) {
      const leader = (await this.#client.metadata(topic)).topic?.partitions[0]?.leader ?? -1
      if (leader > 0) return this.cluster.broker(leader)
      await pause(LOOK_AGAIN)
    }
  }

  async coordinatorOf({ topic }: Crew): Promise<Broker> {
    return this.cluster.broker(await this.#client.coordinator(transactionalIdOf(topic, 0)))
  }

  /** One that coordinates the transactional id of a crew whose partition another one leads. */
  async coordinatorAlone(): Promise<Broker> {
    for (;;) {
      for (const crew of this.crews.filter(({ fenced }) => fenced)) {
        const coordinator = await this.coordinatorOf(crew)
        if (coordinator !== (await this.leaderOf(crew))) return coordinator
      }
      // Those who come back lead nothing until they are asked to.
      await this.cluster.tool('org.apache.kafka.tools.LeaderElectionCommand', ['--election-type', 'preferred', '--all-topic-partitions'])
    }
  }

  async goesOn(): Promise<void> {
    await Promise.all(this.crews.map(crew => crew.breath()))
  }

  /** All copies are in sync. */
  async whole(): Promise<void> {
    for (const topic of [...this.crews.flatMap(({ topic }) => [topic, rosterTopic(topic)]), TRANSACTIONS]) {
      for (;;) {
        const { topic: found } = await this.#client.metadata(topic)
        if (found?.partitions.every(({ leader, replicas, isr }) => leader > 0 && isr.length === replicas.length)) break
        await pause(LOOK_AGAIN)
      }
    }
  }
}

type Fault = (theatre: Theatre, random: () => number) => Promise<void>

const anyOf = <T>(list: readonly T[], random: () => number): T => list[Math.floor(random() * list.length)]!

export const brokerFaults: Readonly<Record<string, Fault>> = {
  'a leading broker is killed': async (theatre, random) => killed(theatre, await theatre.leaderOf(anyOf(theatre.crews, random))),
  'a leading broker is stopped': async (theatre, random) => stopped(theatre, await theatre.leaderOf(anyOf(theatre.crews, random))),
  'a coordinator that does not lead is killed': async theatre => killed(theatre, await theatre.coordinatorAlone()),
  // Whoever takes over needs it.
  'a coordinator that does not lead is stopped, and so is who reigns': async theatre => {
    const broker = await theatre.coordinatorAlone()
    await stopped(theatre, broker, await Promise.all(theatre.crews.filter(({ leads }) => leads).map(crew => asleep(crew))))
  },
  // Clients still reach it: it takes itself for what it was, and answers with what it has.
  'a leading broker is parted from the others': async (theatre, random) =>
    parted(theatre, await theatre.leaderOf(anyOf(theatre.crews, random)), random),
  'a coordinator that does not lead is parted from the others': async (theatre, random) =>
    parted(theatre, await theatre.coordinatorAlone(), random),
  'all brokers are restarted, one after the other': async theatre => {
    for (const broker of theatre.cluster.brokers) {
      await broker.shutdown()
      await broker.restart()
      await theatre.goesOn()
      await theatre.whole()
    }
  },
}

export async function hurtBrokers(theatre: Theatre, name: string, random: () => number): Promise<void> {
  await theatre.whole()
  await theatre.goesOn()
  await brokerFaults[name]!(theatre, random)
  await theatre.goesOn()
}

async function killed(theatre: Theatre, broker: Broker): Promise<void> {
  await broker.kill()
  await theatre.goesOn()
  await broker.restart()
}

/** @param wake goes on with it: who was stopped, too */
async function stopped(theatre: Theatre, broker: Broker, wake: readonly (() => Promise<void>)[] = []): Promise<void> {
  await broker.stop()
  try {
    await theatre.goesOn()
  } finally {
    await broker.continue()
  }
  await Promise.all(wake.map(each => each()))
}

/** Who reigns is stopped. @returns continues it, once somebody else has taken over */
async function asleep(crew: Crew): Promise<() => Promise<void>> {
  const writer = await crew.leader()
  const { term } = crew
  writer.worker.stop()
  return async () => {
    await crew.goesOnWithout(writer, term)
    writer.worker.continue()
    await crew.recovers(writer)
  }
}

async function parted(theatre: Theatre, { id }: Broker, random: () => number): Promise<void> {
  const links = theatre.cluster.links!
  links.part([id], random() < 0.5 ? 'cut' : 'silent')
  try {
    await theatre.goesOn()
  } finally {
    links.heal()
  }
}
