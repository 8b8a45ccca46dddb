/** `mainstem log tail`: the accepted events of a tenant, or all records with their verdicts, once or as they come. */
import type { Command } from 'commander'
import { type Effect, LogFold, stored } from '../log/fold.ts'
import type { Log, Position, Stored } from '../log.ts'
import { partitionOf } from '../partition.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { readWhole } from './input.ts'
import { eventLine, eventsOf, recordLine, recordObject } from './log-records.ts'
import { checkHomes, openToRead, readPartition } from './logs.ts'
import { examples, withOptions } from './options.ts'
import { toJson } from './output.ts'
import { type Flags, Settings } from './settings.ts'

interface TailFlags extends Flags {
  readonly from?: string
  readonly lines?: string
  readonly follow?: boolean
  readonly all?: boolean
  readonly partition?: string
}

export function addLogTail(log: Command, cli: Cli): void {
  const command = log
    .command('tail')
    .summary("a tenant's events, or all records")
    .description(
      'Shows the last accepted events of a tenant; with --all every record of the log with the verdicts it got, those of several shards by their time.',
    )
    .option('--from <version>', 'from this version on (with --all: from this position on)')
    .option('-n, --lines <number>', 'how many of the last ones (default: 10)')
    .option('-f, --follow', 'go on with what comes, until Ctrl-C')
    .option('--all', 'all records of all tenants, also those without effect')
    .option('--partition <number>', 'all records of this shard alone')
  withOptions(command, 'app', 'tenant', 'log', 'json')
    .addHelpText('after', examples('log tail --log file:seats.log', 'log tail --from 1 --json', 'log tail --all --follow'))
    .action(async (flags: TailFlags) => {
      const settings = await Settings.read(flags)
      const { follow = false } = flags
      if (flags.from !== undefined && flags.lines !== undefined) throw new CliError('usage', 'give --from or --lines, not both')
      const from = flags.from === undefined ? undefined : readWhole(flags.from, '--from', 1)
      const most = readWhole(flags.lines ?? '10', '--lines', 0)
      const tenant = flags.all || flags.partition !== undefined ? undefined : settings.tenant
      const logs = await openToRead(settings)
      try {
        if (tenant !== undefined) await checkHomes(logs)
        const { length } = logs.shards
        const only = tenant === undefined ? readPartition(flags.partition, logs) : partitionOf(tenant, length)
        if (from !== undefined && only === undefined && length > 1)
          throw new CliError(
            'usage',
            `${logs.description} has ${length} shards, each with positions of its own: give --partition with --from`,
          )
        const shards = await Promise.all(
          logs.shards
            .map((log, partition) => new Shard(log, partition, tenant))
            .filter(({ partition }) => only === undefined || partition === only)
            .map(shard => shard.begin()),
        )
        const tail = new Tail(cli, { tenant, from, most, several: length > 1 })
        const head = shards.reduce((sum, each) => sum + each.head, 0)
        const progress = cli.progress('reading the log:', 'records')
        for await (const each of merged(shards, cli.signal)) {
          await tail.take(each)
          progress.update(
            shards.reduce((sum, { position }) => sum + position, 0),
            head,
          )
          if (cli.out.closed.aborted) return
        }
        progress.end()
        await tail.flush()
        if (!follow) return
        const failed = new AbortController()
        const signal = AbortSignal.any([cli.signal, cli.out.closed, failed.signal])
        const following = shards.map(async shard => {
          for await (const each of shard.follow(signal)) await tail.take(each)
        })
        for (const each of following) each.catch(error => failed.abort(error))
        await Promise.all(following)
      } finally {
        await logs.close()
      }
    })
}

/** A record, and what it came to in its shard. */
interface Told {
  readonly partition: number
  readonly stored: Stored
  readonly effect: Effect
}

class Shard {
  readonly partition: number
  /** Where it ended when it was opened. */
  head: Position = 0
  readonly #log: Log
  /** Undefined: all records. */
  readonly #of: { readonly tenant?: string }
  readonly #fold = new LogFold()

  constructor(log: Log, partition: number, tenant: string | undefined) {
    this.#log = log
    this.partition = partition
    this.#of = tenant === undefined ? {} : { tenant }
  }

  async begin(): Promise<this> {
    this.head = await this.#log.head()
    return this
  }

  get position(): Position {
    return this.#fold.position
  }

  async *past(signal: AbortSignal): AsyncGenerator<Told> {
    for await (const each of stored(this.#log, { ...this.#of, upTo: this.head, signal })) yield this.#tell(each)
  }

  async *follow(signal: AbortSignal): AsyncGenerator<Told> {
    for (let after = this.head; !signal.aborted; ) {
      const { records, reached } = await this.#log.read(after, { ...this.#of, wait: true, signal })
      for (const each of records) yield this.#tell(each)
      after = reached
    }
  }

  #tell(stored: Stored): Told {
    return { partition: this.partition, stored, effect: this.#fold.take(stored) }
  }
}

/** What stands in several shards, by the time of the records; within a shard the order stays. */
async function* merged(shards: readonly Shard[], signal: AbortSignal): AsyncGenerator<Told> {
  const open = await Promise.all(
    shards.map(async shard => {
      const told = shard.past(signal)
      return { told, next: await told.next(), time: 0 }
    }),
  )
  const timeOf = ({ effect }: Told) => effect.record?.time ?? 0
  for (const each of open) if (!each.next.done) each.time = timeOf(each.next.value)
  for (;;) {
    let first: (typeof open)[number] | undefined
    for (const each of open) if (!each.next.done && (!first || each.time < first.time)) first = each
    if (!first || first.next.done) return
    yield first.next.value
    first.next = await first.told.next()
    if (!first.next.done) first.time = Math.max(first.time, timeOf(first.next.value))
  }
}

interface TailOptions {
  /** Undefined: all records. */
  readonly tenant: string | undefined
  readonly from: number | undefined
  readonly most: number
  /** The log has several shards. */
  readonly several: boolean
}

class Tail {
  readonly #cli: Cli
  readonly #options: TailOptions
  /** The last lines, until the end is reached for the first time. */
  #last: string[] | undefined

  constructor(cli: Cli, options: TailOptions) {
    this.#cli = cli
    this.#options = options
    this.#last = options.from === undefined ? [] : undefined
  }

  async take({ partition, stored, effect }: Told): Promise<void> {
    const { json } = this.#cli
    const { tenant, from = 0, several } = this.#options
    if (tenant === undefined) {
      if (stored.position < from) return
      return this.#line(
        json ? toJson(recordObject(partition, stored, effect)) : recordLine(stored, effect, several ? partition : undefined),
      )
    }
    if (effect.kind !== 'data' || effect.record.tenant !== tenant) return
    for (const event of eventsOf(partition, stored, effect))
      if (event.version >= from) await this.#line(json ? toJson(event) : eventLine(event))
  }

  async flush(): Promise<void> {
    const lines = this.#last
    this.#last = undefined
    for (const line of lines ?? []) await this.#line(line)
  }

  async #line(line: string): Promise<void> {
    if (!this.#last) return this.#cli.out.lines(`${line}\n`)
    this.#last.push(line)
    if (this.#last.length > this.#options.most) this.#last.shift()
  }
}
