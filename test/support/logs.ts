/** Logs and replicas for tests: a fresh log of each kind, any number of replicas on it, all cleaned up at the end of the test. */
import { randomUUID } from 'node:crypto'
import { existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { App } from '../../src/app.ts'
import { MemoryFile, MemoryLogs, type MemoryOptions } from '../../src/log/memory.ts'
import { manifestValue } from '../../src/log/manifest.ts'
import { openLogs } from '../../src/log/open.ts'
import type { Logs } from '../../src/log.ts'
import { seeded } from '../../src/random.ts'
import { openReplica, type Replica, type ReplicaOptions } from '../../src/replica.ts'
import { atEnd } from './end.ts'
import { makeLog, newUrl } from './kafka.ts'

export type LogKind = 'memory' | 'sqlite' | 'shards' | 'scanned' | 'kafka' | 'kafka-shards'

/** What a log of Kafka says of itself. */
export const asKafka: MemoryOptions = { conditional: false, freshHead: false, selective: false, tails: true }

/** The shards of a new log in memory, each with its manifest. */
export function shardFiles(app: string, partitions: number): MemoryFile[] {
  const log = randomUUID()
  return Array.from({ length: partitions }, (_, partition) => {
    const file = new MemoryFile()
    file.write({ value: manifestValue({ log, app, partitions, partition }), tenant: null, time: Date.now() })
    return file
  })
}

export function temporaryFolder(): string {
  return folderIn(tmpdir())
}

/** Where nothing waits for a disk, if the system has such a place: for what tells by other means what a disk would have kept. */
export function folderInMemory(): string {
  const memory = '/dev/shm'
  return folderIn(existsSync(memory) ? memory : realpathSync(tmpdir()))
}

function folderIn(place: string): string {
  const path = mkdtempSync(join(place, 'mainstem-test-'))
  atEnd(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** A log that several replicas may open. */
export class Stage {
  readonly folder: string = temporaryFolder()
  /** Of one shard. */
  readonly log: string
  readonly #shards: (() => MemoryLogs) | undefined
  #ready: (() => Promise<void>) | undefined
  #count = 0

  /** @param kind `shards`: three, in memory; `scanned`: the same as a log that promises no more than Kafka does, and lags; `kafka-shards`: three, there. */
  constructor(kind: LogKind) {
    if (kind === 'shards' || kind === 'scanned') {
      const files = shardFiles('shop', 3)
      const random = seeded(1)
      const lag = () => Math.floor(random() * 4)
      this.#shards = () => new MemoryLogs('test', files, kind === 'scanned' ? { ...asKafka, lag } : {})
    }
    if (kind === 'kafka' || kind === 'kafka-shards') {
      this.log = newUrl()
      const made = makeLog(this.log, 'shop', kind === 'kafka' ? 1 : 3)
      made.catch(() => {})
      this.#ready = () => made
    } else this.log = kind === 'memory' ? `memory:${randomUUID()}` : `file:${join(this.folder, 'test.log')}`
  }

  /** The log itself, as an operator has it. */
  async logs(): Promise<Logs> {
    await this.#ready?.()
    const logs = this.#shards?.() ?? (await openLogs(this.log, { as: 'operator' }))
    atEnd(() => logs.close())
    return logs
  }

  /** A replica with a data directory of its own, or the one given. */
  async open<EI, EO, CI, CR, QI, QR>(
    app: App<string, EI, EO, CI, CR, QI, QR>,
    options: Partial<ReplicaOptions> = {},
  ): Promise<Replica<EI, CI, CR, QI, QR>> {
    await this.#ready?.()
    const log = this.#shards?.() ?? this.log
    const replica = await openReplica(app, { log, data: join(this.folder, `data-${++this.#count}`), ...options })
    atEnd(() => replica.close())
    return replica
  }
}
