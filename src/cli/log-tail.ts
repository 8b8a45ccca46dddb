/** `mainstem log tail`: the accepted events of a tenant, or all records with their verdicts, once or as they come. */
import type { Command } from 'commander'
import { LogFold, stored } from '../log/fold.ts'
import { openLog } from '../log/open.ts'
import type { Stored } from '../log.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { readWhole } from './input.ts'
import { eventLine, eventsOf, recordLine, recordObject } from './log-records.ts'
import { examples, withOptions } from './options.ts'
import { toJson } from './output.ts'
import { type Flags, Settings } from './settings.ts'

interface TailFlags extends Flags {
  readonly from?: string
  readonly lines?: string
  readonly follow?: boolean
  readonly all?: boolean
}

export function addLogTail(log: Command, cli: Cli): void {
  const command = log
    .command('tail')
    .summary("a tenant's events, or all records")
    .description('Shows the last accepted events of a tenant; with --all every record of the log with the verdicts it got.')
    .option('--from <version>', 'from this version on (with --all: from this position on)')
    .option('-n, --lines <number>', 'how many of the last ones (default: 10)')
    .option('-f, --follow', 'go on with what comes, until Ctrl-C')
    .option('--all', 'all records of all tenants, also those without effect')
  withOptions(command, 'app', 'tenant', 'log', 'json')
    .addHelpText('after', examples('log tail --log file:seats.log', 'log tail --from 1 --json', 'log tail --all --follow'))
    .action(async (flags: TailFlags) => {
      const settings = await Settings.read(flags)
      const { all = false, follow = false } = flags
      if (flags.from !== undefined && flags.lines !== undefined) throw new CliError('usage', 'give --from or --lines, not both')
      const from = flags.from === undefined ? undefined : readWhole(flags.from, '--from', 1)
      const most = readWhole(flags.lines ?? '10', '--lines', 0)
      const tail = new Tail(cli, all ? undefined : settings.tenant, from, most)
      const setting = await settings.existingLog()
      const source = openLog(setting)
      try {
        const progress = cli.progress('reading the log:', 'records')
        const head = await source.head()
        const tenant = all ? {} : { tenant: settings.tenant }
        for await (const each of stored(source, { ...tenant, upTo: head, signal: cli.signal })) {
          await tail.take(each)
          progress.update(each.position, head)
          if (cli.out.closed.aborted) return
        }
        progress.end()
        await tail.flush()
        if (!follow) return
        const signal = AbortSignal.any([cli.signal, cli.out.closed])
        for (let after = head; !signal.aborted; ) {
          const { records, reached } = await source.read(after, { ...tenant, wait: true, signal })
          for (const each of records) await tail.take(each)
          after = reached
        }
      } finally {
        await source.close()
      }
    })
}

class Tail {
  readonly #cli: Cli
  readonly #fold = new LogFold()
  /** Undefined: all records. */
  readonly #tenant: string | undefined
  readonly #from: number | undefined
  /** The last lines, until the end is reached for the first time. */
  #last: string[] | undefined
  readonly #most: number

  constructor(cli: Cli, tenant: string | undefined, from: number | undefined, most: number) {
    this.#cli = cli
    this.#tenant = tenant
    this.#from = from
    this.#most = most
    this.#last = from === undefined ? [] : undefined
  }

  async take(stored: Stored): Promise<void> {
    const effect = this.#fold.take(stored)
    const { json } = this.#cli
    const from = this.#from ?? 0
    if (this.#tenant === undefined) {
      if (stored.position >= from) await this.#line(json ? toJson(recordObject(stored, effect)) : recordLine(stored, effect))
      return
    }
    if (effect.kind !== 'data' || effect.record.tenant !== this.#tenant) return
    for (const event of eventsOf(stored, effect)) if (event.version >= from) await this.#line(json ? toJson(event) : eventLine(event))
  }

  async flush(): Promise<void> {
    const lines = this.#last
    this.#last = undefined
    for (const line of lines ?? []) await this.#line(line)
  }

  async #line(line: string): Promise<void> {
    if (!this.#last) return this.#cli.out.lines(`${line}\n`)
    this.#last.push(line)
    if (this.#last.length > this.#most) this.#last.shift()
  }
}
