/** Processes on one machine see each other's records soon, and in order. `bench/visibility.ts` has the figures. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../support/logs.ts'
import { Puppet } from '../support/processes.ts'

test('what one process wrote, another one sees soon', async () => {
  const folder = temporaryFolder()
  const log = `file:${join(folder, 'shop.log')}`
  const writer = await Puppet.open({ log, data: join(folder, 'one') })
  const reader = await Puppet.open({ log, data: join(folder, 'two') })
  const delays: number[] = []
  for (let version = 1; version <= 50; version++) {
    const seen = reader.take(version, 1).then(([event]) => ({ event, at: performance.now() }))
    expect(await writer.execute('pay', { account: 'ann', cents: version })).toMatchObject({ version })
    const acknowledged = performance.now()
    const { event, at } = await seen
    expect(event).toMatchObject({ version, type: 'Paid', data: { account: 'ann', cents: version } })
    delays.push(at - acknowledged)
  }
  // Some 5 ms on a machine that has nothing else to do.
  expect(delays.sort((a, b) => a - b)[25]).toBeLessThan(100)
})
