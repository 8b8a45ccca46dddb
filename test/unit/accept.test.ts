import { createHash } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { accept, control, emptyShard, enter, genesis, restore } from '../../src/accept.ts'
import type { ControlRecord, DataRecord } from '../../src/record.ts'
import { partitionOf } from '../../src/partition.ts'
import { decision, encode, Fold, LOG, manifest, uuidAt } from '../oracle/fold.ts'

let fold: Fold
beforeEach(() => {
  fold = new Fold()
  fold.take(encode(manifest({ window: 10 })))
})

const put = (record: Record<string, unknown>) => fold.take(encode({ log: LOG, time: 1, ...record } as unknown as ControlRecord))
const none = { events: [] }
/** `n` decisions with one event each, in records of their own. */
const grow = (n: number, tag = 'other') => {
  for (let i = 0; i < n; i++) fold.add(decision(`grow-${fold.tenant().state.version}`, [tag]))
}
/** A record that was made now and comes later. */
const later = (record: DataRecord) => () => fold.judge(record)

describe('control records', () => {
  test('before the manifest everything is foreign', () => {
    fold = new Fold()
    expect(put({ kind: 'term', number: 1, owner: 'a', address: null })).toBe('the log has no manifest yet')
    expect(put({ kind: 'barrier', nonce: 'n' })).toBe('the log has no manifest yet')
    expect(fold.judge({ ...fold.data([decision('a')]), log: LOG })).toEqual(['foreign'])
    expect(fold.shard).toEqual(emptyShard)
  })

  test('manifest: the first valid one wins', () => {
    fold = new Fold()
    expect(fold.take(encode(manifest({ generation: 0 })))).toBe('its field generation is not legal')
    expect(fold.take(encode(manifest({ generation: 3, partitions: 4, partition: 2, rules: 2, window: 7 })))).toBe('ok')
    expect(fold.take(encode(manifest({ generation: 4 })))).toBe('the log has its manifest already')
    expect(fold.take(encode(manifest({ log: 'log-2' })))).toBe('the log has its manifest already')
    expect(fold.shard).toEqual({
      ...emptyShard,
      log: LOG,
      app: 'bank',
      generation: 3,
      partitions: 4,
      partition: 2,
      rules: { number: 2, window: 7 },
    })
  })

  test('of another log: no effect, whatever it is', () => {
    const before = fold.shard
    for (const record of [
      { kind: 'term', number: 1, owner: 'a', address: null },
      { kind: 'release', release: 'r2', replaces: null },
      { kind: 'forget', before: 9 },
      { kind: 'rules', number: 2, window: 1 },
      { kind: 'seal' },
      { kind: 'barrier', nonce: 'n' },
    ])
      expect(put({ ...record, log: 'log-2' })).toBe('it belongs to another log')
    expect(fold.shard).toBe(before)
  })

  test('term: the next number only, for an abdication too', () => {
    expect(put({ kind: 'term', number: 2, owner: 'a', address: null })).toBe('term 1 would be next, not 2')
    expect(put({ kind: 'term', number: 1, owner: 'a', address: 'http://a' })).toBe('ok')
    expect(fold.shard.term).toEqual({ number: 1, owner: 'a', address: 'http://a' })
    expect(put({ kind: 'term', number: 1, owner: 'b', address: null })).toBe('term 2 would be next, not 1')
    expect(put({ kind: 'term', number: 1, owner: null, address: null })).toBe('term 2 would be next, not 1')
    expect(put({ kind: 'term', number: 2, owner: null, address: null })).toBe('ok')
    expect(fold.shard.term).toEqual({ number: 2, owner: null, address: null })
    expect(put({ kind: 'term', number: 3, owner: 'a', address: null })).toBe('ok')
  })

  test('release: replaces the active one, and ends the term', () => {
    put({ kind: 'term', number: 1, owner: 'a', address: null })
    expect(put({ kind: 'release', release: 'r2', replaces: 'r1' })).toBe('the active release is not set, not r1')
    expect(put({ kind: 'release', release: 'r2', replaces: null })).toBe('ok')
    expect(fold.shard.release).toBe('r2')
    expect(fold.shard.term).toEqual({ number: 2, owner: null, address: null })
    expect(put({ kind: 'release', release: 'r3', replaces: null })).toBe('the active release is r2, not unset')
    expect(put({ kind: 'release', release: 'r2', replaces: 'r2' })).toBe('this release is active already')
    expect(fold.shard.term.number).toBe(2)
    // A claim made before the release comes too late.
    expect(put({ kind: 'term', number: 2, owner: 'b', address: null })).toBe('term 3 would be next, not 2')
    expect(put({ kind: 'release', release: 'r1', replaces: 'r2' })).toBe('ok')
  })

  test('forget: only forward', () => {
    expect(put({ kind: 'forget', before: 0 })).toBe('as much was forgotten already')
    expect(put({ kind: 'forget', before: 5 })).toBe('ok')
    expect(put({ kind: 'forget', before: 5 })).toBe('as much was forgotten already')
    expect(put({ kind: 'forget', before: 4 })).toBe('as much was forgotten already')
    expect(fold.shard.forgetBefore).toBe(5)
  })

  test('rules: the next number only', () => {
    expect(put({ kind: 'rules', number: 1, window: 3 })).toBe('rules 2 would be next, not 1')
    expect(put({ kind: 'rules', number: 3, window: 3 })).toBe('rules 2 would be next, not 3')
    expect(put({ kind: 'rules', number: 2, window: 3 })).toBe('ok')
    expect(fold.shard.rules).toEqual({ number: 2, window: 3 })
  })

  test('seal: everything after it is foreign', () => {
    const record = fold.data([decision('a')])
    expect(put({ kind: 'seal' })).toBe('ok')
    expect(fold.judge(record)).toEqual(['foreign'])
    expect(put({ kind: 'barrier', nonce: 'n' })).toBe('the log is sealed')
    expect(put({ kind: 'seal' })).toBe('the log is sealed')
    expect(fold.take(encode(manifest()))).toBe('the log is sealed')
    expect(fold.tenant().state.version).toBe(0)
  })

  test('barrier: no effect, and voids no batch', () => {
    const record = fold.data([decision('a')])
    const before = fold.shard
    expect(control(before, { kind: 'barrier', log: LOG, time: 1, nonce: 'n' })).toBe(before)
    expect(put({ kind: 'barrier', nonce: 'n' })).toBe('ok')
    expect(fold.judge(record)).toEqual(['accepted'])
  })
})

describe('rules 1 and 2: the record as a whole', () => {
  test('of another log: foreign', () => expect(fold.judge(fold.data([decision('a')], { log: 'log-2' }))).toEqual(['foreign']))

  test('of a tenant that lives on another shard: foreign, also in a term of its own', () => {
    const other = new Fold()
    other.take(encode(manifest({ partitions: 10, partition: partitionOf('foobar', 10) })))
    expect(other.judge(other.data([decision('a')], { tenant: 'foobar' }))).toEqual(['accepted'])
    const lost = other.data([decision('b'), decision('c')], { tenant: 'abc', rules: 9 })
    expect(other.judge(lost)).toEqual(['foreign', 'foreign'])
    expect(other.tenant('abc').state.version).toBe(0)
    // With one shard everybody is at home.
    expect(fold.judge(fold.data([decision('a')], { tenant: 'abc' }))).toEqual(['accepted'])
  })

  test('one verdict for each decision', () =>
    expect(fold.judge(fold.data([decision('a'), decision('b')], { rules: 2 }))).toEqual(['deposed', 'deposed']))

  test('the rules number must be the state`s', () => {
    const old = later(fold.data([decision('a')]))
    put({ kind: 'rules', number: 2, window: 10 })
    expect(old()).toEqual(['deposed'])
    expect(fold.judge(fold.data([decision('a')]))).toEqual(['accepted'])
  })

  test.each([
    [{ number: 0, owner: null }],
    [{ number: 1, owner: 'b' }],
    [{ number: 1, owner: null }],
    [{ number: 0, owner: 'a' }],
    [{ number: 2, owner: 'a' }],
  ])('while a owns term 1, %j is deposed', term => {
    put({ kind: 'term', number: 1, owner: 'a', address: null })
    expect(fold.judge(fold.data([decision('x')], { term }))).toEqual(['deposed'])
    expect(fold.judge(fold.data([decision('x')], { term: { number: 1, owner: 'a' } }))).toEqual(['accepted'])
  })

  test('while nobody owns the shard, an owner is deposed', () => {
    expect(fold.judge(fold.data([decision('x')], { term: { number: 0, owner: 'a' } }))).toEqual(['deposed'])
    put({ kind: 'term', number: 1, owner: 'a', address: null })
    const last = later(fold.data([decision('x')]))
    put({ kind: 'term', number: 2, owner: null, address: null })
    expect(last()).toEqual(['deposed'])
    expect(fold.judge(fold.data([decision('x')], { term: { number: 2, owner: 'a' } }))).toEqual(['deposed'])
  })

  test('any release counts until one is made active', () => {
    expect(fold.judge(fold.data([decision('x')], { release: 'r1' }))).toEqual(['accepted'])
    expect(fold.judge(fold.data([decision('y')], { release: 'r9' }))).toEqual(['accepted'])
    put({ kind: 'release', release: 'r2', replaces: null })
    expect(fold.judge(fold.data([decision('z')], { release: 'r1' }))).toEqual(['deposed'])
    expect(fold.judge(fold.data([decision('z')], { release: 'r2' }))).toEqual(['accepted'])
  })

  test('a writer of the new release that knew the old term is deposed', () => {
    put({ kind: 'term', number: 1, owner: 'a', address: null })
    const early = later(fold.data([decision('x')], { release: 'r2' }))
    put({ kind: 'release', release: 'r2', replaces: null })
    expect(early()).toEqual(['deposed'])
  })

  test('deposed comes before too-old and diverged, too-old before diverged', () => {
    put({ kind: 'rules', number: 2, window: 1 })
    grow(3)
    expect(fold.judge(fold.data([decision('x')], { base: 0, rules: 1 }))).toEqual(['deposed'])
    expect(fold.judge(fold.data([decision('x')], { base: 0 }))).toEqual(['too-old'])
  })
})

describe('rule 3: the base', () => {
  test('the beginning of the log is a base as long as the floor is there', () => {
    const blind = [decision('x', [], { writes: ['a'] })]
    const early = fold.data(blind)
    grow(10)
    expect(fold.tenant().state).toMatchObject({ version: 10, floor: 0 })
    fold.reopen()
    expect(fold.judge(early)).toEqual(['accepted'])
    expect(fold.judge(early)).toEqual(['too-old'])
  })

  test('a base at the floor is judged, one below is too old', () => {
    const bases: DataRecord[] = []
    for (let i = 0; i < 15; i++) {
      bases.push(fold.data([decision(`late-${i}`, ['a'], none)]))
      grow(1)
    }
    expect(fold.tenant().state).toMatchObject({ version: 15, floor: 5 })
    expect(bases.map(record => fold.judge(record)[0])).toEqual([...Array(5).fill('too-old'), ...Array(10).fill('accepted')])
  })

  test('a base that is no record`s end, above the version or of another history is diverged', () => {
    fold.add(decision('one', ['a']), decision('two', ['b']))
    fold.add(decision('three', ['c']))
    const { digest } = fold.tenant().state
    let n = 0
    const judge = (over: Partial<DataRecord>) => fold.judge(fold.data([decision(`x-${n++}`, ['z'], none)], over))
    expect(judge({ base: 1 })).toEqual(['diverged'])
    expect(judge({ base: 1, digest: fold.tenant().history[0]!.digest })).toEqual(['diverged'])
    expect(judge({ base: 2, digest: fold.tenant().history[0]!.digest })).toEqual(['accepted'])
    expect(judge({ base: 4 })).toEqual(['diverged'])
    expect(judge({ base: 2 })).toEqual(['diverged'])
    expect(judge({ base: 0 })).toEqual(['diverged'])
    expect(judge({ base: 3, digest: digest.replace(/./g, 'A') })).toEqual(['diverged'])
    expect(judge({ base: 3 })).toEqual(['accepted'])
  })

  test('the successor of a record that was lost is lost too', () => {
    const other = new Fold()
    other.take(encode(manifest({ window: 10 })))
    other.add(decision('lost', ['a']))
    fold.add(decision('won', ['b']))
    expect(fold.judge(other.data([decision('next', ['c'])]))).toEqual(['diverged'])
  })

  test('the floor follows the version, and does not move back when the window grows', () => {
    grow(14)
    expect(fold.tenant().state.floor).toBe(4)
    put({ kind: 'rules', number: 2, window: 1_000 })
    grow(1)
    expect(fold.tenant().state.floor).toBe(4)
    put({ kind: 'rules', number: 3, window: 2 })
    expect(fold.tenant().state.floor).toBe(4)
    fold.add(decision('no event', '*', { id: 'none', events: [] }))
    expect(fold.tenant().state.floor).toBe(4)
    grow(1)
    expect(fold.tenant().state.floor).toBe(14)
  })

  test('a window of nothing: only the newest base will do', () => {
    put({ kind: 'rules', number: 2, window: 0 })
    const early = later(fold.data([decision('x', ['a'])]))
    grow(2)
    expect(early()).toEqual(['too-old'])
    expect(fold.judge(fold.data([decision('x', ['a'])]))).toEqual(['accepted'])
  })
})

describe('rule 4: each decision', () => {
  const verdicts = (base: DataRecord, ...decisions: ReturnType<typeof decision>[]) => fold.judge({ ...base, decisions })

  test('a known id is a duplicate, with another input too', () => {
    fold.add(decision('a', ['a']))
    expect(fold.judge(fold.data([decision('a', ['a']), decision('a', [], { hash: decision('b').hash }), decision('b', ['b'])]))).toEqual([
      'duplicate',
      'duplicate',
      'accepted',
    ])
  })

  test('an id is accepted once in a record; one that was refused may come again', () => {
    const base = fold.data([])
    grow(1, 'a')
    expect(verdicts(base, decision('x', ['a']), decision('x', ['b']), decision('x', ['c']))).toEqual(['conflict', 'accepted', 'duplicate'])
  })

  test('duplicate comes before conflict, and a rejection is remembered as well', () => {
    const base = fold.data([])
    fold.add(decision('a', ['a'], { events: [], rejection: { code: 'no' } }), decision('b', ['a']))
    expect(verdicts(base, decision('a', ['a']), decision('c', ['a']))).toEqual(['duplicate', 'conflict'])
  })

  test('UUIDv7 ids older than F expire, known or not; others never', () => {
    fold.add(decision(uuidAt(4, 1), ['a']), decision(uuidAt(5, 1), ['a']), decision('old', ['a']))
    put({ kind: 'forget', before: 5 })
    const record = fold.data([
      decision(uuidAt(4, 1), ['a']),
      decision(uuidAt(4, 2), ['a']),
      decision(uuidAt(5, 1), ['b']),
      decision(uuidAt(5, 2), ['d']),
      decision('old', ['b']),
      decision('new', ['c']),
    ])
    const { ids, state } = fold.tenant()
    const verdicts = () => accept(fold.shard, state, record, id => ids.has(id))
    const before = verdicts()
    expect(before).toEqual(['expired', 'expired', 'duplicate', 'accepted', 'duplicate', 'accepted'])
    // The ids may leave the table at any time, on any replica.
    fold.forget()
    expect(ids.has(uuidAt(4, 1))).toBe(false)
    expect(verdicts()).toEqual(before)
  })

  test('no clock expires an id: neither the record`s time nor that of other ids', () => {
    fold.judge(fold.data([decision(uuidAt(2 ** 47, 1), ['a'])], { time: 8.64e15 }))
    expect(fold.judge(fold.data([decision(uuidAt(1, 1), ['a'])], { time: 8.64e15 }))).toEqual(['accepted'])
  })

  test('who reads everything must have seen everything', () => {
    const base = fold.data([])
    fold.add(decision('w', [], none))
    expect(verdicts(base, decision('x', '*', none))).toEqual(['accepted'])
    fold.add(decision('v', []))
    expect(verdicts(base, decision('y', '*', none))).toEqual(['conflict'])
  })

  test('a tag that was written after the base: by a scope, by an event, by a writer of everything', () => {
    const base = fold.data([])
    fold.add(
      decision('1', [], { writes: ['scope'] }),
      decision('2', [], {
        events: [
          { type: 'A', schema: 1, data: 0 },
          { type: 'A', schema: 1, data: 0, tags: ['event'] },
        ],
      }),
      decision('3', ['read'], { writes: [] }),
      decision('4', [], { writes: ['unused'], events: [] }),
    )
    const [scope, event, read, unused] = ['scope', 'event', 'read', 'unused'].map(tag => decision(`x-${tag}`, ['other', tag], none))
    expect(verdicts(base, scope!, event!, read!, unused!)).toEqual(['conflict', 'conflict', 'accepted', 'accepted'])
    const mid = fold.data([])
    fold.add(decision('5', [], { writes: '*' }))
    expect(verdicts(mid, decision('y', ['nobody']))).toEqual(['conflict'])
    // To the letter: written to all is written to whoever reads nothing, too.
    expect(verdicts(mid, decision('y', []))).toEqual(['conflict'])
    expect(verdicts(fold.data([]), decision('y', ['nobody']))).toEqual(['accepted'])
  })

  test('a write at the base was seen, one right after it was not', () => {
    fold.add(decision('1', ['a']))
    const base = fold.data([])
    fold.add(decision('2', ['b']))
    expect(verdicts(base, decision('x', ['a'], none), decision('y', ['b'], none))).toEqual(['accepted', 'conflict'])
  })

  test('a tag that was written again is remembered when its first record leaves the window', () => {
    fold.add(decision('1', ['a']))
    grow(8)
    const base = fold.data([])
    fold.add(decision('2', ['a']))
    expect(verdicts(base, decision('w', ['a'], none))).toEqual(['conflict'])
    grow(9)
    expect(fold.tenant().state.floor).toBe(9)
    expect(verdicts(base, decision('x', ['a'], none), decision('y', ['b'], none))).toEqual(['conflict', 'accepted'])
  })

  describe('what an earlier decision of the record writes', () => {
    const first = () => decision('first', ['a'])
    const readers = () => [
      decision('same', ['a'], none),
      decision('else', ['b'], none),
      decision('all', '*', none),
      decision('blind', [], none),
    ]

    test('was seen, if the base is the newest and all came true', () => {
      expect(fold.judge(fold.data([first(), ...readers()]))).toEqual(Array(5).fill('accepted'))
    })

    test('was not, if something stands between: also if the earlier one is accepted', () => {
      const base = fold.data([])
      grow(1)
      expect(verdicts(base, first(), ...readers())).toEqual(['accepted', 'conflict', 'accepted', 'conflict', 'accepted'])
    })

    test('was not, if an earlier one with events was refused', () => {
      fold.add(decision('first', ['a']))
      expect(fold.judge(fold.data([first(), ...readers()]))).toEqual(['duplicate', 'conflict', 'accepted', 'conflict', 'accepted'])
    })

    test('nor if it was another one that was refused', () => {
      fold.add(decision('gone', ['c']))
      expect(fold.judge(fold.data([first(), decision('gone', ['c']), ...readers()]))).toEqual([
        'accepted',
        'duplicate',
        'conflict',
        'accepted',
        'conflict',
        'accepted',
      ])
    })

    test('a refused decision without events leaves nothing unseen', () => {
      fold.add(decision('first', ['a'], none))
      const refused = { ...first(), events: [] }
      const expected = ['accepted', 'duplicate', ...Array(4).fill('accepted')]
      expect(fold.judge(fold.data([decision('second', ['a']), refused, ...readers()]))).toEqual(expected)
    })

    test('an expired one is a refused one', () => {
      put({ kind: 'forget', before: 5 })
      expect(fold.judge(fold.data([{ ...first(), id: uuidAt(1, 1) }, ...readers()]))).toEqual([
        'expired',
        'conflict',
        'accepted',
        'conflict',
        'accepted',
      ])
    })

    test('by its events` tags, and to everything', () => {
      const base = fold.data([])
      grow(1)
      const tagged = decision('tagged', [], { events: [{ type: 'A', schema: 1, data: 0, tags: ['a'] }] })
      expect(verdicts(base, tagged, ...readers())).toEqual(['accepted', 'conflict', 'accepted', 'conflict', 'accepted'])
      const all = decision('all-writer', ['q'], { writes: '*' })
      expect(verdicts(base, all, decision('p', ['nobody'], none), decision('q', [], none))).toEqual(['accepted', 'conflict', 'accepted'])
    })

    test('a refused decision`s own conflict spoils those who read it in turn', () => {
      const base = fold.data([])
      grow(1, 'a')
      expect(
        verdicts(base, decision('x', ['a'], { writes: ['b'] }), decision('y', ['b'], { writes: ['c'] }), decision('z', ['c'])),
      ).toEqual(['conflict', 'conflict', 'conflict'])
    })
  })
})

describe('rule 5: what enters', () => {
  test('versions are dense, and told for each decision', () => {
    fold.add(decision('known', ['k']))
    const record = fold.data([
      decision('a', ['a'], { events: [1, 2, 3].map(data => ({ type: 'A', schema: 1, data })) }),
      decision('known', ['k']),
      decision('b', ['b'], none),
      decision('c', ['c'], { writes: ['c', 'd', 'a'] }),
    ])
    const { state, ids } = fold.tenant()
    const verdicts = accept(fold.shard, state, record, id => ids.has(id))
    const entered = enter(fold.shard, state, record, 'the bytes', verdicts)
    expect(entered).toEqual({
      versions: [4, 4, 4, 5],
      history: { end: 5, digest: state.digest, writes: ['a', 'c', 'd'], verdicts: ['accepted', 'duplicate', 'accepted', 'accepted'] },
    })
    expect(state).toMatchObject({ version: 5, floor: 0 })
  })

  test('if all were accepted the history says null', () => {
    const { state } = fold.tenant()
    const record = fold.data([decision('a'), decision('b', ['b'])])
    const entered = enter(fold.shard, state, record, 'x', ['accepted', 'accepted'])
    expect(entered.history).toEqual({ end: 2, digest: state.digest, writes: '*', verdicts: null })
  })

  test('without an event nothing moves, though the ids are known from now on', () => {
    grow(3)
    const { version, floor, digest } = fold.tenant().state
    expect(fold.judge(fold.data([decision('a', '*', none), decision('b', '*', { events: [], rejection: { code: 'no' } })]))).toEqual([
      'accepted',
      'accepted',
    ])
    expect(fold.judge(fold.data([decision('a', '*'), decision('b', '*')]))).toEqual(['duplicate', 'duplicate'])
    expect(fold.tenant().state).toMatchObject({ version, floor, digest })
  })

  const sha = (text: string) => createHash('sha256').update(text).digest('base64url')

  test('digests: the layout that every build of these rules must keep', () => {
    expect(fold.tenant('acme').state.digest).toBe(sha(`${LOG}\nacme`))
    expect(genesis(LOG, 'acme').digest).not.toBe(genesis(LOG, 'acmf').digest)
    const before = fold.tenant().state.digest
    const record = fold.data([decision('größe', ['größe'], { id: 'a' }), decision('b', ['x'])])
    const value = encode(record)
    fold.take(value)
    expect(fold.tenant().state.digest).toBe(sha(`${before}\naccepted,accepted\n${value}`))
    expect(fold.tenant().state.digest).toBe('byr1T8Eddgh8N2lt7ISWS2u-DPisFk-7wg0-wfnD9vM')
    const bytes = new Fold()
    bytes.take(Buffer.from(encode(manifest({ window: 10 }))))
    bytes.take(new Uint8Array(Buffer.from(value)))
    expect(bytes.tenant().state.digest).toBe(fold.tenant().state.digest)
  })

  test('the digest tells verdicts apart', () => {
    const record = fold.data([decision('a', ['a']), decision('b', ['b'], none)])
    const one = genesis(LOG, 'default')
    const two = genesis(LOG, 'default')
    enter(fold.shard, one, record, 'x', ['accepted', 'accepted'])
    enter(fold.shard, two, record, 'x', ['accepted', 'duplicate'])
    expect(one.digest).not.toBe(two.digest)
  })

  test('tenants do not see each other', () => {
    fold.add(decision('a', '*'))
    const base = fold.data([decision('a', '*')], { tenant: 'acme' })
    expect(base.base).toBe(0)
    expect(fold.judge(base)).toEqual(['accepted'])
    expect(fold.judge({ ...base, tenant: 'default', decisions: [decision('b')] })).toEqual(['diverged'])
  })
})

describe('restore', () => {
  test('the history is asked when a verdict needs it, once, and what came since is not taken twice', () => {
    fold.add(decision('1', ['a']))
    const base = fold.data([decision('x', ['b'])])
    const { state, history } = fold.tenant()
    let asked = 0
    const lazy = restore(LOG, 'default', state, () => {
      asked++
      return history
    })
    fold.tenant().state = lazy
    grow(2)
    expect(asked).toBe(0)
    expect(fold.judge(base)).toEqual(['accepted'])
    expect(fold.judge({ ...base, decisions: [decision('y', ['other'])] })).toEqual(['conflict'])
    expect(fold.judge({ ...base, decisions: [decision('z', ['a'])] })).toEqual(['accepted'])
    expect(asked).toBe(1)
  })

  test('at version 0 it is the genesis, whatever the digest', () => {
    expect(restore(LOG, 'acme', { version: 0, floor: 0, digest: '' }, () => []).digest).toBe(genesis(LOG, 'acme').digest)
  })
})
