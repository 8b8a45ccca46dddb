/** `mainstem rollout`: from one release to another, and back, while both run. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Command } from 'commander'
import { EngineError } from '../errors.ts'
import { openLogs } from '../log/open.ts'
import type { Logs } from '../log.ts'
import { listenOf } from '../replica/listen.ts'
import { Neighbours } from '../replica/neighbours.ts'
import { shardAt } from '../replica/replay.ts'
import { type Account, type Difference, differences, releaseMeant, type Sample, type Stand, switchShard, unknownTo } from '../rollout.ts'
import { BEAT, type Member } from '../roster.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { readWhole } from './input.ts'
import { examples, withOptions } from './options.ts'
import { count, paint, plural, printable, table } from './output.ts'
import { describe, membersIn } from './replicas.ts'
import { type Flags, Settings } from './settings.ts'

/** So long two looks at the roster are apart: whoever has not beaten in between does not live, ms. */
const TWO_LOOKS = 4 * BEAT
/** How long `wait` waits unless it is told otherwise, ms. */
const WAIT = 600_000
const AGAIN = 1_000
/** How often two replicas are asked in the hope that both stand at the same version, before both look at the past. */
const ATTEMPTS = 5
/** So many tenants are compared where none is named. */
const TENANTS = 5

interface RolloutFlags extends Flags {
  readonly release?: string
  readonly replicas?: string
  readonly force?: boolean
}

interface Living {
  readonly member: Member
  /** Undefined if it cannot be asked: then it has told nothing but what stands in the roster. */
  readonly account: Account | undefined
}

export function addRollout(program: Command, cli: Cli): void {
  const rollout = program
    .command('rollout')
    .summary('roll out another release, and go back')
    .description(
      `Rolls out another release of an app. Start its replicas beside those of the old one, wait until they have read the log, and switch: from that
record of the log on only the new release writes, and the old one follows and passes on what it is still asked.`,
    )
  const status = rollout.command('status').summary('show the releases that run, and which is the active one')
  withOptions(status, 'app', 'log', 'timeout', 'json')
    .addHelpText('after', examples('rollout status --log kafka://kafka-1:9092/seats'))
    .action((flags: RolloutFlags) => operate(cli, flags, operator => operator.status()))
  const wait = rollout
    .command('wait')
    .summary('wait until the replicas of a release have caught up')
    .option('--release <release>', 'which: all of it, its name or its beginning')
    .option('--replicas <number>', 'so many of them at least (default: 1, and all that run)')
  withOptions(wait, 'app', 'log', 'timeout', 'json')
    .addHelpText('after', examples('rollout wait --release v2 --replicas 3 --timeout 10m --app seats.ts'))
    .action((flags: RolloutFlags) => operate(cli, flags, operator => operator.wait(flags)))
  for (const [name, summary, description] of [
    ['switch', 'make a release the active one', 'Compares the new release with the old one, and makes it the active one of every shard.'],
    ['abort', 'go back to the release before', 'Makes the release before, or the one named, the active one again, in every shard.'],
  ] as const) {
    const command = rollout
      .command(name)
      .summary(summary)
      .description(`${description} Cut off, it goes on where it stopped when it is run again.`)
      .option('--release <release>', 'which: all of it, its name or its beginning')
      .option('--force', 'also where the two differ, or nobody of it is ready')
    withOptions(command, 'app', 'log', 'tenant', 'timeout', 'json')
      .addHelpText('after', examples(`rollout ${name} --release ${name === 'switch' ? 'v2' : 'v1'} --app seats.ts`))
      .action((flags: RolloutFlags) => operate(cli, flags, operator => operator.switch(name, flags)))
  }
}

async function operate(cli: Cli, flags: RolloutFlags, work: (operator: Operator) => Promise<void>): Promise<void> {
  const settings = await Settings.read(flags)
  const log = await settings.existingLog()
  const logs = await openLogs(log, { as: 'operator' })
  const neighbours = new Neighbours(listenOf(undefined, process.env).secret)
  try {
    await work(new Operator(cli, settings, log, logs, neighbours))
  } finally {
    neighbours.close()
    await logs.close()
  }
}

class Operator {
  readonly #cli: Cli
  readonly #settings: Settings
  readonly #log: string
  readonly #logs: Logs
  readonly #neighbours: Neighbours

  constructor(cli: Cli, settings: Settings, log: string, logs: Logs, neighbours: Neighbours) {
    this.#cli = cli
    this.#settings = settings
    this.#log = log
    this.#logs = logs
    this.#neighbours = neighbours
  }

  async status(): Promise<void> {
    const living = await this.#living()
    const stands = await this.#stands(living)
    const shards = stands.map(({ state: { release, retired } }, partition) => ({ partition, release, before: retired.at(-1) ?? null }))
    const releases = [
      ...new Set([...living.flatMap(({ member: { info } }) => info?.release ?? []), ...shards.flatMap(({ release }) => release ?? [])]),
    ]
    const rows = releases.map(release => {
      const own = living.filter(({ member: { info } }) => info?.release === release).map(({ member }) => member.info!)
      const active = shards.filter(shard => shard.release === release).length
      return {
        release,
        active: active === shards.length ? 'yes' : active === 0 ? 'no' : `in ${active} of ${shards.length} shards`,
        replicas: own.length,
        'caught up': own.filter(({ caughtUp }) => caughtUp).length,
        ready: own.filter(({ ready }) => ready).length,
      }
    })
    if (this.#cli.json) return this.#cli.out.value({ releases: rows, shards, replicas: living.map(({ member }) => member) })
    const parts = [rows.length > 0 ? table(rows) : 'no replica runs, and no release is the active one']
    if (new Set(shards.map(({ release }) => release)).size > 1)
      parts.push(
        table(shards.map(({ partition, release }) => ({ shard: partition, 'active release': release ?? 'none' }))),
        paint.yellow('the switch was cut off: run it again, or go back with `mainstem rollout abort`'),
      )
    if (living.length > 0) parts.push(describe(living.map(({ member }) => member)))
    this.#cli.out.line(parts.join('\n\n'))
  }

  async wait({ release, replicas, timeout }: RolloutFlags): Promise<void> {
    const least = replicas === undefined ? 1 : readWhole(replicas, '--replicas', 1)
    const until = performance.now() + (timeout === undefined ? WAIT : this.#settings.timeout)
    const progress = this.#cli.progress('waiting:', 'replicas')
    let why = 'none of them runs'
    try {
      for (;;) {
        const living = await this.#living(release === undefined)
        const wanted = this.#wanted(release, living, release === undefined ? await this.#active(living) : new Set())
        const own = living.flatMap(({ member: { info } }) => (info && info.release === wanted ? [info] : []))
        const done = own.filter(({ caughtUp }) => caughtUp).length
        if (wanted !== undefined && done >= least && done === own.length) {
          if (this.#cli.json) this.#cli.out.value({ release: wanted, caughtUp: done })
          else this.#cli.out.line(`${plural(done, 'replica')} of ${wanted} ${done === 1 ? 'has' : 'have'} caught up`)
          return
        }
        const eta = Math.max(...own.map(info => info.eta ?? 0))
        const reasons = [...new Set(own.flatMap(info => info.reasons))]
        why = `${done} of ${Math.max(least, own.length)} have caught up${reasons.length > 0 ? ` (${reasons.join(', ')})` : ''}`
        progress.update(done, Math.max(least, own.length), `${why}${eta > 0 ? `, ${count(eta)} s left` : ''}`)
        if (reasons.includes('halted')) throw new EngineError('halted', `a replica of ${wanted} has halted: see its \`mainstem status\``)
        if (performance.now() > until) break
        await pause(AGAIN, undefined, { signal: this.#cli.signal })
      }
    } finally {
      progress.end()
    }
    throw new EngineError('timeout', `the release is not ready: ${why}`)
  }

  async switch(how: 'switch' | 'abort', { release, force = false }: RolloutFlags): Promise<void> {
    const living = await this.#living()
    const stands = await this.#stands(living)
    const to = this.#target(how, release, living, stands)
    const greens = living.filter(({ member: { info } }) => info?.release === to)
    const left = stands.filter(({ state }) => state.release !== to)
    if (left.length === 0) return this.#done(to, [])
    const { notes, hindrances } = await this.#look(how, to, greens, living, left)
    for (const note of notes) this.#cli.out.note(note)
    for (const { what, final } of hindrances)
      if (final || !force) throw new CliError('rollout', `${what}. Nothing was written${final ? '' : '; --force does it all the same'}`)
      else this.#cli.out.note(`${paint.yellow('forced')}  ${what}`)
    const signal = AbortSignal.any([this.#cli.signal, AbortSignal.timeout(this.#settings.timeout)])
    const records = []
    for (const [partition, stand] of stands.entries()) {
      try {
        records.push({ partition, ...(await switchShard(this.#logs.shards[partition]!, stand, to, () => Date.now(), signal)) })
      } catch (error) {
        const done = records.length === 0 ? 'no shard was switched' : `shards 0 to ${partition - 1} of ${stands.length} are switched`
        if (this.#cli.signal.aborted || !(signal.aborted || error instanceof EngineError)) throw error
        throw new EngineError('timeout', `${done}; run it again to go on: ${(error as Error).message}`, { cause: error })
      }
    }
    this.#done(to, records)
  }

  #done(
    to: string,
    records: readonly { readonly partition: number; readonly from: string | null; readonly position: number | undefined }[],
  ): void {
    const written = records.filter(({ position }) => position !== undefined)
    if (this.#cli.json) return this.#cli.out.value({ release: to, switched: written })
    if (written.length === 0) return this.#cli.out.line(`${to} is the active release already`)
    for (const { partition, from, position } of written)
      this.#cli.out.line(`shard ${partition}: ${from ?? 'no release'} -> ${to}, at position ${position}`)
  }

  /** What stands against it, and what should be known. `final`: nothing helps. */
  async #look(how: 'switch' | 'abort', to: string, greens: readonly Living[], living: readonly Living[], left: readonly Stand[]) {
    const notes: string[] = []
    const hindrances: { what: string; final: boolean }[] = []
    const against = (what: string, final = false) => void hindrances.push({ what, final })
    const green = greens.find(({ member, account }) => account && member.info?.caughtUp)
    const from = left[0]!.state.release
    const blue = living.find(
      ({ member, account }) => account && member.info?.release === (from ?? member.info?.release) && member.info?.release !== to,
    )
    if (!green)
      against(`no replica of ${to} has caught up: ${greens.length === 0 ? 'none runs' : 'wait for it with `mainstem rollout wait`'}`)
    const knows = green?.account?.knows ?? greens.find(({ account }) => account)?.account?.knows
    const holds: Record<string, number> = {}
    for (const { account } of living)
      for (const [type, schema] of Object.entries(account?.holds ?? {})) holds[type] = Math.max(schema, holds[type] ?? 0)
    const lacks = knows ? unknownTo(knows, holds) : []
    if (lacks.length > 0) against(`the log holds events that ${to} does not know: ${lacks.join(', ')}`, true)
    if (!knows && how === 'abort') against(`whether ${to} knows all events of the log cannot be told, for none of its replicas answers`)
    if (green?.account && blue?.account) {
      const after = unknownTo(blue.account.knows, green.account.knows)
      const other = blue.account.release
      notes.push(
        after.length === 0
          ? `${other} knows all events that ${to} writes: the way back stays open`
          : `the way back to ${other} ends with the first of these events, which it does not know: ${after.join(', ')}`,
      )
      if (how === 'switch') {
        const { compared, found } = await this.#compare(blue, green)
        notes.push(...compared)
        for (const { tenant, version, what, blue: a, green: b } of found)
          notes.push(
            `${paint.yellow('differs')}  tenant ${tenant}, version ${version}, ${what}:\n  ${other}  ${printable(a)}\n  ${to}  ${printable(b)}`,
          )
        if (found.length > 0) against(`${plural(found.length, 'answer')} of ${to} differ from those of ${other}`)
      }
    } else if (how === 'switch' && green) notes.push('no replica of another release runs: nothing is compared')
    return { notes, hindrances: hindrances.sort((a, b) => Number(b.final) - Number(a.final)) }
  }

  async #compare(blue: Living, green: Living): Promise<{ readonly compared: string[]; readonly found: Difference[] }> {
    const named = this.#settings.tenantIsGiven ? [this.#settings.tenant] : blue.account!.tenants.slice(0, TENANTS)
    const queries = blue.account!.compares.filter(query => green.account!.compares.includes(query))
    const found: Difference[] = []
    const compared: string[] = []
    for (const tenant of named) {
      const [a, b] = await this.#samples(blue, green, tenant)
      found.push(...differences(a, b))
      compared.push(`compared at version ${a.version} of tenant ${tenant}: history digest${queries.map(query => `, ${query}`).join('')}`)
    }
    if (queries.length === 0) compared.push('no query is compared: name some in `compare` of the app')
    return { compared, found }
  }

  /** Of both, at the same version. */
  async #samples(blue: Living, green: Living, tenant: string): Promise<[Sample, Sample]> {
    for (let attempt = 1; ; attempt++) {
      const both = await Promise.all([this.#sample(blue, { tenant }), this.#sample(green, { tenant })])
      if (both[0].version === both[1].version) return both
      if (attempt < ATTEMPTS) continue
      // Too much is going on: both are asked for the past, which takes longer.
      const version = Math.min(both[0].version, both[1].version)
      return Promise.all([this.#sample(blue, { tenant, version }), this.#sample(green, { tenant, version })])
    }
  }

  #sample({ member }: Living, params: object): Promise<Sample> {
    return this.#neighbours.ask(member.address!, 'sample', params, WAIT) as Promise<Sample>
  }

  /** @throws EngineError invalid-option if it is not clear */
  #target(how: 'switch' | 'abort', given: string | undefined, living: readonly Living[], stands: readonly Stand[]): string {
    const running = [...new Set(living.flatMap(({ member: { info } }) => info?.release ?? []))]
    const before = new Set(stands.flatMap(({ state }) => state.retired.at(-1) ?? []))
    const former = [...new Set(stands.flatMap(({ state }) => [...state.retired, ...(state.release === null ? [] : [state.release])]))]
    if (given !== undefined) return releaseMeant(given, [...new Set([...running, ...former])])
    if (how === 'abort') {
      // Where a switch was cut off, most of it is that of the shards still on it.
      const active = new Set(stands.flatMap(({ state }) => state.release ?? []))
      if (active.size > 1) for (const release of before) if (active.has(release)) return release
      if (before.size === 1) return [...before][0]!
      throw new EngineError('invalid-option', 'there is no release before, or more than one: name it with --release')
    }
    const wanted = this.#wanted(undefined, living, new Set(stands.map(({ state }) => state.release)))
    if (wanted !== undefined) return wanted
    throw new EngineError('invalid-option', `which release? Name it with --release: ${running.join(', ') || 'none runs'}`)
  }

  /** Left out: the only one that runs and is not the active one. */
  #wanted(given: string | undefined, living: readonly Living[], active: ReadonlySet<string | null>): string | undefined {
    const running = [...new Set(living.flatMap(({ member: { info } }) => info?.release ?? []))]
    if (given !== undefined) {
      try {
        return releaseMeant(given, running)
      } catch {
        return undefined
      }
    }
    const others = running.filter(release => !active.has(release))
    return others.length === 1 ? others[0] : undefined
  }

  async #active(living: readonly Living[]): Promise<ReadonlySet<string | null>> {
    return new Set((await this.#stands(living)).map(({ state }) => state.release))
  }

  async #living(ask = true): Promise<Living[]> {
    const before = new Map(membersIn(this.#log, this.#logs).map(({ id, beat }) => [id, beat]))
    await pause(TWO_LOOKS, undefined, { signal: this.#cli.signal })
    const members = membersIn(this.#log, this.#logs).filter(({ id, beat }) => before.get(id) !== beat)
    return Promise.all(members.map(async member => ({ member, account: ask ? await this.#account(member) : undefined })))
  }

  async #account({ address }: Member): Promise<Account | undefined> {
    if (address === null) return undefined
    try {
      return (await this.#neighbours.ask(address, 'account', {}, this.#settings.timeout)) as Account
    } catch (error) {
      this.#cli.out.note(`the replica at ${address} does not answer: ${(error as Error).message}`)
      return undefined
    }
  }

  /** How the shards stand: as the log says, or where that would have to be read as a whole, as the replica says that has come furthest. */
  #stands(living: readonly Living[]): Promise<Stand[]> {
    return Promise.all(
      this.#logs.shards.map(async (log, partition): Promise<Stand> => {
        const told = living.flatMap(({ account }) => account?.shards[partition] ?? []).sort((a, b) => b.cursor - a.cursor)
        if (told[0] && !log.selective) return told[0]
        const cursor = await log.head()
        return { cursor, state: await shardAt(log, cursor) }
      }),
    )
  }
}
