/**
 * The network is gone for a minute, in two ways: connections break and none can be made, or all stay and carry nothing. The processes stay
 * small and quiet meanwhile, and go on by themselves afterwards.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../../support/brokers.ts'
import { makeLog } from '../../support/kafka.ts'
import { temporaryFolder } from '../../support/logs.ts'
import { checkHistory, Worker } from '../../support/processes.ts'
import { startProxy } from '../../support/proxy.ts'
import { kafkaWays, wayName } from '../../support/ways.ts'

const ACCOUNTS = 10
const MINUTE = 60_000

let cluster: Cluster
beforeAll(async () => {
  cluster = await startCluster({ brokers: 3 })
})
afterAll(() => cluster.close())

/** What a process has used so far: processor time in seconds, memory now in MiB. */
function usage(pid: number): { cpu: number; memory: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
  // In ticks, of which Linux has a hundred a second; and in pages.
  return { cpu: (Number(fields[11]) + Number(fields[12])) / 100, memory: (Number(fields[21]) * 4_096) / 2 ** 20 }
}

test.each(['cut', 'silent'] as const)('%s for a minute, under each way at once', async how => {
  await using proxy = await startProxy(cluster.bootstrap)
  const casts = await Promise.all(
    kafkaWays.map(async way => {
      const topic = `network-${how}-${way.strategy}-${way.fencing ?? 'any'}`
      const log = `kafka://${cluster.bootstrap}/${topic}`
      await makeLog(log, 'shop')
      const folder = temporaryFolder()
      const data = [join(folder, 'data')]
      const options = { seed: 1, accounts: ACCOUNTS, clients: 4, pause: 50, timeout: 10_000 }
      return {
        way,
        log,
        folder,
        data,
        worker: new Worker({ ...way, ...options, log: `kafka://${proxy.bootstrap}/${topic}`, data: data[0]! }),
      }
    }),
  )
  try {
    await Promise.all(casts.map(({ worker }) => worker.answered(50)))
    proxy.partition(how)
    // What was on its way is over, and the first deadlines have passed.
    await pause(15_000)
    const before = casts.map(({ worker }) => usage(worker.pid))
    await pause(MINUTE - 15_000)
    for (const [n, { way, worker }] of casts.entries()) {
      const { cpu, memory } = usage(worker.pid)
      const note = `${how}, ${wayName(way)}: ${(cpu - before[n]!.cpu).toFixed(1)} s of processor, ${before[n]!.memory.toFixed(0)} to ${memory.toFixed(0)} MiB`
      process.stdout.write(`${note}\n`)
      // A loop that never waits would take all of it.
      expect(cpu - before[n]!.cpu, note).toBeLessThan(10)
      // Garbage that nobody needs to collect yet may stand there; what piles up with every attempt would be more.
      expect(memory - before[n]!.memory, note).toBeLessThan(100)
    }
    proxy.heal()
    const from = performance.now()
    await Promise.all(
      casts.map(async ({ worker }) => {
        const good = () => worker.answers.filter(({ status }) => status === 'accepted').length
        const had = good()
        while (good() < had + 20) await worker.answered(worker.answers.length + 1)
      }),
    )
    process.stdout.write(`${how}: all accept again ${Math.round(performance.now() - from)} ms after it\n`)
    for (const { worker } of casts) {
      await worker.finish()
      expect((await worker.ended).code, worker.complaints).toBe(0)
    }
  } finally {
    for (const { worker } of casts) await worker.kill()
  }
  for (const { way, log, folder, data, worker } of casts) {
    for (const { status, code } of worker.answers)
      if (status === 'failed') expect(['timeout', 'outcome-unknown', 'not-leader']).toContain(code)
    await checkHistory({ ...way, log, folder, data, accounts: ACCOUNTS, answers: worker.answers, note: `${how}, ${wayName(way)}` })
  }
})
