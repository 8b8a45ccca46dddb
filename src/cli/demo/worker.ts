/** One process of the demo: a replica of its own, and callers who execute commands on it. It is told what to do by its parent. */
import { renameSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { revision } from '../../app.ts'
import { compare, contentDigest } from '../../database/compare.ts'
import { EngineError } from '../../errors.ts'
import { uuidv7 } from '../../ids.ts'
import { folderOf } from '../../replica/data.ts'
import { openReplica, type Replica } from '../../replica.ts'
import { seeded } from '../../random.ts'
import type { Call, Demo } from './demo.ts'
import { demos } from './demos.ts'
import type { Assignment, Checked, Done, FromWorker, Rebuilt, ToWorker } from './messages.ts'

/** Callers of one process, each with one command on its way. */
const CALLERS = 16
const TALLY = 100

class Worker {
  readonly #assignment: Assignment
  readonly #demo: Demo
  #replica!: Replica
  #accepted = 0
  #rejected = 0
  #version = 0

  constructor(assignment: Assignment) {
    this.#assignment = assignment
    this.#demo = demos.get(assignment.demo)!
  }

  async open(): Promise<void> {
    const { log, data, strategy } = this.#assignment
    this.#replica = await openReplica(this.#demo.app, { log, data, strategy, timeout: 30_000 })
  }

  async setUp(): Promise<void> {
    await Promise.all(this.#demo.setUp.map(call => this.#execute(call)))
  }

  async run(): Promise<Done> {
    this.#accepted = this.#rejected = 0
    const { commands, seed } = this.#assignment
    const random = seeded(seed)
    const latencies: number[] = []
    let left = commands
    const caller = async () => {
      while (left > 0) {
        left--
        const call = this.#demo.call(random)
        const began = performance.now()
        await this.#execute(call)
        latencies.push(Math.round((performance.now() - began) * 1_000) / 1_000)
      }
    }
    const timer = setInterval(() => say({ is: 'tally', tally: { accepted: this.#accepted, rejected: this.#rejected } }), TALLY)
    await Promise.all(Array.from({ length: CALLERS }, caller))
    clearInterval(timer)
    const { conflicts, refused } = await this.#replica.status()
    return { accepted: this.#accepted, rejected: this.#rejected, latencies, version: this.#version, conflicts, refused }
  }

  /** A command that met too much contention is repeated under its id, which can win once only. */
  async #execute({ command, input }: Call): Promise<void> {
    const id = uuidv7(Date.now())
    for (;;) {
      try {
        const outcome = await this.#replica.execute(command, input, { id })
        if (outcome.status === 'accepted') this.#accepted++
        else this.#rejected++
        this.#version = Math.max(this.#version, Number(outcome.token.split('@')[1]))
        return
      } catch (error) {
        if (!(error instanceof EngineError) || error.retry !== 'safe' || error.code === 'closed') throw error
        await pause(5)
      }
    }
  }

  async check(token: string): Promise<Checked> {
    const violations = await this.#replica.sql(this.#demo.invariant.sql, [], { read: { atLeast: token }, timeout: 30_000 })
    const { version, digest } = await this.#replica.digest()
    return { version, digest, content: contentDigest(this.#database(this.#assignment.data)), violations: violations.slice(0, 10) }
  }

  async rebuild(): Promise<Rebuilt> {
    const { data } = this.#assignment
    const aside = `${data}.thrown-away`
    await this.#replica.close()
    renameSync(data, aside)
    const began = performance.now()
    await this.open()
    const { version, digest } = await this.#replica.digest()
    const ms = performance.now() - began
    const compared = compare(this.#database(aside), this.#database(data))
    const content = contentDigest(this.#database(data))
    const rows = compared.equal ? { tables: compared.tables, rows: compared.rows } : { tables: 0, rows: 0, difference: compared.message }
    return { version, digest, content, violations: [], ms, ...rows }
  }

  async close(): Promise<void> {
    await this.#replica.close()
  }

  #database(data: string): string {
    const { app } = this.#demo
    return join(folderOf(data, app.name, revision(app)), 'default.db')
  }
}

let worker: Worker | undefined

async function obey(message: ToWorker): Promise<Done | Checked | Rebuilt | undefined> {
  switch (message.do) {
    case 'open':
      worker = new Worker(message.assignment)
      await worker.open()
      return undefined
    case 'set-up':
      await worker!.setUp()
      return undefined
    case 'run':
      return worker!.run()
    case 'check':
      return worker!.check(message.token)
    case 'rebuild':
      return worker!.rebuild()
    case 'close':
      await worker!.close()
      return undefined
  }
}

function say(message: FromWorker): void {
  // Without a parent there is nobody to work for.
  if (process.connected) process.send!(message, error => error && process.exit(1))
}

// Ctrl-C at a terminal reaches all processes; the parent ends the others.
process.on('SIGINT', () => {})
process.on('disconnect', () => process.exit(0))
process.on('message', (message: ToWorker) => {
  obey(message).then(
    answer => say({ is: 'answer', ...(answer ? { answer } : {}) }),
    (error: unknown) =>
      say({
        is: 'failure',
        message: error instanceof Error ? (process.env['MAINSTEM_DEBUG'] ? (error.stack ?? error.message) : error.message) : String(error),
      }),
  )
})
