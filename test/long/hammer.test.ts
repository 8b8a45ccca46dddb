/** Four processes on one log file for half a minute, with each strategy: no invariant breaks, and all end with equal digests and tables. */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { strategies } from '../../src/consistency.ts'
import { temporaryFolder } from '../support/logs.ts'
import { checkHistory, Worker } from '../support/processes.ts'

const SECONDS = 30
const ACCOUNTS = 20

test.each(strategies)('%s', async strategy => {
  const folder = temporaryFolder()
  const log = `file:${join(folder, 'shop.log')}`
  const data = [1, 2, 3, 4].map(n => join(folder, `data-${n}`))
  const workers = data.map((path, n) => new Worker({ log, data: path, strategy, seed: n + 1, accounts: ACCOUNTS, clients: 8 }))
  try {
    // The time is what is asked for here, not something to wait for.
    await pause(SECONDS * 1_000)
    await Promise.all(workers.map(worker => worker.finish()))
    for (const worker of workers) expect((await worker.ended).code, worker.complaints).toBe(0)
  } finally {
    for (const worker of workers) await worker.kill()
  }
  const answers = workers.flatMap(worker => worker.answers)
  const { accepted, rejected } = await checkHistory({ log, folder, data, strategy, accounts: ACCOUNTS, answers, note: strategy })
  process.stdout.write(`${strategy}: ${accepted} accepted, ${rejected} rejected in ${SECONDS} s\n`)
  expect(accepted).toBeGreaterThan(1_000)
  expect(answers.filter(({ status }) => status === 'failed')).toEqual([])
})
