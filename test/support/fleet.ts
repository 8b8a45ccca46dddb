/**
 * Replicas as processes of `mainstem serve`, in two releases, behind HAProxy; clients that pay and take through it without a pause; and what must be
 * true when they have ended: nothing failed, nothing that was acknowledged is lost or stands twice, and no account is overdrawn.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { openReplica } from '../../src/index.ts'
import type { LoggedEvent } from '../../src/replica.ts'
import { seeded } from '../../src/random.ts'
import { atEnd } from './end.ts'
import { freePorts, startProxy } from './haproxy.ts'
import { folderInMemory } from './logs.ts'
import green from './wallet/green.ts'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const bin = here('../../src/bin.ts')
/** Most of what such a process does at its start is to compile: what one that ended in order has compiled, the others need not. */
const ENV = { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), 'mainstem-compiled') }

export type Colour = 'blue' | 'green'

export interface ReplicaOptions {
  readonly log: string
  readonly colour: Colour
  readonly port: number
  readonly data?: string
  /** How long it serves on when told to end. */
  readonly drain?: string
}

export class ServedReplica {
  readonly url: string
  readonly colour: Colour
  readonly data: string
  readonly #child: ChildProcess
  readonly ended: Promise<number | null>
  complaints = ''

  constructor({ log, colour, port, data = folderInMemory(), drain = '2s' }: ReplicaOptions) {
    this.url = `http://127.0.0.1:${port}`
    this.colour = colour
    this.data = data
    const args = ['--conditions=source', bin, 'serve', here(`wallet/${colour}.ts`), '--log', log, '--data', data]
    this.#child = spawn(process.execPath, [...args, '--port', String(port), '--drain', drain], {
      env: { ...ENV, MAINSTEM_RELEASE: colour },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#child.stderr!.setEncoding('utf8').on('data', (said: string) => (this.complaints += said))
    this.ended = new Promise(resolve => this.#child.once('close', resolve))
    atEnd(() => this.kill())
  }

  kill(): Promise<number | null> {
    this.#child.kill('SIGKILL')
    return this.ended
  }

  /** As a supervisor ends it. Resolves with its exit status. */
  terminate(): Promise<number | null> {
    this.#child.kill('SIGTERM')
    return this.ended
  }

  /** Resolves when it has nothing against taking requests, or, if so wanted, nothing but that it is not its release's turn. */
  async ready(reasons: readonly ('superseded' | undefined)[] = [undefined]): Promise<void> {
    for (;;) {
      if (this.#child.exitCode !== null) throw new Error(`${this.colour} ended with ${this.#child.exitCode}: ${this.complaints}`)
      const answer = await fetch(`${this.url}/readyz`).then(
        async response => (await response.json()) as { reasons?: { reason: string }[] },
        () => ({ reasons: [{ reason: 'not there' }] }),
      )
      const given = answer.reasons ?? []
      if (given.length < 2 && (reasons as unknown[]).includes(given[0]?.reason)) return
      await sleep(20)
    }
  }

  /** What it says of itself. */
  async status(): Promise<any> {
    return (await fetch(`${this.url}/status`)).json()
  }
}

/** Replicas of both colours, by name, and the proxy in front of them. */
export class Fleet {
  readonly log: string
  readonly url: string
  readonly #ports: ReadonlyMap<string, number>
  readonly #replicas = new Map<string, ServedReplica>()
  readonly #data = new Map<string, string>()

  private constructor(log: string, url: string, ports: ReadonlyMap<string, number>) {
    this.log = log
    this.url = url
    this.#ports = ports
  }

  /** @param each how many replicas of each colour there may be */
  static async open(log: string | Promise<string>, each: number): Promise<Fleet> {
    const names = (['blue', 'green'] as const).flatMap(colour => Array.from({ length: each }, (_, n) => `${colour}-${n + 1}`))
    const ports = freePorts(names.length).then(all => new Map(all.map((port, n) => [names[n]!, port])))
    const proxied = startProxy(ports.then(all => Object.fromEntries(all)))
    return new Fleet(await log, (await proxied).url, await ports)
  }

  /** Starts those that do not run, each with the data of its former life. Resolves when they have caught up. */
  async start(colour: Colour, count: number): Promise<void> {
    const names = Array.from({ length: count }, (_, n) => `${colour}-${n + 1}`).filter(name => !this.#replicas.has(name))
    for (const name of names) {
      const replica = new ServedReplica({ log: this.log, colour, port: this.#ports.get(name)!, ...given(this.#data.get(name)) })
      this.#data.set(name, replica.data)
      this.#replicas.set(name, replica)
    }
    await Promise.all(names.map(name => this.#replicas.get(name)!.ready([undefined, 'superseded'])))
  }

  #of(colour: Colour | undefined): [name: string, replica: ServedReplica][] {
    return [...this.#replicas].filter(([, replica]) => colour === undefined || replica.colour === colour)
  }

  /** Ends them as a supervisor does, all at once. */
  async end(colour?: Colour): Promise<void> {
    await Promise.all(this.#of(colour).map(([name]) => this.endOne(name)))
  }

  async endOne(name: string): Promise<void> {
    const replica = this.#replicas.get(name)!
    this.#replicas.delete(name)
    expect(await replica.terminate(), replica.complaints).toBe(0)
  }

  /** Who reigns, as soon as somebody of that colour does. */
  async leader(colour?: Colour): Promise<{ readonly name: string; readonly replica: ServedReplica }> {
    for (;;) {
      for (const [name, replica] of this.#of(colour)) {
        // Some are just about to go.
        const status = await replica.status().catch(() => undefined)
        if (status?.role === 'leader') return { name, replica }
      }
      await sleep(20)
    }
  }

  /** Makes the release of this colour the active one, as an operator does, and waits until it reigns. What was cut off is done again. */
  async switch(colour: Colour): Promise<void> {
    const order = ['rollout', 'switch', '--release', colour, '--log', this.log, '--timeout', '30s']
    await mainstem(order).catch(() => mainstem(order))
    await this.leader(colour)
    // Clients are sent to the others.
    await Promise.all(this.#of(colour === 'blue' ? 'green' : 'blue').map(([, replica]) => replica.ready(['superseded'])))
  }

  async kill(name: string): Promise<void> {
    const replica = this.#replicas.get(name)!
    this.#replicas.delete(name)
    await replica.kill()
  }
}

const given = (data: string | undefined) => (data === undefined ? {} : { data })

/** Runs the command line, as an operator does. @throws Error with all it said, unless it exits with 0 */
export async function mainstem(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const child = spawn(process.execPath, ['--conditions=source', bin, ...args], {
    env: { ...ENV, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [out, errors, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>(resolve => child.once('close', resolve)),
  ])
  if (code !== 0) throw new Error(`mainstem ${args.join(' ')} ended with ${code}: ${out}${errors}`)
  return out
}

interface Asked {
  readonly id: string
  readonly command: 'pay' | 'take'
  readonly cents: number
  /** ms, on this process's clock. */
  readonly begun: number
  readonly took: number
  /** Of HTTP; 0 where the connection broke. */
  readonly status: number
  /** Of the tenant, where it was accepted. */
  readonly version: number | undefined
  readonly body: string
}

const ACCOUNTS = 20

/** Clients that ask one thing after the other, each with a key of its own. None asks again: that is what is tried. */
export class Load {
  readonly asked: Asked[] = []
  readonly #url: string
  readonly #agent: Agent
  readonly #clients: Promise<void>[]
  #stopped = false

  /** @param pause between two requests of a client, ms */
  constructor(url: string, { clients, pause, seed }: { readonly clients: number; readonly pause: number; readonly seed: number }) {
    this.#url = url
    this.#agent = new Agent({ keepAlive: true, maxSockets: clients })
    atEnd(() => this.stop())
    this.#clients = Array.from({ length: clients }, (_, client) => this.#client(client, pause, seeded(seed + client)))
  }

  async #client(client: number, pause: number, random: () => number): Promise<void> {
    for (let n = 0; !this.#stopped; n++) {
      const command = random() < 0.6 ? 'pay' : 'take'
      const input = { account: `account-${Math.floor(random() * ACCOUNTS)}`, cents: 1 + Math.floor(random() * 100) }
      const id = `client-${client}-${n}`
      const begun = performance.now()
      const { status, body } = await this.#post(`/commands/${command}`, id, input)
      const version = status === 200 ? (JSON.parse(body) as { version: number }).version : undefined
      this.asked.push({ id, command, cents: input.cents, begun, took: performance.now() - begun, status, version, body })
      await sleep(pause * (0.5 + random()))
    }
  }

  #post(path: string, id: string, input: unknown): Promise<{ status: number; body: string }> {
    return new Promise(resolve => {
      const failed = (error: Error) => resolve({ status: 0, body: error.message })
      const call = request(this.#url + path, {
        method: 'POST',
        agent: this.#agent,
        headers: { 'content-type': 'application/json', 'idempotency-key': id },
      })
      call.once('error', failed)
      call.once('response', response => void text(response).then(body => resolve({ status: response.statusCode!, body }), failed))
      call.end(JSON.stringify(input))
    })
  }

  /** Resolves when so many more were answered. */
  async further(count: number): Promise<void> {
    for (const wanted = this.asked.length + count; this.asked.length < wanted; ) await sleep(20)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#clients)
    this.#agent.destroy()
  }

  /** Those that came to nothing: neither accepted nor rejected by the app. */
  get failed(): string[] {
    return this.asked
      .filter(({ status, body }) => status !== 200 && !(status === 422 && body.includes('"rejected"')))
      .map(({ id, status, took, body }) => `${id} after ${Math.round(took)} ms: ${status} ${body.slice(0, 300)}`)
  }

  /** Of what was answered between two moments, ms: the 50th and 99th percentile and the longest. */
  times(from = 0, to = Infinity): { readonly count: number; readonly p50: number; readonly p99: number; readonly most: number } {
    const took = this.asked
      .filter(({ begun, took }) => begun + took >= from && begun <= to)
      .map(({ took }) => took)
      .sort((a, b) => a - b)
    const at = (share: number) => Math.round((took[Math.floor((took.length - 1) * share)] ?? 0) * 10) / 10
    return { count: took.length, p50: at(0.5), p99: at(0.99), most: at(1) }
  }

  /** The longest time between two answers, ms: what all clients together see of a pause. */
  gap(from = 0): number {
    const ends = this.asked
      .map(({ begun, took }) => begun + took)
      .filter(end => end >= from)
      .sort((a, b) => a - b)
    return Math.max(0, ...ends.slice(1).map((end, index) => end - ends[index]!))
  }
}

/** The log holds each acknowledged command once and nothing that nobody asked for, and the tables that come of it hold the rule. */
export async function checkWallet(log: string, load: Load): Promise<void> {
  const data = folderInMemory()
  const replica = await openReplica(green, { log, data, release: 'looks on' })
  try {
    const { version } = await replica.digest()
    await replica.query('total', undefined, { read: 'local' })
    const events: LoggedEvent[] = []
    if (version > 0)
      for await (const event of replica.events({ from: 1 })) {
        events.push(event)
        if (event.version === version) break
      }
    const byId = Map.groupBy(events, ({ id }) => id)
    const asked = new Map(load.asked.map(each => [each.id, each]))
    const acknowledged = load.asked.filter(({ status }) => status === 200)
    expect(
      acknowledged.filter(({ id, version }) => byId.get(id)?.[0]?.version !== version).map(({ id }) => id),
      'lost',
    ).toEqual([])
    expect(
      [...byId].filter(([, all]) => all.length !== 1).map(([id]) => id),
      'doubled',
    ).toEqual([])
    expect(
      [...byId.keys()].filter(id => !asked.has(id)),
      'asked by nobody',
    ).toEqual([])
    expect(
      load.asked.filter(({ id, status }) => status === 422 && byId.has(id)).map(({ id }) => id),
      'rejected, and there',
    ).toEqual([])
    // Rule and rows, after every single movement.
    const overdrawn = await replica.sql(
      `SELECT * FROM (SELECT version, account, sum(cents) OVER (PARTITION BY account ORDER BY version) AS has FROM movement) WHERE has < 0`,
    )
    expect(overdrawn).toEqual([])
    const sum = acknowledged.reduce((all, { command, cents }) => (command === 'pay' ? all + cents : all - cents), 0)
    expect(await replica.sql('SELECT count(*) AS movements, sum(cents) AS sum FROM movement')).toEqual([
      { movements: acknowledged.length, sum },
    ])
  } finally {
    await replica.close()
  }
}
