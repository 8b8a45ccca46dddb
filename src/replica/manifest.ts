/**
 * The manifests of a log's shards: what makes it the log of this app. The only shard of an empty log gets its manifest from the first replica;
 * several shards must have theirs before, for whoever writes them must know how many there are for good.
 */
import { randomUUID } from 'node:crypto'
import { control, emptyShard, type ShardState } from '../accept.ts'
import { EngineError } from '../errors.ts'
import { manifestValue } from '../log/manifest.ts'
import type { Log, Logs } from '../log.ts'
import { decode } from '../record.ts'

/**
 * Every shard as its manifest has it.
 * @param former the log that the databases here were built from, if there are any
 * @throws EngineError log-unusable, log-other, log-other-app
 */
export async function ensureManifests(
  logs: Logs,
  app: string,
  former: { readonly log: string; readonly path: string } | undefined,
  signal: AbortSignal,
): Promise<ShardState[]> {
  const { shards, description } = logs
  const check = (state: ShardState) => {
    // The databases may be all that is left of a log that was lost: they are not given up for another one.
    if (former !== undefined && state.log !== former.log) {
      const now = state.log === null ? 'which is empty' : `which is log ${state.log}`
      throw new EngineError(
        'log-other',
        `the databases in ${former.path} were built from log ${former.log}; they do not belong to ${description}, ${now}. Give the right log or another data directory; if the log is lost, restore a backup of it`,
        { details: { former: former.log, log: state.log } },
      )
    }
    if (state.log === null || state.app === app) return state
    throw new EngineError(
      'log-other-app',
      `${description} is the log of the app ${state.app}, not of ${app}. Give another log, or run that app`,
    )
  }
  if (shards.length === 1) return [fitting(logs, 0, check(await firstManifest(shards[0]!, app, check, signal)))]
  const states = await Promise.all(shards.map(async shard => check(await manifestOf(shard, signal))))
  for (const [partition, state] of states.entries()) {
    fitting(logs, partition, state)
    const [first] = states
    if (state.log === first!.log && state.generation === first!.generation) continue
    throw new EngineError(
      'log-unusable',
      `the shards of ${description} do not belong together: shard 0 is of log ${first!.log}, generation ${first!.generation}, shard ${partition} of log ${state.log}, generation ${state.generation}`,
    )
  }
  return states
}

function fitting({ shards, description }: Logs, partition: number, state: ShardState): ShardState {
  const refuse = (why: string) => new EngineError('log-unusable', `${description}: ${why}`)
  if (state.log === null) throw refuse(`shard ${partition} of ${shards.length} has no manifest. Run \`mainstem kafka create-log\` first`)
  if (state.partitions !== shards.length)
    throw refuse(
      `the log was made with ${state.partitions} shards, but there are ${shards.length}. Growing the number of partitions moves keys: tenants would no longer live where their events are. Copy the log into one that is made with as many shards as it shall have`,
    )
  if (state.partition !== partition) throw refuse(`partition ${partition} holds the manifest of shard ${state.partition}`)
  return state
}

/** The shard behind its manifest; still empty if it has none. @param known a position that the log certainly has */
export async function manifestOf(log: Log, signal: AbortSignal, known = 0): Promise<ShardState> {
  const head = Math.max(known, await log.head())
  let shard = emptyShard
  for (let after = 0; shard.log === null; ) {
    const lags = log.tails || !log.freshHead
    const wait = lags && after < head ? { wait: true, signal } : {}
    const { records, reached } = await log.read(after, { tenant: null, ...wait })
    signal.throwIfAborted()
    for (const { value, tenant } of records) {
      if (tenant !== null || shard.log !== null) continue
      const record = decode(value)
      if (record.kind === 'foreign' || record.kind === 'data') continue
      const next = control(shard, record)
      if (typeof next !== 'string') shard = next
    }
    if (reached === after) break
    after = reached
  }
  return shard
}

/** Reads the manifest of a log with one shard, or writes it. */
async function firstManifest(log: Log, app: string, check: (state: ShardState) => ShardState, signal: AbortSignal): Promise<ShardState> {
  for (let known = 0; ; ) {
    const state = check(await manifestOf(log, signal, known))
    if (state.log !== null) return state
    const value = manifestValue({ log: randomUUID(), app, partitions: 1, partition: 0 })
    // Of two that are written the first counts; the condition spares the second where it costs nothing.
    const after = log.conditional && log.freshHead ? { after: await log.head() } : {}
    const [answer] = await log.append([{ value, tenant: null, time: Date.now(), kinds: ['manifest'] }], { ...after, signal })
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
