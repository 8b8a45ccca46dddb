/**
 * Copies of the log's files, torn and spoilt at arbitrary bytes: behind the last acknowledged commit nothing does harm; in front of it what is
 * wrong is refused or told, as far as a file can tell. `npm run torture` goes on with other seeds.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { openReplica } from '../../src/index.ts'
import { failure } from '../support/failures.ts'
import { Stage } from '../support/logs.ts'
import shop from '../support/shop.ts'
import { spoiltCopies, tornCopies } from '../support/torn.ts'

test.each([1, 2, 3, 4, 5, 6])('torn behind the last acknowledged commit: all is there (seed %i)', async seed => {
  const { accepted } = await tornCopies({ seed, copies: 25 })
  expect(accepted).toBeGreaterThan(0)
})

// Seeds 1 and 3: errors of SQLite and of our own came through as they were.
test.each([1, 3, 6, 8])('spoilt in front of it: refused or told, or whole up to a place (seed %i)', async seed => {
  const { whole, refused, told, short, altered } = await spoiltCopies({ seed, copies: 25 })
  expect(whole + refused + told + short + altered).toBe(25)
  expect(refused + told).toBeGreaterThan(0)
})

describe('damage that SQLite does not name', () => {
  async function damaged(harm: (path: string) => void): Promise<void> {
    const stage = new Stage('sqlite')
    const data = join(stage.folder, 'data')
    const replica = await stage.open(shop, { data })
    for (let n = 0; n < 9; n++) await replica.execute('note', { text: `note ${n}` })
    await replica.close()
    harm(join(stage.folder, 'test.log'))
    const error = await failure(
      (async () => {
        await using fresh = await openReplica(shop, { log: stage.log, data: join(stage.folder, 'fresh') })
        await fresh.query('total', undefined, { read: 'linearizable' })
      })(),
    )
    expect(error).toMatchObject({ code: 'log-unusable', message: expect.stringMatching(/damaged.*[Rr]estore/) })
  }

  const schema = (path: string, from: string, to: string): void => {
    const db = new DatabaseSync(path, { defensive: false })
    db.exec(`PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '${from}', '${to}')`)
    db.close()
  }

  test('a table that is gone', () => damaged(path => schema(path, 'place TEXT', 'plaice TEXT')))

  test('a record without a value', () =>
    damaged(path => {
      schema(path, 'value ANY NOT NULL', 'value ANY')
      const db = new DatabaseSync(path)
      db.exec('UPDATE record SET value = NULL WHERE position = 5')
      db.close()
    }))

  test('a position that is not behind the one before it', () =>
    damaged(path => {
      const bytes = readFileSync(path)
      // In front of its value stand the time (6 bytes), the tenant (7), what types they have (7) and the position (1).
      const at = bytes.lastIndexOf('{"mainstem"', bytes.indexOf('note 8')) - 21
      expect(bytes[at]).toBe(10)
      bytes[at] = 4
      writeFileSync(path, bytes)
    }))
})
