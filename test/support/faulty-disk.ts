/** A disk for one process that fails as it is told, and keeps a trace: what faulty-disk.c does, compiled when it is first asked for. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Answer } from './worker.ts'

export interface Fault {
  /** How the path of the file ends. */
  readonly file: string
  readonly call: 'sync' | 'write'
  /** The first call that fails, from 1 on. */
  readonly at: number
  /** How many fail from there on. Default: 1, so that a later one says that all is well. */
  readonly times?: number
  readonly error?: keyof typeof ERRORS
  /** Of a write that fails: the first half is written. */
  readonly half?: boolean
  /** With a sync that fails, what was written since the last one is lost. */
  readonly lose?: boolean
}

const ERRORS = { EIO: 5, ENOSPC: 28 } as const

export interface Disk {
  /** The folder it is about, as the system names it. */
  readonly folder: string
  /** Several processes may share it. */
  readonly trace?: string
  readonly fault?: Fault
}

/** The environment of a process with such a disk. @throws Error where there is no Linux or no C compiler */
export function diskEnv({ folder, trace, fault }: Disk): Record<string, string> {
  return {
    LD_PRELOAD: compiled(),
    DISK_ROOT: `${folder}/`,
    ...(trace === undefined ? {} : { DISK_TRACE: trace }),
    ...(fault && {
      DISK_FILE: fault.file,
      DISK_CALL: fault.call,
      DISK_AT: String(fault.at),
      DISK_TIMES: String(fault.times ?? 1),
      DISK_ERRNO: String(ERRORS[fault.error ?? 'EIO']),
      ...(fault.half ? { DISK_HALF: '1' } : {}),
      ...(fault.lose ? { DISK_LOSE: '1' } : {}),
    }),
  }
}

function compiled(): string {
  const source = fileURLToPath(new URL('faulty-disk.c', import.meta.url))
  const hash = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16)
  const library = join(tmpdir(), `mainstem-faulty-disk-${hash}.so`)
  if (existsSync(library)) return library
  const draft = `${library}.${process.pid}`
  const { error, status, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', draft, source, '-ldl', '-lpthread'], {
    encoding: 'utf8',
  })
  if (process.platform !== 'linux') throw new Error('disks fail on purpose on Linux only')
  if (error) throw new Error('a disk that fails on purpose needs a C compiler: apt-get install gcc libc6-dev', { cause: error })
  if (status !== 0) throw new Error(`cc cannot compile ${source}: ${stderr}`)
  renameSync(draft, library)
  return library
}

/** What was asked of the disk (faulty-disk.c tells of the types), or said to a client. */
export interface Traced {
  readonly type: 'W' | 'T' | 'U' | 'S' | 'E' | 'A' | 'F'
  readonly pid: number
  readonly path: string
  readonly offset: number
  readonly data: Buffer
}

export function readTrace(path: string): Traced[] {
  const bytes = readFileSync(path)
  const trace: Traced[] = []
  for (let at = 0; at < bytes.length; ) {
    const [type, pid, named, length] = [0, 4, 8, 12].map(offset => bytes.readUInt32LE(at + offset)) as [number, number, number, number]
    const offset = Number(bytes.readBigUInt64LE(at + 16))
    const data = at + 24 + named
    trace.push({
      type: String.fromCharCode(type) as Traced['type'],
      pid,
      path: bytes.toString('utf8', at + 24, data),
      offset,
      data: bytes.subarray(data, data + length),
    })
    at = data + length
  }
  return trace
}

/** What clients of workers had heard. */
export function heard(trace: readonly Traced[]): Answer[] {
  return trace
    .filter(({ type }) => type === 'A')
    .map(({ data }) => JSON.parse(data.toString()) as Answer)
    .filter(({ id }) => id !== undefined)
}
