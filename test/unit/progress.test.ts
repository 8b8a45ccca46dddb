/** The file that keeps how far shards were followed. What is wrong with it is in test/faults/data. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import { emptyShard } from '../../src/accept.ts'
import { type Advance, ProgressFile } from '../../src/replica/progress.ts'
import { temporaryFolder } from '../support/logs.ts'

function file(path = join(temporaryFolder(), 'progress.sqlite')): { path: string; progress: ProgressFile } {
  const progress = new ProgressFile(path)
  onTestFinished(() => progress.close())
  return { path, progress }
}

const advance = (cursor: number, tenants: [string, number][] = []): Advance => ({
  place: 'here',
  cursor,
  state: { ...emptyShard, log: 'log-1', generation: 1 },
  types: new Map([['Paid', 1]]),
  tenants: new Map(tenants),
})

test('shards are apart, and each goes on from what was stored last', () => {
  const { path, progress } = file()
  expect(progress.load(0)).toBeUndefined()
  progress.save(
    new Map([
      [0, advance(5, [['ann', 4]])],
      [2, advance(9, [['bob', 9]])],
    ]),
  )
  progress.save(new Map([[0, advance(7, [['cid', 7]])]]))
  progress.close()
  const again = file(path).progress
  const { tenants: _, ...stored } = advance(7)
  expect(again.load(0)).toEqual(stored)
  expect(again.load(1)).toBeUndefined()
  expect(again.load(2)).toMatchObject({ cursor: 9 })
  expect(['ann', 'cid', 'bob'].map(name => again.position(0, name))).toEqual([4, 7, 0])
  again.forget(0)
  expect(again.load(0)).toBeUndefined()
  expect(again.position(0, 'ann')).toBe(0)
  expect(again.position(2, 'bob')).toBe(9)
})

test('all of it is stored, or nothing', () => {
  const { progress } = file()
  progress.save(new Map([[0, advance(5, [['ann', 4]])]]))
  const broken = new Map([
    [0, advance(8, [['ann', 8]])],
    [1, advance(8, [['bob', undefined as never]])],
  ])
  expect(() => progress.save(broken)).toThrow(/bound|NOT NULL|Provided value/)
  expect(progress.load(0)).toMatchObject({ cursor: 5 })
  expect(progress.position(0, 'ann')).toBe(4)
  progress.save(new Map([[0, advance(9)]]))
  expect(progress.load(0)).toMatchObject({ cursor: 9 })
})

test('a file that kept event types without their versions tells nothing: the log is read again', () => {
  const { path, progress } = file()
  progress.save(new Map([[0, advance(5)]]))
  progress.close()
  const db = new DatabaseSync(path)
  db.exec(`UPDATE shard SET types = '["Paid"]'`)
  db.close()
  expect(file(path).progress.load(0)).toBeUndefined()
})

test('ten thousand tenants are stored in a moment', () => {
  const { progress } = file()
  const names = Array.from({ length: 10_000 }, (_, n): [string, number] => [`tenant-${n}`, n + 1])
  const start = performance.now()
  progress.save(new Map([[0, advance(10_000, names)]]))
  expect(performance.now() - start).toBeLessThan(1_000)
  const later = performance.now()
  progress.save(new Map([[0, advance(10_001, [['tenant-7', 10_001]])]]))
  expect(performance.now() - later).toBeLessThan(100)
  expect(progress.position(0, 'tenant-9999')).toBe(10_000)
})
