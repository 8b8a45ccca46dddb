/** The disk of a broker fails, and is mended. */
import { randomBytes } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { openReplica } from '../../../src/replica.ts'
import { startCluster } from '../../support/brokers.ts'
import { failure } from '../../support/failures.ts'
import { makeLog } from '../../support/kafka.ts'
import { temporaryFolder } from '../../support/logs.ts'
import shop from '../../support/shop.ts'

it('the disk of a broker fails: commands fail, and may be repeated; they go on when it is back', async () => {
  await using cluster = await startCluster()
  const broker = cluster.broker(1)
  // A broker whose last disk has failed ends by itself; one that has another one left goes on without what stood there.
  await broker.shutdown()
  const disk = join(cluster.folder, 'second-disk')
  const own = readFileSync(join(broker.data, 'meta.properties'), 'utf8')
  mkdirSync(disk)
  writeFileSync(join(disk, 'meta.properties'), own.replace(/^directory\.id=.*$/m, `directory.id=${randomBytes(16).toString('base64url')}`))
  appendFileSync(
    broker.settings,
    `log.dirs=${broker.data},${disk}\nmetadata.log.dir=${broker.data}\nreplica.high.watermark.checkpoint.interval.ms=200\n`,
  )
  await broker.restart()
  const log = `kafka://${cluster.bootstrap}/seats`
  await makeLog(log, 'shop')
  const replica = await openReplica(shop, { log, data: temporaryFolder(), fencing: 'term' })
  onTestFinished(() => replica.close())
  const pay = (timeout: number) => replica.execute('pay', { account: 'ann', cents: 1 }, { timeout })
  expect(await pay(30_000)).toMatchObject({ status: 'accepted' })

  // New partitions go where there are fewest.
  expect(existsSync(join(disk, 'seats-0'))).toBe(true)
  renameSync(disk, `${disk}-gone`)
  // Each may be repeated under its id: whether it is in doubt, or certain that nothing was written.
  const failed = await vi.waitFor(() => failure(pay(1_000)), { timeout: 20_000, interval: 20 })
  for (const { code, retry } of [failed, await failure(pay(1_000))]) {
    expect(code).toMatch(/^(outcome-unknown|timeout|not-leader)$/)
    expect(retry).toBe('safe')
  }
  expect(await replica.query('balance', { account: 'ann' }, { read: 'local' })).toBeGreaterThan(0)

  await broker.kill()
  renameSync(`${disk}-gone`, disk)
  await broker.restart()
  expect(await pay(40_000)).toMatchObject({ status: 'accepted' })
})
