/** `mainstem status`: how a replica is doing. */
import type { Command } from 'commander'
import type { Status } from '../replica.ts'
import { access } from './access.ts'
import type { Cli } from './context.ts'
import { examples, withOptions } from './options.ts'
import { count, paint, pairs, plural, printable, table } from './output.ts'
import { describe as describeMembers } from './replicas.ts'
import { type Flags, Settings } from './settings.ts'

export function addStatus(program: Command, cli: Cli): void {
  const command = program
    .command('status')
    .summary('show how the replica is doing')
    .description('Shows the replica that runs on the data directory: its place in the log, its tenants, who leads and who else is alive.')
  withOptions(command, 'app', 'log', 'data', 'timeout', 'json')
    .addHelpText('after', examples('status', 'status --data /var/lib/seats --json'))
    .action(async (flags: Flags) => {
      const settings = await Settings.read(flags)
      const { running, status } = await access(cli, settings, false, async replica => ({
        running: replica.running,
        status: await replica.status(),
      }))
      if (cli.json) cli.out.value({ running, ...status })
      else cli.out.line(describe(running, status))
    })
}

function describe(running: boolean, status: Status): string {
  const {
    app,
    release,
    activeRelease,
    ready,
    lag,
    log,
    logId,
    generation,
    data,
    strategy,
    incarnation,
    role,
    term,
    position,
    sealed,
    failure,
  } = status
  const members = running ? status.members : status.members.filter(({ id }) => id !== incarnation)
  const { shards } = status
  const as = shards ? `leader of ${shards.filter(shard => shard.role === 'leader').length} of ${shards.length} shards` : role
  const parts = [
    pairs([
      [
        'app',
        `${app}, release ${release}${activeRelease === null || activeRelease === release ? '' : `; ${activeRelease} is the active one`}`,
      ],
      ['log', `${log} (${logId}, generation ${generation})${sealed ? paint.yellow(' sealed: it goes on in its copy') : ''}`],
      ['data', data ?? undefined],
      ['replica', running ? `running as ${as} (${strategy}), ${incarnation}` : 'not running; this is what stands in its databases now'],
      [
        'leader',
        shards
          ? undefined
          : term.owner === null
            ? term.number === 0
              ? undefined
              : `none since term ${term.number}`
            : `${term.owner} in term ${term.number}, at ${term.address}`,
      ],
      ['position', `${position}${lag.records === 0 ? '' : `, at most ${count(lag.records)} records behind`}`],
      ['ready', running ? (ready.ready ? 'yes' : paint.yellow(ready.reasons.join(', '))) : undefined],
      [
        'in this run',
        running
          ? `${count(status.records)} records read, ${count(status.foreign)} without effect, ${count(status.refused)} decisions refused, ${count(status.conflicts)} appends repeated`
          : undefined,
      ],
      ['failure', failure === null ? undefined : paint.red(failure)],
    ]),
  ]
  if (shards) {
    parts.push(
      table(
        shards.map(({ partition, position, term, failure }) => ({
          shard: partition,
          position,
          term: term.number,
          leader: term.owner === incarnation ? 'this replica' : (term.address ?? 'none'),
          ...(failure === null ? {} : { failure }),
        })),
      ),
    )
  }
  const tenants = Object.entries(status.tenants).map(([tenant, { version, status, error }]) => ({
    tenant,
    version,
    status,
    ...(error ? { error } : {}),
  }))
  if (tenants.length > 0) parts.push(table(tenants))
  // To open each of them only to tell its version would keep the replica busy.
  if (status.databases > tenants.length)
    parts.push(paint.dim(`${plural(status.databases, 'tenant')} have a database here; shown are those met in this run`))
  if (members.length > 0) {
    parts.push(describeMembers(members))
  }
  for (const notice of status.notices) parts.push(`${paint.yellow('notice')}  ${printable(notice)}`)
  return parts.join('\n\n')
}
