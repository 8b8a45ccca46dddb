import { describe, expect, test } from 'vitest'
import { isId, isLine, isName, isTag, isTenant, uuidv7, uuidv7Time } from '../../src/ids.ts'

const V7 = '0190163d-8694-739b-aea5-966c26f8ad91'

describe('syntax', () => {
  test.each(['a', '!', '~', 'x'.repeat(128), V7, 'order:4711', `x${V7.toUpperCase()}`, V7.toUpperCase().replace('-', '_')])('id %j', id =>
    expect(isId(id)).toBe(true),
  )
  test.each(['', ' ', 'a b', 'é', 'a\n', '\u007f', 'x'.repeat(129), V7.toUpperCase(), V7.replace('d', 'D'), 7, null, undefined, ['a']])(
    'no id %j',
    id => expect(isId(id)).toBe(false),
  )
  test.each(['default', '0', 'a.b_c-d', 'a'.repeat(64)])('tenant %j', name => expect(isTenant(name)).toBe(true))
  test.each(['', 'A', '.a', '-a', '_a', 'a/b', 'a\n', 'a'.repeat(65), 'ä', 1, null])('no tenant %j', name =>
    expect(isTenant(name)).toBe(false),
  )
  test.each(['A', 'Seat.Reserved_v-1', 'x'.repeat(128)])('name %j', name => expect(isName(name)).toBe(true))
  test.each(['', '1a', '_a', 'a b', 'a\n', 'ä', 'x'.repeat(129), null])('no name %j', name => expect(isName(name)).toBe(false))
  test.each(['*', '', 'a\nb', 'a\u0000', 'a\u007f', 'a\u0085', '\ud800', 'x'.repeat(257), null, 5])('no tag %j', tag =>
    expect(isTag(tag)).toBe(false),
  )
  test.each(['**', ' ', 'seat:A1', 'größe', '座席', '\u{1f4ba}', 'x'.repeat(256)])('tag %j', tag => expect(isTag(tag)).toBe(true))
  test('a line has the bound it is given', () => {
    expect(isLine('x'.repeat(300))).toBe(false)
    expect(isLine('x'.repeat(300), 300)).toBe(true)
    expect(isLine('*')).toBe(true)
  })
})

describe('uuidv7', () => {
  test('grows within a millisecond, over a full count and when the clock steps back', () => {
    const now = Date.now()
    const ids = [
      ...Array.from({ length: 10_000 }, () => uuidv7(now)),
      uuidv7(now - 5_000),
      uuidv7(now + 0.5),
      uuidv7(now + 60_000),
      uuidv7(now),
    ]
    expect(ids.toSorted()).toEqual(ids)
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids.every(id => isId(id) && uuidv7Time(id) !== undefined)).toBe(true)
    expect(uuidv7Time(ids[0]!)).toBe(now)
  })

  test('the random part is not used twice', () => {
    const tails = Array.from({ length: 5_000 }, () => uuidv7(0).slice(19))
    expect(new Set(tails).size).toBe(tails.length)
    expect(new Set(tails.map(tail => tail[0]))).toEqual(new Set('89ab'))
  })

  test('only a v7 UUID in lower case has a time', () => {
    expect(uuidv7Time(V7)).toBe(0x0190163d8694)
    expect(uuidv7Time('ffffffff-ffff-7000-8000-000000000000')).toBe(2 ** 48 - 1)
    for (const id of [V7.toUpperCase(), V7.replace('-7', '-4'), V7.replace('-a', '-c'), `${V7}0`, V7.slice(1), `{${V7.slice(2)}}`, 'a', ''])
      expect(uuidv7Time(id)).toBeUndefined()
  })
})
