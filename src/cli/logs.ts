/** Logs that a command only looks at: all shards, the one of a tenant, or one that was named. */
import { EngineError } from '../errors.ts'
import { readManifest } from '../log/manifest.ts'
import { homeOf, openLogs } from '../log/open.ts'
import type { Log, Logs } from '../log.ts'
import { CliError } from './failure.ts'
import { readWhole } from './input.ts'
import type { Settings } from './settings.ts'

export async function openToRead(settings: Settings): Promise<Logs> {
  return openLogs(await settings.existingLog(), { as: 'reader' })
}

/** The shard where a tenant lives, of a log that the caller closes. */
export async function openHome(settings: Settings, tenant: string): Promise<{ readonly logs: Logs; readonly log: Log }> {
  const logs = await openToRead(settings)
  try {
    await checkHomes(logs)
  } catch (error) {
    await logs.close()
    throw error
  }
  return { logs, log: homeOf(logs, tenant) }
}

/** Where the number of shards is not what the log was made with, tenants are not where their names say. @throws EngineError log-unusable */
export async function checkHomes({ shards, description }: Logs): Promise<void> {
  if (shards.length === 1) return
  const { log, partitions } = (await readManifest(shards[0]!)).state
  if (log === null || partitions === shards.length) return
  throw new EngineError(
    'log-unusable',
    `${description} was made with ${partitions} shards, but there are ${shards.length}: tenants are not where their names say. Copy it into another one with \`mainstem log copy --partitions\`, or look at one shard with --partition`,
  )
}

/** The number of a shard from --partition, undefined if it was left out. @throws CliError */
export function readPartition(value: string | undefined, { shards, description }: Logs): number | undefined {
  if (value === undefined) return undefined
  const partition = readWhole(value, '--partition', 0)
  if (partition < shards.length) return partition
  const has = shards.length === 1 ? 'one shard, number 0' : `${shards.length} shards, from 0 to ${shards.length - 1}`
  throw new CliError('usage', `${description} has ${has}; there is no shard ${partition}`)
}
