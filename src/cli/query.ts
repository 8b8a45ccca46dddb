/** `mainstem query` and `mainstem sql`: ask the database. */
import type { Command } from 'commander'
import type { QueryOptions } from '../replica.ts'
import { access } from './access.ts'
import type { Cli } from './context.ts'
import { readJson } from './input.ts'
import { examples, withOptions } from './options.ts'
import { isRows, paint, table, toJson } from './output.ts'
import { type Flags, Settings } from './settings.ts'

interface ReadFlags extends Flags {
  readonly read?: string
}

const READ = [
  '--read <level>',
  'local (what the replica has), linearizable (all that was acknowledged before), or a token of exec',
] as const

export function addQuery(program: Command, cli: Cli): void {
  const command = program
    .command('query')
    .summary("answer one of the app's queries")
    .description("Answers a query of the app from the tenant's database.")
    .argument('<query>', 'name of the query')
    .argument('[input]', 'its input: JSON, @FILE, or - for stdin')
    .option(...READ)
  withOptions(command, 'app', 'tenant', 'log', 'data', 'timeout', 'json')
    .addHelpText('after', examples('query taken --app seats.ts', `query seat '{"seat":"A1"}' --read default@12 --json`))
    .action(async (name: string, argument: string | undefined, flags: ReadFlags) => {
      const settings = await Settings.read(flags)
      const input = await readJson(argument)
      const answer = await access(cli, settings, false, replica => replica.query(name, input, reading(flags, settings)))
      showAnswer(cli, answer)
    })
}

export function addSql(program: Command, cli: Cli): void {
  const command = program
    .command('sql')
    .summary('ask the database in SQL')
    .description("Runs one SELECT on the tenant's database. Nothing can be written by it.")
    .argument('<sql>', 'a SELECT')
    .option(...READ)
  withOptions(command, 'app', 'tenant', 'log', 'data', 'timeout', 'json')
    .addHelpText('after', '\nWith --json each row is one line of JSON.')
    .addHelpText('after', examples(`sql 'SELECT guest, count(*) AS seats FROM sale GROUP BY guest' --app seats.ts`))
    .action(async (text: string, flags: ReadFlags) => {
      const settings = await Settings.read(flags)
      const rows = await access(cli, settings, false, replica => replica.sql(text, reading(flags, settings)))
      await showRows(cli, rows)
    })
}

function reading({ read }: ReadFlags, { tenant, timeout }: Settings): QueryOptions {
  if (read === undefined) return { tenant, timeout }
  return { tenant, timeout, read: read === 'local' || read === 'linearizable' ? read : { atLeast: read } }
}

export function showAnswer(cli: Cli, answer: unknown): void {
  if (cli.json) cli.out.value(answer ?? null)
  else if (isRows(answer)) cli.out.line(table(answer))
  else cli.out.line(toJson(answer ?? null, 2))
}

export async function showRows(cli: Cli, rows: readonly Record<string, unknown>[]): Promise<void> {
  if (cli.json) for (const row of rows) await cli.out.lines(`${toJson(row)}\n`)
  else if (rows.length > 0) await cli.out.lines(`${table(rows)}\n`)
  else cli.out.note(paint.dim('no rows'))
}
