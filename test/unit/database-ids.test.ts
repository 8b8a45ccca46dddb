import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { openStore, sqlite } from '../../src/database/sqlite.ts'
import { isId, uuidv7Time } from '../../src/ids.ts'

const database = sqlite('')

// Few times, close together, and few tails, so that ids meet: in one run, in neighbouring runs, across the border of 16 ms.
const time = fc.constantFrom(
  '019d41cf-8a0e',
  '019d41cf-8a0f',
  '019d41cf-8a10',
  '019d41cf-8a1f',
  '019d41d0-0000',
  'f00000000000'.replace(/(.{8})/, '$1-'),
)
const tail = fc.constantFrom('7000-8000-000000000000', '7000-8000-000000000001', '7fff-bfff-ffffffffffff', '7abc-8def-0123456789ab')
const v7 = fc.tuple(time, tail).map(([head, rest]) => `${head}-${rest}`)
const odd = fc.constantFrom(
  '0',
  '0100',
  'order:1',
  '~',
  '019d41cf-8a0e',
  '019d41cf-8a0',
  '019d41cf-8a0e-4000-8000-000000000000',
  '019d41cf-8a0e-7000-c000-000000000000',
  // As long as a UUID, and what a run of two would hold across the border between them.
  '019d41cf-8a000-8000-000000000000e-70',
  '019d41cf-8a0-000000000000f-7000-8000',
  // Above all UUIDv7 of their time, and rising at a glance.
  '019d41cf-8a0z-7000-8000-000000000000',
  '0rder-12345678z7-2026-01-01-00000001',
  `0${'z'.repeat(13)}7${'z'.repeat(21)}`,
)
const id = fc.oneof({ weight: 4, arbitrary: v7 }, { weight: 2, arbitrary: odd })
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constantFrom('commit' as const, 'rollback' as const), ids: fc.uniqueArray(id, { maxLength: 8 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'reopen' as const, ids: [] }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const), ids: fc.tuple(v7) }) },
)

test('an id is known if and only if it was entered, whatever was entered besides', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mainstem-ids-'))
  try {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), fc.array(id), (steps, others) => {
        const path = join(folder, `${Math.random()}.db`)
        let store = openStore(database, path)
        const known = new Map<string, number>()
        const forgotten = new Set<string>()
        for (const { do: what, ids } of steps) {
          if (what === 'reopen') {
            store.close()
            store = openStore(database, path)
          } else if (what === 'forget') {
            const before = uuidv7Time(ids[0])!
            store.forget(before)
            for (const one of Array.from(known.keys())) {
              if ((uuidv7Time(one) ?? before) >= before) continue
              known.delete(one)
              forgotten.add(one)
            }
          } else {
            const version = store.standing.version + 1
            const fresh = ids.filter(one => isId(one) && !known.has(one) && !forgotten.has(one))
            store.begin()
            store.enterIds(fresh, { position: version * 2, version })
            for (const one of fresh) expect(store.known(one), one).toEqual({ position: version * 2, version })
            if (what === 'rollback') store.rollback()
            else {
              store.commit({ ...store.standing, version })
              for (const one of fresh) known.set(one, version)
            }
          }
          for (const one of [...known.keys(), ...ids, ...others]) {
            const version = known.get(one)
            // What is older than asked for may stay a little longer.
            if (!forgotten.has(one))
              expect(store.known(one), one).toEqual(version === undefined ? undefined : { position: version * 2, version })
          }
        }
        store.close()
        rmSync(path)
      }),
      { numRuns: 300 },
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('an id is not found across the border between two others', () => {
  const store = openStore(database, ':memory:')
  store.begin()
  store.enterIds(['019d41cf-8a00-7000-8000-000000000000', '019d41cf-8a01-7000-8000-000000000000', '019d41cf-8a0e-7000-8000-000000000000'], {
    position: 1,
    version: 1,
  })
  store.commit({ ...store.standing, version: 1 })
  for (const one of ['019d41cf-8a000-8000-000000000000e-70', '019d41cf-8a01-7000-8000-00000000000', '019d41cf-8a0', '019d41cf-8a0f'])
    expect(store.known(one), one).toBeUndefined()
  expect(store.known('019d41cf-8a0e-7000-8000-000000000000')).toBeDefined()
  store.close()
})

test('what is old enough is forgotten, within 16 ms', () => {
  const store = openStore(database, ':memory:')
  const at = (ms: number) =>
    `${ms
      .toString(16)
      .padStart(12, '0')
      .replace(/^(.{8})/, '$1-')}-7abc-8def-0123456789ab`
  const base = 1_700_000_000_000
  const all = Array.from({ length: 64 }, (_, i) => base + i)
  for (const [i, ms] of all.entries()) {
    store.begin()
    store.enterIds([at(ms)], { position: i + 1, version: i + 1 })
    store.commit({ ...store.standing, version: i + 1, position: i + 1 })
  }
  for (const nothing of [0, -1, Number.NaN, 15]) store.forget(nothing)
  expect(store.known(at(base))).toBeDefined()
  store.forget(base + 40)
  for (const ms of all) {
    if (ms >= base + 40) expect(store.known(at(ms))).toBeDefined()
    if (ms < base + 24) expect(store.known(at(ms))).toBeUndefined()
  }
  store.close()
})
