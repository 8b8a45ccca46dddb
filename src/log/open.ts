/** From a setting to a log, or to the shards and the roster of one: 'file:PATH', 'file:PATH-{}', 'kafka://HOST/TOPIC' or 'memory:NAME'. */
import { EngineError } from '../errors.ts'
import type { Log, Logs } from '../log.ts'
import { partitionOf } from '../partition.ts'
import { FileRoster, MemoryRoster, type Roster } from '../roster.ts'
import type { KafkaOptions } from './kafka.ts'
import { MemoryFile, MemoryLog } from './memory.ts'
import { isPattern, openShards } from './shards.ts'
import { SqliteLog } from './sqlite.ts'

const shared = new Map<string, MemoryFile>()

/** Whatever kind it is. @throws EngineError invalid-option, log-* */
export async function openLogs(setting: string, options: KafkaOptions = {}): Promise<Logs> {
  // A kind that needs a library of its own is imported here, when it is first asked for.
  if (isKafka(setting)) return (await import('./kafka.ts')).KafkaLogs.open(setting, options)
  const path = logPath(setting)
  if (path !== undefined && isPattern(path)) return openShards(path)
  const log = openLog(setting)
  return path === undefined ? oneShard(log) : oneShard(log, new FileRoster(`${path}.roster`), 'machine')
}

/** The shard where a tenant lives. */
export const homeOf = ({ shards }: Logs, tenant: string): Log => shards[partitionOf(tenant, shards.length)]!

/** A log as the only shard. Closing it closes both. */
export function oneShard(log: Log, roster: Roster = new MemoryRoster(log.place), spans: Logs['spans'] = 'process'): Logs {
  const close = async () => {
    roster.close()
    await log.close()
  }
  return { description: log.description, shards: [log], roster, spans, close }
}

/** Of one file, or in memory. @throws EngineError invalid-option, log-unusable */
export function openLog(setting: string): Log {
  const [kind, rest] = split(setting)
  if (kind === 'file' && rest !== '') return new SqliteLog(rest)
  if (kind === 'memory') {
    if (rest === '') return new MemoryLog()
    const file = shared.get(rest) ?? new MemoryFile()
    shared.set(rest, file)
    return new MemoryLog(rest, file)
  }
  throw new EngineError(
    'invalid-option',
    `no log can be opened from ${JSON.stringify(setting)}. Say file:PATH, kafka://HOST:PORT/TOPIC, or memory: for one that is gone with the process`,
  )
}

export const isKafka = (setting: string): boolean => split(setting)[0] === 'kafka'

/** The path of an embedded log, undefined for other kinds. May hold {} for the number of a shard. */
export function logPath(setting: string): string | undefined {
  const [kind, rest] = split(setting)
  return kind === 'file' && rest !== '' ? rest : undefined
}

function split(setting: string): [kind: string, rest: string] {
  const colon = setting.indexOf(':')
  return colon < 0 ? [setting, ''] : [setting.slice(0, colon), setting.slice(colon + 1)]
}
