/** docs/kafka.md: its rule for reading the topic by other means tells what the fold tells, and its table names what is refused. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import type { DataRecord, LogRecord, TermRecord } from '../../src/record.ts'
import { LogFold } from '../../src/log/fold.ts'
import { decision, encode, Fold, LOG, manifest, uuidAt } from '../oracle/fold.ts'

const text = readFileSync(new URL('../../docs/kafka.md', import.meta.url), 'utf8')
const [, code = ''] = /```js\n([^]*?)```/.exec(text) ?? []

interface Told {
  readonly tenant: string
  readonly version: number
  readonly type: string
}
const module = `data:text/javascript,${encodeURIComponent(`${code}\nexport { follower }`)}`
const { follower } = (await import(module)) as { follower: () => (value: string) => Told[] }

const term = (number: number, owner: string | null): TermRecord => ({
  kind: 'term',
  log: LOG,
  time: 1,
  number,
  owner,
  address: owner === null ? null : 'http://here',
})

it('the rule gives the events that the fold accepts: reigns, what was deposed, repetitions, releases, rejections', () => {
  const writer = new Fold()
  const log: string[] = []
  const write = (record: LogRecord) => {
    const value = encode(record)
    writer.take(value)
    log.push(value)
  }
  let ids = 0
  const events = (tenant = 'default', count = 1): DataRecord =>
    writer.data(
      Array.from({ length: count }, () => decision(uuidAt(1_000, ++ids))),
      { tenant },
    )
  write(manifest())
  write(events())
  const late = events()
  write(term(1, 'a'))
  write(late)
  const repeated = events('globe', 3)
  write(repeated)
  write(repeated)
  write(events())
  write(term(3, 'nobody'))
  const deposed = events()
  write(term(2, 'b'))
  write(deposed)
  write(events())
  write(writer.data([decision(uuidAt(1_000, ++ids), '*', { events: [], rejection: { code: 'no' } })]))
  const ended = events()
  write({ kind: 'release', log: LOG, time: 1, release: 'r', replaces: null })
  write(ended)
  write({ ...events(), log: 'another' })
  write({ ...events(), release: 'r' })

  const fold = new LogFold()
  const accepted = log.flatMap((value, index): Told[] => {
    const record = JSON.parse(value) as { tenant?: string; kind: string }
    const effect = fold.take({ position: index + 1, value, tenant: record.tenant ?? null })
    if (effect.kind !== 'data') return []
    let version = effect.from
    return effect.record.decisions.flatMap(({ events }, n) =>
      effect.verdicts[n] === 'accepted' ? events.map(({ type }) => ({ tenant: effect.record.tenant, type, version: ++version })) : [],
    )
  })
  const rule = follower()
  const told = log.flatMap(value => rule(value)).map(({ tenant, type, version }) => ({ tenant, type, version }))
  expect(told).toEqual(accepted)
  expect(told.map(({ tenant, version }) => `${tenant} ${version}`)).toEqual([
    'default 1',
    'globe 1',
    'globe 2',
    'globe 3',
    'default 2',
    'default 3',
    'default 4',
  ])
})
