/** `mainstem replicas`: who runs on a log, which release, how far, and whether it is ready. */
import type { Command } from 'commander'
import { isKafka, logPath, openLogs } from '../log/open.ts'
import type { Logs } from '../log.ts'
import { firstPath } from '../log/shards.ts'
import { type Member, readRoster } from '../roster.ts'
import type { Cli } from './context.ts'
import { examples, withOptions } from './options.ts'
import { count, paint, table } from './output.ts'
import { duration } from './progress.ts'
import { type Flags, Settings } from './settings.ts'

/** Who was silent for longer is said to be so, ms. */
const SILENT = 5_000

export function addReplicas(program: Command, cli: Cli): void {
  const command = program
    .command('replicas')
    .summary('show who runs on the log, and how far')
    .description(
      'Shows the replicas of a log by their heartbeats: their releases, who leads, how far each is behind, and whether it is ready.',
    )
  withOptions(command, 'app', 'log', 'json')
    .addHelpText('after', examples('replicas --app seats.ts', 'replicas --log kafka://kafka-1:9092/seats --json'))
    .action(async (flags: Flags) => {
      const settings = await Settings.read(flags)
      const members = await membersOf(await settings.existingLog())
      if (cli.json) cli.out.value(members)
      else cli.out.line(members.length === 0 ? 'no replica has run on this log of late' : describe(members))
    })
}

async function membersOf(log: string): Promise<Member[]> {
  const logs = await openLogs(log, { as: 'operator' })
  try {
    return membersIn(log, logs)
  } finally {
    await logs.close()
  }
}

/** Those that stand in the roster, which is not touched. */
export function membersIn(log: string, { roster }: Logs): Member[] {
  return isKafka(log) ? roster.members() : readRoster(`${firstPath(logPath(log)!)}.roster`)
}

export function describe(members: readonly Member[]): string {
  const rows = members.map(({ id, address, seen, info }) => {
    const silent = Date.now() - seen
    const heard = `${duration(Math.max(0, silent) / 1_000)} ago`
    const whose = { replica: id.slice(0, 8), address: address ?? '' }
    if (!info) return { ...whose, 'last heard of': heard }
    const { release, role, position, lag, ready, reasons, eta } = info
    return {
      ...whose,
      release,
      role,
      position: count(position),
      behind: lag.records === 0 ? '0' : `${count(lag.records)}${lag.seconds === null ? '' : `, ${duration(lag.seconds)}`}`,
      ready: silent > SILENT ? paint.yellow('silent') : ready ? paint.green('yes') : paint.yellow(reasons.join(', ')),
      ...(eta === undefined ? {} : { left: duration(eta) }),
      'last heard of': heard,
    }
  })
  return table(rows)
}
