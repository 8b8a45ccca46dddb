/** The roster: what replicas tell of themselves, and rosters of other versions. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { parsed } from '../../src/log/kafka/roster.ts'
import { MemoryFile, MemoryLogs } from '../../src/log/memory.ts'
import { openReplica } from '../../src/replica.ts'
import { FileRoster, type Member, type MemberInfo, readRoster } from '../../src/roster.ts'
import { atEnd } from '../support/end.ts'
import { Stage, temporaryFolder } from '../support/logs.ts'
import shop from '../support/shop.ts'

const info: MemberInfo = {
  release: 'abc+1',
  position: 7,
  lag: { records: 3, seconds: null },
  role: 'follower',
  caughtUp: false,
  ready: false,
  reasons: ['replaying'],
  eta: 12,
}

test('a file keeps what each member says, and is made anew where another version has left it', () => {
  const path = join(temporaryFolder(), 'test.roster')
  const old = new DatabaseSync(path)
  old.exec('CREATE TABLE member (id TEXT PRIMARY KEY, address TEXT, beat INTEGER NOT NULL, seen INTEGER NOT NULL) STRICT, WITHOUT ROWID')
  old.prepare('INSERT INTO member VALUES (?, ?, ?, ?)').run('old', null, 1, Date.now())
  expect(readRoster(path)).toMatchObject([{ id: 'old', beat: 1, reigns: true }])
  const roster = new FileRoster(path)
  roster.beat('one', '/one', true, info)
  roster.beat('one', '/one', false, info)
  roster.beat('two', null)
  expect(roster.members()).toMatchObject([
    { id: 'one', address: '/one', beat: 2, reigns: false, info },
    { id: 'two', address: null, beat: 1, reigns: true },
  ])
  expect(readRoster(path)).toEqual(roster.members())
  expect(roster.members()[1]!.info).toBeUndefined()
  old.close()
  roster.close()
})

test('on Kafka members without it are members, and rubbish in its place is none of it', () => {
  const said = { address: null, beat: 1, seen: 2, reigns: true }
  expect(parsed(JSON.stringify({ ...said, info }))).toEqual({ ...said, info })
  expect(parsed(JSON.stringify(said))).toEqual(said)
  for (const wrong of [
    1,
    null,
    'x',
    {},
    { ...info, release: 1 },
    { ...info, lag: 3 },
    { ...info, role: 'king' },
    { ...info, reasons: 'x' },
  ])
    expect(parsed(JSON.stringify({ ...said, info: wrong }))).toEqual(said)
})

test('a replica is heard of while it still reads, is given nothing then, and says how far it is', async () => {
  const file = new MemoryFile()
  const logs = () => new MemoryLogs('test', [file])
  const first = await openReplica(shop, { log: logs(), strategy: 'leader' })
  atEnd(() => first.close())
  for (let n = 0; n < 400; n++) void first.execute('pay', { account: 'ann', cents: 1 })
  await first.execute('pay', { account: 'ann', cents: 1 })
  for (let n = 0; n < 20; n++) await first.execute('pay', { account: 'ann', cents: 1 })
  const second = logs()
  const seen: Member[] = []
  const replica = await openReplica(shop, {
    log: second,
    strategy: 'leader',
    release: 'two',
    onProgress: () => seen.push(...second.roster.members().filter(member => member.info?.release.endsWith('+two'))),
  })
  atEnd(() => replica.close())
  expect(seen[0]).toMatchObject({ reigns: false, info: { caughtUp: false, ready: false, reasons: ['replaying'] } })
  expect(replica.readiness()).toEqual({ ready: true, reasons: [] })
  const status = await replica.status()
  expect(status).toMatchObject({ activeRelease: null, ready: { ready: true }, lag: { records: 0, seconds: 0 } })
  expect(status.release).toMatch(/^[0-9a-f]{12}\+two$/)
  const own = status.members.find(({ id }) => id === status.incarnation)
  expect(own).toMatchObject({ reigns: true, info: { release: status.release, role: 'follower', caughtUp: true, ready: true } })
})

test('who is closing is not ready', async () => {
  const replica = await new Stage('memory').open(shop)
  const closed = replica.close()
  expect(replica.readiness()).toEqual({ ready: false, reasons: ['closing'] })
  await closed
})
