/** A log that moves from a file into a topic with four partitions, under live writers, and back into files; and the command line on it. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { copyLog } from '../../src/log/copy.ts'
import { LogFold, stored } from '../../src/log/fold.ts'
import { KafkaLogs } from '../../src/log/kafka.ts'
import { openLogs } from '../../src/log/open.ts'
import { openTarget } from '../../src/log/target.ts'
import { openReplica } from '../../src/replica.ts'
import { json, jsonLines, mainstem, makeFolder, ok, seats, start } from '../cli/support.ts'
import { makeTopic, newUrl } from '../support/kafka.ts'
import { temporaryFolder } from '../support/logs.ts'
import shop from '../support/shop.ts'

const tenants = ['default', 'acme', 'globe', 'initech', 'umbrella', 'hooli']

/** Version and digest of each tenant, by the fold over all shards. */
async function foldOf(setting: string) {
  const logs = await openLogs(setting, { as: 'reader' })
  try {
    const tenants: Record<string, readonly [number, string]> = {}
    for (const shard of logs.shards) {
      const fold = new LogFold()
      for await (const each of stored(shard)) fold.take(each)
      for (const [name, { state }] of fold.tenants) tenants[name] = [state.version, state.digest]
    }
    return tenants
  } finally {
    await logs.close()
  }
}

/** @param cut fails when it has made so many appends */
async function move(from: string, to: string, partitions: number | undefined, cut = Number.POSITIVE_INFINITY) {
  const source = await openLogs(from)
  let appends = 0
  try {
    const first = new LogFold()
    for await (const each of stored(source.shards[0]!, { tenant: null, upTo: 2 })) first.take(each)
    const { log, app } = first.shard
    const target = await openTarget(to, { log: log!, app: app!, place: source.shards[0]!.place, shards: source.shards.length, partitions })
    for (const shard of target.shards) {
      const append = shard.append.bind(shard)
      shard.append = async (...args) => {
        if (++appends > cut) throw new Error('cut')
        return append(...args)
      }
    }
    try {
      const copied = await copyLog(source, target)
      await target.finish()
      return copied
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}

describe('a log', () => {
  it('moves to Kafka under live writers, cut off on its way, and back; nothing is lost, digests stay', async () => {
    const folder = temporaryFolder()
    const file = `file:${join(folder, 'one.log')}`
    const url = newUrl()
    await makeTopic(url, 4)
    const replica = await openReplica(shop, { log: file, data: join(folder, 'data') })
    onTestFinished(() => replica.close())
    const acknowledged = new Map<string, number>()
    const ends = tenants.map(async tenant => {
      for (let n = 0; ; n++) {
        try {
          await replica.execute('pay', { account: `a${n % 7}`, cents: 1 }, { tenant })
          acknowledged.set(tenant, (acknowledged.get(tenant) ?? 0) + 1)
        } catch (error) {
          return (error as { code: string }).code
        }
      }
    })
    while ((acknowledged.get('acme') ?? 0) < 100) await new Promise(resolve => setTimeout(resolve, 20))
    await expect(move(file, url, undefined, 6)).rejects.toThrow('cut')
    // What is not whole cannot be used; only looked at.
    await expect(openReplica(shop, { log: url, data: join(folder, 'early') })).rejects.toMatchObject({
      code: 'log-unusable',
      message: expect.stringMatching(/is not whole yet: a copy into it is under way/) as string,
    })
    await (await openLogs(url, { as: 'reader' })).close()
    const copied = await move(file, url, undefined)
    expect(copied).toMatchObject({ generation: 2, sealedAt: [expect.any(Number) as number] })
    expect(copied.found).toBeGreaterThan(0)
    expect(new Set(await Promise.all(ends))).toEqual(new Set(['log-sealed']))
    await replica.close()
    const before = await foldOf(file)
    expect(await foldOf(url)).toEqual(before)
    for (const tenant of tenants) expect(before[tenant]![0]).toBe(acknowledged.get(tenant))
    // Once more: it is there, and nothing is written.
    expect(await move(file, url, undefined)).toMatchObject({ records: copied.records, found: copied.records })
    expect(await foldOf(url)).toEqual(before)

    // The databases go on where they were.
    const next = await openReplica(shop, { log: url, data: join(folder, 'data') })
    for (const tenant of tenants) {
      const [version, digest] = before[tenant]!
      expect(await next.digest(tenant)).toEqual({ version, digest })
      expect(await next.execute('pay', { account: 'new', cents: 1 }, { tenant })).toMatchObject({ version: version + 1 })
    }
    const back = `file:${join(folder, 'back-{}.log')}`
    const returned = move(url, back, 4)
    const last = (async () => {
      for (let n = 0; ; n++) {
        try {
          await next.execute('pay', { account: 'x', cents: 1 }, { tenant: 'hooli' })
        } catch (error) {
          return { n, code: (error as { code: string }).code }
        }
      }
    })()
    expect(await returned).toMatchObject({ generation: 3 })
    const { n, code } = await last
    expect(code).toBe('log-sealed')
    await next.close()
    const after = await foldOf(back)
    expect(after).toEqual(await foldOf(url))
    expect(after['hooli']![0]).toBe(before['hooli']![0] + 1 + n)
    const home = await openReplica(shop, { log: back, data: join(folder, 'data') })
    onTestFinished(() => home.close())
    expect(await home.execute('pay', { account: 'x', cents: 1 }, { tenant: 'hooli' })).toMatchObject({ version: after['hooli']![0] + 1 })
    expect(readdirSync(folder).filter(name => name.includes('copying'))).toEqual([])
  })

  it('is refused where it does not fit, before anything is written', async () => {
    const folder = temporaryFolder()
    const file = `file:${join(folder, 'one.log')}`
    const replica = await openReplica(shop, { log: file, data: join(folder, 'data') })
    await replica.execute('pay', { account: 'a', cents: 1 })
    await replica.close()
    const url = newUrl()
    await makeTopic(url, 2)
    await expect(move(file, url, 3)).rejects.toMatchObject({
      code: 'invalid-option',
      message: expect.stringMatching(/has 2 partitions, not 3/) as string,
    })
    const logs = await KafkaLogs.open(url)
    await logs.shards[1]!.append([{ value: 'something', tenant: 'x', time: Date.now() }])
    await logs.close()
    await expect(move(file, url, undefined)).rejects.toMatchObject({
      message: expect.stringMatching(/there is a log at kafka:.* already/) as string,
    })
    const again = await openReplica(shop, { log: file, data: join(folder, 'data') })
    expect((await again.status()).sealed).toBe(false)
    await again.close()
  })
})

describe('the command line', () => {
  const url = newUrl()
  const folder = { cwd: '' }
  const reserve = (seat: string, tenant: string, log = url) => [
    'exec',
    'reserve',
    JSON.stringify({ seat, guest: 'Ann' }),
    '--app',
    seats,
    '--log',
    log,
    '--tenant',
    tenant,
    '--timeout',
    '60s',
  ]

  beforeAll(async () => {
    folder.cwd = makeFolder()
    for (const tenant of ['acme', 'globe']) await ok(reserve('A1', tenant, 'file:a.log'), folder)
    expect(await json(['log', 'copy', 'file:a.log', url, '--partitions', '3'], folder)).toMatchObject({
      shards: 3,
      generation: 2,
      found: 0,
      to: url,
    })
  })

  it('executes, asks, verifies and looks back on Kafka, each topic with data of its own', async () => {
    const there = { ...folder, env: { MAINSTEM_LOG: url, MAINSTEM_APP: seats, MAINSTEM_TIMEOUT: '60s' } }
    expect(await json(reserve('A2', 'acme'), folder)).toMatchObject({ status: 'accepted', version: 2 })
    expect(await json([...reserve('A3', 'acme'), '--strategy', 'leader', '--fencing', 'transactions'], folder)).toMatchObject({
      version: 3,
    })
    expect(await mainstem([...reserve('A4', 'acme'), '--fencing', 'epoc'], folder)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/no fencing "epoc"\. Did you mean 'epoch'/) as string,
    })
    expect(await json(['query', 'taken', '--tenant', 'acme'], there)).toHaveLength(3)
    expect(await jsonLines(['sql', 'SELECT count(*) AS n FROM sale', '--tenant', 'globe'], there)).toEqual([{ n: 1 }])
    expect(await json(['status'], there)).toMatchObject({ running: false, generation: 2, tenants: { acme: { version: 3 } } })
    expect(readdirSync(join(folder.cwd, '.mainstem/kafka'))).toEqual([url.split('/').at(-1)])
    expect(await json(['verify', '--tenant', 'acme'], there)).toMatchObject({ ok: true, version: 3 })
    expect(await json(['db', 'at', '2', '--tenant', 'acme'], there)).toMatchObject({ version: 2 })
    expect(await jsonLines(['db', 'diff', '1', '3', '--tenant', 'acme'], there)).toHaveLength(2)
    for (const command of ['backup', 'restore'])
      expect(await mainstem([command, join(folder.cwd, 'a.log'), '--log', url], folder)).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(/is for a log in one file; a log on Kafka .*`mainstem log copy`/) as string,
      })
  }, 240_000)

  it('shows, follows and exports all shards', async () => {
    const there = { ...folder, env: { MAINSTEM_LOG: url } }
    const all = await jsonLines(['log', 'tail', '--all', '-n', '1000'], there)
    expect(new Set(all.map(({ partition }) => partition))).toEqual(new Set([0, 1, 2]))
    const data = all.filter(({ kind, tenant }) => kind === 'data' && tenant === 'globe')
    expect(data).toMatchObject([{ from: 0, to: 1, decisions: [{ verdict: 'accepted', events: [{ version: 1, type: 'SeatReserved' }] }] }])
    const [{ partition, position }] = data
    expect(await json(['log', 'show', String(position), '--partition', String(partition)], there)).toEqual(data[0])
    const one = await jsonLines(['log', 'tail', '--partition', String(partition), '-n', '1000'], there)
    expect(one).toEqual(all.filter(each => each.partition === partition))
    expect(await mainstem(['log', 'show', '1'], there)).toMatchObject({ code: 2, stderr: expect.stringMatching(/which shard\?/) as string })
    expect(await mainstem(['log', 'tail', '--partition', '3'], there)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/from 0 to 2/) as string,
    })

    const tail = start(['log', 'tail', '--all', '--follow', '--json'], there)
    await tail.said('SeatReserved')
    await ok(reserve('Z9', 'globe'), folder)
    await tail.said('Z9')
    tail.child.kill('SIGINT')
    expect((await tail.ended).code).toBe(130)

    await ok(['log', 'export', 'all.jsonl'], there)
    await ok(['log', 'import', 'all.jsonl', '--log', 'file:again-{}.log'], folder)
    expect(await foldOf(`file:${join(folder.cwd, 'again-{}.log')}`)).toEqual(await foldOf(url))
  }, 240_000)
})
