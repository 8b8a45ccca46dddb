/** `mainstem log show`: one record, decoded, and what it came to. */
import type { Command } from 'commander'
import { type Effect, LogFold, stored } from '../log/fold.ts'
import type { Stored } from '../log.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { readWhole } from './input.ts'
import { openToRead, readPartition } from './logs.ts'
import { controlText, recordObject } from './log-records.ts'
import { examples, withOptions } from './options.ts'
import { paint, pairs, printable, toJson } from './output.ts'
import { type Flags, Settings } from './settings.ts'

export function addLogShow(log: Command, cli: Cli): void {
  const command = log
    .command('show')
    .summary('one record, with its verdicts')
    .description('Shows one record of the log, decoded, with the verdict that each of its decisions got.')
    .argument('<position>', 'its place in the log')
  withOptions(command, 'app', 'log', 'partition', 'json')
    .addHelpText('after', examples('log show 42 --log file:seats.log'))
    .action(async (argument: string, flags: Flags & { partition?: string }) => {
      const position = readWhole(argument, 'a position', 1)
      const settings = await Settings.read(flags)
      const logs = await openToRead(settings)
      try {
        const partition = readPartition(flags.partition, logs) ?? 0
        if (flags.partition === undefined && logs.shards.length > 1)
          throw new CliError(
            'usage',
            `which shard? ${logs.description} has ${logs.shards.length}: give --partition, as \`log tail --all\` shows it before the position`,
          )
        const source = logs.shards[partition]!
        const { records } = await source.read(position - 1, { upTo: position })
        const [found] = records
        if (!found)
          throw new CliError('file', `${source.description} has no record at position ${position}; its last one is ${await source.head()}`)
        const fold = new LogFold()
        const progress = cli.progress('reading the log:', 'records')
        let effect: Effect | undefined
        for await (const each of stored(source, { tenant: found.tenant, upTo: position, signal: cli.signal })) {
          effect = fold.take(each)
          progress.update(each.position, position)
        }
        progress.end()
        if (cli.json) cli.out.value(recordObject(partition, found, effect!))
        else cli.out.line(describe(found, effect!))
      } finally {
        await logs.close()
      }
    })
}

function describe(stored: Stored, effect: Effect): string {
  const { position, tenant, value } = stored
  const size = typeof value === 'string' ? Buffer.byteLength(value) : value.length
  if (effect.kind === 'none') {
    const text = typeof value === 'string' ? value : `base64 ${Buffer.from(value).toString('base64')}`
    return `${pairs([
      ['position', `${position}`],
      ['tenant', tenant ?? undefined],
      ['kind', effect.record?.kind ?? 'foreign'],
      ['effect', paint.yellow(`none: ${printable(effect.reason)}`)],
      ['bytes', `${size}`],
    ])}\n\n${printable(text)}`
  }
  if (effect.kind === 'control') {
    return pairs([
      ['position', `${position}`],
      ['kind', effect.record.kind],
      ['time', new Date(effect.record.time).toISOString()],
      ['log', effect.record.log],
      ['says', controlText(effect.record)],
    ])
  }
  const { record, verdicts, from, entered } = effect
  const head = pairs([
    ['position', `${position}`],
    ['kind', 'data'],
    ['tenant', record.tenant],
    ['time', new Date(record.time).toISOString()],
    ['versions', `${from} -> ${entered.versions.at(-1)}`],
    ['base', `${record.base}, digest ${record.digest}`],
    ['digest after', entered.history?.digest ?? 'as before'],
    ['term', `${record.term.number}, ${record.term.owner ?? 'nobody leads'}`],
    ['rules', `${record.rules}`],
    ['release', printable(record.release)],
    ['bytes', `${size}`],
  ])
  const decisions = record.decisions.map((decision, index) => {
    const verdict = verdicts[index]!
    const lines = [
      `${verdict === 'accepted' ? paint.green(verdict) : paint.yellow(verdict)}  ${decision.command}  ${paint.dim(decision.id)}`,
    ]
    lines.push(`  reads ${tags(decision.reads)}, writes ${tags(decision.writes)}`)
    if (decision.rejection)
      lines.push(
        `  said no: ${printable(decision.rejection.code)} ${decision.rejection.details === undefined ? '' : printable(toJson(decision.rejection.details))}`,
      )
    for (const { type, schema, data, tags: own } of decision.events)
      lines.push(
        `  ${paint.cyan(type)}${schema > 1 ? ` (schema ${schema})` : ''}  ${printable(toJson(data))}${own ? `  tags ${tags(own)}` : ''}`,
      )
    if (decision.result !== undefined) lines.push(`  result  ${printable(toJson(decision.result))}`)
    if (decision.meta) lines.push(`  meta  ${printable(toJson(decision.meta))}`)
    return lines.join('\n')
  })
  return [head, ...decisions].join('\n\n')
}

const tags = (tags: readonly string[] | '*') => (tags === '*' ? 'everything' : tags.length === 0 ? 'nothing' : printable(tags.join(', ')))
