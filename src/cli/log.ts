/** `mainstem log`: commands that look at a log or move it. They need no app where the log is named, no data, and no lock. */
import type { Command } from 'commander'
import type { Cli } from './context.ts'
import { addLogCopy } from './log-copy.ts'
import { addLogExport, addLogImport } from './log-export.ts'
import { addLogShow } from './log-show.ts'
import { addLogTail } from './log-tail.ts'

export function addLog(program: Command, cli: Cli): void {
  const log = program.command('log').summary('look at a log, export it, move it').description('Looks at a log, or moves it somewhere else.')
  addLogTail(log, cli)
  addLogShow(log, cli)
  addLogExport(log, cli)
  addLogImport(log, cli)
  addLogCopy(log, cli)
}
