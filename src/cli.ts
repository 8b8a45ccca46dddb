/** The command line: its commands, and how every call of it ends. What each command does stands in `cli/`. */
import { Command, CommanderError } from 'commander'
import { addBackup, addRestore } from './cli/backup.ts'
import { addCheck } from './cli/check.ts'
import { Cli } from './cli/context.ts'
import { addDb } from './cli/db.ts'
import { addDemo } from './cli/demo.ts'
import { addDoctor } from './cli/doctor.ts'
import { addExec } from './cli/exec.ts'
import { CliError, failureOf, showFailure } from './cli/failure.ts'
import { addInit } from './cli/init.ts'
import { addKafka } from './cli/kafka.ts'
import { addLog } from './cli/log.ts'
import { addQuery, addSql } from './cli/query.ts'
import { addReplicas } from './cli/replicas.ts'
import { addServe } from './cli/serve.ts'
import { addSnapshot } from './cli/snapshot.ts'
import { addRollout } from './cli/rollout.ts'
import { addStatus } from './cli/status.ts'
import { addVerify } from './cli/verify.ts'
import { packageVersion } from './cli/version.ts'

const settings = `
Settings come from options, then from the environment (MAINSTEM_APP, MAINSTEM_LOG, MAINSTEM_DATA, MAINSTEM_STRATEGY, MAINSTEM_FENCING,
MAINSTEM_TENANT, MAINSTEM_TIMEOUT, MAINSTEM_ACCEPT, MAINSTEM_SNAPSHOTS), then from mainstem.config.ts in the current folder: export default { app: './seats.ts', log: 'file:seats.log' }

Exit status: 0 ok, 1 failure, 2 wrong use, 3 the app said no, 4 conflict, 5 not ready or out of time, 6 divergence, 130 interrupted

Examples:
  $ mainstem demo
  $ mainstem init seats
  $ mainstem exec reserve '{"seat":"A1","guest":"Ann"}' --app seats.ts
  $ mainstem sql 'SELECT * FROM sale' --app seats.ts`

/** Runs one call and ends the process. */
export async function main(argv: readonly string[]): Promise<void> {
  const cli = new Cli(argv.includes('--json'))
  process.on('uncaughtException', error => process.exit(report(cli, error)))
  try {
    await program(cli).parseAsync(argv, { from: 'user' })
  } catch (error) {
    cli.exit = report(cli, error)
  }
  // Whoever reads slowly still gets all of it; nothing that is left open keeps the process alive.
  await new Promise<void>(resolve => process.stdout.write('', () => resolve()))
  process.exit(cli.exit)
}

function program(cli: Cli): Command {
  const program = new Command('mainstem')
    .description('Event sourcing without aggregates: one log, one database, any rule.')
    .version(packageVersion(), '-V, --version', 'show the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help for a command')
    .exitOverride()
    .showSuggestionAfterError()
    // Usage errors are told by `report`, as all others.
    .configureOutput({ outputError: () => {} })
    .addHelpText('after', settings)
  addDemo(program, cli)
  addInit(program, cli)
  addExec(program, cli)
  addQuery(program, cli)
  addSql(program, cli)
  addServe(program, cli)
  addStatus(program, cli)
  addReplicas(program, cli)
  addRollout(program, cli)
  addLog(program, cli)
  addDb(program, cli)
  addVerify(program, cli)
  addDoctor(program, cli)
  addCheck(program, cli)
  addBackup(program, cli)
  addRestore(program, cli)
  addSnapshot(program, cli)
  addKafka(program, cli)
  return program
}

/** @returns the exit status */
function report(cli: Cli, error: unknown): number {
  let told = error
  if (error instanceof CommanderError) {
    if (error.exitCode === 0 || error.code === 'commander.help') return error.exitCode === 0 ? 0 : 2
    told = new CliError('usage', error.message.replace(/^error: /, ''))
  }
  const failure = failureOf(told)
  process.stderr.write(showFailure(failure, cli.json, process.env['MAINSTEM_DEBUG'] ? told : undefined))
  // An interruption by a signal has its own status.
  return failure.code === 'aborted' && cli.exit !== 0 ? cli.exit : failure.exit
}
