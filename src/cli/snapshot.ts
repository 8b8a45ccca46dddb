/** `mainstem snapshot`: the databases of a replica, for others to start from and for looks at the past. */
import type { Command } from 'commander'
import { makeSnapshot } from '../snapshot/make.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { readWhole } from './input.ts'
import { examples, withOptions } from './options.ts'
import { bytes, plural } from './output.ts'
import { type Flags, Settings } from './settings.ts'

export function addSnapshot(program: Command, cli: Cli): void {
  const command = program
    .command('snapshot')
    .summary('copy the databases into a folder, while they are written')
    .description(
      'Copies the databases of a data directory into a new folder, whether or not a replica runs on it, and tells from where in the log to go on. A new replica of the same revision starts from it (--snapshots), and so do looks at the past.',
    )
    .argument('<folder>', 'where snapshots are kept, each in a folder of its own')
    .option('--all', 'all tenants (default)')
    .option('--keep <number>', 'how many to keep, this one included; the oldest of the same kind are removed (default: all)')
  withOptions(command, 'app', 'tenant', 'data', 'json')
    .addHelpText('after', '\nOne of a single tenant (--tenant) serves looks at its past; a replica starts from one of all.')
    .addHelpText('after', examples('snapshot /snapshots --app seats.ts --keep 3', 'snapshot /snapshots --tenant north'))
    .action(async (folder: string, flags: Flags & { all?: boolean; keep?: string }) => {
      if (flags.all && flags.tenant !== undefined) throw new CliError('usage', 'give one of --all and --tenant')
      const settings = await Settings.read(flags)
      const app = await settings.app()
      const keep = flags.keep === undefined ? undefined : readWhole(flags.keep, '--keep', 1)
      const tenant = flags.tenant === undefined ? undefined : settings.tenant
      const progress = cli.progress('copying:', 'databases')
      const { path, snapshot, pruned } = await makeSnapshot(app, settings.data, folder, {
        tenant,
        keep,
        signal: cli.signal,
        onProgress: (done, all) => progress.update(done, all),
      }).finally(() => progress.end())
      const { databases, shards, generation, log } = snapshot
      const size = databases.reduce((sum, database) => sum + database.bytes, 0)
      if (cli.json) {
        cli.out.value({
          path,
          log,
          generation,
          positions: shards.map(({ partition, cursor }) => ({ partition, position: cursor })),
          databases: databases.map(({ tenant, version, position, digest }) => ({ tenant, version, position, digest })),
          bytes: size,
          pruned,
        })
        return
      }
      cli.out.line(`${path}: ${plural(databases.length, 'database')}, ${bytes(size)}`)
      for (const name of pruned) cli.out.note(`removed ${name}`)
    })
}
