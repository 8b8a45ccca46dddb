/** `mainstem log copy`: moves a log into another one. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { EngineError } from '../errors.ts'
import { type Copied, copyLog } from '../log/copy.ts'
import { readManifest } from '../log/manifest.ts'
import { isKafka, logPath, openLogs } from '../log/open.ts'
import { controlsOf } from '../log/seal.ts'
import { firstPath, isPattern } from '../log/shards.ts'
import { openTarget } from '../log/target.ts'
import type { Logs } from '../log.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { readWhole } from './input.ts'
import { examples, withOptions } from './options.ts'
import { count, plural } from './output.ts'
import { Settings } from './settings.ts'

interface CopyFlags {
  readonly copyIsLost?: boolean
  readonly partitions?: string
  readonly accept?: string
}

export function addLogCopy(log: Command, cli: Cli): void {
  const command = log
    .command('copy')
    .summary('move the log into another one, from files to Kafka and back')
    .description(
      'Moves a log: copies it while it lives, then seals it, then copies what came until the seal. From then on only the copy goes on; replicas of the old log say log-sealed. Versions and digests stay. Shards are copied one to one; a log with one shard can be split into many, by tenants.',
    )
    .argument('<from>', 'the log, such as file:seats.log')
    .argument(
      '<to>',
      'a new one: file:PATH, file:PATH-{} for a file per shard, or kafka://HOST:PORT/TOPIC, which is made if it is not there',
    )
    .option('--partitions <number>', 'how many shards the copy has (default: as many as the log, or as the topic has partitions)')
    .option('--copy-is-lost', 'the log was sealed for a copy that is lost; make another')
  withOptions(command, 'accept', 'json')
    .addHelpText('after', '\nIf it is cut off, the same call again goes on where it was. The copy can be used when all of it is there.')
    .addHelpText(
      'after',
      examples(
        'log copy file:seats.log file:/mnt/seats.log',
        'log copy file:seats.log kafka://localhost:9092/seats',
        'log copy kafka://localhost:9092/seats file:seats-{}.log',
      ),
    )
    .action(async (from: string, to: string, flags: CopyFlags) => {
      const partitions = flags.partitions === undefined ? undefined : readWhole(flags.partitions, '--partitions', 1)
      const { accept } = await Settings.read(flags.accept === undefined ? {} : { accept: flags.accept })
      const source = await openSource(from, accept)
      try {
        const copied = await copyInto(cli, source, to, { partitions, accept, copyIsLost: flags.copyIsLost ?? false })
        const { records, found, generation, sealedAt, log } = copied
        if (cli.json) cli.out.value({ from, to, log, generation, shards: copied.shards, records, found, sealedAt })
        else {
          const before = found > 0 ? ` (${plural(found, 'record')} of them by a former call)` : ''
          const where = sealedAt.length === 1 ? `position ${sealedAt[0]}` : `positions ${sealedAt.join(', ')}`
          const shards = copied.shards === 1 ? '' : ` in ${copied.shards} shards`
          cli.out.line(`${plural(records, 'record')} in ${to}${shards}${before}. ${from} was sealed at ${where}: open ${to} from now on`)
        }
      } finally {
        await source.close()
      }
    })
}

async function openSource(from: string, accept: readonly string[]): Promise<Logs> {
  const path = logPath(from)
  if (path === undefined && !isKafka(from))
    throw new EngineError(
      'invalid-option',
      `${JSON.stringify(from)} cannot be copied: give file:PATH, file:PATH-{} or kafka://HOST:PORT/TOPIC`,
    )
  if (path !== undefined && !existsSync(firstPath(path))) throw new EngineError('log-unusable', `there is no log at ${firstPath(path)}`)
  return openLogs(from, { accept })
}

async function copyInto(
  cli: Cli,
  all: Logs,
  to: string,
  { partitions: wanted, accept, copyIsLost }: { partitions: number | undefined; accept: readonly string[]; copyIsLost: boolean },
): Promise<Copied & { readonly shards: number }> {
  const { log, app, partitions } = (await readManifest(all.shards[0]!)).state
  if (log === null || app === null) throw new EngineError('log-unusable', `${all.description} holds no manifest: there is nothing to copy`)
  // Partitions that were added later hold nothing that counts: so the log comes out of a topic that was grown.
  const source = { description: all.description, shards: all.shards.slice(0, partitions) }
  if (!copyIsLost) await refuseOtherCopy(source, to)
  const target = await openTarget(to, {
    log,
    app,
    place: source.shards[0]!.place,
    shards: source.shards.length,
    partitions: shardsOf(source, to, wanted),
    accept,
  })
  const progress = cli.progress('moving the log:', 'records')
  try {
    const copied = await copyLog(source, target, {
      copyIsLost,
      signal: cli.signal,
      onProgress: (position, head, more) => progress.update(position, head, `${more} ${count(position)} of ${count(head)} records`),
    })
    await target.finish()
    return { ...copied, shards: target.shards.length }
  } finally {
    progress.end()
    await target.close()
  }
}

/** Before anything is made at the target: a log goes on in one copy only. @throws EngineError log-sealed */
async function refuseOtherCopy({ shards, description }: Pick<Logs, 'shards' | 'description'>, to: string): Promise<void> {
  const { seal } = await controlsOf(shards[0]!)
  if (seal?.note?.by !== 'copy') return
  const path = logPath(to)
  if (seal.note.to === (path === undefined ? to : `file:${resolve(path)}`)) return
  throw new EngineError(
    'log-sealed',
    `${description} was sealed: it goes on in its copy, and there may be one only. It is ${seal.note.to}. If that copy is lost, say --copy-is-lost`,
  )
}

/** How many shards the target shall have; undefined: as many, or what the topic says. */
function shardsOf(
  { shards, description }: Pick<Logs, 'shards' | 'description'>,
  to: string,
  wanted: number | undefined,
): number | undefined {
  const path = logPath(to)
  if (path === undefined) return wanted
  if (!isPattern(path)) {
    if ((wanted ?? shards.length) === 1) return 1
    throw new EngineError(
      'invalid-option',
      `${wanted ?? shards.length} shards need as many files: write {} for their number, such as ${to}-{}`,
    )
  }
  if (wanted === undefined && shards.length === 1)
    throw new CliError('usage', `into how many shards? ${description} has one: give --partitions with ${to}`)
  return wanted ?? shards.length
}
