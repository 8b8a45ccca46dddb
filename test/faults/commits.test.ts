/** A commit of the log that fails: what its caller is told, what others make of it, and what stands there after a start. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { strategies } from '../../src/consistency.ts'
import { Ledger, refused } from '../support/ledger.ts'
import { Stage } from '../support/logs.ts'
import shop from '../support/shop.ts'

type Exec = (this: DatabaseSync, sql: string) => void

afterEach(() => void vi.restoreAllMocks())

/** Stands between the logs of this process and SQLite, as `sql` pleases. */
function between(path: string, sql: (text: string, db: DatabaseSync, exec: () => void) => void): void {
  const exec: Exec = DatabaseSync.prototype.exec
  vi.spyOn(DatabaseSync.prototype, 'exec').mockImplementation(function (this: DatabaseSync, text: string) {
    if (this.location() === path) sql(text, this, () => exec.call(this, text))
    else exec.call(this, text)
  } satisfies Exec)
}

/** As SQLite says it of an fsync. */
const syncError = (): Error => Object.assign(new Error('disk I/O error'), { code: 'ERR_SQLITE_ERROR', errcode: 1_034 })

describe.each(strategies)('%s', strategy => {
  test.each([
    ['and is not there', false],
    ['and is there after all', true],
  ])('a sync fails once, %s: the writer stops for good, the outcome is unknown until somebody asks again', async (_, there) => {
    const stage = new Stage('sqlite')
    const ledger = new Ledger()
    const one = await stage.open(shop, { strategy, timeout: 4_000 })
    await ledger.pay(one)
    let failing = true
    let commits = 0
    between(join(stage.folder, 'test.log'), (text, db, exec) => {
      if (text !== 'COMMIT' || !db.isTransaction) return exec()
      commits++
      // Once: the next one would say that all is well.
      if (!failing) return exec()
      failing = false
      if (there) exec()
      throw syncError()
    })
    const error = await refused(ledger.pay(one, 'ann', { id: 'doubtful' }))
    expect(error).toMatchObject({ code: 'outcome-unknown', retry: 'safe' })
    expect(await refused(ledger.pay(one, 'ann', { id: 'later' }))).toMatchObject({ code: 'log-failed' })
    expect(commits).toBe(1)
    vi.restoreAllMocks()
    // Another one goes on, and so does the first when it was started again.
    const two = await stage.open(shop, { strategy, timeout: 15_000 })
    await ledger.settle(two)
    await one.close()
    const again = await stage.open(shop, { strategy })
    await ledger.pay(again)
    expect(await again.query('total', undefined, { read: 'linearizable' })).toBe(4)
    await ledger.check(stage.log)
  })

  test('a disk that is full when a record is written: surely nothing was, and nothing is', async () => {
    const stage = new Stage('sqlite')
    const ledger = new Ledger()
    // Of a log that was made already.
    await (await stage.open(shop)).close()
    between(join(stage.folder, 'test.log'), (text, db, exec) => {
      exec()
      if (text.includes('journal_mode')) db.exec('PRAGMA max_page_count = 40')
    })
    const one = await stage.open(shop, { strategy, timeout: 4_000 })
    let error: unknown
    for (let n = 0; n < 200 && error === undefined; n++) {
      await ledger.execute(one, 'note', { text: 'x'.repeat(3_000) }).catch((cause: unknown) => {
        error = cause
      })
    }
    expect(error).toMatchObject({
      code: 'log-failed',
      message: expect.stringMatching(/the disk is full.*mend the cause and start it again/),
    })
    vi.restoreAllMocks()
    expect(await refused(ledger.pay(one))).toMatchObject({ code: 'log-failed' })
    await one.close()
    const again = await stage.open(shop, { strategy })
    await ledger.settle(again)
    await ledger.check(stage.log)
  })
})
