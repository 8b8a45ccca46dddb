import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Tags } from '../../src/record.ts'
import { Window, type WindowEntry } from '../../src/window.ts'

const tags: fc.Arbitrary<Tags> = fc.oneof(
  { weight: 1, arbitrary: fc.constant('*' as const) },
  { weight: 60, arbitrary: fc.subarray(['a', 'b', 'c', 'd', 'e', 'f', 'g'], { maxLength: 3 }) },
)

test('it answers as the whole list of entries would, above the floor, over many evictions', () => {
  const entry = fc.record({ events: fc.integer({ min: 1, max: 4 }), writes: tags })
  const log = fc.record({
    entries: fc.array(entry, { minLength: 200, maxLength: 400, size: 'max' }),
    reach: fc.integer({ min: 0, max: 200 }),
    restoredAt: fc.nat(150),
  })
  fc.assert(
    fc.property(log, ({ entries, reach, restoredAt }) => {
      const all: WindowEntry[] = []
      let end = 0
      let asked = 0
      const older: WindowEntry[] = []
      const window = new Window(() => {
        asked++
        return older
      })
      for (const [i, { events, writes }] of entries.entries()) {
        end += events
        const next = { end, digest: `digest ${end}`, writes }
        all.push(next)
        if (i < restoredAt) {
          older.push(next)
          continue
        }
        window.push(next)
        const floor = Math.max(0, end - reach)
        window.evict(floor)
        // Not at once: what is pushed before the first question must not be lost.
        if (i < restoredAt + 5 || i % 7 > 0) continue
        for (let version = floor; version <= end; version += 1 + (i % 5)) {
          expect(window.digestAt(version)).toBe(all.find(each => each.end === version)?.digest)
          const written = (tag: string) => all.some(each => each.end > version && (each.writes === '*' || each.writes?.includes(tag)))
          for (const tag of ['a', 'd', 'g', 'unheard']) expect(window.writtenAfter(version, [tag])).toBe(written(tag))
        }
      }
      expect(asked).toBe(1)
    }),
    // A shorter list would not be evicted as often: nothing to shrink to.
    { seed: 3, numRuns: 30, endOnFailure: true },
  )
})
