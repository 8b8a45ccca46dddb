import { AssertionError } from 'node:assert'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { app, event, sqlite } from 'mainstem'
import { given } from 'mainstem/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import seats from '../../examples/seats.ts'

const A1 = { seat: 'A1', guest: 'Ann' }

/** What an assertion says when it does not hold. */
function said(run: () => unknown): AssertionError {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(AssertionError)
    return error as AssertionError
  }
  throw new Error('the assertion held')
}

describe('an assertion that does not hold says why, with the difference', () => {
  test('other events', () => {
    const error = said(() =>
      given(seats)
        .when('reserve', A1)
        .accepts(['SeatReserved', { seat: 'A1', guest: 'Ben' }]),
    )
    // On a terminal it is coloured.
    const message = stripVTControlCharacters(error.message)
    expect(message).toMatch(/^'reserve' was accepted with other events\n[\s\S]*\n\+ +guest: 'Ann',\n- +guest: 'Ben',\n/)
    expect(error).toMatchObject({ actual: [['SeatReserved', A1]], expected: [['SeatReserved', { seat: 'A1', guest: 'Ben' }]] })
    expect(error.stack).toMatch(/\n +at .*testing\.test\.ts/)
    expect(error.stack).not.toMatch(/src\/testing\.ts/)
  })

  test('no events, more events, events in another order', () => {
    const moved = given(seats).event('SeatReserved', A1).when('move', { from: 'A1', to: 'A2' })
    said(() => moved.accepts())
    said(() => moved.accepts(['SeatReleased', { seat: 'A1' }]))
    said(() => moved.accepts(['SeatReserved', { seat: 'A2', guest: 'Ann' }], ['SeatReleased', { seat: 'A1' }]))
    moved.accepts(['SeatReleased', { seat: 'A1' }], ['SeatReserved', { seat: 'A2', guest: 'Ann' }])
  })

  test('rejected instead of accepted', () => {
    const taken = given(seats).event('SeatReserved', A1).when('reserve', A1)
    const error = said(() => taken.accepts(['SeatReserved', A1]))
    expect(error.message).toMatch(/^'reserve' was to be accepted, but it was rejected: \{ code: 'seat-taken', details: \{ seat: 'A1' \} \}/)
    expect(error).toMatchObject({ actual: { rejected: { code: 'seat-taken' } }, expected: { accepted: [['SeatReserved', A1]] } })
    said(() => taken.returns(undefined))
  })

  test('accepted instead of rejected', () => {
    const error = said(() => given(seats).when('reserve', A1).rejects('seat-taken'))
    expect(error.message).toMatch(/^'reserve' was to be rejected with 'seat-taken', but it was accepted/)
    expect(error).toMatchObject({ actual: { accepted: [['SeatReserved', A1]] }, expected: { rejected: { code: 'seat-taken' } } })
  })

  test('rejected for another reason, or with other details', () => {
    const error = said(() => given(seats).when('release', A1).rejects('not-your-seat'))
    expect(error.message).toMatch(/^'release' was rejected for another reason/)
    expect(error.actual).toEqual({ code: 'seat-free', details: { seat: 'A1' } })
    said(() => given(seats).when('release', A1).rejects('seat-free', { seat: 'A2' }))
    given(seats).when('release', A1).rejects('seat-free').when('release', A1).rejects('seat-free', { seat: 'A1' })
  })

  test('another result, another answer, no failure', () => {
    const moved = given(seats).event('SeatReserved', A1).when('move', { from: 'A1', to: 'A2' })
    expect(said(() => moved.returns({ guest: 'Ben' })).message).toMatch(/^'move' returned another result/)
    expect(said(() => given(seats).answers('taken', [A1])).message).toMatch(/^query 'taken' gave another answer/)
    expect(said(() => given(seats).answers('seat', { seat: 'A1' }, [{ guest: '', reserved: 1, released: 1 }])).actual).toEqual([])
    expect(said(() => given(seats).when('reserve', A1).fails('invalid-input')).message).toMatch(
      /^'reserve' was to fail with 'invalid-input', but it did not fail/,
    )
  })
})

test('errors of the engine are not hidden behind an assertion', () => {
  const wrong = given(seats).when('reserve', { seat: 'A1' } as typeof A1)
  expect(() => wrong.accepts()).toThrow(expect.objectContaining({ name: 'EngineError', code: 'invalid-input' }))
  expect(() => wrong.rejects('seat-taken')).toThrow(expect.objectContaining({ code: 'invalid-input' }))
  expect(() => wrong.fails('decide-failed')).toThrow(expect.objectContaining({ code: 'invalid-input' }))
  wrong.fails('invalid-input')
  given(seats)
    .when('resreve' as 'reserve', A1)
    .fails('unknown-command')
})

test('given events are checked as emitted ones', () => {
  expect(() => given(seats).event('SeatReserved', { seat: 'A1' } as typeof A1)).toThrow(expect.objectContaining({ code: 'invalid-event' }))
  expect(() => given(seats).event('Zzz' as 'SeatReserved', A1)).toThrow(expect.objectContaining({ code: 'invalid-event' }))
})

test('one past has many futures', () => {
  const past = given(seats).event('SeatReserved', A1)
  past.event('SeatReleased', { seat: 'A1' }).answers('taken', [])
  past.when('release', A1).accepts(['SeatReleased', { seat: 'A1' }])
  past.answers('taken', [A1])
  expect(past.query('taken')).toEqual([A1])
})

test('no chain is a thenable', () => {
  const past = given(seats)
  expect('then' in past).toBe(false)
  const reserve = past.when('reserve', A1)
  expect('then' in reserve).toBe(false)
  reserve.accepts(['SeatReserved', A1])
})

test('a when that nothing is asserted of fails the run', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mainstem-testing-'))
  const source = (path: string) => JSON.stringify(pathToFileURL(join(import.meta.dirname, path)).href)
  const file = join(folder, 'forgotten.test.mjs')
  writeFileSync(
    file,
    `import test from 'node:test'
     import seats from ${source('../../examples/seats.ts')}
     import { given } from ${source('../../src/testing.ts')}
     test('asserted', () => void given(seats).when('release', { seat: 'A1', guest: 'Ann' }).rejects('seat-free'))
     test('forgotten', () => {
       given(seats).when('reserve', { seat: 'A1', guest: 'Ann' })
     })`,
  )
  const { status, stdout } = spawnSync(process.execPath, ['--conditions=source', '--test', '--test-reporter=tap', file], {
    cwd: folder,
    encoding: 'utf8',
  })
  rmSync(folder, { recursive: true })
  expect(status).toBe(1)
  expect(stdout).toContain("nothing was asserted of 'reserve'")
  expect(stdout).not.toContain("nothing was asserted of 'release'")
})

const strict = app('strict', {
  events: {
    Noted: event(z.object({ text: z.string() })).next(z.object({ text: z.string(), by: z.string() }), old => ({ ...old, by: '?' })),
  },
  database: sqlite('CREATE TABLE note (version INTEGER PRIMARY KEY, at TEXT NOT NULL, text TEXT UNIQUE NOT NULL, by TEXT NOT NULL) STRICT'),
  project: {
    Noted: (db, { text, by }, { version, at }) => db.run('INSERT INTO note VALUES (?, ?, ?, ?)', version, at.toISOString(), text, by),
  },
  commands: {
    note: { input: z.object({ text: z.string() }), decide: ({ text }, { emit, now }) => emit('Noted', { text, by: now.toISOString() }) },
    sneak: { decide: (_, { db }) => ({ events: [], result: db.all('DELETE FROM note RETURNING text') }) },
  },
  queries: {
    notes: {
      run: (_, { db, version }) => ({
        version,
        notes: db.all<{ at: string; text: string; by: string }>('SELECT at, text, by FROM note ORDER BY version'),
      }),
    },
    sneak: { run: (_, { db }) => db.all('DELETE FROM note RETURNING text') },
    clock: { run: (_, { db }) => db.get<{ now: string }>("SELECT datetime('now') AS now")!.now.length },
  },
})

describe('as in production', () => {
  test('time and version come from the events', () => {
    given(strict)
      .event('Noted', { text: 'a', by: 'x' })
      .event('Noted', { text: 'b', by: 'y' }, { at: new Date(0) })
      .stored('Noted', 1, { text: 'c' })
      .when('note', { text: 'd' }, { now: new Date(1_000) })
      .accepts(['Noted', { text: 'd', by: '1970-01-01T00:00:01.000Z' }])
      .answers('notes', {
        version: 4,
        notes: [
          { at: '2026-01-01T12:00:00.000Z', text: 'a', by: 'x' },
          { at: '1970-01-01T00:00:00.000Z', text: 'b', by: 'y' },
          { at: '2026-01-01T12:00:00.000Z', text: 'c', by: '?' },
          { at: '1970-01-01T00:00:01.000Z', text: 'd', by: '1970-01-01T00:00:01.000Z' },
        ],
      })
  })

  test('an event that cannot be projected fails its command', () => {
    given(strict).event('Noted', { text: 'a', by: '' }).when('note', { text: 'a' }).fails('projection-failed')
  })

  test('decide and queries cannot write', () => {
    given(strict).event('Noted', { text: 'a', by: '' }).when('sneak').fails('decide-failed')
    expect(() => given(strict).query('sneak')).toThrow(expect.objectContaining({ code: 'query-failed' }))
  })

  test('queries may look at the clock', () => {
    expect(given(strict).query('clock')).toBe(19)
  })
})
