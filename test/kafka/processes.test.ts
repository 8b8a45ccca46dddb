/**
 * Processes that contend for one topic, and the examples' apps on several replicas: every rule of the apps holds by plain SQL on every
 * database, all replicas come to the same, and each decision decides the same again at its place in the log.
 */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import bank, { invariant as bankInvariant } from '../../examples/bank/app.ts'
import { dailyLimit } from '../../examples/bank/withdraw.ts'
import seats, { invariant as seatsInvariant } from '../../examples/seats.ts'
import warehouse, { invariant as warehouseInvariant } from '../../examples/warehouse.ts'
import type { App } from '../../src/app.ts'
import { openReplica, type Replica } from '../../src/replica.ts'
import { makeLog, newUrl } from '../support/kafka.ts'
import { seeded } from '../../src/random.ts'
import { temporaryFolder } from '../support/logs.ts'
import { checkHistory, Worker } from '../support/processes.ts'
import { kafkaLanes, type Way, wayName } from '../support/ways.ts'

const PROCESSES = 4
const ACCOUNTS = 20
/** Of all processes together, before they are told to end. */
const ANSWERS = 500

describe.each(kafkaLanes)('$strategy $fencing', way => {
  test('four processes on one topic', async ({ annotate }) => {
    const folder = temporaryFolder()
    const log = newUrl()
    await makeLog(log, 'shop')
    const data = Array.from({ length: PROCESSES }, (_, n) => join(folder, `data-${n}`))
    const workers = data.map((path, n) => new Worker({ ...way, log, data: path, seed: n + 1, accounts: ACCOUNTS }))
    try {
      await Promise.all(workers.map(worker => worker.answered(ANSWERS / PROCESSES)))
      await Promise.all(workers.map(worker => worker.finish()))
      for (const worker of workers) expect((await worker.ended).code, worker.complaints).toBe(0)
    } finally {
      for (const worker of workers) await worker.kill()
    }
    const answers = workers.flatMap(worker => worker.answers)
    expect(answers.filter(({ status }) => status === 'failed')).toEqual([])
    const { accepted, rejected, refused } = await checkHistory({
      ...way,
      log,
      folder,
      data,
      accounts: ACCOUNTS,
      answers,
      note: wayName(way),
    })
    await annotate(`${accepted} accepted, ${rejected} rejected, ${refused} in vain`)
    expect(accepted).toBeGreaterThan(ANSWERS / 10)
    expect(rejected).toBeGreaterThan(0)
    // Where the log itself refuses what comes too late, and where one alone writes, nothing stands there in vain.
    if (way.strategy !== 'first-wins') expect(refused).toBe(0)
  })
})

/** Replicas of an app on a topic of its own, gone when `work` is done. */
async function contend<A extends App>(
  app: A,
  way: Way,
  count: number,
  work: (replicas: readonly Replica[]) => Promise<void>,
): Promise<void> {
  const folder = temporaryFolder()
  const log = newUrl()
  await makeLog(log, app.name)
  const replicas: Replica[] = []
  try {
    for (let n = 0; n < count; n++) {
      const data = join(folder, `data-${n}`)
      replicas.push(await openReplica(app, { ...way, log, data, timeout: 50_000 }))
    }
    await work(replicas)
  } finally {
    await Promise.all(replicas.map(replica => replica.close()))
  }
}

/** Nothing that a rule forbids stands in any database, and all are the same. */
async function agree(replicas: readonly Replica[], sql: string): Promise<void> {
  const digests = []
  for (const replica of replicas) {
    expect(await replica.sql(sql, [], { read: 'linearizable' })).toEqual([])
    digests.push(await replica.digest())
  }
  expect(new Set(digests.map(({ digest }) => digest)).size).toBe(1)
}

describe.each(kafkaLanes)('$strategy $fencing: the examples, contended by three replicas', way => {
  const seed = 20_260_401

  test('bank: 1,500 EUR a day and person, over all accounts', async () => {
    await contend(bank, way, 3, async replicas => {
      const [first] = replicas as [Replica]
      for (const person of ['ann', 'ben']) {
        for (const n of [1, 2]) {
          await first.execute('open', { person, account: `${person}-${n}` })
          await first.execute('deposit', { account: `${person}-${n}`, cents: 10 * dailyLimit, reference: '' })
        }
      }
      const random = seeded(seed)
      const answers = await Promise.all(
        Array.from({ length: 60 }, (_, n) => {
          const person = n % 2 === 0 ? 'ann' : 'ben'
          const input = { person, account: `${person}-${1 + Math.floor(random() * 2)}`, cents: 20_000 + Math.floor(random() * 20_000) }
          return replicas[n % 3]!.execute('withdraw', input)
        }),
      )
      const accepted = answers.filter(({ status }) => status === 'accepted').length
      // Ten times as much was asked for as may be had; each person had at least four, and as much as four of the largest.
      expect(accepted, `seed ${seed}`).toBeGreaterThanOrEqual(6)
      expect(accepted, `seed ${seed}`).toBeLessThanOrEqual(16)
      for (const answer of answers) if (answer.status === 'rejected') expect(answer.code).toBe('daily-limit')
      await agree(replicas, bankInvariant.sql)
      const [taken] = await first.sql('SELECT count(*) AS n FROM withdrawal')
      expect(taken).toEqual({ n: accepted })
    })
  })

  test('warehouse: the stock of nothing below zero', async () => {
    await contend(warehouse, way, 3, async replicas => {
      const [first] = replicas as [Replica]
      const items = ['nail', 'hammer', 'saw']
      for (const item of items) await first.execute('receive', { item, quantity: 30 })
      const random = seeded(seed)
      const answers = await Promise.all(
        Array.from({ length: 60 }, (_, n) => {
          const lines = items.filter(() => random() < 0.7).map(item => ({ item, quantity: 1 + Math.floor(random() * 4) }))
          return replicas[n % 3]!.execute('order', {
            order: randomUUID(),
            customer: 'ann',
            lines: [...lines, { item: 'nail', quantity: 1 }],
          })
        }),
      )
      expect(new Set(answers.map(({ status }) => status)), `seed ${seed}`).toEqual(new Set(['accepted', 'rejected']))
      await agree(replicas, warehouseInvariant.sql)
      const [placed] = await first.sql('SELECT count(*) AS n FROM placed')
      expect(placed).toEqual({ n: answers.filter(({ status }) => status === 'accepted').length })
    })
  })

  test('seats: each is sold once', async () => {
    await contend(seats, way, 4, async replicas => {
      const answers = await Promise.all(
        Array.from({ length: 80 }, async (_, n) => {
          const answer = await replicas[n % 4]!.execute('reserve', { seat: `seat-${n % 10}`, guest: `guest-${n}` })
          return { ...answer, seat: n % 10, guest: `guest-${n}` }
        }),
      )
      const sold = answers.filter(({ status }) => status === 'accepted')
      expect(sold).toHaveLength(10)
      expect(new Set(sold.map(({ seat }) => seat)).size).toBe(10)
      await agree(replicas, seatsInvariant.sql)
      const taken = await replicas[3]!.sql('SELECT guest FROM sale WHERE released IS NULL')
      expect(new Set(taken.map(({ guest }) => guest))).toEqual(new Set(sold.map(({ guest }) => guest)))
    })
  })
})
