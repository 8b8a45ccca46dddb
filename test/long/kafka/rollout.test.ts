/**
 * Three blue replicas on real Kafka behind HAProxy, under constant load: a roll-out to green with other tables, back, and to green again; leaders are
 * killed on the way, one of them in the middle of a switch; replicas come back with the data that they had.
 */
import { createLog } from '../../../src/log/kafka/create.ts'
import { expect, test } from 'vitest'
import { checkWallet, Fleet, Load } from '../../support/fleet.ts'
import { startCluster } from '../../support/brokers.ts'

test('to green, back, and to green again: no request fails, nothing is lost or doubled', async ({ annotate }) => {
  const starting = startCluster()
  const log = starting.then(({ bootstrap }) => `kafka://${bootstrap}/wallet`)
  const fleet = await Fleet.open(log, 3)
  await using _ = await starting
  await createLog(fleet.log, { app: 'wallet', partitions: 1 })
  await fleet.start('blue', 3)
  const load = new Load(fleet.url, { clients: 8, pause: 20, seed: 7 })
  await load.further(500)
  const killLeader = async (colour: 'blue' | 'green') => fleet.kill((await fleet.leader(colour)).name)
  const steps: [what: string, work: () => Promise<unknown>][] = [
    ['green starts', () => fleet.start('green', 3)],
    ['to green', () => fleet.switch('green')],
    ['blue ends', () => fleet.end('blue')],
    ['the leader is killed', () => killLeader('green')],
    ['blue and the one that was killed start', () => Promise.all([fleet.start('blue', 3), fleet.start('green', 3)])],
    ['back to blue', () => fleet.switch('blue')],
    // Whoever reigns is not there to step down when the record comes.
    ['to green again, while the leader is killed', () => Promise.all([killLeader('blue'), fleet.switch('green')])],
    ['blue ends', () => fleet.end('blue')],
  ]
  for (const [what, work] of steps) {
    const begun = performance.now()
    await work()
    await load.further(300)
    await annotate(`${what}: ${JSON.stringify(load.times(begun))}, longest without an answer ${Math.round(load.gap(begun))} ms`)
  }
  await load.stop()
  await fleet.end()
  expect(load.failed).toEqual([])
  await checkWallet(fleet.log, load)
})
