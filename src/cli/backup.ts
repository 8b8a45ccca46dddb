/** `mainstem backup` and `mainstem restore`. */
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { EngineError } from '../errors.ts'
import { backupLog, Restore, type RestorePlan, type TenantLoss } from '../log/backup.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { astrayText } from './log-records.ts'
import { examples, withOptions } from './options.ts'
import { bytes } from './output.ts'
import { filePath, type Flags, Settings } from './settings.ts'

export function addBackup(program: Command, cli: Cli): void {
  const command = program
    .command('backup')
    .summary('copy the log into a file, while it is written')
    .description(
      'Makes a consistent copy of the log file while replicas go on writing, and checks it. The databases need no backup: they are replayed.',
    )
    .argument('<file>', 'a new file')
  withOptions(command, 'app', 'log', 'json')
    .addHelpText('after', examples('backup /backups/seats-monday.log --log file:seats.log'))
    .action(async (file: string, flags: Flags) => {
      const settings = await Settings.read(flags)
      const setting = await settings.existingLog()
      const path = filePath(setting, 'backup')
      const progress = cli.progress('copying:', 'pages')
      const made = await backupLog(path, file, (done, pages) => {
        cli.signal.throwIfAborted()
        progress.update(done, pages)
      }).finally(() => progress.end())
      if (made.astray) cli.out.note(astrayText(made.astray))
      if (cli.json) cli.out.value({ file, ...made })
      else cli.out.line(`${file}: the log of ${made.app} up to position ${made.position}, ${bytes(made.bytes)}`)
    })
}

export function addRestore(program: Command, cli: Cli): void {
  const command = program
    .command('restore')
    .summary('put a backup in the place of the log')
    .description(
      "Puts a backup in the log's place. No replica may run on it. What was accepted since the backup is lost, and is said beforehand; the former log is kept under another name. Databases that are ahead are rebuilt when their replica next starts.",
    )
    .argument('<file>', 'what `backup` made, or a log that a former restore kept')
    .option('--yes', 'do not ask')
    .option('--copy-is-lost', 'the log was sealed for a copy that is lost; go on here')
  withOptions(command, 'app', 'log', 'json')
    .addHelpText('after', examples('restore /backups/seats-monday.log --log file:seats.log'))
    .action(async (file: string, flags: Flags & { yes?: boolean; copyIsLost?: boolean }) => {
      const settings = await Settings.read(flags)
      if (!existsSync(file)) throw new CliError('file', `there is no file ${file}`)
      const setting = await settings.writableLog()
      const restore = await Restore.prepare(file, filePath(setting, 'restore'), {
        copyIsLost: flags.copyIsLost ?? false,
        signal: cli.signal,
      })
      try {
        if (!flags.yes) await ask(cli, restore.plan, setting)
        const { plan, aside } = await restore.commit()
        if (cli.json)
          cli.out.value({
            log: setting,
            id: plan.log,
            generation: plan.generation,
            keptAs: aside ?? null,
            unreadable: plan.unreadable ?? null,
            lost: plan.losses.map(lossObject),
          })
        else {
          for (const line of lossLines(plan)) cli.out.line(line)
          cli.out.line(
            `${setting} was restored, as generation ${plan.generation}${aside === undefined ? '' : `. The former log is kept as ${aside}`}`,
          )
        }
      } finally {
        await restore.close()
      }
    })
}

async function ask(cli: Cli, plan: RestorePlan, setting: string): Promise<void> {
  if (cli.json || !process.stdin.isTTY || !process.stderr.isTTY) {
    const lines = lossLines(plan)
    throw new CliError('usage', `nothing was changed: say --yes to restore ${setting}${lines.length > 0 ? `. ${lines.join('; ')}` : ''}`)
  }
  for (const line of lossLines(plan)) cli.out.note(line)
  const { confirm, isCancel } = await import('@clack/prompts')
  const sure = await confirm({ message: `Restore ${setting}?`, initialValue: false, output: process.stderr })
  if (isCancel(sure) || !sure) throw new EngineError('aborted', 'nothing was changed')
}

const lossObject = ({ tenant, common, was, becomes }: TenantLoss) => ({
  tenant,
  from: common + 1,
  to: was,
  ...(becomes > common ? { replacedUpTo: becomes } : {}),
})

function lossLines({ replaces, unreadable, losses }: RestorePlan): string[] {
  if (unreadable !== undefined) return [`what is lost is not known, for the log that is there cannot be read: ${unreadable}`]
  if (!replaces) return []
  if (losses.length === 0) return ['nothing is lost']
  return losses.map(({ tenant, common, was, becomes }) => {
    const lost = common + 1 === was ? `version ${was}` : `versions ${common + 1} to ${was}`
    const instead = becomes > common ? `; the backup has others, up to ${becomes}` : ''
    return `tenant ${tenant}: ${lost} ${common + 1 === was ? 'is' : 'are'} lost${instead}`
  })
}
