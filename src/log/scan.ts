/** Reads a whole log, judges every record as the replicas do, and says what of it has no effect, and why. */
import type { Log, Position } from '../log.ts'
import { type Looked, partitionList, plural, risky } from './finding.ts'
import { type Effect, LogFold, stored } from './fold.ts'

export interface ScanFacts {
  readonly partition: number
  readonly records: number
  /** Without effect, by the reason why. */
  readonly foreign: ReadonlyMap<string, number>
  /** Decisions, by verdict. */
  readonly verdicts: ReadonlyMap<string, number>
  readonly sealed: boolean
}

/** Reads a whole shard, and judges every record as the replicas do. */
export async function scanShard(
  log: Log,
  partition: number,
  onRecord: (position: Position) => void,
  signal: AbortSignal,
): Promise<ScanFacts> {
  const fold = new LogFold()
  const foreign = new Map<string, number>()
  const verdicts = new Map<string, number>()
  const count = (map: Map<string, number>, key: string) => map.set(key, (map.get(key) ?? 0) + 1)
  let records = 0
  for await (const each of stored(log, { upTo: await log.head(), signal })) {
    records++
    const effect: Effect = fold.take(each)
    if (effect.kind === 'none') count(foreign, effect.reason)
    else if (effect.kind === 'data') for (const verdict of effect.verdicts) count(verdicts, verdict)
    onRecord(each.position)
  }
  return { partition, records, foreign, verdicts, sealed: fold.shard.sealed }
}

interface Scanned {
  readonly scans?: readonly ScanFacts[]
}

export const scanChecks = {
  'foreign-records': ({ scans }) => {
    if (!scans) return undefined
    const reasons = sum(scans.map(({ foreign }) => foreign))
    const records = scans.reduce((all, each) => all + each.records, 0)
    if (reasons.size === 0) return `each of ${plural(records, 'record')} is of this log`
    const told = [...reasons].sort((a, b) => b[1] - a[1]).slice(0, 5)
    return risky(
      `${[...reasons.values()].reduce((all, each) => all + each, 0)} of ${plural(records, 'record')} have no effect: ${told.map(([reason, count]) => `${count} × ${reason}`).join(', ')}`,
      'none for the replicas, who count and skip them; but somebody else writes into this topic',
      'look at them with mainstem log tail --all, and take Write on the topic from whoever it was',
    )
  },
  'damaged-history': ({ scans }) => {
    if (!scans) return undefined
    const diverged = sum(scans.map(({ verdicts }) => verdicts)).get('diverged') ?? 0
    if (diverged === 0) return 'every record was made at a digest of this log'
    return risky(
      `${plural(diverged, 'decision was', 'decisions were')} made at a digest that this log does not lead to`,
      'they have no effect; but the log was altered behind them, or the replica that wrote them is damaged',
      'run mainstem verify on every replica; mainstem log tail --all shows the records',
    )
  },
  sealed: ({ scans }) => {
    if (!scans) return undefined
    const sealed = scans.filter(each => each.sealed)
    if (sealed.length === 0) return 'the log goes on'
    return risky(
      `${partitionList(sealed.map(({ partition }) => ({ index: partition })))} sealed`,
      'nothing more is written',
      'the log goes on in its copy: use that',
    )
  },
} as const satisfies { readonly [name: string]: (facts: Scanned) => Looked }

function sum(maps: readonly ReadonlyMap<string, number>[]): Map<string, number> {
  const all = new Map<string, number>()
  for (const map of maps) for (const [key, count] of map) all.set(key, (all.get(key) ?? 0) + count)
  return all
}
