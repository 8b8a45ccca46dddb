/** Replicas of an app on real Kafka behind HAProxy, under load: another release takes over and goes back, its leader is killed, and no request fails. */
import { expect, test } from 'vitest'
import { checkWallet, Fleet, Load } from '../support/fleet.ts'
import { makeLog, newUrl } from '../support/kafka.ts'

test('from blue to green with other tables, where the leader is killed, and back: no request fails, nothing is lost or doubled', async ({
  annotate,
}) => {
  const log = newUrl()
  const opening = Fleet.open(log, 2)
  await makeLog(log, 'wallet')
  const fleet = await opening
  // The first release that comes is the active one.
  await fleet.start('blue', 2)
  await fleet.start('green', 2)
  const load = new Load(fleet.url, { clients: 4, pause: 10, seed: 1 })
  await load.further(150)
  for (const [what, work] of [
    ['to green', () => fleet.switch('green')],
    ['the leader is killed', async () => fleet.kill((await fleet.leader('green')).name)],
    ['back to blue', () => fleet.switch('blue')],
  ] as const) {
    const begun = performance.now()
    await work()
    await load.further(150)
    await annotate(`${what}: ${JSON.stringify(load.times(begun))}, longest without an answer ${Math.round(load.gap(begun))} ms`)
  }
  await load.stop()
  await fleet.end()
  expect(load.failed).toEqual([])
  await checkWallet(log, load)
})
