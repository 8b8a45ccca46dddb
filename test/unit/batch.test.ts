/** A batch as one record: as many decisions as fit, counted in bytes. */
import { expect, test } from 'vitest'
import { z } from 'zod'
import { app, sqlite } from '../../src/index.ts'
import { definitionOf } from '../../src/app.ts'
import { openStore } from '../../src/database/sqlite.ts'
import { prepare } from '../../src/decide.ts'
import { inputHash } from '../../src/record.ts'
import { Tenant } from '../../src/projection.ts'
import { decideBatch } from '../../src/shard/batch.ts'
import type { Request } from '../../src/shard/protocol.ts'

const notes = app('notes', {
  events: { Noted: z.object({ text: z.string() }) },
  database: sqlite('CREATE TABLE note (version INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT'),
  project: { Noted: (db, { text }, { version }) => db.run('INSERT INTO note VALUES (?, ?)', version, text) },
  commands: {
    note: {
      input: z.object({ text: z.string() }),
      scope: () => ['"quoted" \\ €', 'plain'],
      decide: (input, { emit }) => emit('Noted', input),
    },
  },
})

const request = (text: string, n: number): Request => ({
  tenant: 'default',
  command: 'note',
  input: { text },
  prepared: prepare(notes, 'note', { text }),
  id: `note-"${n}"`,
  hash: inputHash('note', { text }),
  deadline: Number.POSITIVE_INFINITY,
  forwarded: false,
  fresh: true,
  done: false,
  inDoubt: false,
  conflicts: 0,
})

const MOST = 20_000

test.each([
  ['one byte a letter', 'a'.repeat(500)],
  ['two', 'é'.repeat(300)],
  ['three', '€'.repeat(300)],
  ['four, for two UTF-16 units', '🎻'.repeat(200)],
  ['what JSON escapes', '"\\\u0001'.repeat(100)],
])('a record is filled, and no further: %s', (_, text) => {
  using stack = new DisposableStack()
  const store = stack.adopt(openStore(definitionOf(notes).database, ':memory:'), store => store.close())
  const tenant = new Tenant(notes, 'default', store, 'log')
  tenant.speculate()
  const queue = Array.from({ length: 100 }, (_, n) => request(text, n))
  const moment = { now: 0, time: 1, forgetBefore: 0 }
  const batch = decideBatch(queue, tenant, 1_000, moment, { app: notes, freshHead: true, maxRecordBytes: MOST })
  const bytes = Buffer.byteLength(batch.parts.join(','))
  const each = Buffer.byteLength(batch.parts[0]!)
  expect(bytes).toBeLessThanOrEqual(MOST - 1_024)
  expect(bytes + each).toBeGreaterThan(MOST - 1_024 - 20)
  expect(batch.rest).toEqual(queue.slice(batch.decisions.length))
  expect(batch.parts.map(part => (JSON.parse(part) as { id: string }).id)).toEqual(batch.requests.map(({ id }) => id))
  tenant.rollback()

  const alone = decideBatch([request('€'.repeat(7_000), 0)], tenant, 1_000, moment, { app: notes, freshHead: true, maxRecordBytes: MOST })
  expect(alone.quiet).toMatchObject([
    { reply: { error: { code: 'record-too-large', message: expect.stringMatching(/takes 21\d\d\d bytes/) as string } } },
  ])
})
