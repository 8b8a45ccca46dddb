/** Log and databases that do not belong together: told before anything is written, and not forgotten. */
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { openReplica } from '../../src/index.ts'
import { Stage } from '../support/logs.ts'
import shop from '../support/shop.ts'

async function written(): Promise<{ stage: Stage; data: string; path: string }> {
  const stage = new Stage('sqlite')
  const data = join(stage.folder, 'mine')
  await using replica = await stage.open(shop, { data })
  for (let n = 0; n < 5; n++) await replica.execute('pay', { account: 'ann', cents: 1 })
  return { stage, data, path: join(stage.folder, 'test.log') }
}

function remove(path: string): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true })
}

test('a log that is lost, emptied or another one does not cost the databases', async () => {
  const { stage, data, path } = await written()
  const other = `file:${join(stage.folder, 'typo.log')}`
  await expect(openReplica(shop, { log: other, data })).rejects.toMatchObject({
    code: 'log-other',
    message: expect.stringMatching(/backup/),
  })
  remove(path)
  await expect(stage.open(shop, { data })).rejects.toMatchObject({ code: 'log-other' })
  remove(path)
  writeFileSync(path, '')
  await expect(stage.open(shop, { data })).rejects.toMatchObject({ code: 'log-other' })
})

test('a log that was altered: the replica that knew it stops, also when it is opened again, and says what to do', async () => {
  const { stage, data, path } = await written()
  const log = new DatabaseSync(path)
  log.exec(`UPDATE record SET value = replace(value, '"cents":1', '"cents":9') WHERE position = 3`)
  log.close()
  const fresh = await stage.open(shop)
  await fresh.execute('pay', { account: 'ann', cents: 1 })
  expect((await fresh.status()).notices.join()).toMatch(/was altered/)
  for (let again = 0; again < 3; again++) {
    const replica = await stage.open(shop, { data })
    await expect
      .poll(
        () =>
          replica.execute('pay', { account: 'ann', cents: 1 }).then(
            () => 'accepted',
            (error: { code: string }) => error.code,
          ),
        { timeout: 20_000 },
      )
      .toBe('diverged')
    await replica.close()
  }
})

test('a database that contradicts itself is not written to', async () => {
  const { stage, data } = await written()
  const [folder] = readdirSync(data)
    .filter(name => name.startsWith('shop-'))
    .slice(0, 1)
  const db = new DatabaseSync(join(data, folder!, 'default.db'))
  db.exec('UPDATE mainstem_standing SET version = 60')
  db.close()
  const replica = await stage.open(shop, { data })
  await expect(replica.execute('pay', { account: 'ann', cents: 1 })).rejects.toMatchObject({ code: 'diverged' })
})

test('a log that is deleted under a running replica is not written to in vain for long', async () => {
  const { stage, data, path } = await written()
  const replica = await stage.open(shop, { data })
  remove(path)
  await expect
    .poll(
      () =>
        replica.execute('pay', { account: 'ann', cents: 1 }).then(
          () => 'accepted',
          (error: { code: string }) => error.code,
        ),
      { timeout: 20_000 },
    )
    .toBe('log-failed')
})

test('options that are mistyped are told', async () => {
  const replica = await new Stage('memory').open(shop)
  const loose = replica as unknown as { execute(...args: unknown[]): Promise<unknown>; query(...args: unknown[]): Promise<unknown> }
  const input = { account: 'ann', cents: 1 }
  for (const options of ['my-id', { tenent: 'globe' }, { signal: 3 }, null]) {
    await expect(loose.execute('pay', input, options)).rejects.toMatchObject({ code: 'invalid-option' })
  }
  await expect(loose.query('total', undefined, { read: 'strong' })).rejects.toMatchObject({ code: 'invalid-option' })
  await expect(openReplica(shop, { log: 'memory:', strategie: 'leader' } as never)).rejects.toMatchObject({ code: 'invalid-option' })
  await expect(openReplica({} as never, { log: 'memory:' })).rejects.toMatchObject({ code: 'invalid-app' })
  await expect(openReplica(shop, undefined as never)).rejects.toMatchObject({ code: 'invalid-option' })
  expect((await replica.digest()).version).toBe(0)
})
