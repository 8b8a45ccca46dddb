/**
 * What a log is copied into, and how it comes to be usable only when it is whole: files are drafts until all of them get their names, the
 * first one last; in a topic a mark says that it is being copied into, and replicas refuse it until the mark is gone (`kafka/copying.ts`).
 */
import { existsSync, rmSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { EngineError } from '../errors.ts'
import type { CopyTarget } from './copy.ts'
import { discard, publish } from './files.ts'
import { isKafka, logPath } from './open.ts'
import { isPattern, shardPath } from './shards.ts'
import { SqliteLog } from './sqlite.ts'

export interface OpenTarget extends CopyTarget {
  /** All of it is there: from now on it can be used. */
  finish(): Promise<void>
  close(): Promise<void>
}

export interface TargetOptions {
  /** The log's id. */
  readonly log: string
  readonly app: string
  /** Who the source is. */
  readonly place: string
  /** How many shards the source has. */
  readonly shards: number
  /** How many the target shall have. Default: as many; a topic that is there says it itself. */
  readonly partitions?: number | undefined
  /** As a replica's option. */
  readonly accept?: readonly string[]
}

/** @throws EngineError invalid-option, log-* */
export async function openTarget(setting: string, options: TargetOptions): Promise<OpenTarget> {
  if (isKafka(setting)) return (await import('./kafka/copying.ts')).openKafkaTarget(setting, options)
  const path = logPath(setting)
  if (path === undefined)
    throw new EngineError(
      'invalid-option',
      `a log is copied into file:PATH, file:PATH-{} or kafka://HOST:PORT/TOPIC, not into ${JSON.stringify(setting)}`,
    )
  const { shards, partitions = shards } = options
  const paths = isPattern(path) ? Array.from({ length: partitions }, (_, partition) => shardPath(path, partition)) : [path]
  return openFiles(`file:${resolve(path)}`, setting, paths)
}

async function openFiles(name: string, description: string, paths: readonly string[]): Promise<OpenTarget> {
  const files = await Promise.all(paths.map(async path => ({ path, draft: await draftOf(path) })))
  const drafts = files.filter(({ draft }) => draft !== undefined)
  if (drafts.length > 0 && files[0]!.draft === undefined)
    throw new EngineError('log-unusable', `there is a log at ${paths[0]} already. Copy into a new one`)
  const shards: SqliteLog[] = []
  const close = async () => {
    for (const shard of shards) await shard.close()
  }
  try {
    for (const { path, draft } of files) shards.push(new SqliteLog(draft ?? path))
  } catch (error) {
    await close()
    throw error
  }
  let finishing = false
  return {
    name,
    description,
    shards,
    state: drafts.length === 0 ? 'whole' : 'begun',
    async begin() {},
    async finish() {
      finishing = true
      await close()
      for (const { path, draft } of files.toReversed()) if (draft !== undefined) publish(draft, path)
    },
    async close() {
      if (finishing) return
      // Where nothing was begun nothing is left.
      const empty = await Promise.all(shards.map(async shard => (await shard.head()) === 0))
      await close()
      for (const [index, { draft }] of files.entries()) if (draft !== undefined && empty[index]) discard(draft)
    },
  }
}

/** The file that becomes the one at this path, undefined if that is there already. */
async function draftOf(path: string): Promise<string | undefined> {
  const draft = `${path}.copying`
  const named = statSync(path, { throwIfNoEntry: false })
  if (named === undefined) return draft
  // It was cut off while it got its name.
  if (statSync(draft, { throwIfNoEntry: false })?.ino === named.ino) {
    rmSync(draft)
    return undefined
  }
  if (!(await isEmpty(path))) return undefined
  discard(path)
  return draft
}

/** Whether there may be a new log at a path: there is nothing, or an empty log. @throws EngineError log-unusable */
export async function isEmpty(path: string): Promise<boolean> {
  if (!existsSync(path)) return true
  const log = new SqliteLog(path)
  try {
    return (await log.head()) === 0
  } finally {
    await log.close()
  }
}
