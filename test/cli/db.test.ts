/** `db at`, `db diff` and `verify`: the past as a database, and whether the present is what the log says. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { json, jsonLines, mainstem, makeFolder, ok, seats, startReplica } from './support.ts'

const there = ['--app', seats]
const reserve = (seat: string, guest: string, ...more: string[]) => ['exec', 'reserve', JSON.stringify({ seat, guest }), ...there, ...more]

describe.concurrent('db', () => {
  it('shows a database as it was, at a version and at a time', async () => {
    const cwd = makeFolder()
    await ok(reserve('A1', 'Ann'), { cwd })
    await pause(20)
    const between = new Date().toISOString()
    await pause(20)
    await ok(reserve('A2', 'Ben'), { cwd })
    await ok(['exec', 'release', '{"seat":"A1","guest":"Ann"}', ...there], { cwd })
    const select = ['--sql', 'SELECT seat, released FROM sale ORDER BY seat']
    for (const [moment, rows] of [
      ['0', []],
      ['1', [{ seat: 'A1', released: null }]],
      [between, [{ seat: 'A1', released: null }]],
      [
        '2',
        [
          { seat: 'A1', released: null },
          { seat: 'A2', released: null },
        ],
      ],
      [
        '3',
        [
          { seat: 'A1', released: 3 },
          { seat: 'A2', released: null },
        ],
      ],
      [
        new Date().toISOString(),
        [
          { seat: 'A1', released: 3 },
          { seat: 'A2', released: null },
        ],
      ],
    ] as const) {
      expect(await jsonLines(['db', 'at', moment, ...select, ...there], { cwd }), moment).toEqual(rows)
    }
    expect(await json(['db', 'at', '2', '--query', 'taken', ...there], { cwd })).toHaveLength(2)
    expect(await json(['db', 'at', '2', '--query', 'seat', '{"seat":"A2"}', ...there], { cwd })).toEqual([
      { guest: 'Ben', reserved: 2, released: null },
    ])
    expect(await json(['db', 'at', '2', ...there], { cwd })).toMatchObject({ version: 2, tables: { sale: 2 } })
    expect(await ok(['db', 'at', '2', ...there], { cwd })).toMatch(/^version +2\n[^]*sale +2\n$/)

    const written = await json(['db', 'at', '2', '--out', 'past.db', ...there], { cwd })
    expect(written).toMatchObject({ file: 'past.db', version: 2 })
    expect(readdirSync(cwd).filter(name => name.startsWith('past'))).toEqual(['past.db'])
    const db = new DatabaseSync(join(cwd, 'past.db'), { readOnly: true })
    expect(db.prepare('SELECT count(*) AS n FROM sale WHERE released IS NULL').get()).toEqual({ n: 2 })
    db.close()
    const over = await mainstem(['db', 'at', '1', '--out', 'past.db', ...there], { cwd })
    expect(over).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error file: past\.db exists already/) as string })

    const early = await mainstem(['db', 'at', '4', ...there], { cwd })
    expect(early).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^error no-such-version: tenant default is at version 3/) as string,
    })
    const wrong = await mainstem(['db', 'at', 'yesterday', ...there], { cwd })
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringMatching(/^error usage: "yesterday" is neither a version/) as string })
    const both = await mainstem(['db', 'at', '1', '--out', 'x.db', '--sql', 'SELECT 1', ...there], { cwd })
    expect(both.code).toBe(2)
  })

  it('shows what changed between two moments', async () => {
    const cwd = makeFolder()
    await ok(reserve('A1', 'Ann', '--tenant', 'globe'), { cwd })
    await ok(['exec', 'move', '{"from":"A1","to":"B1"}', '--tenant', 'globe', ...there], { cwd })
    const diff = ['db', 'diff', '--tenant', 'globe', ...there]
    expect(await jsonLines([...diff, '1', '3'], { cwd })).toEqual([
      {
        table: 'sale',
        change: 'changed',
        key: { reserved: 1 },
        before: { reserved: 1, released: null, seat: 'A1', guest: 'Ann' },
        after: { reserved: 1, released: 2, seat: 'A1', guest: 'Ann' },
      },
      {
        table: 'sale',
        change: 'added',
        key: { reserved: 3 },
        before: null,
        after: { reserved: 3, released: null, seat: 'B1', guest: 'Ann' },
      },
    ])
    expect(await ok([...diff, '3', '1'], { cwd })).toBe(
      '~ sale  {"reserved":1}  released: 2 -> null\n- sale  {"reserved":3,"released":null,"seat":"B1","guest":"Ann"}\n',
    )
    expect(await mainstem([...diff, '1', '3', '--limit', '1'], { cwd })).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/there is more/) as string,
    })
    expect(await mainstem([...diff, '2', '2'], { cwd })).toMatchObject({
      code: 0,
      stdout: '',
      stderr: expect.stringMatching(/no row differs/) as string,
    })
  })
})

describe.concurrent('verify', () => {
  const database = (cwd: string, tenant = 'default') => {
    const data = join(cwd, '.mainstem/data')
    const folder = readdirSync(data).find(name => name.startsWith('seats-'))!
    return join(data, folder, `${tenant}.db`)
  }
  const tamper = (path: string, sql: string) => {
    const db = new DatabaseSync(path)
    db.exec(sql)
    db.close()
  }

  it('finds what somebody changed, and names the first row', async () => {
    const cwd = makeFolder()
    await ok(reserve('A1', 'Ann', '--id', 'one'), { cwd })
    await ok(reserve('A2', 'Ben'), { cwd })
    await ok(reserve('G1', 'Gus', '--tenant', 'globe'), { cwd })
    expect(await ok(['verify', ...there], { cwd })).toMatch(
      /^ok {2}tenant default at version 2: 2 rows in 1 table as the log has them, digest /,
    )
    expect(await jsonLines(['verify', '--all', ...there], { cwd })).toMatchObject([
      { ok: true, tenant: 'default', version: 2, rows: 2 },
      { ok: true, tenant: 'globe', version: 1, rows: 1 },
    ])
    for (const [sql, undo, told] of [
      [
        "UPDATE sale SET guest = 'Eve' WHERE seat = 'A2'",
        "UPDATE sale SET guest = 'Ben' WHERE seat = 'A2'",
        'table sale, row (reserved 2): guest is "Eve", by the log "Ben"',
      ],
      [
        "INSERT INTO sale VALUES (9, NULL, 'A9', 'Eve')",
        'DELETE FROM sale WHERE reserved = 9',
        'table sale, row (reserved 9) is too much; the log knows nothing of (reserved 9, released null, seat "A9", guest "Eve")',
      ],
      [
        "UPDATE mainstem_id SET first = 'won' WHERE first = 'one'",
        "UPDATE mainstem_id SET first = 'one' WHERE first = 'won'",
        'table mainstem_id, first won: the log does not have it like that',
      ],
      [
        "DELETE FROM sale WHERE seat = 'A1'",
        '',
        'table sale, row (reserved 1) is missing; by the log there is (reserved 1, released null, seat "A1", guest "Ann")',
      ],
    ] as const) {
      tamper(database(cwd), sql)
      const { code, stdout } = await mainstem(['verify', ...there], { cwd })
      expect({ code, stdout }).toEqual({ code: 6, stdout: `differs  tenant default at version 2: ${told}\n` })
      if (undo !== '') tamper(database(cwd), undo)
    }
    const { code, stdout } = await mainstem(['verify', '--all', '--json', ...there], { cwd })
    expect(code).toBe(6)
    const [first, second] = stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as object)
    expect(first).toMatchObject({ ok: false, tenant: 'default', difference: { table: 'sale', key: { reserved: 1 }, a: null } })
    expect(second).toMatchObject({ ok: true, tenant: 'globe' })
    // A database that stands at a record which the log does not hold.
    tamper(database(cwd, 'globe'), "UPDATE mainstem_standing SET recordHash = 'x'")
    expect(await mainstem(['verify', '--tenant', 'globe', ...there], { cwd })).toMatchObject({
      code: 6,
      stdout: expect.stringMatching(/does not hold the record that it remembers/) as string,
    })
  })

  it('works while the replica runs and writes', async () => {
    const cwd = makeFolder()
    const log = `file:${join(cwd, 'seats.log')}`
    const data = join(cwd, '.mainstem/data')
    const writing = await startReplica({ log, data, writers: 2 })
    await writing.said('ack S50\n')
    for (let round = 0; round < 2; round++)
      expect(await json(['verify', '--app', seats, '--log', log], { cwd })).toMatchObject({ ok: true })
    writing.child.kill('SIGTERM')
    expect(await writing.ended).toMatchObject({ code: 0 })
    const idle = await startReplica({ log, data })
    tamper(database(cwd), "UPDATE sale SET guest = 'Eve' WHERE reserved = 7")
    const found = await mainstem(['verify', '--app', seats, '--log', log], { cwd })
    expect(found).toMatchObject({
      code: 6,
      stdout: expect.stringMatching(/row \(reserved 7\): guest is "Eve", by the log "Ann"/) as string,
    })
    idle.child.kill('SIGTERM')
    await idle.ended
  })

  it('says where there is nothing to verify', async () => {
    const cwd = makeFolder()
    await ok(reserve('A1', 'Ann'), { cwd })
    const none = await mainstem(['verify', '--tenant', 'globe', ...there], { cwd })
    expect(none).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^error data-unusable: \.mainstem\/data holds no database of tenant globe of the app seats/) as string,
    })
    expect(existsSync(database(cwd, 'globe'))).toBe(false)
  })
})
