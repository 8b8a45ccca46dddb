/**
 * A replica to talk to: the one that runs on the data directory, over its socket; where none runs, the replica is opened for the
 * moment of the call. Everything may change between two looks, so it is tried again until the time is up.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { App, Outcome } from '../app.ts'
import { revision } from '../app.ts'
import { EngineError, isEngineError } from '../errors.ts'
import { isKafka, openLogs } from '../log/open.ts'
import { folderOf, socketPath, tenantsIn } from '../replica/data.ts'
import { Link, LinkError } from '../replica/link.ts'
import { manifestOf } from '../replica/manifest.ts'
import { openReplica, type QueryOptions, type Status } from '../replica.ts'
import type { Cli } from './context.ts'
import type { Settings } from './settings.ts'

export interface Access {
  /** In another process. Its answer may get lost. */
  readonly running: boolean
  execute(command: string, input: unknown, id: string | undefined, tenant: string): Promise<Outcome<any>>
  query(query: string, input: unknown, options: QueryOptions): Promise<unknown>
  sql(text: string, options: QueryOptions): Promise<Record<string, unknown>[]>
  status(): Promise<Status>
}

/** How long a replica that runs may take to say that it does. */
const GREETING = 5_000

/**
 * @param writes whether a log that does not exist is made
 * @param use may be called again when the replica went away meanwhile
 */
export async function access<T>(cli: Cli, settings: Settings, writes: boolean, use: (replica: Access) => Promise<T>): Promise<T> {
  const { timeout } = settings
  const deadline = performance.now() + timeout
  let met = false
  for (;;) {
    cli.signal.throwIfAborted()
    try {
      const running = await connect(cli, settings)
      if (!running) {
        // One was there a moment ago. Where no app was named, which is needed only without one, the next one is waited for.
        if (met && !(await settings.maybeApp())) throw new LinkError('unreachable', 'it went away while it was asked')
        return await open(cli, settings, writes, use)
      }
      met = true
      try {
        return await use(running.access)
      } finally {
        running.link.close()
      }
    } catch (error) {
      // It starts or ends at this very moment.
      const passing = error instanceof LinkError || (isEngineError(error) && (error.code === 'data-in-use' || error.code === 'closed'))
      if (!passing) throw error
      if (performance.now() >= deadline)
        throw error instanceof LinkError
          ? new EngineError('not-ready', `the replica on ${settings.data} does not answer: ${error.message}`, { cause: error })
          : error
    }
    await pause(50, undefined, { signal: cli.signal }).catch(() => {})
  }
}

/** The app is needed only where no replica runs. */
async function open<T>(cli: Cli, settings: Settings, writes: boolean, use: (replica: Access) => Promise<T>): Promise<T> {
  const app = await settings.app()
  const log = writes ? await settings.writableLog() : await settings.existingLog()
  const { data, timeout } = settings
  const { fencing, accept, snapshots } = settings
  // Who only reads must not campaign for the leadership. On Kafka not every log takes conditions, which a reader needs none of.
  const strategy = writes ? settings.strategy : isKafka(log) ? 'first-wins' : 'optimistic'
  const progress = cli.progress('reading the log:', 'records')
  const replica = await openReplica(app, {
    log,
    data,
    ...(strategy === undefined ? {} : { strategy }),
    ...(fencing === undefined ? {} : { fencing }),
    ...(snapshots === undefined ? {} : { snapshots }),
    accept,
    timeout,
    signal: cli.signal,
    onProgress: ({ position, head }) => progress.update(position, head),
  }).finally(() => progress.end())
  try {
    const { signal } = cli
    return await use({
      running: false,
      execute: (command, input, id, tenant) =>
        replica.execute(command, input, { tenant, timeout, signal, ...(id === undefined ? {} : { id }) }),
      query: (query, input, options) => replica.query(query, input, { ...options, signal }),
      sql: (text, options) => replica.sql(text, [], { ...options, signal }),
      async status() {
        // It tells of the tenants that it has met: here, of those that have a database.
        for (const tenant of tenantsIn(folderOf(data, app.name, revision(app)))) await replica.digest(tenant).catch(() => {})
        return replica.status()
      },
    })
  } finally {
    await replica.close()
  }
}

async function connect(cli: Cli, settings: Settings): Promise<{ readonly link: Link; readonly access: Access } | undefined> {
  const link = new Link(socketPath(settings.data))
  const { timeout } = settings
  const call = <T>(method: string, params: unknown, late: EngineError, patience = timeout + 1_000) =>
    within<T>(link.call(method, params) as Promise<T>, cli.signal, patience, late)
  try {
    const status = await call<Status>(
      'status',
      {},
      new EngineError('not-ready', `a replica runs on ${settings.data}, but does not answer`),
      Math.min(GREETING, timeout + 1_000),
    )
    await compare(cli, settings, status)
  } catch (error) {
    link.close()
    if (error instanceof LinkError && error.kind === 'unreachable') return undefined
    throw error
  }
  const late = new EngineError('not-ready', `the replica on ${settings.data} did not answer in time`)
  return {
    link,
    access: {
      running: true,
      execute: (command, input, id, tenant) => call('execute', { command, input, options: { id, tenant, timeout } }, late),
      query: (query, input, options) => call('query', { query, input, options }, late),
      sql: (sql, options) => call('sql', { sql, options }, late),
      status: () => call('status', {}, late),
    },
  }
}

/** A replica that runs on the same data, but is of another app or log than was named, is not the one that was meant. */
async function compare(cli: Cli, settings: Settings, status: Status): Promise<void> {
  const app: App | undefined = await settings.maybeApp()
  const other = (what: string) =>
    new EngineError('invalid-option', `the replica that runs on ${settings.data} is of ${what}. Give another data directory with --data`)
  if (app && app.name !== status.app) throw other(`the app ${status.app}, not of ${app.name}`)
  if (app && revision(app) !== status.revision)
    cli.out.note(
      `note: the replica that runs has another revision of ${app.name} (${status.revision.slice(0, 12)}) than the app's file (${revision(app).slice(0, 12)})`,
    )
  if (!settings.logIsGiven) return
  const setting = await settings.existingLog()
  // One that is out of reach just now can still be asked for what its replica knows.
  if (isKafka(setting) && setting === status.log) return
  const logs = await openLogs(setting, { as: 'reader' })
  try {
    const { log: id, generation } = (await manifestOf(logs.shards[0]!, cli.signal)).state
    if (id !== status.logId || generation !== status.generation) throw other(`the log ${status.log}, not of ${setting}`)
  } finally {
    await logs.close()
  }
}

function within<T>(promise: Promise<T>, signal: AbortSignal, patience: number, late: EngineError): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason as Error)
    const timer = setTimeout(() => reject(late), patience)
    signal.addEventListener('abort', abort)
    promise.then(resolve, reject).finally(() => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
    })
  })
}
