/** What callers may ask for: misuse is told here, before any side effect. */
import { strategies } from '../consistency.ts'
import { EngineError } from '../errors.ts'
import { isLine, isTenant } from '../ids.ts'
import { logPath } from '../log/open.ts'
import { type CommandMeta, META_KEYS } from '../record.ts'
import type { ReplicaOptions } from '../replica.ts'

export const EXECUTE_KEYS: ReadonlySet<string> = new Set(['id', 'tenant', 'timeout', 'signal', 'meta'])
export const QUERY_KEYS: ReadonlySet<string> = new Set(['tenant', 'read', 'timeout', 'signal'])
export const OPEN_KEYS: ReadonlySet<string> = new Set([
  'log',
  'data',
  'strategy',
  'fencing',
  'timeout',
  'release',
  'maxRecordBytes',
  'accept',
  'listen',
  'snapshots',
  'onProgress',
  'signal',
])

/** An option that is mistyped would be left out without a word, and another tenant written to. */
export function checkKeys(options: unknown, known: ReadonlySet<string>, what: string): void {
  const list = () => [...known].join(', ')
  if (typeof options !== 'object' || options === null) {
    throw new EngineError('invalid-option', `the options of ${what} are an object with ${list()}; not ${JSON.stringify(options)}`)
  }
  for (const key in options) {
    if (!known.has(key)) throw new EngineError('invalid-option', `${what} has no option ${JSON.stringify(key)}; there are ${list()}`)
  }
}

/** What the environment accepts of what is unsafe. */
export const acceptedIn = (env: NodeJS.ProcessEnv): string[] =>
  (env.MAINSTEM_ACCEPT ?? '')
    .split(',')
    .map(name => name.trim())
    .filter(name => name !== '')

const META: ReadonlySet<string> = new Set(META_KEYS)

/** Undefined if nothing stands in it. @throws EngineError invalid-option */
export function checkedMeta(meta: CommandMeta): CommandMeta | undefined {
  checkKeys(meta, META, 'meta')
  const found = META_KEYS.filter(key => meta[key] !== undefined).map(key => [key, meta[key]] as const)
  for (const [key, text] of found)
    if (!isLine(text))
      throw new EngineError('invalid-option', `meta.${key} is one line of up to 256 characters, not ${JSON.stringify(text)}`)
  return found.length === 0 ? undefined : Object.fromEntries(found)
}

export function checkTenant(tenant: string): void {
  if (isTenant(tenant)) return
  throw new EngineError(
    'invalid-tenant',
    `a tenant name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit; not ${JSON.stringify(tenant)}`,
  )
}

export function checkOptions({ log, data, strategy, timeout, maxRecordBytes, accept, snapshots }: ReplicaOptions): void {
  const refuse = (message: string) => {
    throw new EngineError('invalid-option', message)
  }
  if (strategy !== undefined && !strategies.includes(strategy))
    refuse(`strategy is one of ${strategies.join(', ')}, not ${JSON.stringify(strategy)}`)
  if (timeout !== undefined && !(timeout > 0)) refuse('timeout is a number of milliseconds above 0')
  if (maxRecordBytes !== undefined && !(maxRecordBytes >= 4_096 && maxRecordBytes <= 64 << 20))
    refuse('maxRecordBytes is from 4,096 to 67,108,864')
  if (accept !== undefined && !(Array.isArray(accept) && accept.every(name => typeof name === 'string')))
    refuse('accept is a list of names, as `mainstem doctor` gives them')
  if (snapshots !== undefined && (typeof snapshots !== 'string' || snapshots === ''))
    refuse("snapshots is a folder, or the URL of a replica such as 'http://replica-1.example.net:7878'")
  const isLog = typeof log === 'object' && log !== null && ('shards' in log || typeof log.append === 'function')
  if (typeof log !== 'string' && !isLog) refuse("log is 'file:PATH' or 'memory:'")
  if (data === undefined && typeof log === 'string' && (logPath(log) !== undefined || log.startsWith('kafka:')))
    refuse('data is missing: a directory for the databases of this replica')
}
