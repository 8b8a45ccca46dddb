/**
 * Clusters of real Kafka brokers for tests and for developers: Java processes on free loopback ports, in a folder of their own. They are
 * gone when the cluster is closed, and also when the process that started them is gone.
 */
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onceAtATime } from '../../scripts/lock.mjs'
import { type Installation, install, type KafkaVersion } from './kafka/install.ts'
import { brokerReady, transactionsReady } from './kafka/ready.ts'
import {
  addScramUsers,
  type Certificates,
  makeCertificates,
  protocolOf,
  type SecurityOptions,
  securityProperties,
} from './kafka/security.ts'
import type { Order, Report } from './kafka/supervisor.ts'
import { Links } from './links.ts'

export interface ClusterOptions extends SecurityOptions {
  /** Default: 1. */
  readonly brokers?: 1 | 3
  /** Default: 4.3.1. */
  readonly version?: KafkaVersion
  /** Server properties on top of ours. */
  readonly properties?: Readonly<Record<string, string | number | boolean>>
  /** Ports for the clients that are taken if they are free. */
  readonly ports?: readonly number[]
  /** Where its data stays. Default: a temporary folder that is removed with the cluster. */
  readonly folder?: string
  /** Whether the network between the brokers can be parted: `Cluster.links`. */
  readonly links?: boolean
  /** Arguments for Java after ours, which ask for little memory and a fast start. */
  readonly jvm?: readonly string[]
}

const MINIMAL_JVM = [
  '-Xms64m',
  '-Xmx256m',
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-XX:-UsePerfData',
  '-XX:+ExitOnOutOfMemoryError',
  // What Java itself has to say, of an archive of classes that it cannot use, is no output of a tool.
  '-Xlog:disable',
  '-Xlog:all=warning:stderr',
  '-Dorg.slf4j.simpleLogger.showDateTime=true',
  '-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS',
]

/** Starts a cluster; every broker works when it resolves. Fetches Kafka if it is not there. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const installation = await install(options.version ?? '4.3.1')
  await prepare(installation)
  return Cluster.start(installation, options)
}

/** Runs a broker once, to keep what is the same in all: the first record of a new cluster, and the classes that Java has loaded. */
async function prepare(installation: Installation): Promise<void> {
  const { version, prepared } = installation
  await onceAtATime(
    prepared,
    () => (existsSync(prepared) ? undefined : 'missing'),
    async () => {
      process.stderr.write(`[mainstem] Kafka ${version}: preparing it for this Java, some seconds\n`)
      const scratch = mkdtempSync(`${prepared}-`)
      try {
        const cluster = await Cluster.start(installation, { jvm: [`-XX:ArchiveClassesAtExit=${join(scratch, 'classes.jsa')}`] })
        copyFileSync(join(cluster.broker(1).data, CHECKPOINT), join(scratch, CHECKPOINT))
        await cluster.shutdown()
        renameSync(scratch, prepared)
      } finally {
        rmSync(scratch, { recursive: true, force: true })
      }
    },
  )
}

/** The records that a new cluster begins with. */
const CHECKPOINT = 'bootstrap.checkpoint'

interface Ports {
  readonly client: number
  readonly internal: number
  readonly controller: number
}

export class Cluster implements AsyncDisposable {
  readonly version: KafkaVersion
  /** Where its data, settings and logs are. */
  readonly folder: string
  readonly brokers: readonly Broker[]
  /** With TLS: what clients need. */
  readonly certificates: Certificates | undefined
  /** If they were asked for. */
  readonly links: Links | undefined
  readonly #supervisor: Supervisor
  readonly #installation: Installation
  #closed: Promise<void> | undefined

  private constructor(
    installation: Installation,
    folder: string,
    supervisor: Supervisor,
    brokers: readonly Broker[],
    certificates: Certificates | undefined,
    links: Links | undefined,
  ) {
    this.version = installation.version
    this.folder = folder
    this.brokers = brokers
    this.certificates = certificates
    this.links = links
    this.#installation = installation
    this.#supervisor = supervisor
  }

  static async start(installation: Installation, options: ClusterOptions): Promise<Cluster> {
    const { brokers: count = 1, properties = {}, ports: wanted = [], jvm = [], tls = false, sasl = [] } = options
    const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'mainstem-kafka-'))
    mkdirSync(folder, { recursive: true })
    const supervisor = new Supervisor(folder, options.folder === undefined ? 'remove' : 'keep')
    const links = options.links ? new Links() : undefined
    try {
      const wishes = Array.from({ length: count }, (_, n) => [wanted[n] ?? 0, 0, 0]).flat()
      const free = (await supervisor.tell({ do: 'ports', wanted: wishes })) as number[]
      const ports = Array.from({ length: count }, (_, n): Ports => {
        const [client, internal, controller] = free.slice(3 * n) as [number, number, number]
        return { client, internal, controller }
      })
      const command = [...javaCommand(installation), ...jvm, 'kafka.Kafka']
      const brokers = ports.map((own, n) => new Broker(n + 1, own, folder, supervisor, command))
      const certificates = tls === false ? undefined : makeCertificates(folder)
      const cluster = new Cluster(installation, folder, supervisor, brokers, certificates, links)
      const doors = await Promise.all(
        ports.map(async ({ client, internal, controller }, n): Promise<Ports> => {
          if (links === undefined) return ports[n]!
          return { client, internal: await links.door(n + 1, internal), controller: await links.door(n + 1, controller) }
        }),
      )
      const secure = securityProperties(options, folder)
      for (const { id, data, settings } of brokers) {
        const all = { ...serverProperties(id, ports[id - 1]!, doors, data, protocolOf(options)), ...secure, ...properties }
        const text = Object.entries(all).map(([key, value]) => `${key}=${value}\n`)
        writeFileSync(settings, text.join(''))
      }
      await cluster.#format()
      await Promise.all(brokers.map(broker => broker.start()))
      await Promise.all(brokers.map(broker => broker.ready(count, broker.id === 1)))
      await addScramUsers(
        ports.map(({ internal }) => internal),
        sasl,
      )
      return cluster
    } catch (error) {
      await supervisor.end()
      await links?.close()
      throw error
    }
  }

  /** For clients: `127.0.0.1:port` of each broker. */
  get bootstrap(): string {
    return this.brokers.map(({ address }) => address).join(',')
  }

  /** By its node id: 1, 2, 3. */
  broker(id: number): Broker {
    const broker = this.brokers[id - 1]
    if (broker === undefined) throw new Error(`there is no broker ${id}`)
    return broker
  }

  /** Runs one of Kafka's own tools on this cluster, by the name of its class. @throws Error when it fails */
  async tool(name: string, args: readonly string[], input = ''): Promise<string> {
    const internal = this.brokers.map(({ ports }) => `127.0.0.1:${ports.internal}`).join(',')
    const command = [...javaCommand(this.#installation), '-Dorg.slf4j.simpleLogger.defaultLogLevel=error', name]
    const order = { do: 'run', command: [...command, '--bootstrap-server', internal, ...args], input } as const
    const { code, stdout, stderr } = (await this.#supervisor.tell(order)) as { code: number | null; stdout: string; stderr: string }
    if (code !== 0) throw new Error(`${name} failed (${code}). ${stdout}${stderr}`)
    return stdout
  }

  /** Ends the brokers in order, and then the cluster. */
  async shutdown(): Promise<void> {
    await Promise.all(this.brokers.map(broker => broker.shutdown()))
    await this.close()
  }

  /** All its processes are gone when it resolves: killed, for nobody needs their data. */
  close(): Promise<void> {
    return (this.#closed ??= this.#supervisor.end().then(() => this.links?.close()))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** What Kafka's own `format` does to data folders; it is run itself where there is nothing to copy from yet. */
  async #format(): Promise<void> {
    const template = join(this.#installation.prepared, CHECKPOINT)
    const first = join(this.broker(1).data, 'meta.properties')
    const id = (existsSync(first) ? /^cluster\.id=(.*)$/m.exec(readFileSync(first, 'utf8'))?.[1] : undefined) ?? uuid()
    for (const broker of this.brokers) {
      const meta = join(broker.data, 'meta.properties')
      if (existsSync(meta)) continue
      if (existsSync(template)) {
        mkdirSync(broker.data, { recursive: true })
        copyFileSync(template, join(broker.data, CHECKPOINT))
        writeFileSync(meta, `version=1\ncluster.id=${id}\nnode.id=${broker.id}\ndirectory.id=${uuid()}\n`)
      } else {
        const command = [...javaCommand(this.#installation), 'kafka.tools.StorageTool', 'format', '-t', id, '-c', broker.settings]
        const { code, stdout, stderr } = (await this.#supervisor.tell({ do: 'run', command, input: '' })) as {
          code: number | null
          stdout: string
          stderr: string
        }
        if (code !== 0) throw new Error(`Kafka could not format ${broker.data}. ${stdout}${stderr}`)
      }
    }
  }
}

export class Broker {
  readonly id: number
  readonly ports: Ports
  /** Its data folder, its server properties, its log. */
  readonly data: string
  readonly settings: string
  readonly log: string
  /** Of its Java process. */
  pid = 0
  readonly #supervisor: Supervisor
  readonly #command: readonly string[]
  #ended: Promise<string> = Promise.resolve('not started')
  #end: string | undefined = 'not started'

  constructor(id: number, ports: Ports, folder: string, supervisor: Supervisor, command: readonly string[]) {
    this.id = id
    this.ports = ports
    this.data = join(folder, `data-${id}`)
    this.settings = join(folder, `server-${id}.properties`)
    this.log = join(folder, `server-${id}.log`)
    this.#supervisor = supervisor
    this.#command = command
  }

  /** Where clients reach it. */
  get address(): string {
    return `127.0.0.1:${this.ports.client}`
  }

  /** kill -9. It is gone when it resolves. */
  async kill(): Promise<void> {
    await this.#signal('SIGKILL')
    await this.#ended
  }

  /** Ends it in order. It is gone when it resolves. */
  async shutdown(): Promise<void> {
    await this.#signal('SIGTERM')
    await this.#ended
  }

  /** Stops it, as a long pause of its machine would. */
  async stop(): Promise<void> {
    await this.#signal('SIGSTOP')
  }

  async continue(): Promise<void> {
    await this.#signal('SIGCONT')
  }

  /**
   * Starts it again after its end, with its ports and data. It works when it resolves. After a kill the others let it in when its former
   * life has timed out: `broker.session.timeout.ms`, 9 s.
   */
  async restart(): Promise<void> {
    await this.start()
    await this.ready(1)
  }

  async start(): Promise<void> {
    if (this.#end === undefined) throw new Error(`broker ${this.id} is running`)
    const order = { do: 'start', name: String(this.id), command: [...this.#command, this.settings], log: this.log } as const
    this.#end = undefined
    this.#ended = this.#supervisor.ended(order.name).then(how => (this.#end = how))
    this.pid = (await this.#supervisor.tell(order)) as number
  }

  async ready(members: number, first = false): Promise<void> {
    try {
      await brokerReady(this.ports.internal, members, () => this.#end)
      // Once for all brokers, whoever coordinates.
      if (first) await transactionsReady(this.ports.internal, () => this.#end)
    } catch (error) {
      throw new Error(`broker ${this.id}: ${(error as Error).message}\n${tail(this.log)}`, { cause: error })
    }
  }

  async #signal(signal: NodeJS.Signals): Promise<void> {
    await this.#supervisor.tell({ do: 'signal', name: String(this.id), signal })
  }
}

/** The process that the Java processes are children of (kafka/supervisor.ts). */
class Supervisor {
  readonly #child
  readonly #exit: Promise<unknown>
  readonly #answers = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  readonly #ends = new Map<string, (how: string) => void>()
  #count = 0

  constructor(folder: string, fate: 'keep' | 'remove') {
    const { NODE_OPTIONS: _, ...env } = process.env
    // In a session of its own: Ctrl-C reaches us, and not the brokers before we had our say.
    this.#child = fork(fileURLToPath(new URL('kafka/supervisor.ts', import.meta.url)), [folder, fate], {
      env,
      execArgv: [],
      detached: true,
    })
    this.#exit = once(this.#child, 'exit').finally(() => {
      for (const { reject } of this.#answers.values()) reject(new Error('the cluster is closed'))
      for (const resolve of this.#ends.values()) resolve('with the cluster')
    })
    this.#child.on('message', (report: Report) => {
      if ('ended' in report) {
        this.#ends.get(report.ended)?.(report.how)
        this.#ends.delete(report.ended)
        return
      }
      const answer = this.#answers.get(report.n)
      this.#answers.delete(report.n)
      if ('error' in report) answer?.reject(new Error(report.error))
      else answer?.resolve(report.ok)
    })
  }

  tell(order: Order extends infer O ? (O extends Order ? Omit<O, 'n'> : never) : never): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const n = ++this.#count
      this.#answers.set(n, { resolve, reject })
      this.#child.send({ n, ...order }, error => error && reject(error))
    })
  }

  /** How the process that is started next under this name will end. */
  ended(name: string): Promise<string> {
    return new Promise(resolve => this.#ends.set(name, resolve))
  }

  async end(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect()
    await this.#exit
  }
}

function javaCommand({ java, classPath, prepared }: Installation): string[] {
  const archive = join(prepared, 'classes.jsa')
  return [java, ...MINIMAL_JVM, ...(existsSync(archive) ? [`-XX:SharedArchiveFile=${archive}`] : []), '-cp', classPath]
}

/**
 * One controller in each broker; clients, brokers and controllers have a listener each. What a log needs, and little of everything else.
 * @param doors where the others find each broker
 */
function serverProperties(
  id: number,
  own: Ports,
  doors: readonly Ports[],
  data: string,
  protocol: string,
): Record<string, string | number | boolean> {
  const at = ({ client, internal, controller }: Ports): string =>
    `CLIENT://127.0.0.1:${client},INTERNAL://127.0.0.1:${internal},CONTROLLER://127.0.0.1:${controller}`
  const copies = doors.length
  const enough = copies >= 3 ? 2 : 1
  return {
    'process.roles': 'broker,controller',
    'node.id': id,
    'controller.quorum.voters': doors.map(({ controller }, n) => `${n + 1}@127.0.0.1:${controller}`).join(','),
    listeners: at(own),
    'advertised.listeners': at(doors[id - 1]!),
    'inter.broker.listener.name': 'INTERNAL',
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': `CLIENT:${protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT`,
    'log.dirs': data,
    'default.replication.factor': copies,
    'min.insync.replicas': enough,
    'auto.create.topics.enable': false,
    'unclean.leader.election.enable': false,
    'offsets.topic.num.partitions': 2,
    'offsets.topic.replication.factor': copies,
    'transaction.state.log.num.partitions': 2,
    'transaction.state.log.replication.factor': copies,
    'transaction.state.log.min.isr': enough,
    'group.initial.rebalance.delay.ms': 0,
    // Nothing to compact but what Kafka keeps for itself; the default is half of our heap.
    'log.cleaner.dedupe.buffer.size': 2_097_152,
    'num.network.threads': 2,
    'num.io.threads': 4,
  }
}

/** As Kafka writes ids: 16 random bytes. A tool would take one that begins with a dash for an option. */
function uuid(): string {
  const text = randomBytes(16).toString('base64url')
  return text.startsWith('-') ? uuid() : text
}

/** The last lines of a log. */
function tail(path: string): string {
  const file = openSync(path, 'r')
  const { size } = fstatSync(file)
  const buffer = Buffer.alloc(Math.min(size, 4_096))
  readSync(file, buffer, 0, buffer.length, size - buffer.length)
  closeSync(file)
  return buffer.toString()
}
