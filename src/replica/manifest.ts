/**
 * The manifests of a log's shards: what makes it the log of this app. An empty log of one shard gets its manifest from the first replica, but
 * on Kafka and of several shards it must have been made before: whoever writes manifests must know how many there are for good.
 */
import { randomUUID } from 'node:crypto'
import type { ShardState } from '../accept.ts'
import { type Clock, nap } from '../clock.ts'
import { EngineError } from '../errors.ts'
import { manifestValue, readManifest } from '../log/manifest.ts'
import type { Log, Logs, Position } from '../log.ts'

/** For so long a log that lags may hide that it has a manifest, ms. */
const PATIENCE = 2_000

/** A shard behind its manifest, and where that stands. */
export interface Founded {
  readonly state: ShardState
  readonly position: Position
}

/**
 * Every shard as its manifest has it.
 * @param former the log that the databases here were built from, if there are any
 * @throws EngineError log-unusable, log-other, log-other-app
 */
export async function ensureManifests(
  logs: Logs,
  app: string,
  former: { readonly log: string; readonly path: string } | undefined,
  clock: Clock,
  signal: AbortSignal,
): Promise<Founded[]> {
  const { shards, description } = logs
  const check = (founded: Founded) => {
    const { state } = founded
    // The databases may be all that is left of a log that was lost: they are not given up for another one.
    if (former !== undefined && state.log !== former.log) {
      const now = state.log === null ? 'which is empty' : `which is log ${state.log}`
      throw new EngineError(
        'log-other',
        `the databases in ${former.path} were built from log ${former.log}; they do not belong to ${description}, ${now}. Give the right log or another data directory; if the log is lost, restore a backup of it`,
        { details: { former: former.log, log: state.log } },
      )
    }
    if (state.log === null || state.app === app) return founded
    throw new EngineError(
      'log-other-app',
      `${description} is the log of the app ${state.app}, not of ${app}. Give another log, or run that app`,
    )
  }
  // A topic belongs to whoever made it: an empty one may be the beginning of a copy.
  if (shards.length === 1 && former === undefined && logs.spans !== 'network')
    return [fitting(logs, 0, await firstManifest(shards[0]!, app, check, clock, signal))]
  const all = await Promise.all(shards.map(async shard => check(await expectedManifest(shard, clock, signal))))
  const first = all[0]?.state
  for (const [partition, founded] of all.entries()) {
    const { state } = fitting(logs, partition, founded)
    if (state.log === first!.log && state.generation === first!.generation) continue
    throw new EngineError(
      'log-unusable',
      `the shards of ${description} do not belong together: shard 0 is of log ${first!.log}, generation ${first!.generation}, shard ${partition} of log ${state.log}, generation ${state.generation}`,
    )
  }
  return all
}

function fitting({ shards, description }: Logs, partition: number, founded: Founded): Founded {
  const { state } = founded
  const refuse = (why: string) => new EngineError('log-unusable', `${description}: ${why}`)
  if (state.log === null)
    throw refuse(
      `${shards.length === 1 ? 'it' : `shard ${partition} of ${shards.length}`} has no manifest. Make the log with \`mainstem kafka create-log\`, or, if a copy into it was cut off, run the same \`mainstem log copy\` again`,
    )
  if (state.partitions !== shards.length)
    throw refuse(
      `the log was made with ${state.partitions} shards, but there are ${shards.length}. Growing the number of partitions moves keys: tenants would no longer live where their events are. Copy it into another one with \`mainstem log copy --partitions\``,
    )
  if (state.partition !== partition) throw refuse(`partition ${partition} holds the manifest of shard ${state.partition}`)
  return founded
}

/** Of a log that should have one. Where it is no evidence that none is to be seen, it is looked for a little longer. */
async function expectedManifest(log: Log, clock: Clock, signal: AbortSignal): Promise<Founded> {
  const until = clock.now() + (log.freshHead ? 0 : PATIENCE)
  for (;;) {
    const founded = await manifestOf(log, signal)
    if (founded.state.log !== null || clock.now() >= until) return founded
    await nap(clock, 50, signal)
  }
}

/** The shard behind its manifest; still empty if it has none. @param known a position that the log certainly has */
export async function manifestOf(log: Log, signal: AbortSignal, known = 0): Promise<Founded> {
  const { state, reached, orphans } = await readManifest(log, { known: Math.max(known, await log.head()), signal })
  if (state.log === null && orphans)
    throw new EngineError(
      'log-unusable',
      `${log.description} is damaged: it holds records, but not the manifest that they belong to. Restore a backup of it`,
    )
  return { state, position: state.log === null ? 0 : reached }
}

/** Reads the manifest of a log with one shard, or writes it. */
async function firstManifest(
  log: Log,
  app: string,
  check: (founded: Founded) => Founded,
  clock: Clock,
  signal: AbortSignal,
): Promise<Founded> {
  for (let known = 0; ; ) {
    const founded = check(await manifestOf(log, signal, known))
    if (founded.state.log !== null) return founded
    const value = manifestValue({ log: randomUUID(), app, partitions: 1, partition: 0 })
    // Of two that are written the first counts; the condition spares the second where it costs nothing.
    const after = log.conditional && log.freshHead ? { after: await log.head() } : {}
    const [answer] = await log.append([{ value, tenant: null, time: clock.time(), kinds: ['manifest'] }], { ...after, signal })
    if (answer?.status === 'written') known = answer.position
    if (answer?.status !== 'not-written') continue
    signal.throwIfAborted()
    if (!answer.fatal && !isDenied(answer.cause)) continue
    throw answer.cause instanceof EngineError
      ? answer.cause
      : new EngineError('log-failed', 'the log cannot be written', { cause: answer.cause })
  }
}

const isDenied = (cause: unknown): boolean => cause instanceof EngineError && cause.code === 'log-denied'
