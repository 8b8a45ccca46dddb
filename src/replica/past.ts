/** A tenant's database as it was: replayed into a database of its own, read, and thrown away. */
import { type App, definitionOf } from '../app.ts'
import { openStore } from '../database/sqlite.ts'
import type { Store } from '../database.ts'
import { ask } from '../decide.ts'
import { EngineError } from '../errors.ts'
import type { Log, Position } from '../log.ts'
import type { Past } from '../replica.ts'
import { nearest } from '../snapshot/past.ts'
import { discardDatabase } from './data.ts'
import { type ReplayProgress, replay, type Until } from './replay.ts'

export interface PastExtras {
  readonly onProgress?: ((progress: ReplayProgress) => void) | undefined
  /** A position that the log certainly has. */
  readonly known?: Position
  /** A folder of snapshots, from the nearest of which it is replayed. */
  readonly snapshots?: string | undefined
}

/** The caller closes it. */
export async function openPast(
  app: App,
  log: Log,
  tenant: string,
  until: Until,
  path: string,
  { onProgress, known, snapshots }: PastExtras = {},
): Promise<Past> {
  const from = snapshots === undefined || path === ':memory:' ? undefined : await nearest(app, log, tenant, until, snapshots, path)
  const store = openStore(definitionOf(app).database, path, { mode: 'write' })
  const close = async () => {
    store.close()
    if (path !== ':memory:') discardDatabase(path)
  }
  try {
    const extras = { from, ...(known === undefined ? {} : { known }) }
    const { version, time, digest } = await replay(app, log, tenant, store, until, onProgress, extras)
    return {
      version,
      digest,
      at: new Date(time),
      path,
      query: (name: string, input?: unknown) => ask(app, name, input, store.queries, version) as never,
      sql: (text, ...parameters) => runSql(store, text, parameters),
      close,
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** A version (digits alone) or a moment, as text; undefined for anything else. */
export function whenOf(text: string): number | Date | undefined {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  // Nothing that Date would guess at, and no local time: a zone, or a whole day in UTC.
  const date = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/.test(text) ? new Date(text) : undefined
  return date === undefined || Number.isNaN(date.getTime()) ? undefined : date
}

export function untilOf(when: number | Date): Until {
  if (when instanceof Date) {
    if (Number.isNaN(when.getTime())) throw new EngineError('invalid-option', 'the date is not valid')
    if (when.getTime() > Date.now())
      throw new EngineError('no-such-version', `${when.toISOString()} has not come yet: what will stand there then nobody knows`)
    return { time: when.getTime() }
  }
  if (!Number.isSafeInteger(when) || when < 0) throw new EngineError('invalid-option', `a version is a whole number from 0, not ${when}`)
  return { version: when }
}

/** SQL of a caller, on the connection that cannot write. */
export function runSql(store: Store, text: string, parameters: readonly unknown[]): Record<string, unknown>[] {
  try {
    return (store.queries as { all(sql: string, ...p: unknown[]): Record<string, unknown>[] }).all(text, ...parameters)
  } catch (cause) {
    if (cause instanceof EngineError) throw cause
    throw new EngineError('query-failed', `${(cause as Error).message}: ${text}`, { cause })
  }
}
