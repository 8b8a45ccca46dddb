/** The options that several commands share. */
import type { Command } from 'commander'

const shared = {
  app: ['--app <file>', 'the app: a .ts or .js file with an app as its default export'],
  log: ['--log <log>', 'the log: file:PATH or kafka://HOST:PORT/TOPIC (default: file:.mainstem/APP.log)'],
  data: ['--data <folder>', "the replica's data (default: .mainstem/data, or .mainstem/kafka/TOPIC)"],
  strategy: ['--strategy <name>', 'optimistic, leader or first-wins (default: optimistic; on Kafka leader)'],
  fencing: ['--fencing <name>', 'strategy leader on Kafka: epoch, transactions or term (default: epoch)'],
  tenant: ['--tenant <name>', 'the tenant (default: default)'],
  timeout: ['--timeout <time>', 'how long to wait at most, such as 500ms or 1m (default: 10s)'],
  accept: ['--accept <names>', 'what is unsafe about the log and shall be taken as it is, by its names in mainstem doctor'],
  snapshots: [
    '--snapshots <folder>',
    'a folder of snapshots to begin from; a replica that has nothing yet also takes the URL of another one',
  ],
  partition: ['--partition <number>', 'the shard, from 0, of a log that has several'],
  json: ['--json', 'write JSON'],
} as const

export function withOptions(command: Command, ...names: (keyof typeof shared)[]): Command {
  for (const name of names) {
    const [flags, description] = shared[name]
    command.option(flags, description)
  }
  return command
}

/** Examples below a command's help. */
export const examples = (...lines: string[]): string => `\nExamples:\n${lines.map(line => `  $ mainstem ${line}`).join('\n')}`
