/** `mainstem exec`: executes a command. */
import type { Command } from 'commander'
import type { Outcome } from '../app.ts'
import { EngineError } from '../errors.ts'
import { uuidv7 } from '../ids.ts'
import { LinkError } from '../replica/link.ts'
import { access } from './access.ts'
import type { Cli } from './context.ts'
import { failureOf, REJECTED } from './failure.ts'
import { readJson } from './input.ts'
import { examples, withOptions } from './options.ts'
import { paint, printable, toJson } from './output.ts'
import { type Flags, Settings } from './settings.ts'

export function addExec(program: Command, cli: Cli): void {
  const command = program
    .command('exec')
    .summary('execute a command')
    .description(
      'Executes a command of the app, in the replica that runs on the data directory or, where none runs, in one for the moment of the call.',
    )
    .argument('<command>', 'name of the command')
    .argument('[input]', 'its input: JSON, @FILE, or - for stdin')
    .option('--id <id>', 'command id: the same id can win once only, so that the call may be repeated')
  withOptions(command, 'app', 'tenant', 'log', 'data', 'strategy', 'fencing', 'snapshots', 'timeout', 'json')
    .addHelpText('after', `\nExits with 3 if the app says no, with 4 after too many conflicts, with 5 when the time is up.`)
    .addHelpText(
      'after',
      examples(`exec reserve '{"seat":"A1","guest":"Ann"}' --app seats.ts`, `exec reserve @order.json --id order-4711 --timeout 5s --json`),
    )
    .action(async (name: string, argument: string | undefined, flags: Flags & { id?: string }) => {
      const settings = await Settings.read(flags)
      const input = await readJson(argument)
      const outcome = await execute(cli, settings, name, input, flags.id)
      if (cli.json) cli.out.value(outcome)
      else cli.out.line(describe(outcome))
      if (outcome.status === 'rejected') cli.exit = REJECTED
    })
}

async function execute(cli: Cli, settings: Settings, command: string, input: unknown, given: string | undefined): Promise<Outcome<any>> {
  const { tenant } = settings
  let id = given
  let sent = false
  let lost = false
  try {
    return await access(cli, settings, true, async replica => {
      if (!replica.running) return replica.execute(command, input, id, tenant)
      // With an id it may be sent again, whatever happens to the connection.
      id ??= uuidv7(Date.now())
      sent = true
      try {
        return await replica.execute(command, input, id, tenant)
      } catch (error) {
        lost ||= error instanceof LinkError && error.kind === 'lost'
        throw error
      }
    })
  } catch (error) {
    const failure = failureOf(error)
    const { code } = failure
    // What the replica itself said has the command's id; this is of the way there, or of what was tried after an answer had got lost.
    const onTheWay = lost || code === 'not-ready' || code === 'data-in-use' || code === 'aborted'
    if (!sent || failure.id !== undefined || !onTheWay) throw error
    const why = code === 'aborted' ? 'interrupted' : (error as Error).message
    const message = `${why}; the command may have been written. Ask again under the same id to know`
    throw new EngineError(code === 'aborted' ? code : 'outcome-unknown', message, { id: id!, cause: error })
  }
}

function describe(outcome: Outcome<any>): string {
  const duplicate = (outcome as { duplicate?: boolean }).duplicate ? paint.dim('  (the answer that this id had before)') : ''
  if (outcome.status === 'rejected') {
    const details = outcome.details === undefined ? '' : `  ${printable(toJson(outcome.details))}`
    return `${paint.yellow('rejected')}  ${printable(outcome.code)}${details}${duplicate}`
  }
  const lines = [`${paint.green('accepted')}  version ${outcome.version}  token ${outcome.token}${duplicate}`]
  for (const { type, data } of outcome.events as { type: string; data: unknown }[]) lines.push(`  ${type}  ${printable(toJson(data))}`)
  if (outcome.result !== undefined) lines.push(`  ${paint.dim('result')}  ${printable(toJson(outcome.result))}`)
  return lines.join('\n')
}
