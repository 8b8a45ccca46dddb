import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { accept, control, enter } from '../../src/accept.ts'
import {
  type ControlRecord,
  type DataRecord,
  decode,
  encodeControl,
  encodeDecision,
  encodeRecord,
  type Json,
  type LogRecord,
  MAX_DEPTH,
  sha256,
} from '../../src/record.ts'
import { decision, encode, Fold, LOG, manifest } from '../oracle/fold.ts'

const HASH = sha256('x')
const V7 = '0190163d-8694-739b-aea5-966c26f8ad91'

const full: DataRecord = {
  kind: 'data',
  log: LOG,
  rules: 1,
  term: { number: 3, owner: 'me' },
  release: 'r 1',
  tenant: 'acme',
  base: 7,
  digest: HASH,
  time: 8.64e15,
  decisions: [
    {
      id: V7,
      command: 'reserve',
      hash: HASH,
      reads: '*',
      writes: ['seat:A1', 'größe'],
      events: [
        { type: 'SeatReserved', schema: 2, data: { seat: 'A1', deep: [{ ['__proto__']: null }, '\ud800'] }, tags: ['seat:A1'] },
        { type: 'SeatPaid', schema: 1, data: null },
      ],
      result: [1, null],
      meta: { principal: 'ann', correlation: 'c', causation: 'd', trace: '00-1-2-01' },
    },
    { id: 'b', command: 'reserve', hash: HASH, reads: [], writes: [], events: [], rejection: { code: 'taken', details: { by: null } } },
    { id: 'c', command: 'reserve', hash: HASH, reads: ['a'], writes: '*', events: [], rejection: { code: '' }, meta: {} },
    { id: 'd', command: 'reserve', hash: HASH, reads: ['a'], writes: '*', events: [], result: null },
  ],
}

const controls: ControlRecord[] = [
  manifest(),
  { kind: 'term', log: LOG, time: 0, number: 1, owner: 'me', address: 'http://a:1' },
  { kind: 'term', log: LOG, time: 0, number: 1, owner: 'me', address: null },
  { kind: 'term', log: LOG, time: 0, number: 2, owner: null, address: null },
  { kind: 'release', log: LOG, time: 0, release: 'r2', replaces: null },
  { kind: 'release', log: LOG, time: 0, release: 'r3', replaces: 'r2' },
  { kind: 'forget', log: LOG, time: 0, before: 5 },
  { kind: 'rules', log: LOG, time: 0, number: 2, window: 0 },
  { kind: 'seal', log: LOG, time: 0 },
  { kind: 'barrier', log: LOG, time: 0, nonce: 'n' },
  manifest({ partitions: 3, partition: 2 }),
]

const envelopes: readonly LogRecord[] = [full, ...controls]

/** A copy in which `path` holds `value`; undefined removes it. */
function tampered(record: LogRecord, path: string, value: unknown): string {
  const copy = JSON.parse(encode(record))
  const keys = path.split('.')
  const last = keys.pop()!
  let at = copy
  for (const key of keys) at = at[key]
  if (value === undefined) delete at[last]
  else at[last] = value
  return JSON.stringify(copy)
}

const reason = (value: string | Uint8Array) => {
  const record = decode(value)
  return record.kind === 'foreign' ? record.reason : undefined
}

describe('encode and decode', () => {
  test.each(envelopes)('$kind: there and back', record => {
    const value = encode(record)
    expect(value.startsWith('{"mainstem":1,"kind":')).toBe(true)
    const back = record.kind === 'data' ? { ...record, decisions: record.decisions.map(withoutEmptyMeta) } : record
    expect(decode(value)).toEqual(back)
    expect(decode(Buffer.from(value))).toEqual(back)
    expect(encode(decode(value) as LogRecord)).toBe(value)
  })

  test('what is empty is left out', () => {
    const json = encodeDecision({ ...full.decisions[2]!, events: [{ type: 'A', schema: 1, data: 0, tags: [] }], meta: {} })
    expect(json).not.toMatch(/tags|result|meta|details/)
    expect(json).toContain('"events":[{"type":"A","data":0}]')
  })

  test('the first shard is not told, and is understood', () => {
    expect(encode(manifest({ partitions: 2 }))).not.toContain('"partition"')
    expect(decode(encode(manifest({ partitions: 2, partition: 1 })))).toMatchObject({ partitions: 2, partition: 1 })
  })

  test('of a term only number and owner enter a data record', () => {
    const term = { number: 1, owner: 'me', address: 'secret' }
    expect(encodeRecord({ ...full, term }, [encodeDecision(full.decisions[0]!)])).not.toContain('secret')
  })

  test('fields that are not known are allowed, and not seen', () => {
    const value = tampered(full, 'decisions.0.events.0.extra', { a: 1 }).replace('{', '{"later":[[1]],')
    expect(decode(value)).toEqual(decode(encode(full)))
    const late = encodeControl({ ...controls[1]!, later: 1 } as unknown as ControlRecord)
    expect(decode(late)).toEqual(controls[1])
  })
})

const withoutEmptyMeta = (each: DataRecord['decisions'][number]) => {
  const { meta, ...rest } = each
  return meta && Object.keys(meta).length > 0 ? each : rest
}

describe('decode refuses', () => {
  const not = Symbol('removed')
  const bad: Record<string, readonly unknown[]> = {
    kind: [not, 'Data', 'foreign', null, 'toString', ['data']],
    log: [not, '', 'a b', null, V7.toUpperCase(), 1],
    rules: [not, -1, 1.5, '1', null, 2 ** 53],
    term: [not, null, [], 'me'],
    'term.number': [not, -1, 0.1, '1'],
    'term.owner': [not, '', 1, 'a b'],
    release: [not, '', null, 'a\nb', 'x'.repeat(257), 1],
    tenant: [not, '', 'Acme', '.a', 'a/b', null],
    base: [not, -1, 1.5, null, '7', 2 ** 53],
    digest: [not, '', 'x', null, `${HASH}A`, HASH.replace(/./, '+')],
    time: [not, -1, 0.5, 8.64e15 + 1, '1', null],
    decisions: [not, [], {}, null, [null], [[]], ['x']],
    'decisions.0.id': [not, '', 'a b', 'x'.repeat(129), V7.toUpperCase(), null, 7],
    'decisions.0.command': [not, '', '1a', 'a b', 'x'.repeat(129), null],
    'decisions.0.hash': [not, '', 'x', null],
    'decisions.0.reads': [not, '', 'seat', {}, null, ['a', ''], ['*'], [1], ['a\n'], ['x'.repeat(257)]],
    'decisions.0.writes': ['', 'seat', {}, null, ['a', ''], ['*'], [1]],
    'decisions.0.events': [not, {}, null, [null], ['x'], [[]]],
    'decisions.0.events.0.type': [not, '', '1A', 'a b', 'x'.repeat(129), null],
    'decisions.0.events.0.schema': [0, -1, 1.5, '1', null],
    'decisions.0.events.0.data': [not],
    'decisions.0.events.0.tags': ['*', 'a', {}, null, [''], ['*'], [1]],
    'decisions.0.rejection': [{ code: 'no' }],
    'decisions.0.meta': [null, [], 'x', { principal: 1 }, { trace: null }],
    'decisions.1.rejection': [null, [], 'no', {}, { code: 1 }],
    'decisions.1.result': [0],
  }
  for (const [path, values] of Object.entries(bad))
    test.each(values)(`data: ${path} = %j`, value => {
      expect(reason(tampered(full, path, value === not ? undefined : value))).toMatch(/^its field .* is not legal$/)
    })

  const required: Record<string, Record<string, readonly unknown[]>> = {
    manifest: {
      app: ['', 'a b', '1', null],
      partitions: [0, 1.5, null],
      rules: [0, '1'],
      window: [-1, 0.5],
      generation: [0, null],
      log: [''],
      time: [-1],
    },
    term: { number: [0, -1], owner: ['', 1, null], address: ['', 1, 'a\n', 'x'.repeat(2049)] },
    release: { release: ['', null], replaces: ['', 1] },
    forget: { before: [-1, 0.5, 9e15] },
    rules: { number: [0], window: [-1] },
    seal: { log: [''], time: [null] },
    barrier: { nonce: ['', null, 'a b'] },
  }
  for (const record of controls.filter(each => each.kind !== 'term' || each.address !== null))
    for (const [path, values] of Object.entries(required[record.kind]!))
      test.each([undefined, ...values])(`${record.kind}: ${path} = %j`, value => {
        expect(reason(tampered(record, path, value))).toBe(
          `its field ${path === 'owner' && value === null ? 'address' : path} is not legal`,
        )
      })

  test.each([1, -1, 0.5, '0', null])('manifest: partition = %j of 1', partition =>
    expect(reason(tampered(manifest(), 'partition', partition))).toBe('its field partition is not legal'),
  )

  test('the reason tells the field', () => {
    expect(reason(tampered(full, 'decisions.0.events.1.type', ''))).toBe('its field decisions[0].events[1].type is not legal')
  })

  test('another format, and says so', () => {
    expect(reason(tampered(full, 'mainstem', 2))).toBe('its format 2 is not known here')
    expect(reason(tampered(full, 'mainstem', '1'))).toBe('it is not an envelope of Mainstem')
    expect(reason(tampered(full, 'mainstem', undefined))).toBe('it is not an envelope of Mainstem')
  })

  test.each(['', ' ', 'null', '[]', '"mainstem"', '1', '{', '{"mainstem":1', '{}', '\u0000'])('%j', value =>
    expect(reason(value)).toBeDefined(),
  )

  test('bytes that are not UTF-8, and text that is not Unicode', () => {
    const bytes = Buffer.from(encode(full))
    expect(reason(Buffer.concat([bytes, Buffer.from([0xff])]))).toBe('it is not JSON in UTF-8')
    const latin1 = Buffer.from(encode(full).replace('größe', 'x'), 'latin1')
    latin1[latin1.indexOf('"x"') + 1] = 0xe4
    expect(reason(latin1)).toBe('it is not JSON in UTF-8')
    expect(reason(encode(full).replace('größe', '\ud800'))).toBe('it is not well-formed Unicode')
  })

  test('a byte order mark: no two sequences of bytes are one record', () => {
    expect(reason(Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(encode(full))]))).toBeDefined()
    expect(reason(`\ufeff${encode(full)}`)).toBeDefined()
  })

  test('what is nested too deeply, where somebody would have to look at it', () => {
    const nested = (depth: number): Json => (depth === 0 ? 0 : depth % 2 ? [nested(depth - 1)] : { a: nested(depth - 1) })
    const abyss = `${'['.repeat(300_000)}${']'.repeat(300_000)}`
    for (const path of ['decisions.0.events.0.data', 'decisions.0.result', 'decisions.1.rejection.details']) {
      expect(reason(tampered(full, path, nested(MAX_DEPTH)))).toBeUndefined()
      expect(reason(tampered(full, path, nested(MAX_DEPTH + 1)))).toMatch(/is not legal/)
      expect(reason(tampered(full, path, 'ABYSS').replace('"ABYSS"', abyss))).toMatch(/is not legal/)
    }
    expect(reason(tampered(full, 'decisions.0.reads', 'ABYSS').replace('"ABYSS"', abyss))).toMatch(/is not legal/)
    expect(reason(tampered(full, 'mainstem', 'ABYSS').replace('"ABYSS"', abyss))).toBeDefined()
    // What is not known is not looked at, and not kept.
    expect(decode(tampered(full, 'decisions.0.extra', 'ABYSS').replace('"ABYSS"', abyss))).toEqual(decode(encode(full)))
  })

  test('a number that is none once it was parsed', () => {
    expect(reason(tampered(full, 'decisions.0.events.0.data', { n: [12345] }).replace('12345', '1e999'))).toMatch(/events\[0\].data is/)
  })
})

describe('total: whatever stands in the log has one answer', () => {
  const opened = () => {
    const fold = new Fold()
    fold.take(encode(manifest()))
    fold.add(decision('first', ['a'], { events: [] }), decision('second', ['a']))
    return fold
  }

  /** Decodes and folds a value twice, in two folds of the same past. */
  function settles(value: string | Uint8Array): void {
    const record = decode(value)
    expect(decode(value)).toEqual(record)
    if (record.kind === 'foreign') {
      expect(typeof record.reason).toBe('string')
      return
    }
    // What was let through can be written again: nothing in it is beyond JSON.stringify.
    expect(decode(encode(record))).toEqual(record)
    const answers = [opened(), opened()].map(fold => {
      const { shard } = fold
      if (record.kind !== 'data') return control(shard, record)
      const { state } = fold.tenant(record.tenant)
      const verdicts = accept(shard, state, record, () => false)
      expect(verdicts.length).toBe(record.decisions.length)
      const entered = enter(shard, state, record, value, verdicts)
      return { verdicts, entered, version: state.version, digest: state.digest }
    })
    expect(answers[0]).toEqual(answers[1])
  }

  test('any bytes, any text, any JSON', () => {
    fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.string(), fc.json()), settles), { seed: 11, numRuns: 2_000 })
  })

  const envelope = () => {
    const fold = opened()
    return [encode(fold.data([decision('x', ['a']), decision('y')])), ...envelopes.map(encode)]
  }

  test('a real envelope with a byte or a piece changed', () => {
    const change = fc.record({ at: fc.nat(), cut: fc.nat(40), put: fc.uint8Array({ maxLength: 4 }) })
    fc.assert(
      fc.property(fc.constantFrom(...envelope()), fc.array(change, { minLength: 1, maxLength: 3 }), (value, changes) => {
        let bytes = Buffer.from(value)
        for (const { at, cut, put } of changes) {
          const from = at % bytes.length
          bytes = Buffer.concat([bytes.subarray(0, from), put, bytes.subarray(from + cut)])
        }
        settles(bytes)
        settles(bytes.toString('latin1'))
      }),
      { seed: 11, numRuns: 1_000 },
    )
  })

  test('a real envelope with a value changed somewhere', () => {
    const odd = fc.oneof(fc.jsonValue(), fc.constantFrom(0, -0, 1, 2 ** 53, 1e300, '', '*', LOG, V7, 'default', [], {}, null, ['a'], true))
    fc.assert(
      fc.property(fc.constantFrom(...envelope()), fc.nat(), odd, (value, which, put) => {
        const places: [parent: Record<string, unknown>, key: string][] = []
        const walk = (at: unknown): void => {
          if (typeof at !== 'object' || at === null) return
          for (const key of Object.keys(at)) {
            places.push([at as Record<string, unknown>, key])
            walk((at as Record<string, unknown>)[key])
          }
        }
        const copy = JSON.parse(value)
        walk(copy)
        const [parent, key] = places[which % places.length]!
        parent[key] = put
        settles(JSON.stringify(copy))
      }),
      { seed: 11, numRuns: 3_000 },
    )
  })
})
