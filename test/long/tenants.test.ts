/** Ten thousand tenants on one log, in a process of at most 512 MiB. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../support/logs.ts'
import { Puppet } from '../support/processes.ts'

const COUNT = 10_000
const LIMIT = 512

/** Some at a time, as many clients would. */
async function each(count: number, work: (n: number) => Promise<void>): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: 128 }, async () => {
      while (next < count) await work(next++)
    }),
  )
}

test('ten thousand tenants: created, reopened and read again, replayed, within 512 MiB', async ({ annotate }) => {
  const folder = temporaryFolder()
  const options = { log: `file:${join(folder, 'shop.log')}`, timeout: 120_000 }
  const tenant = (n: number): string => `t${n}`
  const closed = async (puppet: Puppet): Promise<number> =>
    Object.values((await puppet.status()).tenants).filter(({ status }) => status === 'closed').length

  const start = performance.now()
  const first = await Puppet.open({ ...options, data: join(folder, 'one') })
  await each(COUNT, async n => {
    expect(await first.execute('pay', { account: 'ann', cents: n + 1 }, { tenant: tenant(n) })).toMatchObject({
      status: 'accepted',
      version: 1,
    })
  })
  await annotate(`created: ${((performance.now() - start) / COUNT).toFixed(2)} ms each, ${Math.round(await first.memory())} MiB`)
  expect(await first.memory()).toBeLessThan(LIMIT)
  await expect.poll(() => closed(first), { timeout: 10_000 }).toBeGreaterThanOrEqual(COUNT - 64)
  const digest = await first.digest(tenant(4_712))
  await first.close()

  const again = performance.now()
  const second = await Puppet.open({ ...options, data: join(folder, 'one') })
  const opened = performance.now() - again
  await each(COUNT, async n => {
    expect(await second.query('total', undefined, { tenant: tenant(n) })).toBe(n + 1)
    if (n % 7 === 0) expect(await second.execute('pay', { account: 'ann', cents: 1 }, { tenant: tenant(n) })).toMatchObject({ version: 2 })
  })
  await annotate(
    `opened again in ${Math.round(opened)} ms; read: ${((performance.now() - again) / COUNT).toFixed(2)} ms each, ${Math.round(await second.memory())} MiB`,
  )
  expect(await second.memory()).toBeLessThan(LIMIT)
  expect(await second.digest(tenant(4_712))).toEqual(digest)

  const anew = performance.now()
  const third = await Puppet.open({ ...options, data: join(folder, 'two') })
  await annotate(`replayed: ${((performance.now() - anew) / COUNT).toFixed(2)} ms each, ${Math.round(await third.memory())} MiB`)
  expect(await third.memory()).toBeLessThan(LIMIT)
  for (const n of [0, 7, 4_712, COUNT - 1]) expect(await third.digest(tenant(n))).toEqual(await second.digest(tenant(n)))
})
