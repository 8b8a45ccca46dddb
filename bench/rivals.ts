/**
 * Against what a team would otherwise take for "nobody takes out more than so much a day", on the same broker and in the same run:
 *
 *   kafkajs          the rule is checked in PostgreSQL under a row lock, and the event sent after the commit. If the process dies in between,
 *                    the event is lost: it is here for its speed, not for its guarantees
 *   outbox           the event is written with the rule's row in one transaction, and a relay brings it to Kafka
 *   Emmett           one stream per account on PostgreSQL, with an expected version, tried again on a conflict
 *   Mainstem         leader/epoch
 *
 * PostgreSQL comes from the machine, the clients from bench/rivals/package.json, installed when this runs.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { CompressionTypes, Kafka, logLevel, type Producer } from 'kafkajs'
import { z } from 'zod'
import { app, openReplica, sqlite } from '../src/index.ts'
import { newLog } from './broker.ts'
import { closedLoop, fill, inFolder, type Load, markdown, median, table } from './support.ts'

const ACCOUNTS = 1_000
/** So high that nobody reaches it: what is measured is that it is checked. */
const LIMIT = 1_000_000_000
/** As many as a machine's cores can use; callers beyond that wait in the pool. */
const POOL = 16
const RELAYED = 500
const folder = fileURLToPath(new URL('rivals/', import.meta.url))

type Call = (n: number) => Promise<unknown>
type Measure = (call: Call) => Promise<Load>

const today = (): string => new Date().toISOString().slice(0, 10)

// --- Mainstem ---------------------------------------------------------------------------------------------------------

const bank = app('bank', {
  events: { Withdrawn: z.object({ account: z.number(), cents: z.number(), day: z.string() }) },
  database: sqlite('CREATE TABLE account (id INTEGER PRIMARY KEY, day TEXT NOT NULL, taken INTEGER NOT NULL) STRICT'),
  project: {
    Withdrawn: (db, { account, cents, day }) =>
      db.run(
        'INSERT INTO account VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET taken = iif(day = ?2, taken, 0) + ?3, day = ?2',
        account,
        day,
        cents,
      ),
  },
  commands: {
    withdraw: {
      input: z.object({ account: z.number(), cents: z.number() }),
      scope: ({ account }) => [`account:${account}`],
      decide: ({ account, cents }, { db, now, emit, reject }) => {
        const day = now.toISOString().slice(0, 10)
        const row = db.get<{ day: string; taken: number }>('SELECT day, taken FROM account WHERE id = ?', account)
        const taken = row?.day === day ? row.taken : 0
        return taken + cents > LIMIT ? reject('daily-limit') : emit('Withdrawn', { account, cents, day })
      },
    },
  },
})

async function mainstem(bootstrap: string, accountOf: (n: number) => number, measure: Measure): Promise<Load> {
  const log = await newLog(bootstrap, 'bank')
  return inFolder(async folder => {
    await using replica = await openReplica(bank, { log, data: folder, strategy: 'leader', fencing: 'epoch' })
    await replica.execute('withdraw', { account: 0, cents: 1 })
    return await measure(n => replica.execute('withdraw', { account: accountOf(n), cents: 1 }))
  })
}

// --- PostgreSQL -------------------------------------------------------------------------------------------------------
// What is used of packages that are not there when this repository is checked.

interface Client {
  query<Row = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<{ rows: Row[] }>
  release(): void
}
interface Pool extends Omit<Client, 'release'> {
  connect(): Promise<Client>
  end(): Promise<void>
}
interface Taken {
  readonly day: string
  readonly taken: number
}
interface Withdrawn {
  readonly type: 'Withdrawn'
  readonly data: { readonly account: number; readonly cents: number; readonly day: string }
}
interface Clients {
  readonly pg: { readonly Pool: new (options: object) => Pool }
  readonly emmett: {
    CommandHandler(options: object): (store: object, stream: string, decide: (state: Taken) => Withdrawn) => Promise<unknown>
    isExpectedVersionConflictError(error: unknown): boolean
  }
  readonly postgresql: {
    getPostgreSQLEventStore(
      url: string,
      options: object,
    ): { readonly close: () => Promise<void>; readonly schema: { migrate(): Promise<unknown> } }
  }
}

/** The clients of the others, installed here if they are not. */
async function clients(): Promise<Clients> {
  const there = join(folder, 'node_modules/.package-lock.json')
  const locked = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')).packages
  const installed = existsSync(there) ? JSON.parse(readFileSync(there, 'utf8')).packages : {}
  if (Object.keys(locked).some(path => path !== '' && locked[path].version !== installed[path]?.version)) {
    process.stderr.write('installing the clients of the others, in bench/rivals\n')
    // Not with the Node.js that this repository brings along, to which npm does not belong.
    const path = (process.env['PATH'] ?? '').split(delimiter).filter(part => !part.endsWith(join('node_modules', '.bin')))
    execFileSync('npm', ['ci', '--loglevel=error'], { cwd: folder, stdio: 'inherit', env: { ...process.env, PATH: path.join(delimiter) } })
  }
  const require = createRequire(join(folder, 'package.json'))
  const load = async (name: string) => import(pathToFileURL(require.resolve(name)).href)
  return {
    pg: (await load('pg')).default,
    emmett: await load('@event-driven-io/emmett'),
    postgresql: await load('@event-driven-io/emmett-postgresql'),
  }
}

function postgresFolder(): string | undefined {
  const debian = '/usr/lib/postgresql'
  const newest = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a))[0] : undefined
  if (newest !== undefined) return join(debian, newest, 'bin')
  const found = (process.env['PATH'] ?? '').split(delimiter).find(part => existsSync(join(part, 'initdb')))
  return found
}

/** A cluster of its own in a temporary folder, with the settings that it comes with: each commit is on the disk when it is answered. */
async function onPostgres(work: (url: string) => Promise<void>): Promise<void> {
  const bin = postgresFolder()
  if (bin === undefined) {
    process.stdout.write('left out: PostgreSQL is not here. Debian: apt-get install postgresql, Homebrew: postgresql@17\n')
    return
  }
  const data = mkdtempSync(join(tmpdir(), 'mainstem-postgres-'))
  // It refuses to run as root; its packages bring a user for it.
  const root = userInfo().uid === 0
  const as = (command: string, args: readonly string[]): void => {
    const [name, list] = root ? ['runuser', ['-u', 'postgres', '--', join(bin, command), ...args]] : [join(bin, command), args]
    const { status, stderr } = spawnSync(name, list, {
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', command === 'pg_ctl' ? 'ignore' : 'pipe'],
      cwd: data,
    })
    if (status !== 0) throw new Error(`${command} failed: ${stderr ?? `see ${data}/server.log`}`)
  }
  try {
    if (root) {
      const id = (what: string) => Number(execFileSync('id', [what, 'postgres'], { encoding: 'utf8' }))
      chownSync(data, id('-u'), id('-g'))
    }
    const port = await freePort()
    as('initdb', ['-D', data, '-A', 'trust', '-U', 'bench', '--no-sync'])
    as('pg_ctl', ['-D', data, '-w', '-l', join(data, 'server.log'), '-o', `-p ${port} -h 127.0.0.1 -k ${data}`, 'start'])
    try {
      await work(`postgresql://bench@127.0.0.1:${port}/postgres`)
    } finally {
      as('pg_ctl', ['-D', data, '-w', '-m', 'immediate', 'stop'])
    }
  } finally {
    rmSync(data, { recursive: true, force: true })
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as { port: number }
  await new Promise(done => server.close(done))
  return port
}

const SCHEMA = `
  DROP TABLE IF EXISTS account, outbox;
  CREATE TABLE account (id integer PRIMARY KEY, day text NOT NULL, taken bigint NOT NULL);
  INSERT INTO account SELECT n, '', 0 FROM generate_series(0, ${ACCOUNTS - 1}) AS n;
  CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text NOT NULL, value text NOT NULL);`

/** The rule, checked and kept under the lock of the account's row. `also` happens in the same transaction. */
async function withdraw(pool: Pool, account: number, cents: number, also?: (client: Client, event: Withdrawn) => Promise<unknown>) {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    const { rows } = await client.query<{ day: string; taken: string }>('SELECT day, taken FROM account WHERE id = $1 FOR UPDATE', [
      account,
    ])
    const day = today()
    const taken = rows[0]!.day === day ? Number(rows[0]!.taken) : 0
    if (taken + cents > LIMIT) throw new Error('daily-limit')
    await client.query('UPDATE account SET day = $2, taken = $3 WHERE id = $1', [account, day, taken + cents])
    const event: Withdrawn = { type: 'Withdrawn', data: { account, cents, day } }
    await also?.(client, event)
    await client.query('COMMIT')
    return event
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

/** @param idempotent no message is doubled or overtaken when one is sent again; each waits for the one before */
async function producer(bootstrap: string, idempotent: boolean): Promise<Producer> {
  const made = new Kafka({ brokers: bootstrap.split(','), logLevel: logLevel.NOTHING }).producer({ idempotent })
  await made.connect()
  return made
}

const messageOf = (event: Withdrawn) => ({ key: String(event.data.account), value: JSON.stringify(event) })
const sent = (to: Producer, topic: string, messages: { key: string; value: string }[]) =>
  to.send({ topic, messages, acks: -1, compression: CompressionTypes.None })

interface Place {
  readonly bootstrap: string
  readonly url: string
  readonly clients: Clients
  readonly accountOf: (n: number) => number
}

async function kafkajs({ bootstrap, url, clients, accountOf }: Place, measure: Measure): Promise<Load> {
  const topic = new URL(await newLog(bootstrap, 'bank')).pathname.slice(1)
  const pool = new clients.pg.Pool({ connectionString: url, max: POOL })
  await pool.query(SCHEMA)
  const to = await producer(bootstrap, false)
  const load = await measure(async n => sent(to, topic, [messageOf(await withdraw(pool, accountOf(n), 1))]))
  await to.disconnect()
  await pool.end()
  return load
}

/** `perSecond` counts until the last event is in Kafka; the latency is that of the caller, who is answered before. */
async function outbox({ bootstrap, url, clients, accountOf }: Place, measure: Measure): Promise<Load> {
  const topic = new URL(await newLog(bootstrap, 'bank')).pathname.slice(1)
  const pool = new clients.pg.Pool({ connectionString: url, max: POOL })
  await pool.query(SCHEMA)
  const to = await producer(bootstrap, true)
  let over = false
  let relayed = 0
  const relaying = (async () => {
    for (;;) {
      const last = over
      const { rows } = await pool.query<{ id: string; key: string; value: string }>(`SELECT * FROM outbox ORDER BY id LIMIT ${RELAYED}`)
      if (rows.length === 0) {
        if (last) return
        await new Promise(resolve => setTimeout(resolve, 5))
        continue
      }
      await sent(
        to,
        topic,
        rows.map(({ key, value }) => ({ key, value })),
      )
      // By id, for one that was committed late may have a lower id than the last.
      await pool.query('DELETE FROM outbox WHERE id = ANY ($1)', [rows.map(({ id }) => id)])
      relayed += rows.length
    }
  })()
  const write = (client: Client, event: Withdrawn) => {
    const { key, value } = messageOf(event)
    return client.query('INSERT INTO outbox (key, value) VALUES ($1, $2)', [key, value])
  }
  const start = performance.now()
  const load = await measure(n => withdraw(pool, accountOf(n), 1, write))
  over = true
  await relaying
  const perSecond = relayed / ((performance.now() - start) / 1_000)
  await to.disconnect()
  await pool.end()
  return { ...load, perSecond }
}

async function emmett({ url, clients, accountOf }: Place, measure: Measure): Promise<Load> {
  const { emmett, postgresql } = clients
  const pool = new clients.pg.Pool({ connectionString: url, max: POOL })
  const store = postgresql.getPostgreSQLEventStore(url, { connectionOptions: { pool } })
  await store.schema.migrate()
  // Its own default, three times from 100 ms on, gives up where many want the same account.
  const retry = { retries: 1_000, minTimeout: 1, maxTimeout: 50, randomize: true, shouldRetryError: emmett.isExpectedVersionConflictError }
  const handle = emmett.CommandHandler({
    initialState: (): Taken => ({ day: '', taken: 0 }),
    evolve: ({ day, taken }: Taken, { data }: Withdrawn): Taken => ({ day: data.day, taken: (day === data.day ? taken : 0) + data.cents }),
    retry: { onVersionConflict: retry },
  })
  // Streams that begin with this measurement: long ones take longer to read.
  const round = crypto.randomUUID()
  const load = await measure(n => {
    const account = accountOf(n)
    return handle(store, `account:${round}:${account}`, state => {
      const day = today()
      if ((state.day === day ? state.taken : 0) + 1 > LIMIT) throw new Error('daily-limit')
      return { type: 'Withdrawn', data: { account, cents: 1, day } }
    })
  })
  await store.close()
  await pool.end()
  return load
}

// --- Side by side -----------------------------------------------------------------------------------------------------

/** @param bootstrap 'host:port' of a cluster */
export async function rivals(bootstrap: string, { rounds = 3, duration = 1_500 } = {}): Promise<void> {
  await onPostgres(async url => {
    const others = await clients()
    const rows = []
    for (const accounts of ['many', 'one'] as const) {
      for (const callers of [1, 16, 64]) {
        const accountOf = (n: number) => (accounts === 'one' ? 0 : (n * 7_919) % ACCOUNTS)
        const place: Place = { bootstrap, url, clients: others, accountOf }
        const works: Record<string, (measure: Measure) => Promise<Load>> = {
          'kafkajs, event after the commit': measure => kafkajs(place, measure),
          'outbox and relay': measure => outbox(place, measure),
          'Emmett on PostgreSQL': measure => emmett(place, measure),
          'Mainstem, leader/epoch': measure => mainstem(bootstrap, accountOf, measure),
        }
        const names = Object.keys(works)
        const loads = new Map<string, Load[]>(names.map(name => [name, []]))
        for (let round = -1; round < rounds; round++) {
          for (let n = 0; n < names.length; n++) {
            const name = names[(n + Math.max(0, round)) % names.length]!
            // The first round pays for compilers and caches.
            const load = await works[name]!(call => closedLoop(callers, round < 0 ? Math.min(300, duration) : duration, call))
            if (round >= 0) loads.get(name)!.push(load)
          }
        }
        const ours = loads.get(names.at(-1)!)!
        for (const [way, theirs] of loads) {
          const mid = (of: (load: Load, round: number) => number) => median(theirs.map(of))
          rows.push({
            accounts,
            clients: callers,
            way,
            'accepted /s': mid(load => load.perSecond),
            'Mainstem by this': mid((load, round) => ours[round]!.perSecond / load.perSecond),
            'p50 ms': mid(load => load.p50),
            'p99 ms': mid(load => load.p99),
          })
        }
      }
    }
    process.stdout.write(`${table(rows)}\n`)
    fill(fileURLToPath(new URL('../docs/benchmarks.md', import.meta.url)), 'rivals', markdown(rows))
  })
}
