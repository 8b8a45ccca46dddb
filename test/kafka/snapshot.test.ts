/** A new replica on Kafka starts from a snapshot that a running one makes for it, or that was put into a folder. */
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openReplica, type Replica, type ReplicaOptions } from '../../src/replica.ts'
import { makeSnapshot } from '../../src/snapshot/make.ts'
import { makeLog, newUrl } from '../support/kafka.ts'
import { temporaryFolder } from '../support/logs.ts'
import shop from '../support/shop.ts'

const tenants = ['ann', 'bob', 'cid', 'dan', 'eve']

test('from a peer and from a folder: the same as the one that read it all', async () => {
  const log = newUrl()
  const folder = temporaryFolder()
  await makeLog(log, 'shop', 3)
  const open = async (name: string, options: Partial<ReplicaOptions> = {}): Promise<Replica> => {
    const listen = { secret: 'hush' }
    const replica = (await openReplica(shop, { log, data: join(folder, name), timeout: 30_000, listen, ...options })) as unknown as Replica
    onTestFinished(() => replica.close())
    return replica
  }
  const pay = (replica: Replica, from: number, to: number) =>
    Promise.all(
      tenants.flatMap((tenant, t) =>
        Array.from({ length: to - from }, (_, n) =>
          replica.execute('pay', { account: 'till', cents: t + 1 }, { tenant, id: `${tenant}-${from + n}` }),
        ),
      ),
    )
  const first = await open('first')
  await pay(first, 0, 20)
  // How far it has come is stored when it ends.
  await first.close()
  const giver = await open('first')
  await pay(giver, 20, 40)
  await makeSnapshot(shop, join(folder, 'first'), join(folder, 'snapshots'))
  const { address } = (await giver.status()).term
  const fromPeer = await open('from-peer', { snapshots: address! })
  expect((await fromPeer.status()).notices.at(-1)).toMatch(/^started from the snapshot just made of http:.*of shard 2$/)
  const fromFolder = await open('from-folder', { snapshots: join(folder, 'snapshots') })
  expect((await fromFolder.status()).notices.at(-1)).toMatch(/^started from the snapshot shop-/)
  const all = await open('all')
  const answers = await pay(fromPeer, 30, 50)
  expect(answers.filter(answer => answer.status === 'accepted' && answer.duplicate)).toHaveLength(5 * 10)
  for (const tenant of tenants) {
    for (const replica of [fromPeer, fromFolder, all]) {
      expect(await replica.query('entries', undefined, { tenant, read: 'linearizable' })).toHaveLength(50)
      expect(await replica.digest(tenant)).toEqual(await giver.digest(tenant))
    }
  }
  await using past = await fromFolder.at(45, { tenant: 'ann' })
  await using same = await all.at(45, { tenant: 'ann' })
  expect(past.query('entries')).toEqual(same.query('entries'))
})
