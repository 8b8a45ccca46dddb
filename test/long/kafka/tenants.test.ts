/** Ten thousand tenants on eight partitions of three brokers, in processes of at most 512 MiB. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startCluster } from '../../support/brokers.ts'
import { makeLog } from '../../support/kafka.ts'
import { temporaryFolder } from '../../support/logs.ts'
import { Puppet } from '../../support/processes.ts'

const COUNT = 10_000
const LIMIT = 512

/** Some at a time, as many clients would. */
async function each(count: number, work: (n: number) => Promise<void>): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: 256 }, async () => {
      while (next < count) await work(next++)
    }),
  )
}

test('ten thousand tenants: made by two replicas, reopened and read again, replayed', async ({ annotate }) => {
  await using cluster = await startCluster({ brokers: 3 })
  const log = `kafka://${cluster.bootstrap}/tenants`
  await makeLog(log, 'shop', 8)
  const folder = temporaryFolder()
  const options = { log, timeout: 120_000 }
  const tenant = (n: number): string => `t${n}`

  let start = performance.now()
  const one = await Puppet.open({ ...options, data: join(folder, 'one') })
  const two = await Puppet.open({ ...options, data: join(folder, 'two') })
  await each(COUNT, async n => {
    const paid = await (n % 2 === 0 ? one : two).execute('pay', { account: 'ann', cents: n + 1 }, { tenant: tenant(n), id: 'same' })
    expect(paid).toMatchObject({ status: 'accepted', version: 1 })
  })
  await annotate(`made: ${((performance.now() - start) / COUNT).toFixed(2)} ms each, ${Math.round(await one.memory())} MiB`)
  for (const puppet of [one, two]) expect(await puppet.memory()).toBeLessThan(LIMIT)
  await one.close()

  start = performance.now()
  const again = await Puppet.open({ ...options, data: join(folder, 'one') })
  await annotate(`opened again in ${Math.round(again.opening)} ms`)
  await each(COUNT, async n => {
    expect(await again.query('total', undefined, { tenant: tenant(n) })).toBe(n + 1)
    if (n % 7 === 0) {
      const same = await again.execute('pay', { account: 'ann', cents: n + 1 }, { tenant: tenant(n), id: 'same' })
      expect(same).toMatchObject({ version: 1, duplicate: true })
    }
  })
  await annotate(`read: ${((performance.now() - start) / COUNT).toFixed(2)} ms each, ${Math.round(await again.memory())} MiB`)
  expect(await again.memory()).toBeLessThan(LIMIT)

  const fresh = await Puppet.open({ ...options, data: join(folder, 'three') })
  await annotate(`replayed: ${(fresh.opening / COUNT).toFixed(2)} ms each, ${Math.round(await fresh.memory())} MiB`)
  expect(await fresh.memory()).toBeLessThan(LIMIT)
  for (const n of [0, 7, 4_712, COUNT - 1]) {
    const digest = await again.digest(tenant(n))
    expect(digest.version).toBe(1)
    expect(await fresh.digest(tenant(n))).toEqual(digest)
    expect(await two.digest(tenant(n))).toEqual(digest)
  }
})
