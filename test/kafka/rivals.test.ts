/** Writers that take the transactional id from each other, again and again: each gets its turn, also one that is slower than the others. */
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openReplica, type Replica } from '../../src/replica.ts'
import { bootstrap, makeLog, newUrl } from '../support/kafka.ts'
import { Ledger } from '../support/ledger.ts'
import { temporaryFolder } from '../support/logs.ts'
import { startProxy } from '../support/proxy.ts'
import shop from '../support/shop.ts'

/** Each way, ms: five times as long as the others need for a whole transaction. */
const FAR = 20

test('optimistic: one that is far away gets its turn, though those near write without a pause', async () => {
  const proxy = await startProxy(bootstrap())
  onTestFinished(() => proxy.close())
  const folder = temporaryFolder()
  const log = newUrl()
  await makeLog(log, 'shop')
  const open = async (name: string, url: string): Promise<Replica> => {
    const replica = await openReplica(shop, { log: url, strategy: 'optimistic', data: join(folder, name), timeout: 20_000 })
    onTestFinished(() => replica.close())
    return replica
  }
  const far = await open('far', `kafka://${proxy.bootstrap}/${log.split('/').at(-1)}`)
  const near = await open('near', log)
  const ledger = new Ledger()
  proxy.on({ direction: 'request' }, { delay: FAR })
  proxy.on({ direction: 'reply' }, { delay: FAR })
  let going = true
  const busy = [1, 2].map(async () => {
    while (going) await ledger.pay(near, 'near')
  })
  try {
    for (let n = 0; n < 5; n++) expect((await ledger.pay(far, 'far')).status).toBe('accepted')
  } finally {
    going = false
  }
  await Promise.all(busy)
  await ledger.check(log)
})
