/** `mainstem doctor`: is the log safe where it is? */
import type { Command } from 'commander'
import { examineLog } from '../log/examine.ts'
import type { Finding, Level } from '../log/finding.ts'
import type { Cli } from './context.ts'
import { examples, withOptions } from './options.ts'
import { paint, pairs, plural, printable } from './output.ts'
import { type Flags, Settings } from './settings.ts'

/** With what the user has accepted. */
type Shown = Finding & { readonly accepted: boolean }

export function addDoctor(program: Command, cli: Cli): void {
  const command = program
    .command('doctor')
    .summary('examine the log: what is unsafe, why, and how to mend it')
    .description(
      'Examines the log and what it lies on: a cluster of Kafka with its settings, rights and open transactions, or a file and its disk. Changes nothing. Exits with 1 if anything is unsafe that was not accepted by name.',
    )
    .option('--scan', 'read every record, too, and count what has no effect')
    .option('--all', 'show also what is well')
  withOptions(command, 'app', 'log', 'accept', 'json')
    .addHelpText('after', examples('doctor --log kafka://kafka-1:9092/seats', 'doctor --log file:seats.log --scan --json'))
    .action(async (flags: Flags & { scan?: boolean; all?: boolean }) => {
      const settings = await Settings.read(flags)
      const log = await settings.anyLog()
      const { accept } = settings
      const progress = cli.progress('reading the log:', 'records')
      const onProgress = (position: number, head: number) => progress.update(position, head)
      const findings = await examineLog(log, { scan: flags.scan ?? false, onProgress, signal: cli.signal }).finally(() => progress.end())
      const shown = findings.map(finding => ({ ...finding, accepted: accept.includes(finding.name) }))
      const ok = !shown.some(({ level, accepted }) => level === 'unsafe' && !accepted)
      if (!ok) cli.exit = 1
      if (cli.json) cli.out.value({ log, ok, findings: shown })
      else cli.out.line(describe(log, shown, flags.all ?? false))
    })
}

const order: readonly Level[] = ['unsafe', 'risk', 'unknown', 'ok']

function describe(log: string, findings: readonly Shown[], all: boolean): string {
  const byLevel = order.flatMap(level => findings.filter(finding => finding.level === level))
  const troubles = byLevel.filter(({ level }) => level !== 'ok')
  const well = byLevel.filter(({ level }) => level === 'ok')
  const parts = troubles.map(finding => {
    const { cause, risk, mend } = finding
    return `${title(finding)}\n${indent(
      pairs([
        ['cause', printable(cause)],
        ['risk', risk],
        ['mend', hang(mend)],
      ]),
    )}`
  })
  if (all && well.length > 0) parts.push(pairs(well.map(({ name, cause }) => [`ok  ${name}`, printable(cause)] as const)))
  const count = (level: Level) => findings.filter(finding => finding.level === level).length
  const told = [
    `${count('unsafe')} unsafe`,
    plural(count('risk'), 'risk'),
    ...(count('unknown') > 0 ? [`${count('unknown')} not looked at`] : []),
    `${well.length} well${all || well.length === 0 ? '' : ' (--all shows them)'}`,
  ]
  return [...parts, `${log}: ${told.join(', ')}`].join('\n\n')
}

function title({ name, level, accepted }: Shown): string {
  const paints = { unsafe: paint.red, risk: paint.yellow, unknown: paint.cyan, ok: paint.green } as const
  const word = level === 'unknown' ? 'not looked at' : level
  return `${accepted ? paint.yellow(`${word}, accepted`) : paints[level](word)}  ${paint.bold(name)}`
}

const indent = (text: string): string => text.replaceAll(/^/gm, '  ')

/** Several commands stand below each other. */
const hang = (text: string): string =>
  text
    .split('\n')
    .map(printable)
    .join(`\n${' '.repeat('cause  '.length)}`)
