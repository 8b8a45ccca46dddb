/** A partition's way to the model of a cluster: connections that carry requests and answers, in order, as long as nothing goes wrong with them. */
import { Disconnected, Refused } from '../../log/kafka/client.ts'
import type { Leader } from '../../log/kafka/topic.ts'
import type { Line, Wire } from '../../log/kafka/wire.ts'
import type { Cluster, ClusterOutput, ClusterReplies, ClusterReply, ClusterRequest } from '../cluster.ts'
import type { Network } from './network.ts'
import type { Process, Scheduler } from './scheduler.ts'

/** For so long a request is waited for beyond what the broker was given, ms. As in `calls.ts`. */
const GRACE = 5_000
/** What a look at the cluster's metadata may take, ms. */
const LOOK = 500
/** Between two looks, ms. As in `topic.ts`. */
const LOOK_AGAIN = 100

/** The cluster, and what waits for its answers. */
export class ClusterDriver {
  readonly cluster: Cluster
  readonly brokers: number
  readonly #scheduler: Scheduler
  readonly #waiting = new Map<number, (reply: ClusterReply | undefined) => void>()
  readonly #dead = new Set<number>()
  #keys = 0
  #cancelTick: (() => void) | undefined

  constructor(cluster: Cluster, brokers: number, scheduler: Scheduler) {
    this.cluster = cluster
    this.brokers = brokers
    this.#scheduler = scheduler
    this.#schedule()
  }

  /** @param heard undefined: the broker died */
  ask(node: number, request: ClusterRequest, heard: (reply: ClusterReply | undefined) => void): void {
    const key = ++this.#keys
    this.#waiting.set(key, heard)
    this.#step({ type: 'request', key, node, request })
  }

  /** What was sent arrives, whatever becomes of its sender. */
  later(ms: number, work: () => void): void {
    this.#scheduler.at(this.#scheduler.now + ms, work)
  }

  isDead(node: number): boolean {
    return this.#dead.has(node)
  }

  kill(node: number): void {
    this.#dead.add(node)
    this.#step({ type: 'kill', node })
  }

  start(node: number): void {
    this.#dead.delete(node)
    this.#step({ type: 'start', node })
  }

  stop(node: number): void {
    this.#step({ type: 'stop', node })
  }

  continue(node: number): void {
    this.#step({ type: 'continue', node })
  }

  part(nodes: readonly [number, number]): void {
    this.#step({ type: 'part', nodes })
  }

  join(nodes: readonly [number, number]): void {
    this.#step({ type: 'join', nodes })
  }

  #step(input: Parameters<Cluster['step']>[1]): void {
    for (const output of this.cluster.step(this.#scheduler.now, input)) this.#act(output)
    this.#schedule()
  }

  #act(output: ClusterOutput): void {
    const heard = this.#waiting.get(output.key)
    this.#waiting.delete(output.key)
    heard?.(output.do === 'reply' ? output.reply : undefined)
  }

  #schedule(): void {
    this.#cancelTick?.()
    const { due } = this.cluster
    if (due !== undefined) this.#cancelTick = this.#scheduler.at(due, () => this.#step({ type: 'tick' }))
  }
}

export interface WireOptions {
  readonly node: number
  readonly transactions: 1 | 2
  readonly topicId: string
}

export class SimulatedWire implements Wire {
  readonly name = 'log'
  readonly id: string
  readonly versions
  readonly failure = undefined
  readonly #driver: ClusterDriver
  readonly #process: Process
  readonly #network: Network
  readonly #node: number
  #leader: Leader | undefined
  #refreshing: Promise<void> | undefined
  #refreshedAt = -LOOK_AGAIN

  constructor(driver: ClusterDriver, process: Process, network: Network, { node, transactions, topicId }: WireOptions) {
    this.#driver = driver
    this.#process = process
    this.#network = network
    this.#node = node
    this.id = topicId
    this.versions =
      transactions === 1
        ? ({ produce: 13, produceInTransaction: 11, endTxn: 4, transactions: 1, features: new Map() } as const)
        : ({ produce: 13, produceInTransaction: 12, endTxn: 5, transactions: 2, features: new Map() } as const)
  }

  leader(): Leader | undefined {
    return this.#leader
  }

  async refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined
    })
    await this.#refreshing
  }

  connect(node: number, _purpose: string): Promise<Line> {
    return new Promise((resolve, reject) => {
      this.#process.after(this.#network.delay() * 2, () => {
        if (this.#driver.isDead(node)) reject(new Disconnected(`broker ${node} does not answer`, false))
        else resolve(connection(this.#driver, this.#process, this.#network, this.#node, node))
      })
    })
  }

  async coordinator(transactionalId: string, doubted?: number): Promise<number> {
    const answer = await this.#any<'find-coordinator'>({ api: 'find-coordinator', transactionalId }, ({ node }) => node !== doubted)
    if (!answer) throw new Disconnected('no broker answers', false)
    if (answer.error !== 'NONE') throw new Refused(`no coordinator: ${answer.error}`, answer.error)
    return answer.node
  }

  async #refresh(): Promise<void> {
    const wait = this.#refreshedAt + LOOK_AGAIN - this.#process.now()
    if (wait > 0) await new Promise<void>(resolve => this.#process.after(wait, resolve))
    const answer = await this.#any<'metadata'>({ api: 'metadata' })
    this.#refreshedAt = this.#process.now()
    const partition = answer?.topics[0]?.partitions[0]
    if (!partition) return
    const { leader, leaderEpoch } = partition
    if (leader >= 0 && leaderEpoch >= (this.#leader?.epoch ?? -1)) this.#leader = { node: leader, epoch: leaderEpoch }
  }

  /** The first answer that will do, or any if there is none. */
  #any<K extends 'metadata' | 'find-coordinator'>(
    request: ClusterRequest & { api: K },
    willDo: (reply: ClusterReplies[K]) => boolean = () => true,
  ): Promise<ClusterReplies[K] | undefined> {
    return new Promise(resolve => {
      const { brokers } = this.#driver
      let second: ClusterReplies[K] | undefined
      let answers = 0
      const take = (reply: ClusterReplies[K]) => {
        second = reply
        if (willDo(reply) || ++answers === brokers) resolve(reply)
      }
      this.#process.after(LOOK, () => resolve(second))
      for (let node = 0; node < brokers; node++) {
        this.#process.after(this.#network.delay(), () =>
          this.#driver.ask(node, request, reply => {
            if (reply) this.#process.after(this.#network.delay(), () => take(reply as ClusterReplies[K]))
          }),
        )
      }
    })
  }
}

interface Asked {
  readonly request: ClusterRequest
  readonly resolve: (reply: never) => void
  readonly reject: (error: Disconnected) => void
}

/**
 * One connection: what is sent arrives in order, and so do the answers, for a broker works on one request of a connection at a time. Once broken,
 * nothing comes any more.
 */
function connection(driver: ClusterDriver, process: Process, network: Network, node: number, broker: number): Line {
  const asked: Asked[] = []
  let closed = false

  const close = (why: string) => {
    closed = true
    for (const { reject } of asked.splice(0)) reject(new Disconnected(`the connection to broker ${broker} ${why}`, true))
  }

  const ask = (api: ClusterRequest['api'], args: object, patience: number) => {
    const request = { ...args, api } as ClusterRequest
    return new Promise<never>((resolve, reject) => {
      if (closed) {
        reject(new Disconnected('the connection is closed', false))
        return
      }
      const each = { request, resolve, reject }
      asked.push(each)
      process.after(patience, () => asked.includes(each) && close(`gave no answer for ${patience} ms`))
      if (asked.length === 1) send(each)
    })
  }

  const send = ({ request, resolve }: Asked) => {
    const { api } = request
    const fault = network.fate(process.now(), node, 'log', api)
    const reset = () => process.after(network.delay(), () => close('was reset'))
    if (fault?.kind === 'lose-request') return reset()
    // What is on its way arrives, also when the sender is stopped or dead.
    const arrive = (late: number, heard: (reply: ClusterReply | undefined) => void) =>
      driver.later(late + network.delay(), () => driver.ask(broker, request, heard))
    if (fault?.kind === 'delay-request') {
      arrive(fault.by, () => {})
      return reset()
    }
    // A second copy of a batch is known by its sequence; of anything else there is none on a connection.
    if (fault?.kind === 'double' && api === 'produce') arrive(fault.by, () => {})
    const late = fault?.kind === 'delay-reply' ? fault.by : 0
    arrive(0, reply =>
      process.after(late + network.delay(), () => {
        if (closed) return
        if (!reply || fault?.kind === 'lose-reply') return close('was reset')
        asked.shift()
        resolve(reply as never)
        if (asked.length > 0) send(asked[0]!)
      }),
    )
    return undefined
  }

  return {
    get closed() {
      return closed
    },
    close: () => close('was closed'),
    fetch: args => ask('fetch', args, args.patience ?? args.maxWait + GRACE),
    produce: args => ask('produce', args, args.patience ?? args.timeout + GRACE),
    listOffsets: args => ask('list-offsets', args, GRACE),
    initProducerId: args => ask('init-producer-id', args, GRACE),
    addPartitions: args => ask('add-partitions', args, GRACE),
    endTxn: args => ask('end-txn', args, GRACE),
  }
}
