/** `mainstem log export` and `log import`: a log as lines of JSON, and back, byte for byte. */
import { createReadStream, createWriteStream, existsSync, statSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { finished } from 'node:stream/promises'
import { once } from 'node:events'
import type { Command } from 'commander'
import { EngineError } from '../errors.ts'
import { discard, publish } from '../log/files.ts'
import { stored } from '../log/fold.ts'
import { isKafka, logPath } from '../log/open.ts'
import { isPattern, shardPath } from '../log/shards.ts'
import { SqliteLog } from '../log/sqlite.ts'
import { isEmpty } from '../log/target.ts'
import type { Log, NewRecord, Stored } from '../log.ts'
import { decode } from '../record.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { openToRead } from './logs.ts'
import { examples, withOptions } from './options.ts'
import { plural } from './output.ts'
import { type Flags, Settings } from './settings.ts'

/** A line that says more is no export, but would make so many files. */
const MOST_SHARDS = 10_000

export function addLogExport(log: Command, cli: Cli): void {
  const command = log
    .command('export')
    .summary('write the log as lines of JSON')
    .description(
      'Writes all records as lines of JSON: {position, tenant, value}, of a log with several shards {partition, position, tenant, value}. What is not text has base64 in the place of value.',
    )
    .argument('<file>', 'a new file, or - for stdout')
  withOptions(command, 'app', 'log', 'json')
    .addHelpText('after', examples('log export seats.jsonl --log file:seats.log', 'log export - | gzip > seats.jsonl.gz'))
    .action(async (file: string, flags: Flags) => {
      const settings = await Settings.read(flags)
      const logs = await openToRead(settings)
      const progress = cli.progress('exporting:', 'records')
      try {
        const heads = await Promise.all(logs.shards.map(shard => shard.head()))
        const several = logs.shards.length > 1
        let records = 0
        const write = async (line: (text: string) => Promise<void>) => {
          for (const [partition, shard] of logs.shards.entries()) {
            const before = sum(heads.slice(0, partition))
            for await (const each of stored(shard, { upTo: heads[partition]!, signal: cli.signal })) {
              await line(exportLine(each, several ? { partition } : {}))
              records++
              progress.update(before + each.position, sum(heads))
              if (cli.out.closed.aborted) return
            }
          }
        }
        if (file === '-') return await write(text => cli.out.lines(text))
        await toFile(file, write)
        progress.end()
        if (cli.json) cli.out.value({ file, records, ...(several ? { positions: heads } : { position: heads[0] }) })
        else cli.out.line(`${plural(records, 'record')} in ${file}`)
      } finally {
        progress.end()
        await logs.close()
      }
    })
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0)

function exportLine({ position, tenant, value }: Stored, where: { readonly partition?: number }): string {
  const content = typeof value === 'string' ? { value } : { base64: Buffer.from(value).toString('base64') }
  return `${JSON.stringify({ ...where, position, tenant, ...content })}\n`
}

/** The file is there when all of it is. */
async function toFile(file: string, write: (line: (text: string) => Promise<void>) => Promise<void>): Promise<void> {
  if (existsSync(file)) throw new CliError('file', `${file} exists already`)
  const draft = `${file}.partial`
  const stream = createWriteStream(draft)
  const end = finished(stream)
  end.catch(() => {})
  try {
    await write(async text => {
      if (!stream.write(text)) await Promise.race([once(stream, 'drain'), end])
    })
    stream.end()
    await end
    publish(draft, file)
  } catch (error) {
    stream.destroy()
    discard(draft)
    throw error
  }
}

export function addLogImport(log: Command, cli: Cli): void {
  const command = log
    .command('import')
    .summary('make a log of exported lines')
    .description('Makes a new log of what `log export` wrote: the same bytes in the same order, so that versions and digests are the same.')
    .argument('<file>', 'what was exported, or - for stdin')
  withOptions(command, 'app', 'log', 'json')
    .addHelpText(
      'after',
      '\nThe log that it was exported from and this one must not both go on; to move a log that lives, there is `log copy`.',
    )
    .addHelpText('after', examples('log import seats.jsonl --log file:again.log'))
    .action(async (file: string, flags: Flags) => {
      const settings = await Settings.read(flags)
      const setting = await settings.writableLog()
      if (isKafka(setting))
        throw new EngineError(
          'invalid-option',
          'lines are imported into files: --log file:PATH. From there `mainstem log copy` moves the log to Kafka',
        )
      const target = new Import(logPath(setting)!)
      const progress = cli.progress('importing:', 'bytes')
      let records = 0
      try {
        const input = file === '-' ? process.stdin : createReadStream(file)
        const total = file === '-' ? 0 : statSync(file).size
        let read = 0
        for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
          cli.signal.throwIfAborted()
          read += Buffer.byteLength(line) + 1
          if (line.trim() === '') continue
          const { partition, record } = importLine(line, ++records)
          if (await target.add(partition, record)) progress.update(read, total)
        }
        if (records === 0) throw new CliError('file', `${file === '-' ? 'stdin' : file} holds no records`)
        await target.finish()
      } catch (error) {
        await target.discard()
        throw error
      } finally {
        progress.end()
      }
      if (cli.json) cli.out.value({ log: setting, records })
      else cli.out.line(`${plural(records, 'record')} in ${setting}`)
    })
}

/** A log that is being imported, one draft per shard; they get their names when all is there. */
class Import {
  readonly #path: string
  readonly #shards: { readonly path: string; readonly draft: string; readonly log: SqliteLog; batch: NewRecord[]; size: number }[] = []

  constructor(path: string) {
    this.#path = path
  }

  /** @returns whether something was written */
  async add(partition: number, record: NewRecord): Promise<boolean> {
    while (this.#shards.length <= partition) await this.#open(this.#shards.length)
    const shard = this.#shards[partition]!
    shard.batch.push(record)
    shard.size += record.value.length
    if (shard.batch.length < 512 && shard.size < 1 << 20) return false
    await this.#write(partition)
    return true
  }

  /** The first one gets its name last: only then there is a log. */
  async finish(): Promise<void> {
    for (const [partition, { log }] of this.#shards.entries()) {
      await this.#write(partition)
      await log.close()
    }
    for (const { draft, path } of this.#shards.toReversed()) publish(draft, path)
  }

  async discard(): Promise<void> {
    for (const { log, draft } of this.#shards) {
      await log.close()
      discard(draft)
    }
  }

  async #open(partition: number): Promise<void> {
    if (partition > 0 && !isPattern(this.#path))
      throw new CliError(
        'file',
        `the lines are of a log with several shards: import them into as many files, such as --log file:${this.#path}-{}`,
      )
    const path = isPattern(this.#path) ? shardPath(this.#path, partition) : this.#path
    await makeRoom(path)
    const draft = `${path}.importing`
    discard(draft)
    this.#shards.push({ path, draft, log: new SqliteLog(draft), batch: [], size: 0 })
  }

  async #write(partition: number): Promise<void> {
    const shard = this.#shards[partition]!
    await appendAll(shard.log, shard.batch)
    shard.batch = []
    shard.size = 0
  }
}

/** Nothing may be at a path where a new log shall be, but an empty one. */
async function makeRoom(path: string): Promise<void> {
  if (!(await isEmpty(path))) throw new CliError('file', `there is a log at ${path} already`)
  discard(path)
}

function importLine(line: string, number: number): { readonly partition: number; readonly record: NewRecord } {
  const refuse = (why: string) => new CliError('file', `line ${number} is nothing that \`log export\` wrote: ${why}`)
  let members: { partition?: unknown; tenant?: unknown; value?: unknown; base64?: unknown }
  try {
    members = JSON.parse(line) as typeof members
  } catch {
    throw refuse('it is not JSON')
  }
  if (typeof members !== 'object' || members === null) throw refuse('it is not an object')
  const { partition = 0, tenant, value, base64 } = members
  if (!Number.isSafeInteger(partition) || (partition as number) < 0 || (partition as number) >= MOST_SHARDS)
    throw refuse("'partition' is no number of a shard")
  if (tenant !== null && typeof tenant !== 'string') throw refuse("'tenant' is neither text nor null")
  const as = (record: NewRecord) => ({ partition: partition as number, record })
  if (typeof base64 === 'string') return as({ value: Buffer.from(base64, 'base64'), tenant, time: 0 })
  if (typeof value !== 'string') throw refuse("it has neither 'value' nor 'base64'")
  const record = decode(value)
  if (record.kind === 'foreign') return as({ value, tenant, time: 0 })
  return as({ value, tenant, time: record.time, ...(record.kind === 'barrier' && tenant === null ? { barrier: true } : {}) })
}

async function appendAll(log: Log, records: readonly NewRecord[]): Promise<void> {
  if (records.length === 0) return
  for (const answer of await log.append(records)) {
    if (answer.status === 'written') continue
    const cause = 'cause' in answer ? answer.cause : undefined
    throw cause instanceof EngineError ? cause : new EngineError('log-failed', `${log.description} could not be written`, { cause })
  }
}
