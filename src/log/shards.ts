/**
 * Several embedded files as one log: 'file:seats-{}.log' means seats-0.log, seats-1.log and so on, a shard each. How many there are is said by
 * the manifest of the first; such a log is made by a copy, for its manifests must be there before it is used. The first file gets its name
 * last, so that there is no such log before all of it is there.
 */
import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { EngineError } from '../errors.ts'
import type { Logs } from '../log.ts'
import { FileRoster } from '../roster.ts'
import { controlsOf } from './seal.ts'
import { SqliteLog } from './sqlite.ts'

const PLACE = '{}'

export const isPattern = (path: string): boolean => path.includes(PLACE)

/** The file of a shard. @throws EngineError invalid-option */
export function shardPath(pattern: string, partition: number): string {
  const name = basename(pattern)
  if (pattern.split(PLACE).length !== 2 || !name.includes(PLACE))
    throw new EngineError(
      'invalid-option',
      `${JSON.stringify(pattern)}: {} stands once, in the name of the file, for the number of the shard`,
    )
  return pattern.replace(PLACE, String(partition))
}

/** The file whose presence says that there is a log: the only one, or that of the first shard. */
export const firstPath = (path: string): string => (isPattern(path) ? shardPath(path, 0) : path)

/** @throws EngineError invalid-option, log-unusable */
export async function openShards(pattern: string): Promise<Logs> {
  const first = shardPath(pattern, 0)
  const refuse = (why: string) => new EngineError('log-unusable', `file:${pattern} ${why}`)
  if (!existsSync(first))
    throw new EngineError('log-unusable', `there is no log at ${first}. A log of several files is made by \`mainstem log copy\``)
  const shards: SqliteLog[] = []
  const close = async () => {
    for (const shard of shards) await shard.close()
  }
  try {
    shards.push(new SqliteLog(first))
    const { state } = await controlsOf(shards[0]!)
    if (state.log === null) throw refuse(`is not whole: ${first} holds no manifest`)
    for (let partition = 1; partition < state.partitions; partition++) {
      const path = shardPath(pattern, partition)
      if (!existsSync(path)) throw refuse(`has ${state.partitions} shards, but there is no file ${path}`)
      shards.push(new SqliteLog(path))
    }
    const roster = new FileRoster(`${first}.roster`)
    return {
      description: `file:${pattern}`,
      shards,
      roster,
      spans: 'machine',
      async close() {
        roster.close()
        await close()
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}
