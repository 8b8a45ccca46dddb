/** The small worlds that are gone through to their end, by name. */
import type { StrategyName } from '../../../src/consistency.ts'
import type { Fencing } from '../../../src/log/kafka/producer.ts'
import type { Command } from './log.ts'
import { calm, type Faults, type Setting } from './state.ts'

type Scripts = readonly (readonly string[])[]

/** Each purse holds one coin. Of a writer's two commands each is at odds with one of the other's, and not with the other. */
const TWO_BY_TWO: Scripts = [
  ['take a', 'take b'],
  ['take b', 'take a'],
]
const TWO_BY_ONE: Scripts = [['take a'], ['take a']]
const THREE_BY_ONE: Scripts = [['take a'], ['take a'], ['take a']]

interface World {
  readonly strategy: StrategyName
  readonly scripts: Scripts
  readonly faults?: Partial<Faults>
  readonly kafka?: Fencing
  readonly version?: 1 | 2
  /** Who leads first was settled before. */
  readonly led?: boolean
  /** Ids are made when they are first asked for. */
  readonly fresh?: boolean
}

function named(worlds: readonly World[]): Readonly<Record<string, Setting>> {
  return Object.fromEntries(worlds.map(world => [nameOf(world), settingOf(world)]))
}

function nameOf({ strategy, scripts, faults = {}, kafka, version, led, fresh }: World): string {
  const log = kafka === undefined ? 'embedded' : `Kafka${version === 1 ? ' v1' : ''}`
  const how = strategy === 'leader' && kafka !== undefined ? ` by ${kafka}` : ''
  const parts = [
    `${log}, ${strategy}${how}${led ? ', elected' : ''}`,
    `${scripts.length} x ${scripts[0]!.length}${fresh ? ' fresh' : ''}`,
    Object.entries(faults)
      .map(([name, count]) => `${count} ${words[name as keyof Faults]}`)
      .join(', ') || 'no faults',
  ]
  return parts.join(': ')
}

const words: Readonly<Record<keyof Faults, string>> = {
  lostReply: 'lost reply',
  lostRequest: 'lost request',
  late: 'late request',
  crash: 'crash',
  stale: 'stale read',
  suspicion: 'false suspicion',
  haste: 'haste',
}

function settingOf({ strategy, scripts, faults = {}, kafka, version = 2, led = false, fresh = false }: World): Setting {
  const writers = scripts.map((script, writer) =>
    script.map((line, index): Command => {
      const [name, purse] = line.split(' ') as ['take', string]
      return { id: `writer-${writer}.${index}`, name, purse, fresh }
    }),
  )
  return { strategy, writers, led, faults: { ...calm, ...faults }, ...(kafka === undefined ? {} : { kafka: { fencing: kafka, version } }) }
}

const each = { lostReply: 1, crash: 1, stale: 1 }

/** A part of them, for every day. */
export const short = named([
  { strategy: 'optimistic', scripts: TWO_BY_TWO },
  { strategy: 'optimistic', scripts: TWO_BY_ONE, faults: each },
  { strategy: 'optimistic', scripts: TWO_BY_ONE, faults: each, fresh: true },
  { strategy: 'optimistic', scripts: THREE_BY_ONE },
  { strategy: 'leader', scripts: TWO_BY_ONE },
  { strategy: 'leader', scripts: TWO_BY_TWO, led: true },
  { strategy: 'leader', scripts: TWO_BY_ONE, led: true, faults: { lostReply: 1, suspicion: 1 } },
  { strategy: 'first-wins', scripts: TWO_BY_TWO },
  { strategy: 'first-wins', scripts: TWO_BY_ONE, faults: each },
  { strategy: 'optimistic', scripts: TWO_BY_ONE, kafka: 'epoch', faults: { stale: 1 } },
  { strategy: 'leader', scripts: TWO_BY_ONE, kafka: 'epoch' },
  { strategy: 'leader', scripts: TWO_BY_ONE, kafka: 'epoch', led: true, faults: { lostReply: 1, suspicion: 1 } },
  { strategy: 'leader', scripts: TWO_BY_ONE, kafka: 'transactions', led: true, faults: { lostReply: 1 } },
  { strategy: 'first-wins', scripts: TWO_BY_TWO, kafka: 'epoch' },
])

/** Larger ones, each strategy with each of the faults; together they take some minutes. */
export const long = named([
  { strategy: 'optimistic', scripts: TWO_BY_TWO, faults: { lostReply: 1 } },
  { strategy: 'optimistic', scripts: TWO_BY_TWO, faults: { crash: 1 } },
  { strategy: 'optimistic', scripts: TWO_BY_TWO, faults: { stale: 1 } },
  { strategy: 'optimistic', scripts: THREE_BY_ONE, faults: each },
  { strategy: 'leader', scripts: TWO_BY_TWO, led: true, faults: { lostReply: 1 } },
  { strategy: 'leader', scripts: TWO_BY_TWO, led: true, faults: { stale: 1 } },
  { strategy: 'leader', scripts: TWO_BY_ONE, led: true, faults: each },
  { strategy: 'leader', scripts: THREE_BY_ONE, led: true, faults: { lostReply: 1 } },
  { strategy: 'leader', scripts: THREE_BY_ONE, led: true, faults: { suspicion: 1 } },
  { strategy: 'first-wins', scripts: TWO_BY_TWO, faults: { lostReply: 1 } },
  { strategy: 'first-wins', scripts: TWO_BY_TWO, faults: { crash: 1 } },
  { strategy: 'first-wins', scripts: TWO_BY_TWO, faults: { stale: 1 } },
  { strategy: 'first-wins', scripts: THREE_BY_ONE, faults: { lostReply: 1 } },
  { strategy: 'first-wins', scripts: THREE_BY_ONE, faults: { crash: 1 } },
  { strategy: 'optimistic', scripts: TWO_BY_TWO, kafka: 'epoch' },
  { strategy: 'optimistic', scripts: TWO_BY_ONE, kafka: 'epoch', faults: { lostReply: 1 } },
  { strategy: 'leader', scripts: TWO_BY_ONE, kafka: 'epoch', led: true, faults: each },
  { strategy: 'leader', scripts: TWO_BY_ONE, kafka: 'transactions' },
  { strategy: 'first-wins', scripts: TWO_BY_ONE, kafka: 'epoch', faults: each },
])
