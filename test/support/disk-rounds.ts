/** Rounds of processes whose disk fails, or whose power does; and the check of what they leave behind. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { StrategyName } from '../../src/consistency.ts'
import type { EngineError } from '../../src/errors.ts'
import { openReplica } from '../../src/index.ts'
import { diskEnv, type Fault, heard, readTrace } from './faulty-disk.ts'
import { seeded } from '../../src/random.ts'
import { folderInMemory } from './logs.ts'
import { powerCuts } from './power-cut.ts'
import { type Checked, checkHistory, Worker } from './processes.ts'
import shop from './shop.ts'

const ACCOUNTS = 5
/** What a process may be told whose disk has failed. */
const TOLD = ['log-failed', 'outcome-unknown', 'data-unusable', 'not-leader']

interface Rounds {
  readonly strategy: StrategyName
  readonly seed: number
}

export interface Failed extends Checked {
  readonly fault: Fault
  /** Whether the call came that was to fail. */
  readonly happened: boolean
  /** How often each error was told by the process whose disk failed. */
  readonly told: Record<string, number>
}

/**
 * One to three processes on a log. The disk of one of them fails, at the log or at its own database; it is killed, or ended in order,
 * and started again.
 */
export async function diskFault({
  strategy,
  seed,
  ...given
}: Rounds & { readonly fault?: Fault; readonly processes?: number }): Promise<Failed> {
  const random = seeded(seed)
  const processes = given.processes ?? 1 + Math.floor(random() * 3)
  const fault = given.fault ?? anyFault(random)
  const note = `${strategy}, seed ${seed}, ${JSON.stringify(fault)}`
  const folder = folderInMemory()
  const trace = join(folder, 'trace')
  const log = `file:${join(folder, 'shop.log')}`
  const data = Array.from({ length: processes }, (_, n) => join(folder, `data-${n}`))
  const workers: Worker[] = []
  const start = (n: number, env?: Record<string, string>): Worker => {
    const clients = 1 + Math.floor(random() * 6)
    const worker = new Worker({
      log,
      data: data[n]!,
      strategy,
      seed: seed * 100 + workers.length,
      accounts: ACCOUNTS,
      clients,
      // One whose disk is well has all the time of the other.
      ...(env ? { env } : { pause: 5 }),
    })
    workers.push(worker)
    return worker
  }
  try {
    const hurt = start(0, diskEnv({ folder, trace, fault }))
    for (const n of data.keys()) if (n > 0) start(n)
    // Until it fails, and some more.
    for (let n = 50; n <= 500 && !failures(hurt).length; n += 50) await hurt.answered(n)
    await hurt.answered(hurt.answers.length + 30)
    if (random() < 0.5) await hurt.kill()
    else await hurt.finish()
    const again = start(0)
    await again.answered(20)
    for (const worker of workers.slice(1)) {
      await worker.finish()
      // A leader whose own database has failed reigns on, and those who pass their commands on to it hear of it.
      const passed = strategy === 'leader' && fault.file.startsWith('default.db')
      const own = failures(worker).filter(({ code }) => !passed || code !== 'data-unusable')
      expect(own, `${note}: ${worker.complaints}`).toEqual([])
      if (failures(worker).length === 0) expect((await worker.ended).code, `${note}: ${worker.complaints}`).toBe(0)
    }
    const told: Record<string, number> = {}
    for (const { code = '' } of failures(hurt)) told[code] = (told[code] ?? 0) + 1
    expect(
      Object.keys(told).filter(code => !TOLD.includes(code)),
      `${note}: ${hurt.complaints}`,
    ).toEqual([])
    const happened = stopped(trace, fault, note)
    const answers = workers.flatMap(worker => worker.answers)
    return { ...(await checkHistory({ log, folder, data, strategy, accounts: ACCOUNTS, answers, note })), fault, happened, told }
  } finally {
    for (const worker of workers) await worker.kill()
  }
}

const failures = ({ answers }: Worker) => answers.filter(({ status }) => status === 'failed')

/** Whether the fault came; and that nothing was written into the log afterwards. */
function stopped(trace: string, { file }: Fault, note: string): boolean {
  const all = readTrace(trace)
  const at = all.findIndex(({ type }) => type === 'F')
  if (at < 0) return false
  const behind = all.slice(at + 1).filter(({ type, path }) => type === 'W' && path.endsWith(file))
  if (file === 'shop.log-wal') expect(behind.length, `${note}: wrote on after its disk had failed`).toBe(0)
  return true
}

function anyFault(random: () => number): Fault {
  const one = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)]!
  const file = one(['shop.log-wal', 'shop.log-wal', 'shop.log', 'default.db-wal', 'default.db'])
  const call = one(['sync', 'write'] as const)
  // Into the files themselves little is written, a thousand pages at a time.
  const at = 1 + Math.floor(random() * (file.endsWith('-wal') ? (call === 'sync' && file !== 'shop.log-wal' ? 2 : 150) : 2))
  return {
    file,
    call,
    at,
    times: one([1, 2, 1e9]),
    error: one(['EIO', 'ENOSPC'] as const),
    half: random() < 0.5,
    lose: random() < 0.5,
  }
}

export interface PowerFailed {
  readonly accepted: number
  readonly rejected: number
  /** How many databases could not be used afterwards, said so, and were made anew. */
  readonly refused: number
}

/**
 * Some processes on one disk, and the power fails at many moments: as if at each of them, what was synced and a part of the rest is
 * what is left. All that was acknowledged until then must be there.
 */
export async function powerFailures({
  strategy,
  seed,
  cuts,
  processes,
}: Rounds & { readonly cuts: number; readonly processes: number }): Promise<{ accepted: number; rejected: number }> {
  const random = seeded(seed)
  const folder = folderInMemory()
  const root = join(folder, 'disk')
  const into = join(folder, 'left')
  const trace = join(folder, 'trace')
  mkdirSync(root)
  const names = Array.from({ length: processes }, (_, n) => `data-${n}`)
  const workers = names.map(
    (name, n) =>
      new Worker({
        log: `file:${join(root, 'shop.log')}`,
        data: join(root, name),
        strategy,
        seed: seed * 100 + n,
        accounts: ACCOUNTS,
        clients: 2,
        env: diskEnv({ folder: root, trace }),
      }),
  )
  // So much that the log was moved from its -wal into its file at least once.
  for (const worker of workers) await worker.answered(Math.ceil(800 / processes))
  for (const worker of workers) await worker.kill()
  for (const worker of workers) expect(failures(worker), worker.complaints).toEqual([])
  const all = readTrace(trace)
  const places = Array.from({ length: cuts }, () => Math.floor(random() * all.length))
  const sums = { accepted: 0, rejected: 0, refused: 0 }
  await powerCuts({ root, trace: all, cuts: places, into, random }, async (past, whim) => {
    const note = `${strategy}, seed ${seed}: power fails behind ${past.length} of ${all.length} steps, ${whim} of the rest is left`
    const data = names.map(name => join(into, name))
    const history = { log: `file:${join(into, 'shop.log')}`, folder: into, data, strategy, accounts: ACCOUNTS }
    for (const path of data) if (!(await usable(history.log, path, note))) sums.refused++
    const { accepted, rejected } = await checkHistory({ ...history, answers: heard(past), note })
    sums.accepted += accepted
    sums.rejected += rejected
  })
  return sums
}

/** A database is not synced when it is made, for the log is the truth: it may have to be deleted, if it says so. */
async function usable(log: string, data: string, note: string): Promise<boolean> {
  try {
    await using replica = await openReplica(shop, { log, data, strategy: 'first-wins' })
    await replica.digest()
    return true
  } catch (error) {
    const { code, message } = error as EngineError
    expect(`${code}: ${message}`, note).toMatch(/^data-unusable: .*default\.db.*(move it away|delete)/i)
    rmSync(data, { recursive: true })
    return false
  }
}
