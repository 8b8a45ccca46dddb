/** `mainstem verify`: is the database what its log says? */
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { revision } from '../app.ts'
import { EngineError } from '../errors.ts'
import { homeOf } from '../log/open.ts'
import { folderOf, tenantsIn } from '../replica/data.ts'
import { type Verified, verifyTenant } from '../replica/verify.ts'
import type { Cli } from './context.ts'
import { DIVERGED } from './failure.ts'
import { astrayText } from './log-records.ts'
import { checkHomes, openToRead } from './logs.ts'
import { examples, withOptions } from './options.ts'
import { paint, plural, toJson } from './output.ts'
import { type Flags, Settings } from './settings.ts'

export function addVerify(program: Command, cli: Cli): void {
  const command = program
    .command('verify')
    .summary('compare the database with its log, row by row')
    .description(
      'Replays the log into a file of its own and compares every row with the database, also while the replica runs. Exits with 6 if anything differs, and names the first row.',
    )
    .option('--all', 'all tenants that have a database here')
  withOptions(command, 'app', 'tenant', 'log', 'data', 'json')
    .addHelpText('after', '\nWith --json each tenant is one line of JSON.')
    .addHelpText('after', examples('verify --app seats.ts', 'verify --all --json'))
    .action(async (flags: Flags & { all?: boolean }) => {
      const settings = await Settings.read(flags)
      const app = await settings.app()
      await settings.existingLog()
      const folder = folderOf(settings.data, app.name, revision(app))
      const tenants = flags.all ? tenantsIn(folder) : [settings.tenant]
      if (tenants.length === 0 || (!flags.all && !existsSync(`${folder}/${tenants[0]}.db`))) {
        throw new EngineError(
          'data-unusable',
          `${settings.data} holds no database of ${flags.all ? '' : `tenant ${tenants[0]} of `}the app ${app.name} at this revision (${revision(app).slice(0, 12)})`,
        )
      }
      const logs = await openToRead(settings)
      try {
        await checkHomes(logs)
        for (const tenant of tenants) {
          const progress = cli.progress(`replaying ${tenant}:`, 'records')
          const verified = await verifyTenant(app, homeOf(logs, tenant), tenant, `${folder}/${tenant}.db`, ({ position, head }) => {
            cli.signal.throwIfAborted()
            progress.update(position, head)
          }).finally(() => progress.end())
          if (verified.problem !== undefined) cli.exit = DIVERGED
          if (verified.astray) cli.out.note(astrayText(verified.astray))
          cli.out.line(cli.json ? toJson({ ok: verified.problem === undefined, ...verified }) : describe(verified))
        }
      } finally {
        await logs.close()
      }
    })
}

function describe({ tenant, version, tables, rows, digest, problem }: Verified): string {
  if (problem !== undefined) return `${paint.red('differs')}  tenant ${tenant} at version ${version}: ${problem}`
  return `${paint.green('ok')}  tenant ${tenant} at version ${version}: ${plural(rows, 'row')} in ${plural(tables, 'table')} as the log has them, digest ${digest}`
}
