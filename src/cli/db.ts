/** `mainstem db`: the past as a whole database. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Command } from 'commander'
import { type App, definitionOf } from '../app.ts'
import { type Difference, diff } from '../database/compare.ts'
import { openStore } from '../database/sqlite.ts'
import { discard, publish } from '../log/files.ts'
import { type ReplayProgress, replay } from '../replica/replay.ts'
import { openPast, untilOf } from '../replica/past.ts'
import type { Past } from '../replica.ts'
import { nearest } from '../snapshot/past.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { readJson, readWhen, readWhole } from './input.ts'
import { openHome } from './logs.ts'
import { examples, withOptions } from './options.ts'
import { paint, pairs, plural, printable, table, toJson } from './output.ts'
import { showAnswer, showRows } from './query.ts'
import { type Flags, Settings } from './settings.ts'

interface AtFlags extends Flags {
  readonly out?: string
  readonly sql?: string
  readonly query?: [name: string, ...input: string[]]
}

const MOMENT = 'a version, or a time such as 2026-03-01T12:00:00Z'

export function addDb(program: Command, cli: Cli): void {
  const db = program
    .command('db')
    .summary('look at the past')
    .description(
      "A tenant's database as it was, and what changed between two moments. The log is replayed, from the nearest snapshot where there is a folder of them, else from its beginning.",
    )
  addAt(db, cli)
  addDiff(db, cli)
}

function addAt(db: Command, cli: Cli): void {
  const command = db
    .command('at')
    .summary("a tenant's database as it was")
    .description(
      "Replays the log up to a moment: into a file, for one SELECT, or for one of the app's queries. Without any of these it tells what the tables held.",
    )
    .argument('<moment>', MOMENT)
    .option('--out <file>', 'write the SQLite database into a new file')
    .option('--sql <select>', 'run this SELECT on it')
    .option('--query <name...>', 'answer this query; its input (JSON, @FILE, -) may follow')
  withOptions(command, 'app', 'tenant', 'log', 'snapshots', 'json')
    .addHelpText(
      'after',
      examples(
        'db at 100 --app seats.ts --out seats-100.db',
        `db at 2026-03-01 --sql 'SELECT count(*) FROM sale'`,
        `db at 100 --query seat '{"seat":"A1"}'`,
      ),
    )
    .action(async (moment: string, flags: AtFlags) => {
      const when = readWhen(moment)
      const { out, sql, query } = flags
      if ([out, sql, query].filter(each => each !== undefined).length > 1)
        throw new CliError('usage', 'give one of --out, --sql and --query')
      if (query && query.length > 2) throw new CliError('usage', '--query takes a name and one input')
      if (out !== undefined && existsSync(out)) throw new CliError('file', `${out} exists already`)
      const settings = await Settings.read(flags)
      const app = await settings.app()
      const input = await readJson(query?.[1])
      if (out !== undefined) return writeOut(cli, settings, app, when, out)
      await withPast(cli, settings, app, when, async past => {
        if (sql !== undefined) await showRows(cli, past.sql(sql))
        else if (query) showAnswer(cli, past.query(query[0], input))
        else showPast(cli, past)
      })
    })
}

async function writeOut(cli: Cli, settings: Settings, app: App, when: number | Date, out: string): Promise<void> {
  const { log, logs } = await openHome(settings, settings.tenant)
  const draft = `${out}.partial`
  discard(draft)
  const progress = cli.progress('replaying:', 'records')
  try {
    const until = untilOf(when)
    const { tenant, snapshots } = settings
    const from = snapshots === undefined ? undefined : await nearest(app, log, tenant, until, snapshots, draft)
    const store = openStore(definitionOf(app).database, draft)
    const onProgress = ({ position, head }: ReplayProgress) => {
      cli.signal.throwIfAborted()
      progress.update(position, head)
    }
    const { version, digest, time } = await replay(app, log, tenant, store, until, onProgress, { from }).finally(() => store.close())
    makeSingle(draft)
    publish(draft, out)
    progress.end()
    if (cli.json) cli.out.value({ file: out, version, at: new Date(time).toISOString(), digest })
    else cli.out.line(`${out}: version ${version}, ${new Date(time).toISOString()}`)
  } finally {
    progress.end()
    discard(draft)
    await logs.close()
  }
}

/** Whoever gets it shall need nothing but the file: no -wal beside it, nor the right to write one. */
function makeSingle(path: string): void {
  const db = new DatabaseSync(path)
  try {
    db.exec('PRAGMA journal_mode = DELETE')
  } finally {
    db.close()
  }
}

async function withPast<T>(cli: Cli, settings: Settings, app: App, when: number | Date, use: (past: Past) => Promise<T>): Promise<T> {
  const { log, logs } = await openHome(settings, settings.tenant)
  const folder = mkdtempSync(join(tmpdir(), 'mainstem-past-'))
  const progress = cli.progress('replaying:', 'records')
  try {
    const onProgress = ({ position, head }: ReplayProgress) => {
      cli.signal.throwIfAborted()
      progress.update(position, head)
    }
    const { snapshots } = settings
    const past = await openPast(app, log, settings.tenant, untilOf(when), join(folder, 'past.db'), { onProgress, snapshots })
    progress.end()
    try {
      return await use(past)
    } finally {
      await past.close()
    }
  } finally {
    progress.end()
    rmSync(folder, { recursive: true, force: true })
    await logs.close()
  }
}

const TABLES = `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'mainstem\\_%' ESCAPE '\\' ORDER BY name`

function showPast(cli: Cli, past: Past): void {
  const tables = past.sql(TABLES).map(({ name }) => {
    const [{ rows } = { rows: 0 }] = past.sql(`SELECT count(*) AS rows FROM "${String(name).replaceAll('"', '""')}"`)
    return { table: String(name), rows: Number(rows) }
  })
  const { version, at, digest } = past
  if (cli.json)
    cli.out.value({ version, at: at.toISOString(), digest, tables: Object.fromEntries(tables.map(({ table, rows }) => [table, rows])) })
  else
    cli.out.line(
      `${pairs([
        ['version', `${version}`],
        ['time', version === 0 ? 'before the first event' : at.toISOString()],
        ['digest', digest === '' ? 'none' : digest],
      ])}\n\n${table(tables)}`,
    )
}

function addDiff(db: Command, cli: Cli): void {
  const command = db
    .command('diff')
    .summary('what changed between two moments')
    .description("Replays a tenant's log to two moments and shows the rows that differ: + came, - went, ~ changed.")
    .argument('<from>', MOMENT)
    .argument('<to>', MOMENT)
    .option('--limit <number>', 'how many rows to show at most (default: 1000)')
  withOptions(command, 'app', 'tenant', 'log', 'snapshots', 'json')
    .addHelpText('after', '\nWith --json each row is one line of JSON.')
    .addHelpText('after', examples('db diff 100 120 --app seats.ts', 'db diff 2026-03-01 2026-03-02 --json'))
    .action(async (from: string, to: string, flags: Flags & { limit?: string }) => {
      const limit = readWhole(flags.limit ?? '1000', '--limit', 1)
      const moments = [readWhen(from), readWhen(to)] as const
      const settings = await Settings.read(flags)
      const app = await settings.app()
      await withPast(cli, settings, app, moments[0], before =>
        withPast(cli, settings, app, moments[1], async after => {
          let shown = 0
          for (const difference of diff(before.path, after.path, limit + 1)) {
            if (++shown > limit) {
              cli.out.note(`there is more; --limit shows more than ${limit}`)
              return
            }
            await cli.out.lines(`${cli.json ? toJson(diffObject(difference)) : diffLine(difference)}\n`)
          }
          if (shown === 0) cli.out.note(paint.dim(`no row differs between versions ${before.version} and ${after.version}`))
          else if (!cli.json) cli.out.note(paint.dim(`${plural(shown, 'row')} between versions ${before.version} and ${after.version}`))
        }),
      )
    })
}

function diffObject({ table, key, a, b }: Difference): object {
  return { table, change: a === null ? 'added' : b === null ? 'removed' : 'changed', key, before: a, after: b }
}

function diffLine({ table, key, a, b }: Difference): string {
  const row = (row: object) => printable(toJson(row))
  if (a === null) return paint.green(`+ ${table}  ${row(b!)}`)
  if (b === null) return paint.red(`- ${table}  ${row(a)}`)
  const changed = Object.keys(a).filter(column => toJson(a[column]) !== toJson(b[column]))
  return `~ ${table}  ${row(key ?? a)}  ${changed.map(column => `${column}: ${printable(toJson(a[column]))} -> ${printable(toJson(b[column]))}`).join(', ')}`
}
