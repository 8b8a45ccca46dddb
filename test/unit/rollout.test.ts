/** What two releases are compared by, whether there is a way back, and the record that makes one of them the active one. */
import { describe, expect, test } from 'vitest'
import { control, emptyShard } from '../../src/accept.ts'
import { app, sqlite } from '../../src/index.ts'
import { MemoryFile, MemoryLog } from '../../src/log/memory.ts'
import { shardAt } from '../../src/replica/replay.ts'
import { encodeControl } from '../../src/record.ts'
import { differences, releaseMeant, type Sample, sampleOf, switchShard, unknownTo } from '../../src/rollout.ts'
import { asKafka, shardFiles } from '../support/logs.ts'
import { events } from '../support/shop.ts'

const lags = [2, 0, 1]
let turn = 0

const sample = (over: Partial<Sample>): Sample => ({ tenant: 'a', version: 3, digest: 'd', answers: [], ...over })

describe('a comparison', () => {
  test('asks what the app names, in one text whatever the order of members, and an error is an answer', () => {
    const one = app('one', {
      events,
      database: sqlite('CREATE TABLE t (x INTEGER) STRICT'),
      project: { Paid: () => {}, Taken: () => {}, Noted: () => {}, Broken: () => {} },
      commands: {},
      queries: { good: { run: () => 1 }, bad: { run: () => 2 } },
      compare: ['good', { query: 'bad', input: { n: 1 } }],
    })
    const asked: unknown[] = []
    const answered = sampleOf(one, 'a', { version: 1, digest: 'd' }, query => {
      asked.push(query)
      if (query.query === 'bad') throw new Error('no table')
      return { b: 1, a: [undefined, 2] }
    })
    expect(asked).toEqual([
      { query: 'good', input: undefined },
      { query: 'bad', input: { n: 1 } },
    ])
    expect(answered.answers).toMatchObject([{ answer: '{"a":[null,2],"b":1}' }, { answer: 'error: no table' }])
  })

  test('tells digests and answers that differ, and nothing of queries that only one side knows', () => {
    const blue = sample({ answers: ['same', 'other', 'gone'].map(query => ({ query, input: undefined, answer: '1' })) })
    const green = sample({
      digest: 'e',
      answers: [
        { query: 'same', input: undefined, answer: '1' },
        { query: 'other', input: undefined, answer: '2' },
        { query: 'new', input: undefined, answer: '3' },
      ],
    })
    expect(differences(blue, green)).toEqual([
      { tenant: 'a', version: 3, what: 'history digest', blue: 'd', green: 'e' },
      { tenant: 'a', version: 3, what: 'query other', blue: '1', green: '2' },
    ])
    expect(differences(blue, blue)).toEqual([])
  })
})

test('what a release cannot read: types that it lacks, and newer versions of those it has', () => {
  expect(unknownTo({ Paid: 2, Taken: 1 }, { Paid: 2, Taken: 2, Lent: 1 })).toEqual(['Taken of schema version 2', 'Lent'])
})

test('a release is meant by its name, its beginning, or all of it', () => {
  const all = ['0123+v1', '0456+v2', '0456+v22']
  expect(releaseMeant('v2', all)).toBe('0456+v2')
  expect(releaseMeant('0123', all)).toBe('0123+v1')
  expect(releaseMeant('0456+v22', all)).toBe('0456+v22')
  expect(() => releaseMeant('045', all)).toThrow(/may be 0456\+v2 or 0456\+v22/)
  expect(() => releaseMeant('v3', all)).toThrow(/there are 0123/)
})

describe.each([
  ['that tells its end', {}],
  ['whose word on its end is no evidence', { ...asKafka, lag: () => lags[turn++ % lags.length]! }],
] as const)('a switch, on a log %s', (_, options) => {
  const open = () => {
    const [file] = shardFiles('shop', 1) as [MemoryFile]
    return { file, log: new MemoryLog('test', file, options) }
  }
  const begin = { cursor: 0, state: emptyShard }
  const to = (log: MemoryLog, release: string) => switchShard(log, begin, release, () => 5, AbortSignal.timeout(5_000))
  const released = async (file: MemoryFile) => (await shardAt(new MemoryLog('test', file), Number.MAX_SAFE_INTEGER)).release

  test('is one record, to and fro; made again it is none', async () => {
    const { file, log } = open()
    expect(await to(log, 'blue')).toMatchObject({ from: null, position: expect.any(Number) })
    expect(await to(log, 'green')).toMatchObject({ from: 'blue', position: expect.any(Number) })
    expect(await to(log, 'green')).toEqual({ from: 'green', position: undefined })
    expect(await to(log, 'blue')).toMatchObject({ from: 'green' })
    expect(await released(file)).toBe('blue')
  })

  test('comes behind that of somebody else who was faster', async () => {
    const { file, log } = open()
    await to(log, 'blue')
    const append = log.append.bind(log)
    const id = (await shardAt(new MemoryLog('test', file), Number.MAX_SAFE_INTEGER)).log!
    log.append = (records, more) => {
      if (records[0]!.kinds![0] === 'release') {
        log.append = append
        const value = encodeControl({ kind: 'release', log: id, time: 1, release: 'other', replaces: 'blue' })
        file.write({ value, tenant: null, time: 1 })
      }
      return append(records, more)
    }
    expect(await to(log, 'green')).toMatchObject({ from: 'other' })
    expect(await released(file)).toBe('green')
  })

  test('leaves a sealed log alone', async () => {
    const { file, log } = open()
    await to(log, 'blue')
    const id = (await shardAt(new MemoryLog('test', file), Number.MAX_SAFE_INTEGER)).log!
    file.write({ value: encodeControl({ kind: 'seal', log: id, time: 1 }), tenant: null, time: 1 })
    await expect(to(log, 'green')).rejects.toMatchObject({ code: 'log-sealed' })
  })
})

test('the last releases that were active are remembered, without the active one', () => {
  let state = { ...emptyShard, log: 'l' }
  const put = (release: string) => {
    const next = control(state, { kind: 'release', log: 'l', time: 1, release, replaces: state.release })
    if (typeof next === 'string') throw new Error(next)
    state = next as typeof state
  }
  for (const release of ['a', 'b', 'a', 'c']) put(release)
  expect(state.retired).toEqual(['b', 'a'])
  for (let n = 0; n < 40; n++) put(`r${n}`)
  expect(state.retired).toHaveLength(16)
  expect(state.retired.at(-1)).toBe('r38')
})
