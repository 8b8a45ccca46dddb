/** A thousand tenants on one log: each apart, few open at a time, all there after a start. `test/long/tenants.test.ts` has ten thousand. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Replica } from '../../src/replica.ts'
import { Stage } from '../support/logs.ts'
import shop from '../support/shop.ts'

const COUNT = 1_000
const names = Array.from({ length: COUNT }, (_, n) => `t${n}`)

async function openOnes(replica: Replica): Promise<number> {
  const { tenants } = await replica.status()
  return Object.values(tenants).filter(({ status }) => status !== 'closed').length
}

/** Those that are too many are closed soon after their last use. */
const fewAreOpen = (replica: Replica): Promise<void> => expect.poll(() => openOnes(replica), { timeout: 30_000 }).toBeLessThanOrEqual(64)

test('a thousand tenants: created, closed when idle, opened again, replayed', async () => {
  const stage = new Stage('sqlite')
  const data = join(stage.folder, 'mine')
  const first = (await stage.open(shop, { data })) as unknown as Replica
  const answers = await Promise.all(
    names.map((tenant, n) => first.execute('pay', { account: 'ann', cents: n + 1 }, { tenant, id: 'same', timeout: 60_000 })),
  )
  for (const answer of answers) expect(answer).toMatchObject({ status: 'accepted', version: 1, duplicate: false })
  // Once more, so that each is opened a second time.
  for (const tenant of names.slice(0, 100))
    expect(await first.execute('pay', { account: 'ann', cents: 1 }, { tenant })).toMatchObject({ version: 2 })
  await fewAreOpen(first)
  const digests = new Map<string, string>()
  for (const tenant of names.filter((_, n) => n % 50 === 0)) digests.set(tenant, (await first.digest(tenant)).digest)
  await first.close()

  // All at once, right after the start: each has to be checked against the log first.
  const second = (await stage.open(shop, { data })) as unknown as Replica
  let most = 0
  const watch = setInterval(() => void openOnes(second).then(open => (most = Math.max(most, open))), 5)
  const totals = await Promise.all(names.map(tenant => second.query('total', undefined, { tenant, timeout: 60_000 })))
  clearInterval(watch)
  expect(totals).toEqual(names.map((_, n) => n + 1 + (n < 100 ? 1 : 0)))
  // Each takes several files.
  expect(most).toBeLessThanOrEqual(256)
  await fewAreOpen(second)
  expect(await second.execute('pay', { account: 'ann', cents: 8 }, { tenant: 't7', id: 'same' })).toMatchObject({
    version: 1,
    duplicate: true,
  })
  for (const [tenant, digest] of digests) expect((await second.digest(tenant)).digest).toBe(digest)

  const fresh = (await stage.open(shop)) as unknown as Replica
  await fewAreOpen(fresh)
  for (const [tenant, digest] of digests) expect((await fresh.digest(tenant)).digest).toBe(digest)
})
