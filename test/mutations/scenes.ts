/**
 * Scenes: worlds in which a mutation comes to matter. Each draws plans as `plans.ts` does and then adds what is rare there: the right fault at
 * the right moment. They differ from seed to seed like all plans, and production code must come through them unharmed.
 */
import { type Drawing, drawPlan } from '../../src/testing/plans.ts'
import { type Alien, type Ask, type Look, type Misfortune, type Operation, type Plan, RELEASES } from '../../src/testing/world/plan.ts'
import { seeded } from '../../src/random.ts'
import { trade } from './till.ts'

type Scene = (seed: number) => Plan

interface Chance {
  below(limit: number): number
  between(from: number, to: number): number
  oneOf<T>(items: readonly T[]): T
}

const TENANTS = ['default', 'other', 'third'] as const

/** Plans with something else in them. */
function scene(drawing: Partial<Drawing>, change: (plan: Plan, chance: Chance) => Partial<Plan>): Scene {
  return seed => {
    const plan = drawPlan(seed, { command: trade, commands: 60, replicas: 4, ...drawing })
    const random = seeded(seed + 7_001)
    const below = (limit: number) => Math.floor(random() * limit)
    const chance: Chance = { below, between: (from, to) => from + below(to - from), oneOf: items => items[below(items.length)]! }
    return { ...plan, ...change(plan, chance) }
  }
}

/** As many replicas as that at least, each like the first. */
const atLeast = (count: number, { nodes }: Plan): Plan['nodes'] =>
  Array.from({ length: Math.max(count, nodes.length) }, (_, n) => nodes[n] ?? nodes[0]!)

/** Three brokers, whatever was drawn. */
const threeBrokers = ({ log }: Plan): Plan['log'] => (log.kind === 'kafka' ? { ...log, brokers: 3, firstEpoch: 0 } : log)

const numbers = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

const withoutId = ({ at, node, tenant, name, input, timeout }: Ask): Ask => ({ at, node, tenant, name, input, timeout, repeat: false })

/** As drawn, and denser: reads come in bursts, so that some begin while the barrier of the first is on its way; more ids are made by replicas. */
const crowd: Scene = scene({}, ({ asks, looks }) => ({
  looks: looks.flatMap(look =>
    [0, 2, 6, 12, 25].map(later => ({ ...look, at: look.at + later, read: later > 0 ? 'linearizable' : look.read })),
  ),
  asks: asks.map((ask, index) => (index % 4 === 0 ? withoutId(ask) : ask)),
}))

/** How long somebody must have been silent until nobody looks out for him any more, ms, and more. */
const SILENCE = 1_200

/** Somebody writes after a silence, and right after that another replica is asked for something that it refuses, over and over. */
const silence = (drawing: Partial<Drawing>): Scene =>
  scene({ misfortunes: false, operations: false, commands: 10, ...drawing }, (plan, { below }) => {
    const nodes = atLeast(2, plan)
    const asks = numbers(12).flatMap((n): Ask[] => {
      const at = 5_000 + n * SILENCE + below(20)
      const node = below(nodes.length)
      const about = { tenant: 'default', timeout: 2_500, repeat: false }
      const refused = { ...about, node: (node + 1) % nodes.length, name: 'take', input: { account: 'a', cents: 1_000 } }
      const paid = { ...about, at, node, name: 'pay', input: { account: 'a', cents: 1 } }
      return [paid, ...numbers(28).map(half => ({ ...refused, at: at + 1 + half / 2 }))]
    })
    return { nodes, asks: [...plan.asks, ...asks], looks: [] }
  })

/** What a replica fetches comes late, while others write, and it is asked what is there. */
const slowReader: Scene = scene({ log: 'kafka', misfortunes: false, operations: false, commands: 20 }, (plan, { below, between }) => {
  const nodes = atLeast(2, plan)
  const asks: Ask[] = []
  const looks: Look[] = []
  const misfortunes: Misfortune[] = []
  for (const n of numbers(8)) {
    const at = 500 + n * 500
    const node = below(nodes.length)
    const other = (node + 1) % nodes.length
    const by = between(50, 300)
    for (const later of [0, 40, 80]) misfortunes.push({ kind: 'delay-reply', at: at + later, node, to: 'log', api: 'fetch', by })
    for (const k of numbers(30)) {
      looks.push({ at: at + 10 * k, node, tenant: 'default', read: k % 3 === 1 ? 'token' : 'linearizable' })
      if (k % 3 === 0) {
        const input = { account: 'a', cents: 1 }
        asks.push({ at: at + 10 * k, node: other, tenant: 'default', name: 'pay', input, timeout: 2_500, repeat: false })
      }
    }
  }
  return { nodes, looks, misfortunes, asks: [...plan.asks, ...asks] }
})

/** Replicas sleep one after another, leaders with them, and wake with much to do. */
const sleepers = (drawing: Partial<Drawing>): Scene =>
  scene({ strategy: 'leader', misfortunes: false, operations: false, commands: 30, ...drawing }, (plan, { between, oneOf }) => {
    const nodes = atLeast(2, plan)
    const log = plan.log.kind === 'kafka' ? { ...plan.log, firstEpoch: 0 } : plan.log
    const asks: Ask[] = []
    const misfortunes: Misfortune[] = []
    let at = 1_000
    for (const n of numbers(8)) {
      const node = n % nodes.length
      const length = between(1_800, 3_500)
      misfortunes.push({ kind: 'pause', at, node, for: length })
      for (const k of numbers(12)) {
        const name = oneOf(['pay', 'gift', 'take'] as const)
        const about = { tenant: oneOf(TENANTS), name, input: { account: oneOf(['a', 'b']), cents: 1 }, repeat: false }
        // Some come at the moment before it falls asleep, and are on their way then.
        asks.push({
          ...about,
          at: at + (k < 4 ? k - 3 : between(1, length)),
          node,
          timeout: k % 2 === 0 ? 8_000 : between(200, length + 200),
        })
      }
      at += length + 400
    }
    return { nodes, log, misfortunes, asks: [...plan.asks, ...asks.map((ask, n) => ({ ...ask, id: `late-${n}` }))], calmAt: at + 1_000 }
  })

/** Records that were written before are written once more by somebody else, changed so, or as they were; now and then a replica is killed before. */
const strangers = (changes: readonly Alien[], drawing: Partial<Drawing> = {}): Scene =>
  scene({ misfortunes: false, operations: false, commands: 20, ...drawing }, (plan, { below, between, oneOf }) => {
    const nodes = atLeast(2, plan)
    const asks: Ask[] = []
    const operations: Operation[] = []
    const misfortunes: Misfortune[] = []
    for (const n of numbers(8)) {
      const at = 500 + n * 1_500
      for (const _ of numbers(6)) {
        const tenant = oneOf(TENANTS)
        asks.push({
          ...plan.asks[below(plan.asks.length)]!,
          id: `again-${asks.length}`,
          at: at + below(100),
          tenant,
          timeout: 2_500,
          repeat: false,
        })
      }
      // Late enough for progress to be stored.
      misfortunes.push({ kind: 'crash', at: at + between(500, 1_100), node: below(nodes.length), downtime: 0, power: false })
      for (const _ of numbers(3)) operations.push({ at: at + between(20, 1_400), do: 'alien', change: oneOf(changes) })
    }
    return {
      nodes,
      operations,
      misfortunes,
      asks: [...plan.asks, ...asks],
      window: oneOf([3, 8, 50]),
      open: oneOf([1, 64]),
      calmAt: 14_000,
    }
  })

/** The same with the release of all replicas being the active one, from early on. */
const foreignReleases: Scene = seed => {
  const { nodes, operations, ...plan } = strangers(['release'])(seed)
  const [release] = RELEASES
  return { ...plan, nodes: nodes.map(node => ({ ...node, release })), operations: [{ at: 300, do: 'release', release }, ...operations] }
}

/** Clients that ask once and do not wait long, while answers are lost. */
const impatient = (drawing: Partial<Drawing>): Scene =>
  scene({ operations: false, commands: 40, ...drawing }, (plan, { below, between, oneOf }) => {
    const nodes = atLeast(2, plan)
    const asks: Ask[] = numbers(150).map(n => ({
      ...plan.asks[below(plan.asks.length)]!,
      id: `once-${n}`,
      at: 300 + n * 30 + below(30),
      node: below(nodes.length),
      tenant: oneOf(TENANTS),
      timeout: oneOf([20, 40, 80, 160, 400]),
      repeat: false,
    }))
    const misfortunes = numbers(50).flatMap((n): Misfortune[] => {
      const about = { at: 300 + n * 90 + below(90), node: below(nodes.length) }
      const api = oneOf(['produce', 'end-txn', 'end-txn', 'end-txn', 'init-producer-id'])
      const to = n % 4 === 0 ? ({ to: 'neighbour' } as const) : ({ to: 'log', api } as const)
      const kind = oneOf(['lose-reply', 'lose-reply', 'lose-request', 'delay-reply', 'delay-request'] as const)
      const fault: Misfortune =
        kind === 'delay-reply' || kind === 'delay-request' ? { ...about, ...to, kind, by: between(30, 400) } : { ...about, ...to, kind }
      // Nor does it read for a while what it wrote.
      const blind: Misfortune = { ...about, kind: 'delay-reply', to: 'log', api: 'fetch', by: between(200, 800) }
      return n % 3 === 0 ? [fault, blind] : [fault]
    })
    return { nodes, asks, misfortunes }
  })

/** Followers of the partition stop, so that what was written cannot be committed before they go on, and clients ask once. */
const starved: Scene = scene({ log: 'kafka', misfortunes: false, operations: false, commands: 20 }, (plan, { below, between }) => {
  const nodes = atLeast(2, plan)
  const asks: Ask[] = []
  const misfortunes: Misfortune[] = []
  for (const n of numbers(3)) {
    const at = 500 + n * 6_000
    const awake = below(3)
    for (const broker of numbers(3)) if (broker !== awake) misfortunes.push({ kind: 'stop-broker', at, broker, for: 4_000 })
    for (const k of numbers(40)) {
      const about = { tenant: TENANTS[k % 3]!, name: 'pay', input: { account: 'a', cents: 1 }, id: `once-${n}-${k}`, repeat: false }
      asks.push({ ...about, at: at - 50 + 20 * k, node: below(nodes.length), timeout: between(1_500, 3_900) })
    }
  }
  return { nodes, log: threeBrokers(plan), misfortunes, asks: [...plan.asks, ...asks], calmAt: 19_000 }
})

/** Rules change all the time. */
const restless = (drawing: Partial<Drawing>): Scene =>
  scene({ misfortunes: false, operations: false, commands: 120, ...drawing }, (plan, { below, oneOf }) => ({
    nodes: atLeast(2, plan),
    operations: numbers(40).map(n => ({ at: 300 + n * 90 + below(90), do: 'rules', window: oneOf([8, 20, 50]) })),
  }))

/** A broker is parted from whoever elects leaders: it goes on leading, as far as it knows. One replica writes, the others look. */
const oldLeader: Scene = scene(
  { log: 'kafka', misfortunes: false, operations: false, commands: 10, strategy: 'first-wins' },
  (plan, { between, oneOf }) => {
    const nodes = atLeast(3, plan)
    const misfortunes: Misfortune[] = []
    // Whoever writes hears of another leader after some seconds, whoever only reads does not.
    for (const n of numbers(3)) misfortunes.push({ kind: 'part', at: 1_000 + n * 10_000, brokers: [n, -1], for: 9_000 })
    const asks = numbers(300).map((n): Ask => {
      const about = { tenant: oneOf(TENANTS), name: 'pay', input: { account: 'a', cents: 1 } }
      return { ...about, at: 500 + n * 100, node: 0, timeout: between(500, 3_000), repeat: false }
    })
    const looks = numbers(300).map((n): Look => ({ at: 550 + n * 100, node: 1 + (n % 2), tenant: oneOf(TENANTS), read: 'linearizable' }))
    return { nodes, log: threeBrokers(plan), misfortunes, asks: [...plan.asks, ...asks], looks, calmAt: 31_000 }
  },
)

/** Longer than anything lasts. */
const FOREVER = 150_000

/** All replicas but one die, and none comes back. */
const leftAlone: Scene = scene({ strategy: 'leader', misfortunes: false, operations: false, commands: 30 }, (plan, { below }) => {
  const nodes = atLeast(2, plan)
  const left = below(nodes.length)
  const at = 1_000 + below(2_000)
  const others = numbers(nodes.length).filter(node => node !== left)
  return { nodes, misfortunes: others.map(node => ({ kind: 'crash', at, node, downtime: FOREVER, power: false })) }
})

/** Machines are lost with their disks, and come back with a snapshot of another's. */
const replaced = (drawing: Partial<Drawing>): Scene => scene({ replacements: true, ...drawing }, () => ({}))

/** Nothing goes wrong, and one release after the other is made active while commands are on their way. */
const rolledOut: Scene = scene({ rollouts: true, misfortunes: false, operations: false, replicas: 2 }, plan => {
  const nodes = atLeast(2, plan).map((node, number) => ({ ...node, release: RELEASES[number % 2]! }))
  const asks = plan.asks.map(ask => ({ ...ask, at: ask.at + 500, timeout: 2_500 }))
  const operations = asks.flatMap(({ at }, n) =>
    n % 3 === 0 ? [{ at: at + (n % 8), do: 'release', release: RELEASES[(n / 3) % 2]! } as const] : [],
  )
  return { nodes, asks, operations }
})

export const scenes = {
  crowd,
  silence: silence({ log: 'file' }),
  'slow reader': slowReader,
  sleepers: sleepers({}),
  'sleepers on a cluster': sleepers({ log: 'kafka' }),
  'another owner': strangers(['term-owner']),
  doubles: strangers(['ids', 'base', 'digest']),
  'other rules': strangers(['rules']),
  'another release': foreignReleases,
  'impatient clients': impatient({ log: 'kafka' }),
  'impatient clients of transactions': impatient({ log: 'kafka', strategy: 'optimistic' }),
  'impatient clients of a leader': impatient({ strategy: 'leader' }),
  'followers that stop': starved,
  'rules that change': restless({ log: 'kafka', strategy: 'optimistic' }),
  'an old leader': oldLeader,
  'left alone': leftAlone,
  'replaced machines': replaced({}),
  'machines replaced on Kafka': replaced({ log: 'kafka' }),
  'releases to and fro': rolledOut,
} satisfies { readonly [name: string]: Scene }

export type SceneName = keyof typeof scenes
