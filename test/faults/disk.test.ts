/** Disks that are full or report errors, files and folders that may not be written: what was acknowledged stays, and it goes on afterwards. */
import { chmodSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { ReplicaOptions } from '../../src/replica.ts'
import { forbid, ordinaryUser, smallDisk } from '../support/disk.ts'
import { temporaryFolder } from '../support/logs.ts'
import { Puppet, PuppetError, type PuppetOptions } from '../support/processes.ts'

type Options = Partial<ReplicaOptions> & { readonly log: string; readonly data: string }

const open = (options: Options, settings: PuppetOptions = {}): Promise<Puppet> => Puppet.open({ timeout: 5_000, ...options }, settings)

/** Pays, or notes what fills the log alone, until that fails. */
async function fill(puppet: Puppet, what: 'pay' | 'note'): Promise<{ told: Map<string, number>; failed: string; error: PuppetError }> {
  const told = new Map<string, number>()
  for (let n = 0; n < 20_000; n++) {
    const id = `fill-${n}`
    try {
      told.set(id, (await puppet.execute(what, inputOf(what), { id })).version)
    } catch (error) {
      expect(error).toBeInstanceOf(PuppetError)
      return { told, failed: id, error: error as PuppetError }
    }
  }
  return expect.unreachable('the disk did not fill')
}

const inputOf = (what: 'pay' | 'note'): object => (what === 'pay' ? { account: 'ann', cents: 1 } : { text: 'x'.repeat(60_000) })

/** All that was told stands there, and what failed can be repeated. */
async function goesOn(puppet: Puppet, what: 'pay' | 'note', told: ReadonlyMap<string, number>, failed: string): Promise<void> {
  expect(await puppet.execute(what, inputOf(what), { id: failed })).toMatchObject({ status: 'accepted', version: told.size + 1 })
  const events = await puppet.take(1, told.size + 1)
  expect(new Map(events.map(({ id, version }) => [id, version]))).toEqual(new Map([...told, [failed, told.size + 1]]))
  expect(await puppet.query('total')).toBe(what === 'pay' ? told.size + 1 : 0)
  expect(await puppet.execute(what, inputOf(what))).toMatchObject({ version: told.size + 2 })
}

test.each([
  ['full', (folder: string) => smallDisk(join(folder, 'disk'), 6_000)],
  // To this process alone, and for good.
  ['broken', (folder: string) => ({ folder, puppet: { fileLimit: 6_000 }, grow: () => {} })],
])("the log's disk is %s: the writer stops for good, others go on when there is room", async (what, make) => {
  const folder = temporaryFolder()
  const disk = make(folder)
  const log = `file:${join(disk.folder, 'shop.log')}`
  const puppet = await open({ log, data: join(folder, 'one') }, disk.puppet)
  const { told, failed, error } = await fill(puppet, 'note')
  expect(told.size).toBeGreaterThan(50)
  expect(['log-failed', 'outcome-unknown']).toContain(error.code)
  expect(error.message).toMatch(/could not be written|Ask again/)
  await expect(puppet.execute('pay', { account: 'ann', cents: 1 })).rejects.toMatchObject({
    code: 'log-failed',
    message: expect.stringMatching(/the disk (is full|reports an error).*mend the cause and start it again/),
  })
  // Reading goes on.
  expect(await puppet.query('total')).toBe(0)
  expect(await puppet.query('total', undefined, { read: 'linearizable' })).toBe(0)
  expect(await puppet.digest()).toMatchObject({ version: told.size })
  expect((await puppet.status()).failure).toMatch(what === 'full' ? /full|error/ : /error/)

  // The one that failed is still there, and holds up nobody.
  disk.grow()
  const other = await open({ log, data: join(folder, 'two') })
  await goesOn(other, 'note', told, failed)
  expect(await puppet.query('total', undefined, { read: { atLeast: `default@${told.size + 2}` } })).toBe(0)
  expect(await puppet.close()).toEqual({ code: 0, signal: null })
  const again = await open({ log, data: join(folder, 'one') })
  expect(await again.digest()).toEqual(await other.digest())
})

test('a leader whose disk reports errors falls silent: another one reigns', async () => {
  const folder = temporaryFolder()
  const log = `file:${join(folder, 'shop.log')}`
  const leader = await open({ log, data: join(folder, 'one'), strategy: 'leader' }, { fileLimit: 6_000 })
  await leader.execute('pay', { account: 'ann', cents: 1 }, { id: 'first' })
  const follower = await open({ log, data: join(folder, 'two'), strategy: 'leader', timeout: 15_000 })
  expect((await follower.status()).role).toBe('follower')
  const { told } = await fill(leader, 'note')
  // Who asks the follower hears nothing of it.
  expect(await follower.execute('pay', { account: 'ann', cents: 1 }, { id: 'after' })).toMatchObject({ status: 'accepted' })
  expect((await follower.status()).role).toBe('leader')
  const events = await follower.take(1, told.size + 2)
  for (const [id, version] of told) expect(events[version - 1]?.id).toBe(id)
  expect(events.at(-1)?.id).toBe('after')
})

test.each([
  ['full', (folder: string) => smallDisk(join(folder, 'disk'), 1_500)],
  ['broken', (folder: string) => ({ folder, puppet: { fileLimit: 2_000 }, grow: () => {} })],
])("the databases' disk is %s: nothing acknowledged is lost, the tenant stops and says why, and goes on after a start", async (_, make) => {
  const folder = temporaryFolder()
  const disk = make(folder)
  const options = { log: `file:${join(folder, 'shop.log')}`, data: join(disk.folder, 'data') }
  const puppet = await open(options, disk.puppet)
  const { told, failed, error } = await fill(puppet, 'pay')
  expect(told.size).toBeGreaterThan(50)
  expect(['data-unusable', 'outcome-unknown']).toContain(error.code)
  // A command that came too late for the record is told so, and writes nothing; once a record is there that cannot be projected, the tenant stops.
  await expect(fill(puppet, 'pay')).resolves.toMatchObject({
    error: { message: expect.stringMatching(/(full|I\/O error).*Way out: (make room on|look after) the disk/) },
  })
  expect(await puppet.close()).toEqual({ code: 0, signal: null })
  disk.grow()
  const again = await open(options)
  await goesOn(again, 'pay', told, failed)
})

test.each<[what: string, forbidden: (folder: string) => void, code: string, message: RegExp]>([
  ['a folder for a new log', folder => forbid(join(folder, 'log')), 'log-unusable', /cannot be opened or made.*may you write there/],
  ['a new data directory', folder => forbid(folder), 'data-unusable', /data directory .* cannot be used: .*may write/],
])('%s that may not be written', async (_, forbidden, code, message) => {
  const folder = temporaryFolder()
  const user = ordinaryUser()
  mkdirSync(join(folder, 'log'))
  chmodSync(folder, 0o755)
  for (const path of [folder, join(folder, 'log')]) user.own(path)
  forbidden(folder)
  const opening = open({ log: `file:${join(folder, 'log', 'shop.log')}`, data: join(folder, 'data') }, user.puppet)
  await expect(opening).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
})

test('a data directory where none can be made', async () => {
  const opening = open({
    log: `file:${join(temporaryFolder(), 'shop.log')}`,
    data: process.platform === 'linux' ? '/proc/nowhere/data' : '/dev/null/data',
  })
  await expect(opening).rejects.toMatchObject({ code: 'data-unusable', message: expect.stringMatching(/cannot be used: .*may write/) })
})

test.each<[what: string, forbidden: (folder: string) => void, code: string, message: RegExp]>([
  [
    'the log',
    folder => chmodSync(join(folder, 'log', 'shop.log'), 0o444),
    'log-unusable',
    /read-only.*right to write the file and its folder/,
  ],
  [
    'the log and its folder',
    folder => {
      chmodSync(join(folder, 'log', 'shop.log'), 0o444)
      forbid(join(folder, 'log'))
    },
    'log-unusable',
    /read-only.*right to write|cannot be opened/,
  ],
  ["the log's folder", folder => forbid(join(folder, 'log')), 'log-unusable', /cannot be opened|read-only/],
  ['the data directory', folder => forbid(join(folder, 'data')), 'data-unusable', /data directory .* cannot be used: .*may write/],
])('%s may be written no longer: told at the start; permitted again, all is well', async (_, forbidden, code, message) => {
  const folder = temporaryFolder()
  const user = ordinaryUser()
  mkdirSync(join(folder, 'log'))
  chmodSync(folder, 0o755)
  for (const path of [folder, join(folder, 'log')]) user.own(path)
  const options = { log: `file:${join(folder, 'log', 'shop.log')}`, data: join(folder, 'data') }
  const first = await open(options, user.puppet)
  await first.execute('pay', { account: 'ann', cents: 1 })
  await first.close()
  forbidden(folder)
  await expect(open(options, user.puppet)).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
  for (const path of ['log', 'data']) chmodSync(join(folder, path), 0o755)
  chmodSync(join(folder, 'log', 'shop.log'), 0o644)
  const again = await open(options, user.puppet)
  expect(await again.execute('pay', { account: 'ann', cents: 1 })).toMatchObject({ version: 2 })
})

test("a tenant's database that may be written no longer: that tenant stops, others go on", async () => {
  const folder = temporaryFolder()
  const user = ordinaryUser()
  chmodSync(folder, 0o755)
  user.own(folder)
  const options = { log: `file:${join(folder, 'shop.log')}`, data: join(folder, 'data') }
  const first = await open(options, user.puppet)
  for (const tenant of ['red', 'blue']) await first.execute('pay', { account: 'ann', cents: 1 }, { tenant })
  await first.close()
  const [databases] = readdirSync(join(folder, 'data'))
    .filter(name => name.startsWith('shop-'))
    .slice(0, 1)
  chmodSync(join(folder, 'data', databases!, 'red.db'), 0o444)
  const puppet = await open(options, user.puppet)
  await expect(puppet.execute('pay', { account: 'ann', cents: 1 }, { tenant: 'red' })).rejects.toMatchObject({
    code: 'data-unusable',
    message: expect.stringMatching(/red\.db.*[Ww]ay out.*writ/),
  })
  expect(await puppet.execute('pay', { account: 'ann', cents: 1 }, { tenant: 'blue' })).toMatchObject({ version: 2 })
  expect((await puppet.status()).tenants).toMatchObject({ red: { status: 'halted' }, blue: { status: 'open' } })
})
