/**
 * Draws plans: how many replicas there are and how they write, what clients ask and when, what goes wrong. Everything from one seed. What is
 * drawn leans to where trouble is: few tags, short times, the same id from two sides, bursts, faults close together.
 */
import { type StrategyName, strategies } from '../consistency.ts'
import { fencings } from '../log/kafka/settings.ts'
import type { Alien, Ask, Look, Misfortune, Operation, Plan } from './world/plan.ts'
import { aliens, RELEASES } from './world/plan.ts'
import { seeded, uuidOf } from '../random.ts'
import { EPOCH } from './world/scheduler.ts'
import { conditions } from './world/snapshot.ts'

export interface Drawing {
  /** A command and its input. */
  readonly command: (random: () => number) => { readonly name: string; readonly input: unknown }
  /** Only such logs. */
  readonly log?: 'file' | 'kafka'
  /** All replicas write so; 'mixed': each in its own way. */
  readonly strategy?: StrategyName | 'mixed'
  /** How many commands, more or less. Default 30. */
  readonly commands?: number
  /** Most replicas. Default 3. */
  readonly replicas?: number
  /** Whether operators and aliens write into the log, too. Default true. */
  readonly operations?: boolean
  /** Whether there are two releases, one of them active, and then the other. Default: now and then, where operators write. */
  readonly rollouts?: boolean
  /** Whether anything goes wrong. Default true. */
  readonly misfortunes?: boolean
  /** Whether replicas are told again and again to leave the lead to others, whatever else happens. Default false. */
  readonly handOvers?: boolean
  /** Whether machines are replaced by new ones, which start from snapshots of others. Default false. */
  readonly replacements?: boolean
}

/** Clients ask within this time, ms. */
const BUSY = 4_000
const CALM_AT = 5_000

export function drawPlan(seed: number, { command, commands = 30, replicas = 3, ...wanted }: Drawing): Plan {
  const random = seeded(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  const chance = (probability: number) => random() < probability
  const oneOf = <T>(items: readonly T[]): T => items[below(items.length)]!

  const kind = wanted.log ?? oneOf(['file', 'kafka'] as const)
  const cast = wanted.strategy ?? oneOf([...strategies, ...strategies, 'mixed'] as const)
  const count = 1 + below(replicas)
  const brokers = chance(0.5) ? 1 : 3
  // Where transactions are left out, nothing can be written on a condition.
  const fencing = cast === 'optimistic' || cast === 'mixed' ? 'epoch' : oneOf(fencings)
  const log: Plan['log'] =
    kind === 'file' ? { kind } : { kind, brokers, transactions: chance(0.75) ? 2 : 1, fencing, firstEpoch: chance(0.1) ? 32_690 : 0 }
  const operated = (wanted.operations ?? true) && chance(0.3)
  // A release that is made active is one that somebody runs.
  const twoReleases = count > 1 && (wanted.rollouts ?? (operated && chance(0.5)))
  const named = chance(0.5)
  const nodes = Array.from({ length: count }, (_, number) => ({
    strategy: cast === 'mixed' ? oneOf(strategies) : cast,
    release: twoReleases ? RELEASES[number < 2 ? number : below(2)]! : named ? RELEASES[0] : '',
  }))
  const tenants = ['default', 'other', 'third'].slice(0, 1 + below(3))

  // --- What clients ask -----------------------------------------------------------------------------------------------
  const asks: Ask[] = []
  const total = Math.ceil(commands * (0.5 + random()))
  while (asks.length < total) {
    const at = Math.floor(random() * BUSY)
    const tenant = chance(0.7) ? tenants[0]! : oneOf(tenants)
    const burst = chance(0.25) ? 2 + below(6) : 1
    const node = below(count)
    for (let n = 0; n < burst; n++) {
      const each = command(random)
      const number = asks.length
      const repeat = chance(0.7)
      const id = idOf(number, at, random)
      const ask: Ask = {
        at,
        node: chance(0.8) ? node : below(count),
        tenant,
        ...each,
        ...(id === undefined ? {} : { id }),
        timeout: chance(0.5) ? 2_500 : 300 + below(1_500),
        repeat: repeat && id !== undefined,
      }
      asks.push(ask)
      // The same again, from another side at the same time, or later: also after it was answered.
      if (id !== undefined && chance(0.15)) asks.push({ ...ask, node: below(count), at: chance(0.5) ? at : at + below(BUSY) })
    }
  }

  const looks = Array.from({ length: below(12) }, (): Look => {
    return {
      at: below(CALM_AT),
      node: below(count),
      tenant: oneOf(tenants),
      read: oneOf(['local', 'linearizable', 'linearizable', 'token']),
    }
  })

  // --- Who else writes ------------------------------------------------------------------------------------------------
  const operations: Operation[] = []
  if (operated) {
    if (chance(0.5)) operations.push({ at: below(BUSY), do: 'forget', before: below(BUSY) - 1_000 })
    for (let n = below(3); n > 0; n--) operations.push({ at: below(BUSY), do: 'rules', window: oneOf([0, 3, 8, 50]) })
    if (chance(0.3)) operations.push({ at: BUSY - below(1_000), do: 'seal' })
    if (chance(0.3)) operations.push({ at: below(BUSY), do: 'barrier' })
    for (let n = below(4); n > 0; n--) operations.push({ at: 500 + below(BUSY), do: 'alien', change: oneOf<Alien>(aliens) })
  }

  // To and fro, now and then faster than anybody comes to reign.
  for (let n = twoReleases ? 1 + below(4) : 0; n > 0; n--) operations.push({ at: below(BUSY), do: 'release', release: oneOf(RELEASES) })

  // --- What goes wrong ------------------------------------------------------------------------------------------------
  const misfortunes: Misfortune[] = []
  const troubled = (wanted.misfortunes ?? true) && chance(0.85)
  const power = chance(0.3)
  for (let n = troubled ? 1 + below(chance(0.5) ? 3 : 14) : 0; n > 0; n--) {
    const at = below(CALM_AT - 500)
    const node = below(count)
    const kindOfFault = random()
    if (kindOfFault < 0.4) {
      const to = kind === 'kafka' && chance(0.85) ? 'log' : 'neighbour'
      const api =
        to === 'log' ? oneOf([undefined, undefined, 'produce', 'end-txn', 'init-producer-id', 'add-partitions', 'fetch']) : undefined
      const by = oneOf([50, 300, 1_500, 3_000]) * (0.5 + random())
      const about = { at, node, to, ...(api === undefined ? {} : { api }) } as const
      misfortunes.push(
        oneOf([
          { ...about, kind: 'lose-request' },
          { ...about, kind: 'lose-reply' },
          { ...about, kind: 'lose-reply' },
          { ...about, kind: 'delay-request', by },
          { ...about, kind: 'delay-reply', by },
          { ...about, kind: 'double', by },
        ] as const),
      )
    } else if (kindOfFault < 0.6)
      misfortunes.push({ kind: 'crash', at, node, downtime: oneOf([0, 50, 500, 3_000]), power: power && chance(0.6) })
    else if (kindOfFault < 0.75) misfortunes.push({ kind: 'pause', at, node, for: oneOf([100, 500, 2_000, 4_000]) })
    else if (kindOfFault < 0.8) misfortunes.push({ kind: 'restart', at, node, downtime: oneOf([0, 300]) })
    else if (kindOfFault < 0.84) misfortunes.push({ kind: 'clock-jump', at, node, by: Math.floor((random() - 0.5) * 20_000_000) })
    else if (kindOfFault < 0.88) misfortunes.push({ kind: 'mute', at, node, for: oneOf([1_000, 3_000]) })
    else if (kind === 'file') {
      const fault = oneOf(['fsync-error', 'disk-full', 'slow-disk', 'slow-disk'] as const)
      misfortunes.push(fault === 'slow-disk' ? { kind: fault, at, node, by: 200 + below(3_000) } : { kind: fault, at, node })
    } else {
      const broker = below(brokers)
      const how = oneOf(['kill-broker', 'stop-broker', 'part'] as const)
      if (how !== 'part') misfortunes.push({ kind: how, at, broker, for: oneOf([200, 1_000, 4_000]) })
      else if (brokers > 1)
        misfortunes.push({ kind: how, at, brokers: [broker, chance(0.5) ? -1 : (broker + 1) % brokers], for: oneOf([500, 3_000]) })
    }
  }
  for (let at = 500; wanted.handOvers && at < CALM_AT - 500; at += 200 + below(800)) {
    const node = below(count)
    misfortunes.push({ kind: 'step-down', at, node })
    // It would lead again only when it is started anew.
    if (chance(0.5)) misfortunes.push({ kind: 'restart', at: at + below(1_500), node, downtime: 0 })
  }
  // From a stream of its own: the rest of a plan is the same with them and without.
  if (wanted.replacements) misfortunes.push(...replacements(count, seeded(seed * 1_013 + 7)))
  const sorted = <T extends { readonly at: number }>(items: T[]): T[] => items.sort((a, b) => a.at - b.at)
  const window = oneOf([3, 8, 50])
  const open = oneOf([1, 64])
  return {
    seed,
    log,
    window,
    open,
    nodes,
    asks: sorted(asks),
    looks: sorted(looks),
    operations: sorted(operations),
    misfortunes: sorted(misfortunes),
    calmAt: CALM_AT,
  }
}

function replacements(count: number, random: () => number): Misfortune[] {
  const below = (limit: number) => Math.floor(random() * limit)
  return Array.from({ length: 1 + below(3) }, () => {
    const node = below(count)
    // Of its own disk nothing is left.
    const from = (node + 1 + below(Math.max(1, count - 1))) % count
    const downtime = [0, 50, 500, 2_000][below(4)]!
    return { kind: 'replace', at: 800 + below(CALM_AT - 1_000), node, from, downtime, snapshot: conditions[below(conditions.length)]! }
  })
}

/** Texts; UUIDv7 of now and of some seconds ago; or none. */
function idOf(number: number, at: number, random: () => number): string | undefined {
  const kind = random()
  if (kind < 0.1) return undefined
  if (kind < 0.55) return `command-${number}`
  return uuidOf(EPOCH + at - (random() < 0.3 ? Math.floor(random() * 3_000) : 0), random)
}
