/** Apps that do not fit their log: other events, changed projections. Told at the start or tenant by tenant, with the way out. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type App, app, event, sqlite } from '../../src/index.ts'
import type { Replica } from '../../src/replica.ts'
import { failure } from '../support/failures.ts'
import { Stage } from '../support/logs.ts'

interface Parts {
  readonly revision?: string
  /** More event types that the app knows; their data is { cents }. */
  readonly more?: readonly string[]
  /** Not known to it. */
  readonly without?: 'Paid'
  /** What the projection does to the cents, or throws. */
  readonly project?: (cents: number) => number
  readonly schema?: 1 | 2
}

/** One app in several releases, all of one name and with the same tables. */
function release({ revision, more = [], without, project = cents => cents, schema = 1 }: Parts = {}): App {
  const amount = z.object({ cents: z.number() })
  const paid = schema === 1 ? amount : event(amount).next(amount, data => data)
  const types = [...(without ? [] : ['Paid']), ...more]
  const insert = (
    db: { run(sql: string, ...params: number[]): void },
    { cents }: { cents: number },
    { version }: { version: number },
  ): void => db.run('INSERT INTO entry VALUES (?, ?)', version, project(cents))
  return app('till', {
    ...(revision === undefined ? {} : { revision }),
    events: Object.fromEntries(types.map(type => [type, type === 'Paid' ? paid : amount])),
    database: sqlite('CREATE TABLE entry (version INTEGER PRIMARY KEY, cents INTEGER NOT NULL) STRICT'),
    project: Object.fromEntries(types.map(type => [type, insert])),
    commands: Object.fromEntries(
      types.map(type => [
        `do${type}`,
        { input: amount, decide: (input: { cents: number }, { emit }: { emit(type: string, data: object): never }) => emit(type, input) },
      ]),
    ),
    queries: {
      sum: {
        run: (_: unknown, { db }: { db: { get(sql: string): { sum: number } | undefined } }) =>
          db.get('SELECT coalesce(sum(cents), 0) AS sum FROM entry')!.sum,
      },
    },
  } as never)
}

const open = (stage: Stage, released: App, data: string): Promise<Replica> => stage.open(released, { data: join(stage.folder, data) })

describe('an event in the log that the app does not know', () => {
  test.each(['of the same database', 'of a new one'])('is told at the start, by a replica %s', async what => {
    const stage = new Stage('sqlite')
    const first = await open(stage, release({ more: ['Gifted'] }), 'data')
    await first.execute('doPaid', { cents: 1 })
    await first.execute('doGifted', { cents: 2 })
    await first.close()
    const error = await failure(open(stage, release(), what === 'of a new one' ? 'new' : 'data'))
    expect(error).toMatchObject({ code: 'unknown-event', retry: 'no' })
    expect(error.message).toMatch(/Gifted/)
    expect(error.message).toMatch(/Add the event type.*or run the app that wrote/)
    // Nothing was harmed.
    const again = await open(stage, release({ more: ['Gifted'] }), 'data')
    expect(await again.query('sum')).toBe(3)
  })

  test('of a schema to come', async () => {
    const stage = new Stage('sqlite')
    const first = await open(stage, release({ schema: 2 }), 'data')
    await first.execute('doPaid', { cents: 1 })
    await first.close()
    const error = await failure(open(stage, release({ schema: 1 }), 'new'))
    expect(error).toMatchObject({ code: 'unknown-event', message: expect.stringMatching(/schema version 2.*knows 1.*newer release/) })
  })

  test('of a schema to come, in what was followed before: the same data directory, and the next run of one that met it while following', async () => {
    const stage = new Stage('sqlite')
    const second = await open(stage, release({ schema: 2 }), 'data')
    const first = await open(stage, release({ schema: 1 }), 'other')
    await first.execute('doPaid', { cents: 1 })
    await second.execute('doPaid', { cents: 2 })
    expect(await failure(first.query('sum', undefined, { read: 'linearizable' }))).toMatchObject({
      code: 'unknown-event',
      message: expect.stringMatching(/tenant default stopped at position \d+.*'Paid' of schema version 2.*knows 1.*newer version/),
      details: { type: 'Paid', schema: 2 },
    })
    await first.close()
    await second.close()
    // Nothing is left to read: what is known of the log tells it.
    for (const data of ['data', 'other']) {
      const error = await failure(open(stage, release({ schema: 1 }), data))
      expect(error).toMatchObject({ code: 'unknown-event', details: { unknown: ['Paid'], versions: { Paid: 2 } } })
      expect(error.message).toMatch(/does not know: Paid of schema version 2 .the app knows 1..*run the app that wrote them/)
    }
    const again = await open(stage, release({ schema: 2 }), 'other')
    expect(await again.query('sum')).toBe(3)
  })

  test('two apps of one name, with different events, at the same time: that tenant stops in the one that does not know', async () => {
    const stage = new Stage('sqlite')
    const one = await open(stage, release({ more: ['Gifted'] }), 'one')
    const two = await open(stage, release({ more: ['Lent'] }), 'two')
    await one.execute('doPaid', { cents: 1 })
    await two.execute('doPaid', { cents: 1 }, { tenant: 'red' })
    await one.execute('doGifted', { cents: 1 })
    const error = await failure(two.query('sum', undefined, { read: 'linearizable' }))
    expect(error).toMatchObject({
      code: 'unknown-event',
      message: expect.stringMatching(/tenant default stopped at position \d+.*Gifted.*Add the event type/),
    })
    expect(await failure(two.execute('doPaid', { cents: 1 }))).toMatchObject({ code: 'unknown-event' })
    // The other tenant goes on, in both.
    expect(await two.execute('doPaid', { cents: 1 }, { tenant: 'red' })).toMatchObject({ version: 2 })
    expect(await one.execute('doPaid', { cents: 1 })).toMatchObject({ version: 3 })
    expect((await two.status()).tenants).toMatchObject({
      default: { status: 'halted', error: expect.stringContaining('Gifted') },
      red: { status: 'open' },
    })
  })
})

describe('a changed projection', () => {
  const refusing = (cents: number): number => {
    if (cents === 13) throw new Error('unlucky')
    return cents
  }

  test('that throws on an accepted event: that tenant stops and says where and what to do, others go on; a new revision is the way out', async () => {
    const stage = new Stage('sqlite')
    const first = await open(stage, release(), 'old')
    await first.execute('doPaid', { cents: 12 })
    await first.execute('doPaid', { cents: 13 })
    await first.execute('doPaid', { cents: 14 })
    await first.execute('doPaid', { cents: 1 }, { tenant: 'red' })
    const { digest } = await first.digest()

    const second = await open(stage, release({ project: refusing }), 'new')
    const error = await failure(second.execute('doPaid', { cents: 1 }))
    expect(error).toMatchObject({ code: 'halted', retry: 'no', details: { tenant: 'default', position: 3, version: 1 } })
    expect(error.message).toMatch(
      /tenant default stopped at position 3 of its log, at version 1 and digest [\w-]{43} .the record was made at digest [\w-]{43}.*unlucky/,
    )
    expect(error.message).toMatch(/Correct the projection and give the app another `revision`/)
    expect(await failure(second.query('sum'))).toMatchObject({ code: 'halted' })
    expect(await second.execute('doPaid', { cents: 1 }, { tenant: 'red' })).toMatchObject({ version: 2 })
    expect((await second.status()).tenants).toMatchObject({ default: { status: 'halted' }, red: { status: 'open', version: 2 } })
    await second.close()

    // It does not go away by itself, not even by a start.
    const third = await open(stage, release({ project: refusing }), 'new')
    expect(await failure(third.query('sum'))).toMatchObject({ code: 'halted' })
    await third.close()
    const corrected = await open(stage, release({ project: cents => (cents === 13 ? 0 : cents), revision: 'two' }), 'new')
    expect(await corrected.query('sum')).toBe(26)
    expect(await corrected.digest()).toMatchObject({ version: 3, digest })
    expect(await corrected.execute('doPaid', { cents: 1 })).toMatchObject({ version: 4 })
  })

  test('with another revision: a new database beside the old one, which stays as it is', async () => {
    const stage = new Stage('sqlite')
    const first = await open(stage, release(), 'data')
    await first.execute('doPaid', { cents: 5 })
    await first.close()
    const second = await open(stage, release({ revision: 'two', project: cents => cents * 100 }), 'data')
    expect(await second.query('sum')).toBe(500)
    await second.execute('doPaid', { cents: 5 })
    await second.close()
    const folders = readdirSync(join(stage.folder, 'data')).filter(name => name.startsWith('till-'))
    expect(folders).toHaveLength(2)
    for (const folder of folders) expect(existsSync(join(stage.folder, 'data', folder, 'default.db'))).toBe(true)
    // And back: it reads what it has missed.
    const third = await open(stage, release(), 'data')
    expect(await third.query('sum')).toBe(10)
  })
})
