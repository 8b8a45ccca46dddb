/** Logs and replicas for tests: a fresh log of each kind, any number of replicas on it, all cleaned up at the end of the test. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { App } from '../../src/app.ts'
import { openReplica, type Replica, type ReplicaOptions } from '../../src/replica.ts'

export const logKinds = ['memory', 'sqlite'] as const
export type LogKind = (typeof logKinds)[number]

export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), 'mainstem-test-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** A log that several replicas may open. */
export class Stage {
  readonly folder: string = temporaryFolder()
  readonly log: string
  #count = 0

  constructor(kind: LogKind) {
    this.log = kind === 'memory' ? `memory:${randomUUID()}` : `file:${join(this.folder, 'test.log')}`
  }

  /** A replica with a data directory of its own, or the one given. */
  async open<EI, EO, CI, CR, QI, QR>(
    app: App<string, EI, EO, CI, CR, QI, QR>,
    options: Partial<ReplicaOptions> = {},
  ): Promise<Replica<EI, CI, CR, QI, QR>> {
    const replica = await openReplica(app, { log: this.log, data: join(this.folder, `data-${++this.#count}`), ...options })
    onTestFinished(() => replica.close())
    return replica
  }
}

/** A seeded generator (mulberry32), 0 to 1. The seed is printed where a test uses it. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
