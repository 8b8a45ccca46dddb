import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonical, isCanonical } from '../../src/canonical.ts'
import { inputHash, sha256 } from '../../src/record.ts'

/** The same value with the keys of each object in reverse. */
const reversed = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, member]) => [key, reversed(member)]),
  )
}

describe('canonical', () => {
  test('the order of keys does not matter, and nothing but JSON is seen', () => {
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        const text = canonical(value)!
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)))
        expect(canonical(reversed(value))).toBe(text)
        expect(canonical(JSON.parse(text))).toBe(text)
      }),
      { seed: 7, numRuns: 500 },
    )
  })

  test('what JSON.stringify does to anything, this does too', () => {
    const anything = fc.anything({
      withDate: true,
      withBoxedValues: true,
      withMap: true,
      withSet: true,
      withSparseArray: true,
      withTypedArray: true,
      withNullPrototype: true,
      withUnicodeString: true,
    })
    fc.assert(
      fc.property(anything, value => {
        const text = canonical(value)
        const json = JSON.stringify(value)
        if (json === undefined) expect(text).toBeUndefined()
        else expect(JSON.parse(text!)).toEqual(JSON.parse(json))
        if (isCanonical(value)) expect(json).toBe(text)
      }),
      { seed: 7, numRuns: 2_000 },
    )
  })

  test('keys are sorted by UTF-16 units, at every depth', () => {
    expect(canonical({ b: 1, a: [{ d: 1, c: 2 }], 10: 0, 9: 0, '\u{1f4ba}': 1, '\uffff': 1 })).toBe(
      '{"10":0,"9":0,"a":[{"c":2,"d":1}],"b":1,"\u{1f4ba}":1,"\uffff":1}',
    )
  })

  test('what stands in order already is told from what does not', () => {
    const inOrder = [undefined, null, -0, 'b', [], [{ a: 1, b: { c: [Number.NaN] } }], { 1: 0, 2: 0, a: undefined }]
    for (const value of inOrder) {
      expect(isCanonical(value)).toBe(true)
      expect(JSON.stringify(value)).toBe(canonical(value))
    }
    const others = [
      { b: 1, a: 1 },
      [{ a: { d: 1, c: 1 } }],
      { 10: 0, 9: 0 },
      new Date(0),
      { a: { toJSON: () => ({ b: 1, a: 1 }) } },
      Object.create(null),
    ]
    for (const value of others) expect(isCanonical(value)).toBe(false)
  })

  test('half a surrogate pair stays what it is: two inputs are not the same for it', () => {
    expect(canonical(['\ud800', '\ud801'])).toBe('["\\ud800","\\ud801"]')
  })

  test('toJSON is told the key', () => {
    const teller = { toJSON: (key: string) => `key ${key}` }
    const value = { b: teller, a: [teller, teller], ['__proto__']: teller }
    expect(JSON.parse(canonical(value)!)).toEqual(JSON.parse(JSON.stringify(value)))
    expect(canonical(teller)).toBe('"key "')
  })

  test('what JSON cannot carry throws', () => {
    const cycle: unknown[] = []
    cycle.push(cycle)
    expect(() => canonical({ n: 1n })).toThrow(TypeError)
    expect(() => canonical(cycle)).toThrow()
  })
})

describe('inputHash', () => {
  test('is sha256 of the canonical JSON of command and input', () => {
    expect(inputHash('reserve', { seat: 'A1', guest: undefined, at: new Date(0) })).toBe(
      sha256('["reserve",{"at":"1970-01-01T00:00:00.000Z","seat":"A1"}]'),
    )
    expect(inputHash('reserve', { b: 1, a: 2 })).toBe(inputHash('reserve', { a: 2, b: 1 }))
    expect(inputHash('reserve', undefined)).toBe(inputHash('reserve', null))
    expect(inputHash('reserve', { a: 1 })).not.toBe(inputHash('release', { a: 1 }))
    // It stands in id tables and logs: it may never change.
    expect(inputHash('reserve', { seat: 'A1' })).toBe('4JiicZnlKbFXsI152L_ju37a796W-BAoHORQxGG0tmM')
  })
})
