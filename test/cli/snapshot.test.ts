/** `snapshot`: made beside a replica that writes, for new ones to start from and for looks at the past. */
import { readdirSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { acknowledged, json, mainstem, makeFolder, ok, seats, startReplica } from './support.ts'

const reserve = (seat: string, ...more: string[]) => ['exec', 'reserve', JSON.stringify({ seat, guest: 'Ann' }), '--app', seats, ...more]

it('is made while a replica writes; a new one starts from it, and is what the log says', async () => {
  const cwd = makeFolder()
  const there = ['--app', seats, '--log', 'file:a.log']
  await ok(reserve('G1', '--log', 'file:a.log', '--data', 'x', '--tenant', 'globe'), { cwd })
  const writer = await startReplica({ log: `file:${join(cwd, 'a.log')}`, data: join(cwd, 'x'), writers: 3, name: 'S' })
  const before = acknowledged(await writer.said('ack S40\n')).length
  const made = await json(['snapshot', 'snapshots', '--app', seats, '--data', 'x'], { cwd })
  await writer.said('ack S120\n')
  writer.child.kill('SIGTERM')
  const { stdout } = await writer.ended
  const main = made.databases.find(({ tenant }: { tenant: string }) => tenant === 'default')
  expect(main.version).toBeGreaterThanOrEqual(before)
  expect(made.databases.map(({ tenant }: { tenant: string }) => tenant)).toEqual(['default', 'globe'])

  const env = { MAINSTEM_SNAPSHOTS: 'snapshots' }
  const status = await json(['status', ...there, '--data', 'y'], { cwd, env })
  expect(status.notices).toEqual([expect.stringMatching(/^started from the snapshot seats-/)])
  expect(status.tenants.default.version).toBe(acknowledged(stdout).length)
  expect(await ok(['verify', '--all', ...there, '--data', 'y'], { cwd })).toMatch(/^ok .*tenant default[^]*ok .*tenant globe/)
  const past = await json(['db', 'at', `${main.version + 3}`, ...there, '--snapshots', 'snapshots'], { cwd })
  expect(past).toMatchObject({ version: main.version + 3, tables: { sale: main.version + 3 } })

  // The next one takes its place; of one that is torn a new replica takes nothing, and comes to the same.
  const told = await ok(['snapshot', 'snapshots', '--all', '--keep', '1', '--app', seats, '--data', 'y'], { cwd })
  expect(told).toMatch(/^\S*snapshots\/seats-\w+-\w+: 2 databases, /)
  const [name] = readdirSync(join(cwd, 'snapshots'))
  expect(readdirSync(join(cwd, 'snapshots'))).toHaveLength(1)
  truncateSync(join(cwd, 'snapshots', name!, 'default.db'), 4_096)
  const torn = await json(['status', ...there, '--data', 'z'], { cwd, env })
  expect(torn.notices[0]).toMatch(/is not used: the database of tenant default is torn/)
  expect(torn.tenants.default).toEqual(status.tenants.default)

  const nothing = await mainstem(['snapshot', 'snapshots', '--app', seats, '--data', 'nowhere'], { cwd })
  expect(nothing).toMatchObject({
    code: 5,
    stderr: expect.stringMatching(/^error not-ready: .*stored some seconds after its first start/) as string,
  })
  expect(await mainstem(['snapshot', 's', '--all', '--tenant', 'globe', '--app', seats], { cwd })).toMatchObject({ code: 2 })
})
