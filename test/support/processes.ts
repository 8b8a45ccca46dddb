/**
 * Real processes on one log, to be killed, stopped and continued; and the checker of what they leave behind. What a worker wrote as a
 * whole line is acknowledged, whatever happened to it afterwards.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { type Outcome, revision } from '../../src/app.ts'
import { compare } from '../../src/database/compare.ts'
import { openReplica } from '../../src/index.ts'
import type { LoggedEvent, ReplicaOptions, Status } from '../../src/replica.ts'
import { folderOf } from '../../src/replica/data.ts'
import { atEnd } from './end.ts'
import { judge } from './judge.ts'
import { doubtful, recordsOf } from './ledger.ts'
import { orderOfId } from './orders.ts'
import type { Call, Reply } from './puppet.ts'
import shop from './shop.ts'
import type { Way } from './ways.ts'
import type { Answer, WorkerOrders } from './worker.ts'

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** Most of what such a process does at its start is to compile: what one that ended in order has compiled, the others need not. */
const ENV = { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), 'mainstem-compiled') }

/** A worker that says nothing for so long has got stuck, be it in a loop that leaves no turn for anything else, ms. */
const STUCK = 300_000

/** How a process ended. */
export interface End {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

abstract class Process {
  protected abstract readonly child: ChildProcess
  /** What it wrote to stderr. */
  complaints = ''
  #ended: Promise<End> | undefined

  get pid(): number {
    return this.child.pid!
  }

  /** Resolves when it is gone and all it wrote was read. */
  get ended(): Promise<End> {
    return (this.#ended ??= new Promise(resolve => this.child.once('close', (code, signal) => resolve({ code, signal }))))
  }

  protected listen(): void {
    void this.ended
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.complaints += text
    })
  }

  kill(): Promise<End> {
    this.child.kill('SIGKILL')
    return this.ended
  }

  stop(): void {
    this.child.kill('SIGSTOP')
  }

  continue(): void {
    this.child.kill('SIGCONT')
  }
}

export interface WorkerOptions extends Way {
  readonly log: string
  readonly data: string
  readonly seed: number
  readonly accounts: number
  readonly clients?: number
  /** After so many it ends by itself. */
  readonly commands?: number
  /** Between two commands of a client, ms. */
  readonly pause?: number
  /** What a command waits at most, ms. */
  readonly timeout?: number
  /** On top of ours (faulty-disk.ts). */
  readonly env?: Record<string, string>
}

/** An answer, or that its replica is open, or closed again. */
type Line = Answer & { readonly ready?: string; readonly done?: true }

/** A process of closed-loop clients (worker.ts). One that gets stuck is killed, and says so in its complaints. */
export class Worker extends Process {
  readonly answers: Answer[] = []
  stuck = false
  /** Of its replica, once that is open. */
  incarnation: string | undefined
  protected readonly child: ChildProcess
  readonly #waiting = new Set<() => void>()
  readonly #watch: NodeJS.Timeout
  #gone = false

  constructor(options: WorkerOptions) {
    super()
    const { log, data, strategy, fencing, seed, accounts, clients = 8, commands = 1e9, pause = 0, timeout = 20_000, env } = options
    const replica = { log, data, strategy, timeout, ...(fencing === undefined ? {} : { fencing }) }
    const orders: WorkerOrders = { replica, clients, seed, accounts, commands, pause }
    const args = ['--conditions=source', here('worker.ts'), JSON.stringify(orders)]
    this.child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...ENV, ...env } })
    let rest = ''
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop()!
      for (const line of lines) this.#take(JSON.parse(line) as Line)
    })
    this.listen()
    this.#watch = setTimeout(() => {
      this.stuck = true
      this.complaints += `It said nothing for ${STUCK / 1_000} s, and was killed.`
      void this.kill()
    }, STUCK)
    void this.ended.then(() => {
      clearTimeout(this.#watch)
      this.#gone = true
      this.#wake()
    })
  }

  /** Resolves when it has so many answers; 0: when it has opened its replica. Also when it is gone. */
  async answered(count: number): Promise<void> {
    while (!this.#gone && !(this.incarnation !== undefined && this.answers.length >= count))
      await new Promise<void>(resolve => this.#waiting.add(resolve))
  }

  /** Ends it in order. */
  finish(): Promise<End> {
    this.child.kill('SIGTERM')
    return this.ended
  }

  #take(line: Line): void {
    this.#watch.refresh()
    if (line.ready !== undefined) this.incarnation = line.ready
    else if (!line.done) this.answers.push(line)
    this.#wake()
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}

/** What a call of a puppet failed with. */
export class PuppetError extends Error {
  readonly code: string
  readonly retry: string

  constructor({ code, message, retry }: { code: string; message: string; retry: string }) {
    super(message)
    this.code = code
    this.retry = retry
  }
}

export interface PuppetOptions {
  /** The module whose default export is the app. Default: shop.ts. */
  readonly app?: string
  /** The greatest file that it may write, KiB: what is beyond fails as on a disk with errors. */
  readonly fileLimit?: number
  /** Becomes this user when it has loaded the code. */
  readonly uid?: number
  /** On top of ours (faulty-disk.ts). */
  readonly env?: Record<string, string>
}

/** A process with one replica that does what it is told (puppet.ts). */
export class Puppet extends Process {
  protected readonly child: ChildProcess
  readonly #calls = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  readonly #opened: Promise<unknown>
  /** How long it took to open the replica, ms. */
  opening = 0
  #count = 0

  private constructor(options: Partial<ReplicaOptions>, { app = here('shop.ts'), fileLimit, uid, env }: PuppetOptions) {
    super()
    const args = [app, JSON.stringify(options), ...(uid === undefined ? [] : [String(uid)])]
    const node = [process.execPath, '--conditions=source']
    // Node itself gives up the limit of nothing, so a shell sets it and becomes node.
    const [execPath, ...execArgv] =
      fileLimit === undefined ? node : ['/bin/bash', '-c', `ulimit -f ${fileLimit}; exec "$@"`, 'bash', ...node]
    this.child = fork(here('puppet.ts'), args, {
      execPath: execPath!,
      execArgv,
      serialization: 'json',
      env: { ...ENV, ...env },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.listen()
    this.#opened = this.#expect(0)
    this.child.on('message', (reply: Reply) => {
      const call = this.#calls.get(reply.n)
      this.#calls.delete(reply.n)
      if ('ok' in reply) call?.resolve(reply.ok)
      else call?.reject(new PuppetError(reply.error))
    })
    void this.ended.then(({ code, signal }) => {
      const error = new Error(`the process ended (${signal ?? code}) before it answered. ${this.complaints}`)
      for (const call of this.#calls.values()) call.reject(error)
      this.#calls.clear()
    })
  }

  /** Starts a process and waits until its replica is open; it is gone when the test has finished. @throws PuppetError what openReplica threw */
  static async open(
    options: Partial<ReplicaOptions> & { readonly log: string; readonly data: string },
    settings: PuppetOptions = {},
  ): Promise<Puppet> {
    const puppet = new Puppet(options, settings)
    atEnd(async () => void (await puppet.kill()))
    try {
      puppet.opening = (await puppet.#opened) as number
      return puppet
    } catch (error) {
      await puppet.ended
      throw error
    }
  }

  execute(command: string, input?: unknown, options?: object): Promise<Outcome<unknown> & { version: number; duplicate: boolean }> {
    return this.#call('execute', command, input, options) as Promise<never>
  }

  query(query: string, input?: unknown, options?: object): Promise<unknown> {
    return this.#call('query', query, input, options)
  }

  sql(text: string, parameters: readonly unknown[] = [], options?: object): Promise<Record<string, unknown>[]> {
    return this.#call('sql', text, parameters, options) as Promise<never>
  }

  status(): Promise<Status> {
    return this.#call('status') as Promise<Status>
  }

  digest(tenant?: string): Promise<{ version: number; digest: string }> {
    return this.#call('digest', tenant) as Promise<never>
  }

  /** So many events from a version on. */
  take(from: number, count: number, tenant?: string): Promise<LoggedEvent[]> {
    return this.#call('take', from, count, tenant) as Promise<never>
  }

  /** The most memory that it has taken so far, MiB. */
  memory(): Promise<number> {
    return this.#call('memory') as Promise<number>
  }

  /** Closes its replica and ends it. */
  async close(): Promise<End> {
    await this.#call('close')
    return this.ended
  }

  #call(what: Call['what'], ...args: unknown[]): Promise<unknown> {
    const n = ++this.#count
    const answer = this.#expect(n)
    const call: Call = { n, what, args }
    this.child.send(call, error => {
      if (!error) return
      this.#calls.get(n)?.reject(error)
      this.#calls.delete(n)
    })
    return answer
  }

  #expect(n: number): Promise<unknown> {
    const answer = new Promise((resolve, reject) => this.#calls.set(n, { resolve, reject }))
    // A test that has failed already waits for nobody.
    answer.catch(() => {})
    return answer
  }
}

export interface History extends Way {
  readonly log: string
  /** Where data directories are, and the checker may make its own. */
  readonly folder: string
  /** Data directories of replicas that have ended. */
  readonly data: readonly string[]
  readonly accounts: number
  readonly answers: readonly Answer[]
  /** Said when a check fails: seed, round. */
  readonly note: string
}

export interface Checked {
  readonly version: number
  readonly accepted: number
  readonly rejected: number
  /** Decisions that stand in the log for nothing. */
  readonly refused: number
}

/**
 * Checks what processes left behind, once they all have ended: opens each of their data directories again, and one that is replayed from
 * nothing.
 */
export async function checkHistory({ log, folder, data, strategy, fencing, accounts, answers, note }: History): Promise<Checked> {
  const scratch = join(folder, 'checker')
  rmSync(scratch, { recursive: true, force: true })
  const options = { log, strategy, timeout: 60_000, ...(fencing === undefined ? {} : { fencing }) }
  const accepted = answers.filter(({ status }) => status === 'accepted')
  const rejected = answers.filter(({ status }) => status === 'rejected')
  let version: number
  {
    await using fresh = await openReplica(shop, { ...options, data: scratch })
    await fresh.query('total', undefined, { read: 'linearizable' })
    version = (await fresh.digest()).version

    // Everything that was acknowledged stands there, once, with its version; nothing stands there twice.
    const places = new Map<string, number>()
    if (version > 0) {
      for await (const event of fresh.events({ from: 1 })) {
        expect(places.has(event.id), `${note}: ${event.id} is doubled`).toBe(false)
        places.set(event.id, event.version)
        expect(event.version, note).toBe(places.size)
        if (event.version === version) break
      }
    }
    for (const { id, version: told } of accepted) expect(places.get(id), `${note}: accepted ${id} is lost or elsewhere`).toBe(told)
    const unwritten = answers.filter(({ status, code = '' }) => status === 'failed' && !doubtful.has(code))
    for (const { id, code } of unwritten) expect(places.has(id), `${note}: ${id} was told ${code}, and has an event`).toBe(false)
    for (const { id } of rejected) expect(places.has(id), `${note}: rejected ${id} has an event`).toBe(false)

    // Whoever asks again hears the same.
    const repeated = answers.filter(({ status }, n) => status === 'rejected' || (status === 'accepted' && n % 16 === 0))
    const loose = fresh as { execute(...args: unknown[]): Promise<object> }
    for (let n = 0; n < repeated.length; n += 1_000) {
      await Promise.all(
        repeated.slice(n, n + 1_000).map(async ({ id, status, version: at, code, details }) => {
          const { command, input } = orderOfId(id, accounts)
          const same = status === 'accepted' ? { status, version: at, duplicate: true } : { status, code, details, duplicate: true }
          expect(await loose.execute(command, input, { id }), `${note}: ${id} asked again`).toMatchObject(same)
        }),
      )
    }
    expect((await fresh.digest()).version, `${note}: asking again wrote events`).toBe(version)

    // The rule that the app is there for.
    expect(await fresh.sql('SELECT * FROM account WHERE cents < 0'), note).toEqual([])
    const [entries] = await fresh.sql('SELECT coalesce(sum(cents), 0) AS sum, count(*) AS n FROM entry')
    const [balances] = await fresh.sql('SELECT coalesce(sum(cents), 0) AS sum FROM account')
    expect(entries, note).toEqual({ sum: balances!['sum'], n: version })
    const { tenants } = await fresh.status()
    for (const [tenant, { status, error }] of Object.entries(tenants)) expect(status, `${note}: ${tenant} ${error}`).not.toBe('halted')
  }

  // Each decision that stands there saw all that it had to see.
  const { problems, refused, digests } = judge(await recordsOf(log), id => orderOfId(id, accounts))
  expect(problems.slice(0, 5), note).toEqual([])

  // All replicas came to the same.
  const { digest } = await digestOf(scratch)
  expect(digests.get('default') ?? '0', note).toMatch(version > 0 ? `${version} ${digest}` : /^0/)
  for (const path of data) {
    expect(await digestOf(path), `${note}: ${path}`).toEqual({ version, digest })
    // What nobody wrote to has no file.
    if (version === 0) continue
    const same = compare(fileOf(scratch), fileOf(path))
    expect(same, `${note}: ${path} ${same.equal ? '' : same.message}`).toMatchObject({ equal: true })
  }
  return { version, accepted: accepted.length, rejected: rejected.length, refused }

  async function digestOf(path: string): Promise<{ version: number; digest: string }> {
    await using replica = await openReplica(shop, { ...options, strategy: 'first-wins', data: path })
    return await replica.digest()
  }
}

function fileOf(data: string): string {
  return join(folderOf(data, shop.name, revision(shop)), 'default.db')
}
