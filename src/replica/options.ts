/** What callers may ask for: misuse is told here, before any side effect. */
import { readFileSync } from 'node:fs'
import { strategies } from '../consistency.ts'
import { EngineError } from '../errors.ts'
import { isTenant } from '../ids.ts'
import { logPath } from '../log/open.ts'
import type { ReplicaOptions } from '../replica.ts'
import type { Listen } from './http-link.ts'

export const EXECUTE_KEYS: ReadonlySet<string> = new Set(['id', 'tenant', 'timeout', 'signal'])
export const QUERY_KEYS: ReadonlySet<string> = new Set(['tenant', 'read', 'timeout', 'signal'])
export const OPEN_KEYS: ReadonlySet<string> = new Set([
  'log',
  'data',
  'strategy',
  'fencing',
  'timeout',
  'release',
  'maxRecordBytes',
  'listen',
  'onProgress',
  'signal',
])

const LISTEN_KEYS: ReadonlySet<string> = new Set(['host', 'port', 'advertise', 'secret'])

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

export function checkTenant(tenant: string): void {
  if (isTenant(tenant)) return
  throw new EngineError(
    'invalid-tenant',
    `a tenant name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit; not ${JSON.stringify(tenant)}`,
  )
}

export function checkOptions({ log, data, strategy, timeout, maxRecordBytes }: ReplicaOptions): void {
  const refuse = (message: string) => {
    throw new EngineError('invalid-option', message)
  }
  if (strategy !== undefined && !strategies.includes(strategy))
    refuse(`strategy is one of ${strategies.join(', ')}, not ${JSON.stringify(strategy)}`)
  if (timeout !== undefined && !(timeout > 0)) refuse('timeout is a number of milliseconds above 0')
  if (maxRecordBytes !== undefined && !(maxRecordBytes >= 4_096 && maxRecordBytes <= 64 << 20))
    refuse('maxRecordBytes is from 4,096 to 67,108,864')
  const isLog = typeof log === 'object' && log !== null && ('shards' in log || typeof log.append === 'function')
  if (typeof log !== 'string' && !isLog) refuse("log is 'file:PATH' or 'memory:'")
  if (data === undefined && typeof log === 'string' && (logPath(log) !== undefined || log.startsWith('kafka:')))
    refuse('data is missing: a directory for the databases of this replica')
}

/** Where the others shall reach this replica: as the options say, and what they leave open, as the environment does. @throws EngineError invalid-option */
export function listenOf(listen: Listen | undefined, env: NodeJS.ProcessEnv): Listen {
  if (listen !== undefined) checkKeys(listen, LISTEN_KEYS, 'listen')
  const place = listen?.host === undefined && listen?.port === undefined ? placeOf(env.MAINSTEM_LISTEN) : {}
  const advertise = env.MAINSTEM_ADVERTISE || undefined
  const secret = listen?.secret ?? secretOf(env)
  return { ...place, ...(advertise === undefined ? {} : { advertise }), ...listen, ...(secret === undefined ? {} : { secret }) }
}

/** '0.0.0.0:7878', '[::]:7878', ':7878' for all addresses, '7878' for this machine, or a host alone. */
function placeOf(text: string | undefined): Listen {
  if (text === undefined || text === '') return {}
  if (/^\d+$/.test(text)) return { port: Number(text) }
  const found = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/.exec(text)
  if (!found) throw new EngineError('invalid-option', `MAINSTEM_LISTEN is HOST:PORT, such as 0.0.0.0:7878; not ${JSON.stringify(text)}`)
  const host = found[1] ?? found[2]
  return { host: host === undefined || host === '' ? '0.0.0.0' : host, ...(found[3] === undefined ? {} : { port: Number(found[3]) }) }
}

function secretOf(env: NodeJS.ProcessEnv): string | undefined {
  const file = env.MAINSTEM_SECRET_FILE
  if (env.MAINSTEM_SECRET || !file) return env.MAINSTEM_SECRET || undefined
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    throw new EngineError('invalid-option', `MAINSTEM_SECRET_FILE cannot be read: ${(cause as Error).message}`, { cause })
  }
}
