/** Files that are no log, or not this app's, or no longer whole: told at once, with the cause and the way out, and nothing is harmed. */
import { copyFileSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { app, sqlite } from '../../src/index.ts'
import { failure } from '../support/failures.ts'
import { Stage } from '../support/logs.ts'
import shop from '../support/shop.ts'

/** A log with some records, closed, in one file. */
async function used(payments = 40): Promise<{ stage: Stage; path: string }> {
  const stage = new Stage('sqlite')
  const replica = await stage.open(shop, { data: join(stage.folder, 'data') })
  for (let n = 0; n < payments; n++) await replica.execute('pay', { account: 'a'.repeat(200) + n, cents: 1 })
  await replica.close()
  return { stage, path: join(stage.folder, 'test.log') }
}

const stageAt = (make: (path: string) => void): Stage => {
  const stage = new Stage('sqlite')
  make(join(stage.folder, 'test.log'))
  return stage
}

describe('no log', () => {
  test('an empty file becomes one', async () => {
    const stage = stageAt(path => writeFileSync(path, ''))
    const replica = await stage.open(shop)
    expect(await replica.execute('pay', { account: 'ann', cents: 1 })).toMatchObject({ version: 1 })
  })

  test.each<[what: string, make: (path: string) => void, message: RegExp]>([
    ['a text file', path => writeFileSync(path, 'Dear diary,\n'.repeat(100)), /other kind of file.*another path/],
    ['a short text file', path => writeFileSync(path, 'hello'), /5 bytes only.*cut off, or some other kind of file/],
    [
      'another SQLite database',
      path => {
        const db = new DatabaseSync(path)
        db.exec('CREATE TABLE customer (id INTEGER PRIMARY KEY)')
        db.close()
      },
      /an SQLite database, but not a log.*another path/,
    ],
    ['a directory', path => void mkdirSync(path), /directory.*another path/],
  ])('%s', async (_, make, message) => {
    const stage = stageAt(make)
    const path = join(stage.folder, 'test.log')
    const before = statSync(path).isFile() ? readFileSync(path) : undefined
    const error = await failure(stage.open(shop))
    expect(error).toMatchObject({ code: 'log-unusable', retry: 'no' })
    expect(error.message).toMatch(path)
    expect(error.message).toMatch(message)
    // Whosever it is, it is as it was.
    if (before) expect(readFileSync(path).equals(before)).toBe(true)
  })

  test('in a folder that does not exist', async () => {
    const stage = new Stage('sqlite')
    const error = await failure(stage.open(shop, { log: `file:${join(stage.folder, 'missing', 'x.log')}` }))
    expect(error).toMatchObject({ code: 'log-unusable', message: expect.stringMatching(/cannot be opened or made.*missing exist/) })
  })
})

test('a position that no program counts to, put there by hand, is told, and nothing is written behind it', async () => {
  const { stage, path } = await used()
  const running = await stage.open(shop, { data: join(stage.folder, 'data') })
  const db = new DatabaseSync(path)
  db.exec(`INSERT INTO record VALUES (${Number.MAX_SAFE_INTEGER + 1}, 'default', 0, 0, 'hello')`)
  const message = expect.stringMatching(/a record stands at position 9007199254740991 or beyond\. End all replicas and delete it/) as string
  expect(await failure(stage.open(shop))).toMatchObject({ code: 'log-unusable', message })
  expect(await failure(running.execute('pay', { account: 'ann', cents: 1 }))).toMatchObject({ code: 'log-failed', message })
  // What it has read is still there.
  expect(await running.query('total')).toBe(40)
  await running.close()
  expect(db.prepare('DELETE FROM record WHERE position > 1000000').run().changes).toBe(1)
  db.close()
  const again = await stage.open(shop, { data: join(stage.folder, 'data') })
  expect(await again.execute('pay', { account: 'ann', cents: 1 })).toMatchObject({ version: 41 })
})

test.each([
  ['a byte', 1],
  ['half a page', 2_048],
  ['a page', 4_096],
  ['half of it', 0.5],
  ['all but a header', -100],
  ['all but half a header', -50],
])('cut off by %s', async (_, cut) => {
  const { stage, path } = await used()
  const { size } = statSync(path)
  truncateSync(path, cut < 0 ? -cut : cut < 1 ? Math.floor(size * cut) : size - cut)
  const error = await failure(stage.open(shop))
  expect(error).toMatchObject({ code: 'log-unusable', retry: 'no' })
  expect(error.message).toMatch(/cut off/)
  expect(error.message).toMatch(/[Rr]estore/)
})

describe('whole, though its file is shorter than it says', () => {
  test('killed while the -wal was moved into the file: nothing is missing', async () => {
    const stage = new Stage('sqlite')
    const path = join(stage.folder, 'test.log')
    const replica = await stage.open(shop)
    for (let n = 0; n < 60; n++) await replica.execute('pay', { account: 'a'.repeat(200) + n, cents: 1 })
    const { digest } = await replica.digest()
    copyFileSync(`${path}-wal`, `${path}.wal`)
    await replica.close()
    // The first pages were moved, and with them the header; the others were not.
    truncateSync(path, Math.floor(statSync(path).size / 8_192) * 4_096)
    copyFileSync(`${path}.wal`, `${path}-wal`)
    const again = await stage.open(shop)
    expect(await again.digest()).toEqual({ version: 60, digest })
    expect(await again.execute('pay', { account: 'ann', cents: 1 })).toMatchObject({ version: 61 })
  })

  test('but with a -wal that does not hold the missing pages, it is damaged', async () => {
    const { stage, path } = await used()
    const replica = await stage.open(shop)
    await replica.execute('pay', { account: 'ann', cents: 1 })
    copyFileSync(`${path}-wal`, `${path}.wal`)
    await replica.close()
    truncateSync(path, Math.floor(statSync(path).size / 8_192) * 4_096)
    copyFileSync(`${path}.wal`, `${path}-wal`)
    const error = await failure(stage.open(shop))
    expect(error).toMatchObject({ code: 'log-unusable', message: expect.stringMatching(/damaged.*restore/i) })
  })
})

test('another app', async () => {
  const { stage, path } = await used(1)
  const other = app('ledger', {
    events: { Paid: z.object({}) },
    database: sqlite('CREATE TABLE x (y INTEGER) STRICT'),
    project: { Paid: () => {} },
    commands: {},
  })
  const error = await failure(stage.open(other))
  expect(error).toMatchObject({ code: 'log-other-app' })
  expect(error.message).toMatch(new RegExp(`${path}.*of the app shop, not of ledger.*another log`))
})

describe('replaced by an older copy of itself', () => {
  async function replaced(after: number): Promise<{ stage: Stage; data: string; path: string; newer: string }> {
    const { stage, path } = await used(5)
    const data = join(stage.folder, 'data')
    copyFileSync(path, `${path}.old`)
    const replica = await stage.open(shop, { data })
    for (let n = 0; n < 5; n++) await replica.execute('pay', { account: 'late', cents: 1 })
    await replica.close()
    copyFileSync(path, `${path}.new`)
    copyFileSync(`${path}.old`, path)
    // Somebody else goes on with the older one.
    if (after > 0) {
      const other = await stage.open(shop, { data: join(stage.folder, 'other') })
      for (let n = 0; n < after; n++) await other.execute('pay', { account: 'other', cents: 1 })
      await other.close()
    }
    return { stage, data, path, newer: `${path}.new` }
  }

  test('told when it is opened; with the newer log back, all is well', async () => {
    const { stage, data, path, newer } = await replaced(0)
    const error = await failure(stage.open(shop, { data }))
    expect(error).toMatchObject({ code: 'log-behind', retry: 'no' })
    expect(error.message).toMatch(/position 11.*ends at 6.*older copy of itself.*newer log back.*restore/s)
    copyFileSync(newer, path)
    expect((await (await stage.open(shop, { data })).digest()).version).toBe(10)
  })

  test.each([2, 5, 20])('and written to, %d records: told when the tenant is used; a new directory goes on', async after => {
    const { stage, data } = await replaced(after)
    const error = await failure(stage.open(shop, { data }).then(replica => replica.execute('pay', { account: 'ann', cents: 1 })))
    expect(error).toMatchObject({ code: 'log-behind', retry: 'no' })
    expect(error.message).toMatch(/older copy of itself.*newer log back.*restore/s)
    const fresh = await stage.open(shop)
    expect(await fresh.execute('pay', { account: 'ann', cents: 1 })).toMatchObject({ version: 6 + after })
  })

  test('and the terms of both differ: nobody folds on from the state of the lost one', async () => {
    const { stage, path } = await used(5)
    const data = join(stage.folder, 'data')
    copyFileSync(path, `${path}.old`)
    const leader = await stage.open(shop, { data, strategy: 'leader' })
    await leader.execute('pay', { account: 'ann', cents: 1 }, { tenant: 'red' })
    await leader.close()
    copyFileSync(`${path}.old`, path)
    const other = await stage.open(shop)
    for (let n = 0; n < 20; n++) await other.execute('pay', { account: 'other', cents: 1 }, { tenant: 'blue' })
    const again = await stage.open(shop, { data })
    expect((await again.status()).term).toEqual((await other.status()).term)
    expect(await again.execute('pay', { account: 'other', cents: 1 }, { tenant: 'blue' })).toMatchObject({ version: 21 })
    expect(await failure(again.execute('pay', { account: 'ann', cents: 1 }, { tenant: 'red' }))).toMatchObject({ code: 'log-behind' })
  })
})

test('made official by a restore (a raised generation): the databases are built anew', async () => {
  const { stage, path } = await used(5)
  const data = join(stage.folder, 'data')
  copyFileSync(path, `${path}.old`)
  const replica = await stage.open(shop, { data })
  for (let n = 0; n < 5; n++) await replica.execute('pay', { account: 'late', cents: 1 })
  await replica.close()
  copyFileSync(`${path}.old`, path)
  const db = new DatabaseSync(path)
  db.exec(`UPDATE record SET value = replace(value, '"generation":1', '"generation":2') WHERE position = 1`)
  db.close()
  const again = await stage.open(shop, { data })
  expect(await again.execute('pay', { account: 'ann', cents: 1 })).toMatchObject({ version: 6 })
  expect(await again.query('balance', { account: 'late' })).toBe(0)
  const { notices, tenants } = await again.status()
  expect(notices.join('\n')).toMatch(/restored or copied[\s\S]*versions 6 to 10 are lost/)
  expect(tenants).toEqual({ default: { version: 6, status: 'open' } })
  const fresh = await stage.open(shop)
  expect(await fresh.digest()).toEqual(await again.digest())
})

test('without its first record: it is damaged, and no other manifest is written behind what is left', async () => {
  const stage = new Stage('sqlite')
  const replica = await stage.open(shop, { strategy: 'optimistic' })
  await replica.execute('pay', { account: 'a', cents: 5 })
  await replica.close()
  const path = stage.log.slice('file:'.length)
  const db = new DatabaseSync(path)
  db.exec('DELETE FROM record WHERE position = 1')
  const count = () => (db.prepare('SELECT count(*) AS n FROM record').get() as { n: number }).n
  const left = count()
  expect(await failure(new Stage('sqlite').open(shop, { strategy: 'optimistic', log: stage.log }))).toMatchObject({
    code: 'log-unusable',
    message: expect.stringMatching(/is damaged: it holds records, but not the manifest/),
  })
  expect(count()).toBe(left)
  db.close()
})
