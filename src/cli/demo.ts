/**
 * `mainstem demo`: several processes fight for the same things, with each strategy; then everybody's database is checked, and one is
 * thrown away and replayed.
 */
import type { Command } from 'commander'
import { known } from '../app.ts'
import { strategies } from '../consistency.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { readWhole } from './input.ts'
import { examples, withOptions } from './options.ts'

interface DemoFlags {
  readonly strategy: string
  readonly processes: string
  readonly commands: string
}

const names = ['seats', 'bank', 'warehouse']

export function addDemo(program: Command, cli: Cli): void {
  const command = program
    .command('demo')
    .summary('see it work: contention, checks, replay')
    .description(
      'Several processes, each a replica with a database of its own on one shared log, execute contended commands. Then the rule is checked by plain SQL on every database, all digests are compared, and one database is thrown away and replayed.',
    )
    .argument('[name]', `what to show: ${names.join(', ')}`, 'seats')
    .option('--strategy <name>', `all, ${strategies.join(', ')}`, 'all')
    .option('--processes <number>', 'how many processes', '4')
    .option('--commands <number>', 'how many commands together', '2000')
  withOptions(command, 'json')
    .addHelpText('after', examples('demo', 'demo bank --strategy leader --processes 8 --commands 20000'))
    .action(async (name: string, flags: DemoFlags) => {
      if (!names.includes(name)) throw new CliError('usage', `there is no demo ${JSON.stringify(name)}. ${known(name, names)}`)
      const chosen = flags.strategy === 'all' ? strategies : strategies.filter(strategy => strategy === flags.strategy)
      if (chosen.length === 0)
        throw new CliError(
          'usage',
          `there is no strategy ${JSON.stringify(flags.strategy)}. ${known(flags.strategy, ['all', ...strategies])}`,
        )
      const processes = readWhole(flags.processes, '--processes', 1)
      const commands = readWhole(flags.commands, '--commands', 1)
      if (processes > 64) throw new CliError('usage', '--processes is at most 64')
      // Loaded here, for the apps of the demos are of no use to any other call.
      const { showDemo } = await import('./demo/show.ts')
      await showDemo(cli, name, chosen, processes, commands)
    })
}
