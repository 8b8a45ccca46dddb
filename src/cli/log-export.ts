/** `mainstem log export` and `log import`: a log as lines of JSON, and back, byte for byte. */
import { createReadStream, createWriteStream, existsSync, statSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { finished } from 'node:stream/promises'
import { once } from 'node:events'
import type { Command } from 'commander'
import { EngineError } from '../errors.ts'
import { discard, publish } from '../log/files.ts'
import { stored } from '../log/fold.ts'
import { openLog } from '../log/open.ts'
import { SqliteLog } from '../log/sqlite.ts'
import type { Log, NewRecord, Stored } from '../log.ts'
import { decode } from '../record.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { makeRoom } from './log-copy.ts'
import { examples, withOptions } from './options.ts'
import { plural } from './output.ts'
import { filePath, type Flags, Settings } from './settings.ts'

export function addLogExport(log: Command, cli: Cli): void {
  const command = log
    .command('export')
    .summary('write the log as lines of JSON')
    .description('Writes all records as lines of JSON: {position, tenant, value}. What is not text has base64 in the place of value.')
    .argument('<file>', 'a new file, or - for stdout')
  withOptions(command, 'app', 'log', 'json')
    .addHelpText('after', examples('log export seats.jsonl --log file:seats.log', 'log export - | gzip > seats.jsonl.gz'))
    .action(async (file: string, flags: Flags) => {
      const settings = await Settings.read(flags)
      const source = openLog(await settings.existingLog())
      const progress = cli.progress('exporting:', 'records')
      try {
        const head = await source.head()
        let records = 0
        const write = async (line: (text: string) => Promise<void>) => {
          for await (const each of stored(source, { upTo: head, signal: cli.signal })) {
            await line(exportLine(each))
            records++
            progress.update(each.position, head)
            if (cli.out.closed.aborted) return
          }
        }
        if (file === '-') return await write(text => cli.out.lines(text))
        await toFile(file, write)
        progress.end()
        if (cli.json) cli.out.value({ file, records, position: head })
        else cli.out.line(`${plural(records, 'record')} in ${file}`)
      } finally {
        progress.end()
        await source.close()
      }
    })
}

const exportLine = ({ position, tenant, value }: Stored): string =>
  `${JSON.stringify(typeof value === 'string' ? { position, tenant, value } : { position, tenant, base64: Buffer.from(value).toString('base64') })}\n`

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
      const path = filePath(setting)
      await makeRoom(path)
      const draft = `${path}.importing`
      discard(draft)
      const target = new SqliteLog(draft)
      const progress = cli.progress('importing:', 'bytes')
      let records = 0
      try {
        const input = file === '-' ? process.stdin : createReadStream(file)
        const total = file === '-' ? 0 : statSync(file).size
        let read = 0
        let batch: NewRecord[] = []
        let size = 0
        for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
          cli.signal.throwIfAborted()
          read += Buffer.byteLength(line) + 1
          if (line.trim() === '') continue
          batch.push(importLine(line, ++records))
          size += line.length
          if (batch.length < 512 && size < 1 << 20) continue
          await appendAll(target, batch)
          batch = []
          size = 0
          progress.update(read, total)
        }
        await appendAll(target, batch)
        if (records === 0) throw new CliError('file', `${file === '-' ? 'stdin' : file} holds no records`)
        await target.close()
        publish(draft, path)
      } catch (error) {
        await target.close()
        discard(draft)
        throw error
      } finally {
        progress.end()
      }
      if (cli.json) cli.out.value({ log: setting, records })
      else cli.out.line(`${plural(records, 'record')} in ${setting}`)
    })
}

function importLine(line: string, number: number): NewRecord {
  const refuse = (why: string) => new CliError('file', `line ${number} is nothing that \`log export\` wrote: ${why}`)
  let members: { tenant?: unknown; value?: unknown; base64?: unknown }
  try {
    members = JSON.parse(line) as typeof members
  } catch {
    throw refuse('it is not JSON')
  }
  if (typeof members !== 'object' || members === null) throw refuse('it is not an object')
  const { tenant, value, base64 } = members
  if (tenant !== null && typeof tenant !== 'string') throw refuse("'tenant' is neither text nor null")
  if (typeof base64 === 'string') return { value: Buffer.from(base64, 'base64'), tenant, time: 0 }
  if (typeof value !== 'string') throw refuse("it has neither 'value' nor 'base64'")
  const record = decode(value)
  if (record.kind === 'foreign') return { value, tenant, time: 0 }
  return { value, tenant, time: record.time, ...(record.kind === 'barrier' && tenant === null ? { barrier: true } : {}) }
}

async function appendAll(log: Log, records: readonly NewRecord[]): Promise<void> {
  if (records.length === 0) return
  for (const answer of await log.append(records)) {
    if (answer.status === 'written') continue
    const cause = 'cause' in answer ? answer.cause : undefined
    throw cause instanceof EngineError ? cause : new EngineError('log-failed', `${log.description} could not be written`, { cause })
  }
}
