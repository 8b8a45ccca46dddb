/** How ids are kept: whatever a record accepted is found again, and nothing else, as a set of strings would have it. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { highestIn, holds, keyBefore, lowestKey, runsOf } from '../../src/database/ids.ts'
import { uuidv7Time } from '../../src/ids.ts'

const hex = (digits: number) => fc.integer({ min: 0, max: 16 ** Math.min(digits, 8) - 1 }).map(n => n.toString(16).padStart(digits, '0'))
/** Few times, so that runs and neighbours come about. */
const v7 = fc
  .tuple(fc.integer({ min: 0, max: 40 }), hex(3), fc.constantFrom('8', '9', 'a', 'b'), hex(3), hex(12))
  .map(([ms, a, variant, b, c]) => {
    const time = (1_700_000_000_000 + ms).toString(16).padStart(12, '0')
    return `${time.slice(0, 8)}-${time.slice(8)}-7${a}-${variant}${b}-${c}`
  })
const other = fc.oneof(fc.string({ minLength: 1, maxLength: 40 }), v7.map(id => id.replace('-7', '-4')), v7.map(id => `${id}0`), v7.map(id => id.slice(0, 12)))
const id = fc.oneof({ weight: 4, arbitrary: v7 }, { weight: 1, arbitrary: other })

test('found are the ids that were entered, and no others', () => {
  fc.assert(
    fc.property(fc.uniqueArray(id, { maxLength: 60 }), fc.boolean(), fc.array(id, { maxLength: 30 }), (ids, sorted, probes) => {
      const entered = sorted ? ids.toSorted((a, b) => (a < b ? -1 : 1)) : ids
      const runs = runsOf(entered)
      for (const probe of [...ids, ...probes]) {
        const found = runs.filter(run => run.first >= lowestKey(probe) && run.first <= probe && holds(run, probe))
        expect(found.length).toBe(ids.includes(probe) ? 1 : 0)
      }
      for (const run of runs) {
        if (uuidv7Time(run.first) === undefined) continue
        for (const one of ids) if (holds(run, one)) expect(one <= highestIn(run.first)).toBe(true)
      }
    }),
  )
})

test('rising ids of one moment make one run', () => {
  const ids = Array.from({ length: 256 }, (_, n) => `018bcfe5-6800-7${n.toString(16).padStart(3, '0')}-8000-000000000000`)
  expect(runsOf(ids)).toHaveLength(1)
  expect(runsOf([...ids].reverse())).toHaveLength(256)
})

test('only runs that lie wholly before a time have a key before it', () => {
  fc.assert(
    fc.property(fc.uniqueArray(v7, { maxLength: 30 }), fc.integer({ min: -20, max: 60 }), (ids, offset) => {
      const before = 1_700_000_000_000 + offset
      for (const run of runsOf(ids.toSorted((a, b) => (a < b ? -1 : 1)))) {
        if (run.first < keyBefore(before)) for (const one of ids) if (holds(run, one)) expect(uuidv7Time(one)! < before).toBe(true)
      }
    }),
  )
})
