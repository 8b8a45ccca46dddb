/** Rounds of processes on one log that are killed at random moments, and the check of what they leave behind. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'vitest'
import { type StrategyName, strategies } from '../../src/consistency.ts'
import { seeded } from '../../src/random.ts'
import { temporaryFolder } from './logs.ts'
import { type Checked, checkHistory, Worker } from './processes.ts'
import type { Answer } from './worker.ts'

export interface KillRounds {
  /** `mixed`: each process has one at random. */
  readonly strategy: StrategyName | 'mixed'
  readonly seed: number
  readonly rounds: number
  /** How many at a time. */
  readonly processes: number
}

const ACCOUNTS = 5

/**
 * Each round starts those that are not running, in the data directories of those that were killed, and kills one, some or all of them at a
 * random moment: while they start, read the log, or write. Now and then one is stopped for a while before, or a data directory is lost
 * and replayed from nothing.
 */
export async function killRounds({ strategy, seed, rounds, processes }: KillRounds): Promise<Checked & { readonly kills: number }> {
  const random = seeded(seed)
  const folder = temporaryFolder()
  const log = `file:${join(folder, 'shop.log')}`
  const data = Array.from({ length: processes }, (_, n) => join(folder, `data-${n}`))
  const answers: Answer[] = []
  const running: (Worker | undefined)[] = data.map(() => undefined)
  const note = `${strategy}, seed ${seed}, ${processes} processes`
  let spawned = 0
  let kills = 0

  const gone = async (worker: Worker): Promise<void> => {
    const { code } = await worker.ended
    expect(
      worker.stuck ? 'stuck' : (code ?? 0),
      `${note}: a process failed. ${worker.complaints}\n${worker.answers
        .filter(({ status }) => status === 'failed')
        .map(answer => JSON.stringify(answer))
        .join('\n')}`,
    ).toBe(0)
    answers.push(...worker.answers)
  }
  const start = (n: number): Worker => {
    const path = data[n]!
    if (random() < 0.1) rmSync(path, { recursive: true, force: true })
    const clients = 1 + Math.floor(random() * 12)
    const own = strategy === 'mixed' ? strategies[Math.floor(random() * strategies.length)]! : strategy
    return new Worker({ log, data: path, strategy: own, seed: seed * 10_000 + spawned++, accounts: ACCOUNTS, clients })
  }

  try {
    for (let round = 0; round < rounds; round++) {
      for (const n of data.keys()) running[n] ??= start(n)
      // From a moment after the start to a moment after some answers.
      const moment = random()
      const victims = [...data.keys()].filter(() => random() < 0.5)
      if (victims.length === 0) victims.push(Math.floor(random() * processes))
      if (moment > 0.35) await running[victims[0]!]!.answered(Math.floor(random() * 200))
      await pause(moment > 0.35 ? random() * 60 : random() * 450)
      // Now and then one is stopped for a while, perhaps for so long that it is deposed, and perhaps with the lock on the log.
      if (random() < 0.15) {
        const stopped = running[Math.floor(random() * processes)]!
        stopped.stop()
        await pause(random() < 0.3 ? 2_300 : random() * 300)
        stopped.continue()
      }
      for (const n of victims) {
        kills++
        void running[n]!.kill()
      }
      for (const n of victims) {
        await gone(running[n]!)
        running[n] = undefined
      }
    }
    // The last ones end in order.
    for (const worker of running) {
      if (!worker) continue
      await worker.answered(0)
      await worker.finish()
      await gone(worker)
    }
  } finally {
    for (const worker of running) await worker?.kill()
  }
  return {
    ...(await checkHistory({
      log,
      folder,
      data,
      strategy: strategy === 'mixed' ? 'optimistic' : strategy,
      accounts: ACCOUNTS,
      answers,
      note,
    })),
    kills,
  }
}
