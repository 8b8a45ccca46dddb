/** A process that holds the write lock of the log for too long, as one that was stopped amid an append does. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { strategies } from '../../src/consistency.ts'
import { Stage } from '../support/logs.ts'
import shop from '../support/shop.ts'

/** Takes the write lock of the log and is stopped; `continue` lets it go on and give the lock back. */
async function holder(path: string): Promise<{ release(): Promise<void> }> {
  const script = `
    const db = new (require('node:sqlite').DatabaseSync)(${JSON.stringify(path)})
    db.exec('BEGIN IMMEDIATE')
    console.log('held')
    process.once('SIGTERM', () => { db.exec('ROLLBACK'); db.close(); process.exit() })
    setInterval(() => {}, 1_000)`
  const child: ChildProcess = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child.stdout!, 'data')
  child.kill('SIGSTOP')
  return {
    release: async () => {
      const gone = once(child, 'exit')
      child.kill('SIGTERM')
      child.kill('SIGCONT')
      await gone
    },
  }
}

test.each(strategies)('%s: who waits longer than it may hears timeout, nothing was written; afterwards all goes on', async strategy => {
  const stage = new Stage('sqlite')
  const one = await stage.open(shop, { strategy })
  const two = await stage.open(shop, { strategy })
  await one.execute('pay', { account: 'ann', cents: 1 })
  await two.execute('pay', { account: 'ann', cents: 1 })
  const writer = (await one.status()).role === 'follower' ? two : one
  const lock = await holder(join(stage.folder, 'test.log'))

  // Deadlines before and after the log gives an attempt up, alone and among others; also of those that are passed on to a leader.
  const short = await Promise.allSettled(
    [one, two].flatMap((replica, n) =>
      [120, 300, 700, 1_200].map(timeout =>
        replica.execute('pay', { account: 'ann', cents: 100 }, { timeout, id: `short-${n}-${timeout}` }),
      ),
    ),
  )
  for (const answer of short) expect(answer).toMatchObject({ status: 'rejected', reason: { code: 'timeout', retry: 'safe' } })
  // Reading goes on.
  expect(await writer.query('total')).toBe(2)
  expect(await writer.query('total', undefined, { read: 'linearizable' })).toBe(2)

  const patient = [one, two].map((replica, n) =>
    replica.execute('pay', { account: 'ann', cents: 1 }, { timeout: 15_000, id: `patient-${n}` }),
  )
  const hasty = await writer.execute('pay', { account: 'ann', cents: 100 }, { timeout: 100 }).catch((error: unknown) => error)
  expect(hasty).toMatchObject({ code: 'timeout' })
  await lock.release()
  for (const answer of await Promise.all(patient)) expect(answer).toMatchObject({ status: 'accepted', duplicate: false })
  expect(await one.query('total', undefined, { read: 'linearizable' })).toBe(4)
  // The same ids are still free.
  expect(await writer.execute('pay', { account: 'ann', cents: 100 }, { id: 'short-1-300' })).toMatchObject({
    status: 'accepted',
    duplicate: false,
  })
})

test('a replica opens, reads and closes meanwhile', async () => {
  const stage = new Stage('sqlite')
  const one = await stage.open(shop)
  await one.execute('pay', { account: 'ann', cents: 1 })
  const lock = await holder(join(stage.folder, 'test.log'))
  const two = await stage.open(shop)
  expect(await two.query('total', undefined, { read: 'linearizable' })).toBe(1)
  await two.close()
  await one.close()
  await lock.release()
})

test('a lock on the roster stops nobody', async () => {
  const stage = new Stage('sqlite')
  const one = await stage.open(shop, { strategy: 'leader' })
  await one.execute('pay', { account: 'ann', cents: 1 })
  const lock = await holder(join(stage.folder, 'test.log.roster'))
  const two = await stage.open(shop, { strategy: 'leader' })
  for (let n = 0; n < 20; n++) for (const replica of [one, two]) await replica.execute('pay', { account: 'ann', cents: 1 })
  await two.close()
  await one.close()
  await lock.release()
})
