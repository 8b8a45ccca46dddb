/** Data directories that were tampered with: what can be built anew is, what cannot is told with the cause and the way out, tenant by tenant. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { revision } from '../../src/app.ts'
import type { Replica } from '../../src/replica.ts'
import { folderOf } from '../../src/replica/data.ts'
import { FileRoster } from '../../src/roster.ts'
import { failure } from '../support/failures.ts'
import { Stage } from '../support/logs.ts'
import { Puppet } from '../support/processes.ts'
import shop from '../support/shop.ts'

/** A replica's directory that was closed in order: a default tenant with 200 events, and tenants red and blue. */
async function used(): Promise<{ stage: Stage; data: string; folder: string; path: string; digest: object; open(): Promise<Replica> }> {
  const stage = new Stage('sqlite')
  const data = join(stage.folder, 'mine')
  const open = (): Promise<Replica> => stage.open(shop, { data })
  const replica = await open()
  await Promise.all(Array.from({ length: 200 }, (_, n) => replica.execute('pay', { account: `${'a'.repeat(100)}${n}`, cents: 1 })))
  for (const tenant of ['red', 'blue']) await replica.execute('pay', { account: 'ann', cents: 7 }, { tenant })
  const digest = await replica.digest()
  await replica.close()
  const folder = folderOf(data, shop.name, revision(shop))
  return { stage, data, folder, path: join(folder, 'default.db'), digest, open }
}

test('a second replica on one directory is refused, and harms nothing', async () => {
  const { stage, data, open } = await used()
  const first = await open()
  const error = await failure(stage.open(shop, { data }))
  expect(error).toMatchObject({ code: 'data-in-use', retry: 'safe' })
  expect(error.message).toMatch(/another replica owns .*mine.*directory of its own/)
  expect(await first.execute('pay', { account: 'ann', cents: 1 })).toMatchObject({ version: 201 })
  // Its socket is still there.
  expect(existsSync(join(data, 'replica.sock'))).toBe(true)
})

test('to ask for a tenant that nobody wrote to leaves nothing behind, neither does a tenant that is written to afterwards lack anything', async () => {
  const { stage, folder, open } = await used()
  const before = readdirSync(folder)
  const replica = await open()
  const tenant = 'green'
  for (const read of ['local', 'linearizable'] as const) expect(await replica.query('total', undefined, { tenant, read })).toBe(0)
  expect(await replica.sql('SELECT * FROM entry', [], { tenant })).toEqual([])
  expect(await replica.digest(tenant)).toEqual({ version: 0, digest: '' })
  expect(readdirSync(folder).filter(file => !before.includes(file) && !/^(default|progress)/.test(file))).toEqual([])
  expect(await replica.status()).toMatchObject({ databases: 3, tenants: { green: { version: 0 } } })
  // By this replica, and by another one.
  expect(await replica.execute('pay', { account: 'ann', cents: 1 }, { tenant, id: 'one' })).toMatchObject({ version: 1 })
  const other = await stage.open(shop)
  expect(await other.execute('pay', { account: 'ann', cents: 2 }, { tenant })).toMatchObject({ version: 2 })
  expect(await replica.query('total', undefined, { tenant, read: 'linearizable' })).toBe(3)
  expect(await replica.execute('pay', { account: 'ann', cents: 1 }, { tenant, id: 'one' })).toMatchObject({ duplicate: true })
  expect(await replica.digest(tenant)).toEqual(await other.digest(tenant))
  expect((await replica.status()).databases).toBe(4)
})

test('a database that cannot be made stops its tenant, not the replica', async () => {
  const { folder, open } = await used()
  const replica = await open()
  expect(await replica.query('total', undefined, { tenant: 'green' })).toBe(0)
  // The -wal and -shm of the others stay open: nothing of theirs is made anew.
  mkdirSync(join(folder, 'green.db'))
  expect(await failure(replica.execute('pay', { account: 'ann', cents: 1 }, { tenant: 'green' }))).toMatchObject({ code: 'data-unusable' })
  expect((await replica.status()).tenants).toMatchObject({ green: { status: 'halted' } })
  expect(await replica.execute('pay', { account: 'ann', cents: 1 })).toMatchObject({ version: 201 })
})

test.each<[what: string, path: (stage: Stage) => string]>([
  [
    'a file',
    ({ folder }) => {
      writeFileSync(join(folder, 'file'), 'x')
      return join(folder, 'file')
    },
  ],
  [
    'below a file',
    ({ folder }) => {
      writeFileSync(join(folder, 'file'), 'x')
      return join(folder, 'file', 'data')
    },
  ],
  [
    'with a spoilt lock',
    ({ folder }) => {
      mkdirSync(join(folder, 'data'))
      writeFileSync(join(folder, 'data', 'lock.db'), 'Dear diary,\n'.repeat(100))
      return join(folder, 'data')
    },
  ],
])('a directory that cannot be used: %s', async (_, path) => {
  const stage = new Stage('sqlite')
  const error = await failure(stage.open(shop, { data: path(stage) }))
  expect(error).toMatchObject({ code: 'data-unusable', retry: 'no' })
  expect(error.message).toMatch(/data directory .* cannot be used: .*Give/)
})

describe('how far the log was read (progress.sqlite)', () => {
  const remove = (file: string) => {
    for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true })
  }
  test.each<[what: string, harm: (file: string) => void]>([
    ['deleted', remove],
    ['deleted, but for what stands beside it', file => rmSync(file)],
    ['empty', file => writeFileSync(file, '')],
    ['a text file', file => writeFileSync(file, 'Dear diary,\n'.repeat(1_000))],
    ['cut off', file => truncateSync(file, 6_000)],
    [
      'of something else',
      file => {
        remove(file)
        const db = new DatabaseSync(file)
        db.exec('CREATE TABLE shard (hello TEXT)')
        db.close()
      },
    ],
    [
      'a directory',
      file => {
        remove(file)
        mkdirSync(file)
      },
    ],
  ])('%s: read anew', async (_, harm) => {
    const { folder, digest, open } = await used()
    const file = join(folder, 'progress.sqlite')
    expect(existsSync(file)).toBe(true)
    harm(file)
    const replica = await open()
    expect(await replica.digest()).toEqual(digest)
    expect(await replica.execute('pay', { account: 'ann', cents: 1 })).toMatchObject({ version: 201 })
    expect(await replica.query('total', undefined, { tenant: 'red' })).toBe(7)
    await replica.close()
    expect((await (await open()).digest()).version).toBe(201)
  })

  test.each<[what: string, sql: string]>([
    ['nothing of the shard', 'DELETE FROM shard'],
    ['a cursor that is none', 'UPDATE shard SET cursor = -5'],
    ['an earlier cursor', 'UPDATE shard SET cursor = 2'],
    ['no state', "UPDATE shard SET state = 'null'"],
    ['a state that is cut off', `UPDATE shard SET state = '{"log":'`],
    [
      'the state of something else',
      `UPDATE shard SET state = json_set(state, '$.term', json('{"number":9,"owner":"nobody","address":null}'))`,
    ],
    ['types that are none', "UPDATE shard SET types = '[5]'"],
    ['another place', "UPDATE shard SET place = 'elsewhere'"],
  ])('with %s', async (_, sql) => {
    const { folder, digest, open } = await used()
    const db = new DatabaseSync(join(folder, 'progress.sqlite'))
    expect(db.prepare('SELECT cursor, place, types FROM shard').all()).toEqual([
      { cursor: expect.any(Number), place: expect.any(String), types: '{"Paid":1}' },
    ])
    db.exec(sql)
    db.close()
    const replica = await open()
    expect(await replica.digest()).toEqual(digest)
    expect(await replica.execute('pay', { account: 'ann', cents: 1 })).toMatchObject({ version: 201 })
    expect((await replica.status()).term.number).toBe(0)
  })
})

describe("a tenant's database", () => {
  test('deleted: built anew, and nothing else is read again', async () => {
    const { path, digest, open } = await used()
    rmSync(path)
    const replica = await open()
    expect(await replica.digest()).toEqual(digest)
    expect(await replica.query('total')).toBe(200)
    expect((await replica.status()).records).toBe(0)
  })

  test('with everything else deleted: the lock and the database that is left are enough', async () => {
    const { data, folder, digest, open } = await used()
    for (const name of readdirSync(folder)) if (name !== 'red.db') rmSync(join(folder, name))
    rmSync(join(data, 'replica.sock'), { force: true })
    const replica = await open()
    expect(await replica.digest()).toEqual(digest)
    expect(await replica.execute('pay', { account: 'ann', cents: 1 }, { tenant: 'red' })).toMatchObject({ version: 2 })
  })

  test.each<[what: string, harm: (path: string) => void, message: RegExp]>([
    ['cut off in its first page', path => truncateSync(path, 2_000), /not a database|malformed|other/],
    ['cut to its first page', path => truncateSync(path, 4_096), /malformed/],
    ['cut by half', path => truncateSync(path, statSync(path).size >> 1), /malformed/],
    ['cut by its last page', path => truncateSync(path, statSync(path).size - 4_096), /malformed/],
    ['replaced by a text file', path => writeFileSync(path, 'Dear diary,\n'.repeat(1_000)), /not a database/],
    [
      'replaced by another SQLite database',
      path => {
        rmSync(path)
        const db = new DatabaseSync(path)
        db.exec('CREATE TABLE customer (id INTEGER PRIMARY KEY)')
        db.close()
      },
      /belongs to another program.*Move it away/,
    ],
    [
      'replaced by a directory',
      path => {
        rmSync(path)
        mkdirSync(path)
      },
      /is a directory|EISDIR/,
    ],
  ])('%s: that tenant alone stops, and says what to do; deleted, it is built anew', async (_, harm, message) => {
    const { path, digest, open } = await used()
    harm(path)
    const replica = await open()
    const error = await failure(replica.execute('pay', { account: `${'a'.repeat(100)}7`, cents: 1 }))
    expect(error).toMatchObject({ code: 'data-unusable', retry: 'no' })
    expect(error.message).toMatch('default.db')
    expect(error.message).toMatch(/[Dd]elete|[Mm]ove it away|Way out/)
    expect(error.message).toMatch(message)
    expect(await replica.execute('pay', { account: 'ann', cents: 1 }, { tenant: 'red' })).toMatchObject({ version: 2 })
    expect(await replica.query('total', undefined, { tenant: 'blue' })).toBe(7)
    await replica.close()
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { recursive: true, force: true })
    const again = await open()
    expect(await again.digest()).toEqual(digest)
    expect(await again.execute('pay', { account: 'ann', cents: 1 })).toMatchObject({ version: 201 })
  })

  test('deleted while it was closed, in a running replica: built anew', async () => {
    const { folder, open } = await used()
    const replica = await open()
    await replica.execute('pay', { account: 'ann', cents: 1 }, { tenant: 'red' })
    // So many others that red is closed.
    for (let n = 0; n < 80; n++) await replica.execute('pay', { account: 'ann', cents: 1 }, { tenant: `t${n}` })
    await expect.poll(async () => (await replica.status()).tenants['red']?.status, { timeout: 20_000 }).toBe('closed')
    rmSync(join(folder, 'red.db'))
    expect(await replica.execute('pay', { account: 'ann', cents: 1 }, { tenant: 'red' })).toMatchObject({ version: 3 })
    expect(await replica.query('total', undefined, { tenant: 'red' })).toBe(9)
  })
})

describe('the roster', () => {
  const roster = (stage: Stage): string => join(stage.folder, 'test.log.roster')

  test.each<[what: string, harm: (path: string) => void]>([
    ['a text file', path => writeFileSync(path, 'Dear diary,\n'.repeat(100))],
    [
      'cut off',
      path => {
        const db = new DatabaseSync(path)
        db.exec(
          'CREATE TABLE member (id TEXT PRIMARY KEY, address TEXT, beat INTEGER NOT NULL, seen INTEGER NOT NULL) STRICT; CREATE TABLE more (x)',
        )
        for (let n = 0; n < 500; n++) db.prepare('INSERT INTO member VALUES (?, NULL, 1, 1)').run(`m${n}`)
        db.close()
        truncateSync(path, 8_192)
      },
    ],
    ['a directory', path => void mkdirSync(path)],
  ])('%s: stops nobody', async (_, harm) => {
    const stage = new Stage('sqlite')
    harm(roster(stage))
    const replica = await stage.open(shop, { strategy: 'leader' })
    expect(await replica.execute('pay', { account: 'ann', cents: 1 })).toMatchObject({ version: 1 })
    expect((await replica.status()).role).toBe('leader')
  })

  test.each([1, 2])('page %i of it is as it was before the leader came, whose power failed: another one reigns', async page => {
    const stage = new Stage('sqlite')
    const path = roster(stage)
    const made = new FileRoster(path)
    made.members()
    made.close()
    const before = readFileSync(path)
    const dead = await Puppet.open({ log: stage.log, data: join(stage.folder, 'dead'), strategy: 'leader' })
    await dead.execute('pay', { account: 'ann', cents: 1 })
    await dead.kill()
    const after = readFileSync(path)
    expect(after.equals(before)).toBe(false)
    before.copy(after, (page - 1) * 4_096, (page - 1) * 4_096, page * 4_096)
    writeFileSync(path, after)
    const replica = await stage.open(shop, { strategy: 'leader', timeout: 20_000 })
    expect(await replica.execute('pay', { account: 'ann', cents: 1 })).toMatchObject({ version: 2 })
    expect((await replica.status()).role).toBe('leader')
  })

  test('deleted while it is used: those that come later know of the leader', async () => {
    const stage = new Stage('sqlite')
    const leader = await stage.open(shop, { strategy: 'leader' })
    await leader.execute('pay', { account: 'ann', cents: 1 })
    for (const suffix of ['', '-journal', '-wal', '-shm']) rmSync(roster(stage) + suffix, { force: true })
    const other = await stage.open(shop, { strategy: 'leader' })
    const { incarnation } = await leader.status()
    await expect.poll(async () => (await other.status()).members.map(({ id }) => id), { timeout: 20_000 }).toContain(incarnation)
    expect(await other.execute('pay', { account: 'ann', cents: 1 })).toMatchObject({ version: 2 })
    expect((await leader.status()).role).toBe('leader')
  })
})
