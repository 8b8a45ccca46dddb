/** `mainstem log copy`: moves a log into another one. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { EngineError } from '../errors.ts'
import { type Copied, copyLog } from '../log/copy.ts'
import { discard, publish } from '../log/files.ts'
import { openLog } from '../log/open.ts'
import { SqliteLog } from '../log/sqlite.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { examples, withOptions } from './options.ts'
import { count, plural } from './output.ts'
import { filePath } from './settings.ts'

export function addLogCopy(log: Command, cli: Cli): void {
  const command = log
    .command('copy')
    .summary('move the log into another one')
    .description(
      'Moves a log: copies it while it lives, then seals it, then copies what came until the seal. From then on only the copy goes on; replicas of the old log say log-sealed. Versions and digests stay.',
    )
    .argument('<from>', 'the log, such as file:seats.log')
    .argument('<to>', 'a new one, such as file:/mnt/seats.log')
    .option('--copy-is-lost', 'the log was sealed for a copy that is lost; make another')
  withOptions(command, 'json')
    .addHelpText('after', '\nIf it is cut off, the same call again goes on where it was. The copy has its name when all of it is there.')
    .addHelpText('after', examples('log copy file:seats.log file:/mnt/seats.log'))
    .action(async (from: string, to: string, flags: { copyIsLost?: boolean }) => {
      const source = filePath(from)
      const target = filePath(to)
      if (!existsSync(source)) throw new EngineError('log-unusable', `there is no log at ${source}`)
      await makeRoom(target)
      const draft = `${target}.copying`
      const progress = cli.progress('moving the log:', 'records')
      const sourceLog = openLog(from)
      try {
        const targetLog = new SqliteLog(draft)
        const { copyIsLost = false } = flags
        let copied: Copied
        try {
          copied = await copyLog(sourceLog, targetLog, {
            to: `file:${resolve(target)}`,
            copyIsLost,
            signal: cli.signal,
            onProgress: (position, head, more) => progress.update(position, head, `${more} ${count(position)} of ${count(head)} records`),
          })
        } finally {
          await targetLog.close()
        }
        publish(draft, target)
        progress.end()
        const { records, found, generation, sealedAt, log } = copied
        if (cli.json) cli.out.value({ from, to, log, generation, records, found, sealedAt })
        else {
          const before = found > 0 ? ` (${plural(found, 'record')} of them by a former call)` : ''
          cli.out.line(`${plural(records, 'record')} in ${to}${before}. ${from} was sealed at position ${sealedAt}: open ${to} from now on`)
        }
      } finally {
        progress.end()
        await sourceLog.close()
      }
    })
}

/** Nothing may be at a path where a new log shall be, but an empty one. */
export async function makeRoom(path: string): Promise<void> {
  if (!existsSync(path)) return
  const log = new SqliteLog(path)
  const head = await log.head()
  await log.close()
  if (head > 0) throw new CliError('file', `there is a log at ${path} already, with records up to position ${head}`)
  discard(path)
}
