/**
 * The modelled cluster under faults of every kind: what Kafka promises holds in it. Brokers are killed, stopped and cut off by seed, while
 * some clients write batch by batch, and one writes transactions; then everything is mended, and the logs are compared.
 */
import { expect, test } from 'vitest'
import type { BatchProducer } from '../../src/log/kafka/batch.ts'
import { type ClusterReply, CONTROLLER } from '../../src/testing/cluster.ts'
import { fetchArgs, produceArgs, topic, World } from '../support/modelled.ts'

const nodes = [0, 1, 2]
/** A client waits so long for an answer, ms. */
const patience = 3_000

class Client {
  readonly world: World
  /** What was answered with an offset, and what stands there by that word. */
  readonly acknowledged = new Map<number, string>()
  node: number
  key: number | undefined
  since = 0

  constructor(world: World) {
    this.world = world
    this.node = this.any()
  }

  any(): number {
    return Math.floor(this.world.random() * 3)
  }

  ask(node: number, request: Parameters<World['send']>[1]): void {
    this.key = this.world.send(node, request)
    this.since = this.world.now
  }

  /** The answer, 'lost', or undefined as long as it may come. */
  take(): ClusterReply | 'lost' | undefined {
    const answer = this.world.answered(this.key!)
    if (answer === undefined && this.world.now - this.since < patience) return undefined
    this.key = undefined
    return answer === undefined || answer === 'dropped' ? 'lost' : answer
  }
}

/** Sends one batch after the other, each as often as it takes. */
class Writer extends Client {
  readonly producer: BatchProducer
  sequence = 0

  constructor(world: World, id: number) {
    super(world)
    this.producer = { producerId: BigInt(900_000 + id), epoch: 0, sequence: 0, transactional: false }
  }

  get value(): string {
    return `${this.producer.producerId}-${this.sequence}`
  }

  act(): void {
    if (this.key === undefined)
      return this.ask(this.node, { api: 'produce', ...produceArgs([this.value], { ...this.producer, sequence: this.sequence }) })
    const answer = this.take()
    if (answer === undefined) return
    if (answer !== 'lost' && 'offset' in answer && answer.error === 'NONE') {
      this.acknowledged.set(answer.offset, this.value)
      this.sequence++
    } else this.node = this.any()
  }
}

/** One transaction after the other; one that met with anything unclear is left alone. */
class Transactor extends Client {
  readonly fate = new Map<string, 'committed' | 'unknown' | 'aborted'>()
  coordinator = 0
  stage: 'init' | 'add' | 'produce' | 'end' = 'init'
  own: BatchProducer | undefined
  count = 0
  readonly version: 1 | 2

  constructor(world: World, version: 1 | 2) {
    super(world)
    this.version = version
  }

  get value(): string {
    return `t-${this.count}`
  }

  act(): void {
    if (this.key === undefined) return this.#send()
    const answer = this.take()
    if (answer === undefined) return
    const error = answer === 'lost' || !('error' in answer) ? 'LOST' : answer.error
    const { stage } = this
    if (error !== 'NONE') {
      if (stage === 'init') this.coordinator = this.any()
      else this.node = this.any()
      // Ask again: nothing came of it, or the same bytes are known.
      if (error === 'CONCURRENT_TRANSACTIONS' && stage !== 'end') return
      return this.#anew()
    }
    if (stage === 'init') {
      const { producerId, epoch } = answer as { producerId: bigint; epoch: number }
      this.own = { producerId, epoch, sequence: 0, transactional: true }
      this.count++
      this.fate.set(this.value, 'aborted')
      this.stage = this.version === 1 ? 'add' : 'produce'
    } else if (stage === 'add') this.stage = 'produce'
    else if (stage === 'produce') {
      this.stage = 'end'
      this.fate.set(this.value, 'unknown')
    } else {
      this.fate.set(this.value, 'committed')
      this.#anew()
    }
  }

  #anew(): void {
    this.stage = 'init'
    this.own = undefined
  }

  #send(): void {
    const transactionalId = 'tx'
    const { producerId, epoch } = this.own ?? { producerId: -1n, epoch: -1 }
    const version = this.version === 1 ? 11 : 12
    if (this.stage === 'init') this.ask(this.coordinator, { api: 'init-producer-id', transactionalId, timeout: 10_000, producerId, epoch })
    else if (this.stage === 'add')
      this.ask(this.coordinator, { api: 'add-partitions', transactionalId, producerId, epoch, topic, partitions: [0] })
    else if (this.stage === 'produce') this.ask(this.node, { api: 'produce', ...produceArgs([this.value], this.own!), version })
    else
      this.ask(this.coordinator, { api: 'end-txn', version: this.version === 1 ? 4 : 5, transactionalId, producerId, epoch, commit: true })
  }
}

/** What ails the cluster now, and how it is mended. */
class Faults {
  readonly #world: World
  readonly #mends: (() => void)[] = []

  constructor(world: World) {
    this.#world = world
  }

  strike(): void {
    const world = this.#world
    const pick = <T>(of: readonly T[]): T => of[Math.floor(world.random() * of.length)]!
    if (this.#mends.length > 1 || (this.#mends.length > 0 && world.random() < 0.5)) return this.#mends.shift()!()
    const node = pick(nodes)
    const other = pick([CONTROLLER, ...nodes].filter(each => each !== node))
    const [fault, mend] = pick([
      [
        { type: 'kill', node },
        { type: 'start', node },
      ],
      [
        { type: 'stop', node },
        { type: 'continue', node },
      ],
      [
        { type: 'part', nodes: [node, other] },
        { type: 'join', nodes: [node, other] },
      ],
    ] as const)
    world.do(fault)
    this.#mends.push(() => world.do(mend))
  }

  mend(): void {
    for (const each of this.#mends.splice(0)) each()
    for (const node of nodes) for (const type of ['continue', 'start'] as const) this.#world.do({ type, node })
  }
}

function run(seed: number, version: 1 | 2) {
  const world = new World({ brokers: 3, minIsr: 2, transactionVersion: version, lagTime: 6_000 }, seed)
  const writers = [1, 2, 3].map(id => new Writer(world, id))
  const transactor = new Transactor(world, version)
  const clients = [...writers, transactor]
  const faults = new Faults(world)
  const read: string[] = []
  const go = (until: number) => {
    while (world.now < until) {
      world.pass(5 + world.random() * 200)
      for (const client of clients) client.act()
    }
  }
  for (let i = 0; i < 25; i++) {
    go(world.now + world.random() * 5_000)
    faults.strike()
    remember(world, read, `seed ${seed}`)
  }
  faults.mend()
  const before = [...writers.map(({ sequence }) => sequence), transactor.count]
  go(world.now + 90_000)
  const after = [...writers.map(({ sequence }) => sequence), transactor.count]
  world.pass(60_000)
  return { world, writers, transactor, read, before, after }
}

/** What one broker shows as settled is settled: it stands there for good. */
function remember(world: World, read: string[], about: string): void {
  for (const node of nodes) {
    const key = world.send(node, { api: 'fetch', ...fetchArgs({ isolation: 'read_uncommitted' }) })
    const answer = world.answered(key)
    if (answer === undefined || answer === 'dropped' || !('bytes' in answer)) continue
    const bytes = answer.bytes.toString('latin1')
    const known = read[0] ?? ''
    expect(bytes.startsWith(known) || known.startsWith(bytes), `${about}: one is a prefix of the other`).toBe(true)
    if (bytes.length > known.length) read[0] = bytes
  }
}

const seeds = Number(process.env['SEEDS'] ?? 15)
const first = Number(process.env['SEED'] ?? 1)

test.each([1, 2] as const)('nothing acknowledged is lost, nothing stands twice, all goes on (transactions of version %i)', version => {
  for (let seed = first; seed < first + seeds; seed++) {
    const { world, writers, transactor, read, before, after } = run(seed, version)
    const about = `seed ${seed}`
    const logs = nodes.map(node => world.fetch({ isolation: 'read_uncommitted' }, node))
    expect(
      logs.map(({ error }) => error),
      about,
    ).toEqual(['NONE', 'NONE', 'NONE'])
    for (const { bytes } of logs) expect(bytes.equals(logs[0]!.bytes), `${about}: all logs are the same`).toBe(true)
    expect(logs[0]!.bytes.toString('latin1').startsWith(read[0] ?? ''), `${about}: what was read stands there`).toBe(true)
    const values = world.values('read_committed') as string[]
    expect(new Set(values).size, `${about}: nothing stands twice`).toBe(values.length)
    for (const { acknowledged, sequence, producer } of writers) {
      const own = values.filter(value => value.startsWith(`${producer.producerId}-`))
      expect(own.slice(0, sequence), `${about}: all of it, in order`).toEqual(
        Array.from({ length: sequence }, (_, i) => `${producer.producerId}-${i}`),
      )
      expect(acknowledged.size, about).toBe(sequence)
    }
    for (const [value, fate] of transactor.fate)
      if (fate !== 'unknown') expect(values.includes(value), `${about}: ${value} was ${fate}`).toBe(fate === 'committed')
    for (const [i, count] of after.entries()) expect(count, `${about}: client ${i} goes on`).toBeGreaterThan(before[i]! + 10)
  }
})
