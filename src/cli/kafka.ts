/** `mainstem kafka`: what only logs on Kafka need. */
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { isName } from '../ids.ts'
import { isKafka } from '../log/open.ts'
import type { Created } from '../log/kafka/create.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { readWhole } from './input.ts'
import { loadApp } from './load.ts'
import { examples, withOptions } from './options.ts'
import { paint, pairs, plural, printable } from './output.ts'
import { type Flags, Settings } from './settings.ts'

export function addKafka(program: Command, cli: Cli): void {
  const kafka = program.command('kafka').summary('make a log on Kafka').description('What only logs on Kafka need.')
  const command = kafka
    .command('create-log')
    .summary('make the topic of a log, its roster and its manifests')
    .description(
      'Makes a log on Kafka: its topic with the settings that keep events, the topic of its roster, and a manifest in each partition. Run again, it completes what is missing. A topic that holds something else is refused.',
    )
    .argument('<log>', 'kafka://HOST:PORT/TOPIC')
    .option('--app <name>', "the app: its name, or its file (default: the app's file of the settings)")
    .option('--partitions <number>', 'how many shards the log has, for good (default: 1)')
    .option('--replication <number>', 'how many brokers hold each partition (default: 3; 1 where there are fewer than three brokers)')
  withOptions(command, 'accept', 'json')
    .addHelpText('after', examples('kafka create-log kafka://kafka-1:9092/seats --app seats --partitions 12'))
    .action(async (log: string, flags: Flags & { partitions?: string; replication?: string }) => {
      const { accept, partitions, replication } = flags
      if (!isKafka(log))
        throw new CliError(
          'usage',
          `the log is kafka://HOST:PORT/TOPIC, not ${JSON.stringify(log)}. Other logs are made when they are first used`,
        )
      const settings = await Settings.read(accept === undefined ? {} : { accept })
      const options = {
        app: flags.app === undefined ? (await settings.app()).name : await appName(flags.app),
        accept: settings.accept,
        ...(partitions === undefined ? {} : { partitions: readWhole(partitions, '--partitions', 1) }),
        ...(replication === undefined ? {} : { replicationFactor: readWhole(replication, '--replication', 1) }),
      }
      const { createLog } = await import('../log/kafka/create.ts')
      const created = await createLog(log, options)
      if (cli.json) cli.out.value(created)
      else cli.out.line(describe(created))
    })
}

/** A file is loaded; anything else that can be a name is one. */
async function appName(text: string): Promise<string> {
  const isFile = existsSync(text) || /[/\\]|\.[cm]?[jt]s$/.test(text) || !isName(text)
  return isFile ? (await loadApp(text)).name : text
}

function describe({ topic, roster, app, log, partitions, replicationFactor, made, notices }: Created): string {
  const whole = !made.topic && !made.roster && made.manifests === 0
  const done = [
    ...(made.topic ? ['the topic'] : []),
    ...(made.roster ? ['the roster'] : []),
    ...(made.manifests > 0 ? [plural(made.manifests, 'manifest')] : []),
  ]
  const parts = [
    pairs([
      ['log', `${log} of the app ${app}`],
      ['topic', `${topic}: ${plural(partitions, 'partition')}, ${plural(replicationFactor, 'replica')} of each`],
      ['roster', roster],
      ['made now', whole ? 'nothing: it was all there' : done.join(', ')],
    ]),
    ...notices.map(notice => `${paint.yellow('notice')}  ${printable(notice)}`),
  ]
  return parts.join('\n\n')
}
