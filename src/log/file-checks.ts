/** The embedded log under examination: the file, where it lies, and what stands in it. Nothing is written. */
import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type Member, readRoster } from '../roster.ts'
import type { ExamineOptions } from './examine.ts'
import { type Finding, type Looked, plural, risky, runChecks, unknown, unsafe } from './finding.ts'
import { type ScanFacts, scanChecks, scanShard } from './scan.ts'
import { type Controls, controlsOf } from './seal.ts'
import { SqliteLog } from './sqlite.ts'

interface FileFacts {
  readonly path: string
  /** Of SQLite's quick_check: 'ok', or the first fault. */
  readonly check: string
  readonly controls: Controls
  /** Of the file system; undefined where it does not tell. */
  readonly free: number | undefined
  readonly fileSystem: number | undefined
  /** Of those who share the log, or why that could not be read. */
  readonly members: readonly Member[] | string
  readonly now: number
  readonly scans?: readonly ScanFacts[]
}

/** Whoever beat within so long is alive, ms. */
const LATELY = 10_000
/** Less room than that on the disk is a risk, bytes. */
const ROOM = 256 << 20

/** As Linux numbers them (statfs(2)): where the locks of SQLite, or its shared memory, do not hold between machines. */
const networks: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2'],
  [0x517b, 'SMB'],
  [0x65735546, 'FUSE'],
  [0x01021997, '9P'],
])

const CHECKS = {
  // Of the seal a scan tells, too; the file's own check, below, knows more of it.
  ...scanChecks,
  integrity: ({ check, path }) => {
    if (check === 'ok') return 'SQLite finds no fault in the file'
    return unsafe(
      `SQLite finds a fault in ${path}: ${check}`,
      'events cannot be read, or are read wrong',
      `stop what writes, and restore a backup: mainstem restore BACKUP --log file:${path}`,
    )
  },
  'file-system': ({ fileSystem }) => {
    const network = fileSystem === undefined ? undefined : networks.get(fileSystem)
    if (network === undefined) return fileSystem === undefined ? undefined : 'the file lies on a disk of this machine'
    if (network === 'FUSE' || network === '9P')
      return unknown(
        `the file lies on ${network}`,
        'what is behind that must keep locks and syncs as a disk does',
        'put the log on a local disk',
      )
    return unsafe(
      `the file lies on a network file system (${network})`,
      "SQLite's write-ahead log and its locks do not work there: two writers destroy the file",
      'move the log, while nothing runs, to a local disk; for several machines use a log on Kafka',
    )
  },
  'disk-space': ({ free, path }) => {
    if (free === undefined) return undefined
    const mebibytes = `${Math.floor(free / (1 << 20))} MiB`
    if (free >= ROOM) return `${mebibytes} are free`
    return risky(`${mebibytes} are free on the disk of ${path}`, 'when it is full, the writer stops for good', 'make room')
  },
  'manifest-missing': ({ controls: { state } }) =>
    state.log === null
      ? risky('the log is empty', 'none: the first replica makes it the log of its app', 'nothing')
      : `log ${state.log}, generation ${state.generation}, of the app ${state.app}`,
  sealed: ({ controls: { seal } }) => {
    if (!seal) return 'the log goes on'
    const copy =
      seal.note?.by === 'copy'
        ? `in its copy, ${seal.note.to}`
        : seal.note?.by === 'restore'
          ? 'in the backup that took its place'
          : 'elsewhere'
    return risky('the log is sealed', 'nothing more is written', `it goes on ${copy}: use that`)
  },
  roster: ({ members, path, now }) => {
    if (typeof members === 'string')
      return risky(
        `the roster ${path}.roster cannot be read: ${members}`,
        'replicas do not hear of each other',
        `delete ${path}.roster: it is made anew`,
      )
    const alive = members.filter(({ seen }) => now - seen < LATELY)
    return `${plural(alive.length, 'replica')} alive`
  },
} as const satisfies { readonly [name: string]: (facts: FileFacts) => Looked }

/** @throws EngineError log-unusable */
export async function examineFile(path: string, { scan, onProgress, signal }: ExamineOptions): Promise<Finding[]> {
  // It tells what is no log at all.
  const log = new SqliteLog(path)
  try {
    const { bavail, bsize, type } = statfsSync(dirname(path))
    const facts: FileFacts = {
      path,
      check: quickCheck(path),
      controls: await controlsOf(log),
      free: bavail * bsize,
      fileSystem: process.platform === 'linux' ? type : undefined,
      members: membersOf(`${path}.roster`),
      now: Date.now(),
    }
    const head = await log.head()
    if (!scan) return runChecks(CHECKS, facts)
    return runChecks(CHECKS, { ...facts, scans: [await scanShard(log, 0, position => onProgress(position, head), signal)] })
  } finally {
    await log.close()
  }
}

function quickCheck(path: string): string {
  const db = new DatabaseSync(path, { readOnly: true, timeout: 5_000 })
  try {
    return (db.prepare('PRAGMA quick_check(1)').get() as { quick_check: string }).quick_check
  } catch (error) {
    return (error as Error).message
  } finally {
    db.close()
  }
}

function membersOf(path: string): readonly Member[] | string {
  try {
    return readRoster(path)
  } catch (error) {
    return (error as Error).message
  }
}
