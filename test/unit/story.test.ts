/** What a simulation's story says of each thing that can happen, and what it leaves out when there is no room. */
import { describe, expect, test } from 'vitest'
import { type Decision, encodeDecision, encodeRecord, inputHash } from '../../src/record.ts'
import type { Judged } from '../../src/testing/judge.ts'
import { storyOf } from '../../src/testing/story.ts'
import type { Ask } from '../../src/testing/world/plan.ts'
import type { Happening, Run, Said } from '../../src/testing/world/run.ts'

const plan: Run['plan'] = {
  seed: 1,
  log: { kind: 'file' },
  open: 64,
  window: 100,
  nodes: [
    { strategy: 'first-wins', release: 'one' },
    { strategy: 'optimistic', release: 'one' },
  ],
  asks: [],
  looks: [],
  operations: [],
  misfortunes: [],
  calmAt: 0,
}

/** A record of the log, with what was said of its decisions. */
type Written = {
  readonly base: number
  readonly tenant?: string
  readonly decisions: readonly (Partial<Decision> & { id: string; verdict: Judged['verdict'] })[]
}

/** A run with these records in its log, at positions 10, 20 ... */
function runOf(happenings: readonly Happening[], records: readonly Written[] = []) {
  const verdicts: Judged[] = []
  const entries = records.map(({ base, tenant = 'default', decisions }, i) => {
    const position = 10 * (i + 1)
    for (const { id, verdict } of decisions) verdicts.push({ id, tenant, position, verdict })
    const encoded = decisions.map(({ verdict: _, ...decision }) =>
      encodeDecision({ command: 'pay', hash: 'x'.repeat(43), reads: [], writes: [], events: [], ...decision }),
    )
    const head = { log: 'l', rules: 1, term: { number: 3, owner: null }, release: 'one', tenant, base, digest: 'd'.repeat(43), time: 0 }
    return { position, tenant, value: encodeRecord(head, encoded) }
  })
  const run: Run = {
    plan,
    place: 'p',
    log: { kind: 'file', entries },
    answered: [],
    looked: [],
    finals: [],
    troubles: [],
    happenings,
    events: 0,
    time: 0,
  }
  return { run, verdicts }
}

const ask = (id: string | undefined, input: unknown = { account: 'a' }): Ask => ({
  at: 0,
  node: 0,
  tenant: 'default',
  name: 'pay',
  input,
  timeout: 100,
  repeat: true,
  ...(id === undefined ? {} : { id }),
})
const accepted: Said = { status: 'accepted', version: 1, token: '', answer: '', duplicate: false }
const called = (ask: Ask, at: number, said: Said, attempt = 1): Happening[] => [
  { at, who: 'replica-1', what: 'asked', details: { ask, attempt } },
  { at: at + 5, who: 'replica-1', what: 'answered', details: { ask, said } },
]
const paid = [{ type: 'Paid', schema: 1, data: {} }]

test('who asked what, and what they heard', () => {
  const one = ask('c1')
  const happenings: Happening[] = [
    { at: 0, who: 'replica-1', what: 'started', details: {} },
    ...called(one, 1, { silence: 'lost' }),
    ...called(one, 10, { error: 'timeout', retry: 'safe', message: '', id: 'c1' }, 2),
    ...called(one, 20, { ...accepted, duplicate: true }, 3),
    ...called(ask(undefined, undefined), 30.4, { ...accepted, status: 'rejected', answer: '{"code":"poor"}' }),
    { at: 40, who: 'replica-2', what: 'asked', details: { ask: ask('c2'), attempt: 1 } },
    { at: 50, who: 'replica-1', what: 'started', details: {} },
  ]
  expect(storyOf(runOf(happenings))).toMatchInlineSnapshot(`
    "what happened, in ms (a file; replica-1 first-wins, replica-2 optimistic)
          1  replica-1 is asked for c1: pay { account: 'a' }: nothing was heard, after 5
         10  replica-1 is asked again for c1: pay { account: 'a' }: timeout, retry safe, after 5
         20  replica-1 is asked again for c1: pay { account: 'a' }: accepted at version 1, once more, after 5
         30  replica-1 is asked for pay { account: 'a' }: rejected {"code":"poor"}, after 5
         40  replica-2 is asked for c2: pay { account: 'a' }
         50  replica-1 is there again"
  `)
})

test('what goes wrong', () => {
  const misfortunes = [
    { kind: 'crash', node: 0, downtime: 50, power: false },
    { kind: 'crash', node: 0, downtime: 50, power: true },
    { kind: 'pause', node: 0, for: 100 },
    { kind: 'restart', node: 0, downtime: 0 },
    { kind: 'clock-jump', node: 0, by: -5_000 },
    { kind: 'mute', node: 0, for: 1_000 },
    { kind: 'kill-broker', broker: 1, for: 200 },
    { kind: 'stop-broker', broker: 0, for: 200 },
    { kind: 'part', brokers: [-1, 2], for: 200 },
    { kind: 'fsync-error', node: 0 },
    { kind: 'disk-full', node: 0 },
    { kind: 'slow-disk', node: 0, by: 300 },
    { kind: 'lose-request', node: 0, to: 'neighbour' },
    { kind: 'lose-reply', node: 0, to: 'log', api: 'end-txn' },
    { kind: 'delay-request', node: 0, to: 'log', by: 50 },
    { kind: 'delay-reply', node: 0, to: 'log', by: 50.2 },
    { kind: 'double', node: 0, to: 'log', by: 50 },
  ] as const
  const happenings = misfortunes.map((details, at): Happening => ({ at, who: 'replica-1', what: 'met', details: { at, ...details } }))
  const operations: Happening[] = [
    { at: 20, who: 'the operator', what: 'wrote', details: { at: 20, do: 'forget', before: 3 } },
    { at: 21, who: 'the operator', what: 'wrote', details: { at: 21, do: 'seal' } },
    { at: 22, who: 'the operator', what: 'wrote', details: { at: 22, do: 'alien', change: 'digest' } },
  ]
  expect(storyOf(runOf([...happenings, ...operations]))).toMatchInlineSnapshot(`
    "what happened, in ms (a file; replica-1 first-wins, replica-2 optimistic)
          0  replica-1 is killed, for 50
          1  replica-1 loses its power, for 50
          2  replica-1 stands still for 100
          3  replica-1 is closed, for 0
          4  the clock of replica-1 jumps by -5000
          5  nobody hears the heartbeats of replica-1, for 1000
          6  broker 1 is killed, for 200
          7  broker 0 stands still for 200
          8  the controller and broker 2 do not hear each other, for 200
          9  the disk fails under what replica-1 writes
         10  the disk is full for replica-1
         11  the disk takes 300 longer for replica-1
         12  a request of replica-1 to its neighbour is lost
         13  the reply to a request of replica-1 to the log (end-txn) is lost
         14  a request of replica-1 to the log is held up for 50
         15  the reply to a request of replica-1 to the log is held up for 50
         16  a request of replica-1 to the log comes again after 50
         20  the operator writes: forget { before: 3 }
         21  the operator writes: seal
         22  somebody else writes a record with another digest"
  `)
})

describe('what became of the decisions', () => {
  test('which lost to which', () => {
    const events = paid
    const records: Written[] = [
      { base: 0, decisions: [{ id: 'a', verdict: 'accepted', writes: ['x'], events }] },
      { base: 1, decisions: [{ id: 'b', verdict: 'accepted', writes: ['y'], events: [{ ...paid[0]!, tags: ['z'] }] }] },
      // A rejection writes nothing, whatever its scope says.
      { base: 2, decisions: [{ id: 'c', verdict: 'accepted', writes: ['x'], rejection: { code: 'poor' } }] },
      {
        base: 0,
        decisions: [
          { id: 'd', verdict: 'conflict', reads: ['x'], writes: ['w'], events },
          { id: 'e', verdict: 'conflict', reads: ['z'] },
          { id: 'f', verdict: 'conflict', reads: '*' },
          { id: 'g', verdict: 'conflict', reads: ['w'] },
          { id: 'a', verdict: 'duplicate' },
          { id: 'h', verdict: 'too-old' },
          { id: 'i', verdict: 'deposed' },
        ],
      },
      { base: 0, tenant: 'other', decisions: [{ id: 'j', verdict: 'accepted', writes: ['x'], events }] },
      { base: 2, decisions: [{ id: 'k', verdict: 'conflict', reads: ['x'] }] },
    ]
    expect(storyOf(runOf([], records))).toMatchInlineSnapshot(`
      "what happened, in ms (a file; replica-1 first-wins, replica-2 optimistic)
      what the log holds, by position
           10  a: pay: accepted, version 1
           20  b: pay: accepted, version 2
           30  c: pay: "poor" stands
           40  d: pay: decided at version 0, lost to a at 10
           40  e: pay: decided at version 0, lost to b at 20
           40  f: pay: decided at version 0, lost to b at 20
           40  g: pay: decided at version 0, lost to d, beside it
           40  a: pay: a repetition of a at 10
           40  h: pay: in vain: too-old, decided at version 0
           40  i: pay: in vain: its writer did not reign, or no longer (term 3)
           50  j: pay: accepted, version 1
           60  k: pay: decided at version 2, lost to what was written since"
    `)
  })

  test('they are called as their clients called them, also where a replica made the id', () => {
    const asks = [ask('c1', { n: 1 }), ask(undefined, { n: 2 })]
    const happenings = asks.flatMap((each, i) => called(each, i, accepted))
    const hash = inputHash('pay', { n: 2 })
    const story = storyOf(
      runOf(happenings, [
        {
          base: 0,
          decisions: [
            { id: 'c1', verdict: 'accepted' },
            { id: 'made', hash, verdict: 'accepted' },
          ],
        },
      ]),
    )
    expect(story).toContain('   10  c1: pay { n: 1 }: accepted')
    expect(story).toContain('   10  made: pay { n: 2 }: accepted')
  })
})

describe('a long story', () => {
  const happenings = Array.from({ length: 100 }, (_, i): Happening[] =>
    i === 50
      ? [{ at: i, who: 'replica-1', what: 'met', details: { kind: 'disk-full', at: i, node: 0 } }]
      : called(ask(`c${i}.`), i, accepted),
  ).flat()
  const records = Array.from({ length: 100 }, (_, i): Written => {
    return { base: i, decisions: [{ id: `c${i}.`, verdict: i === 3 ? 'too-old' : 'accepted' }] }
  })

  test('has 25 lines, of which those that matter stay', () => {
    const lines = storyOf(runOf(happenings, records), { about: 'c7. was accepted twice' }).split('\n')
    expect(lines).toHaveLength(25)
    expect(lines).toContain('  (89 more lines)')
    expect(lines.filter(line => line.includes('c7.'))).toHaveLength(2)
    expect(lines.filter(line => line.includes('disk is full'))).toHaveLength(1)
    expect(lines.filter(line => line.includes('c3.') && line.includes('too-old'))).toHaveLength(1)
    expect(lines.at(-1)).toContain('c99.')
  })

  test('leaves what is not needed to the other half', () => {
    const lines = storyOf(runOf(happenings.slice(0, 4), records)).split('\n')
    expect(lines).toHaveLength(25)
    expect(lines.slice(1, 3)).toEqual([expect.stringContaining('c0.'), expect.stringContaining('c1.')])
    const other = storyOf(runOf(happenings, records.slice(0, 2))).split('\n')
    expect(other).toHaveLength(25)
  })
})
