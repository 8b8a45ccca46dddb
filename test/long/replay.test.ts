/** A million events: replayed within 300 MiB, and a replica whose database is current opens at once. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openReplica } from '../../src/index.ts'
import { temporaryFolder } from '../support/logs.ts'
import { Puppet } from '../support/processes.ts'
import shop from '../support/shop.ts'

const EVENTS = 1_000_000

async function write(log: string, data: string): Promise<void> {
  await using replica = await openReplica(shop, { log, data, timeout: 60_000 })
  let n = 0
  await Promise.all(
    Array.from({ length: 512 }, async () => {
      for (let i = n++; i < EVENTS; i = n++) await replica.execute('pay', { account: `a${i % 1_000}`, cents: 1 })
    }),
  )
}

test('replays a million events within 300 MiB, and opens at once where nothing is to be replayed', async ({ annotate }) => {
  const folder = temporaryFolder()
  const log = `file:${join(folder, 'shop.log')}`
  await write(log, join(folder, 'one'))

  const replayed = await Puppet.open({ log, data: join(folder, 'two') })
  await annotate(`replayed in ${(replayed.opening / 1_000).toFixed(1)} s, ${Math.round(await replayed.memory())} MiB`)
  expect(await replayed.memory()).toBeLessThan(300)
  expect(await replayed.query('total')).toBe(EVENTS)
  expect(await replayed.sql('SELECT count(*) AS n, max(version) AS last FROM entry')).toEqual([{ n: EVENTS, last: EVENTS }])
  const digest = await replayed.digest()
  expect(digest.version).toBe(EVENTS)

  // The best of some: others may be busy on this machine.
  const openings: number[] = []
  for (let n = 0; n < 5; n++) {
    const current = await Puppet.open({ log, data: join(folder, 'one') })
    openings.push(current.opening)
    expect(await current.digest()).toEqual(digest)
    expect(await current.execute('pay', { account: 'ann', cents: 1 }, { tenant: `t${n}` })).toMatchObject({ status: 'accepted' })
    await current.close()
  }
  await annotate(`opened in ${openings.map(ms => Math.round(ms)).join(', ')} ms`)
  expect(Math.min(...openings)).toBeLessThan(500)
})
