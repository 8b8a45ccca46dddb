/**
 * Whether tenants' databases are what the log of their shard says: asked when one is first opened in a run, and when somebody wrote at a digest
 * that is not ours. What a database has missed is brought up from the log.
 */
import { behind, emptyShard, type ShardState } from '../accept.ts'
import { type Clock, nap, turn } from '../clock.ts'
import type { Standing, Store } from '../database.ts'
import { EngineError } from '../errors.ts'
import type { Log, Position, Stored } from '../log.ts'
import { decode, recordHash } from '../record.ts'
import type { Input, Output } from '../shard/protocol.ts'
import type { Databases } from './data.ts'
import { digestAt, shardAt } from './replay.ts'

/** A tenant is checked against its log at most so often, ms: it means reading it all. */
const VERIFY_AGAIN = 60_000

/** Between two attempts to reach a log, ms. */
const AGAIN = 250

/** A scan begins so much later than it was first wanted, ms: others may want it, too. */
const GATHER = 20

interface Around {
  readonly log: Log
  readonly partition: number
  readonly clock: Clock
  readonly data: Databases | undefined
  /** Of the running shard. */
  state(): ShardState
  feed(input: Input): void
  notice(text: string): void
  /** What was read before, also from a log that lags behind. */
  recordAt(position: Position): Promise<Stored | undefined>
  readonly stop: AbortSignal
}

type CatchUp = Extract<Output, { do: 'catch-up' }>

export class Checks {
  readonly #around: Around
  readonly #verifiedUntil = new Map<string, number>()
  /** Databases that lack what only a scan of the shard can tell. */
  #sick: CatchUp[] = []
  #healing = false

  constructor(around: Around) {
    this.#around = around
  }

  /** Checks that the record at the database's position is the one it remembers, and folds what it has missed. */
  async catchUp(wanted: CatchUp): Promise<void> {
    const { tenant, store } = wanted
    // An embedded log answers at once: a thousand tenants in a row would keep timers and sockets waiting.
    await turn(this.#around.clock)
    try {
      const { standing } = store
      if (standing.position > 0) {
        const last = await this.#lastOf(standing)
        if (this.#around.stop.aborted) return
        if (last?.tenant !== tenant || recordHash(last.value) !== standing.recordHash) return await this.#misplaced(tenant, store)
        const contradiction = contradicts(tenant, standing, store)
        if (contradiction) return this.#around.feed({ type: 'misplaced', tenant, error: contradiction })
      }
      if (this.#around.log.selective) await this.#readMissed(wanted)
      else if (this.#isWhole(wanted)) this.#around.feed({ type: 'caught-up', tenant, shard: this.#around.state(), records: [], last: true })
      else this.#heal(wanted)
    } catch (cause) {
      this.#unchecked(tenant, cause)
    }
  }

  /** The record at the database's position, undefined if the log certainly has none there. */
  async #lastOf({ position, generation }: Standing): Promise<Stored | undefined> {
    const { clock, log, state, stop, recordAt } = this.#around
    for (;;) {
      try {
        // Positions of another generation are not those of this log: what stands behind its end is not waited for.
        if (generation < state().generation && position > (await log.head())) return undefined
        const last = await recordAt(position)
        // That a log which lags has not shown it in time says nothing, unless it ends before.
        if (last || log.freshHead || stop.aborted || (await log.head()) < position) return last
      } catch (error) {
        if (!(error instanceof EngineError && error.code === 'log-unreachable') || stop.aborted) throw error
        await nap(clock, AGAIN, stop)
      }
    }
  }

  /** From a log that can be searched by tenant. */
  async #readMissed({ tenant, store, upTo }: CatchUp): Promise<void> {
    const { log, feed } = this.#around
    const { position } = store.standing
    let shard = await shardAt(log, position, this.#around.clock)
    for (let after = position; ; ) {
      const { records, reached } = await log.read(after, { tenant, upTo })
      const last = reached === after
      feed({ type: 'caught-up', tenant, shard, records, last })
      if (last) return
      shard = stateBehind(shard, records)
      after = reached
      await turn(this.#around.clock)
    }
  }

  /**
   * Where the log cannot be searched by tenant, what a database missed while nobody followed is not looked for: whatever of it stands in front
   * of the run's beginning was applied before that was stored, and the rest the run brings. Unless it is not the database that it was then.
   */
  #isWhole({ tenant, store, least }: CatchUp): boolean {
    const { data, partition } = this.#around
    return store.standing.position >= Math.max(least, data?.progress.position(partition, tenant) ?? 0)
  }

  #heal(wanted: CatchUp): void {
    const { position, version } = wanted.store.standing
    const what = position === 0 ? 'is not there' : `is an older copy of itself, at version ${version}`
    this.#around.notice(`the database of tenant ${wanted.tenant} ${what}: its shard is read from the beginning to build it anew`)
    this.#sick.push(wanted)
    if (this.#healing) return
    this.#healing = true
    void this.#healAll()
  }

  /** One scan for all that wait for one. */
  async #healAll(): Promise<void> {
    const { stop, feed } = this.#around
    while (this.#sick.length > 0 && !stop.aborted) {
      await nap(this.#around.clock, GATHER)
      const patients = this.#sick
      this.#sick = []
      const end = Math.max(...patients.map(({ upTo }) => upTo))
      try {
        let shard = emptyShard
        for (let after = 0; after < end && !stop.aborted; ) {
          // It was read before: a log that does not show it yet is waited for.
          const { records, reached } = await this.#around.log.read(after, { wait: true, signal: stop })
          for (const { tenant, upTo } of patients) {
            const own = records.filter(each => (each.tenant === null || each.tenant === tenant) && each.position <= upTo)
            feed({ type: 'caught-up', tenant, shard, records: own, last: false })
          }
          shard = stateBehind(shard, records)
          after = reached
          await turn(this.#around.clock)
        }
        if (stop.aborted) return
        for (const { tenant } of patients) feed({ type: 'caught-up', tenant, shard, records: [], last: true })
      } catch (cause) {
        for (const { tenant } of patients) this.#unchecked(tenant, cause)
      }
    }
    this.#healing = false
  }

  #unchecked(tenant: string, cause: unknown): void {
    const message = `tenant ${tenant} could not be checked against the log: ${(cause as Error).message}`
    this.#around.feed({ type: 'misplaced', tenant, error: new EngineError('halted', message, { cause }) })
  }

  async #misplaced(tenant: string, store: Store): Promise<void> {
    const { log, state, feed, notice } = this.#around
    const { position, version, generation } = store.standing
    // Only a copy or a restore raises the generation; anything else that is missing here was lost.
    if (generation < state().generation) {
      // To scan a shard for each of its tenants would take too long.
      const now = log.selective ? (await digestAt(log, tenant, await log.head(), this.#around.clock)).version : version
      const lost = now < version ? `; versions ${now + 1} to ${version} are lost` : ''
      notice(`tenant ${tenant} stood at version ${version} on another generation of the log, and is built anew${lost}`)
      feed({ type: 'misplaced', tenant, error: 'rebuild' })
      return
    }
    const message = `the database of tenant ${tenant} stands at version ${version}, position ${position}, which this log does not hold: the log was replaced by an older copy of itself. Bring the newer log back, or make the older one official with \`mainstem restore\`, which raises its generation`
    feed({ type: 'misplaced', tenant, error: new EngineError('log-behind', message, { details: { tenant, version, position } }) })
  }

  /** Somebody wrote at a digest that is not ours. Whoever is wrong: if it is us, the tenant halts. */
  async verify({ tenant, version, digest, position }: Extract<Output, { do: 'suspect' }>): Promise<void> {
    const { log: source, data, feed, notice } = this.#around
    const now = this.#around.clock.now()
    if (now < (this.#verifiedUntil.get(tenant) ?? 0)) return
    this.#verifiedUntil.set(tenant, Number.POSITIVE_INFINITY)
    try {
      const log = await digestAt(source, tenant, position, this.#around.clock)
      if (log.version === version && log.digest === digest) {
        notice(
          `tenant ${tenant}: a record before or at position ${position} was made at a digest that this log does not lead to, and has no effect. The log was altered, or another replica is damaged; \`mainstem log tail --all\` shows it`,
        )
        return
      }
      const message = `tenant ${tenant} stopped: at position ${position} its database stands at version ${version}, digest ${digest}, but the log says version ${log.version}, digest ${log.digest}. One of the two is damaged: compare with another replica or a backup. If the log is right, delete the database file, and it is built anew`
      data?.halt(tenant, message)
      feed({
        type: 'misplaced',
        tenant,
        error: new EngineError('diverged', message, { details: { tenant, position, database: { version, digest }, log } }),
      })
    } catch (error) {
      notice(`tenant ${tenant} could not be compared with the log: ${(error as Error).message}`)
    } finally {
      this.#verifiedUntil.set(tenant, this.#around.clock.now() + VERIFY_AGAIN)
    }
  }
}

/** What a database says of itself in two places. */
function contradicts(tenant: string, standing: Standing, store: Store): EngineError | undefined {
  const entry = store.historyAt(standing.version)
  if (standing.version === 0 || (entry?.end === standing.version && entry.digest === standing.digest)) return undefined
  const message = `the database of tenant ${tenant} contradicts itself: its standing says version ${standing.version}, digest ${standing.digest}, its history ${entry ? `version ${entry.end}, digest ${entry.digest}` : 'nothing'}. Delete its file, and it is built anew from the log`
  return new EngineError('diverged', message, { details: { tenant, standing } })
}

function stateBehind(shard: ShardState, records: readonly Stored[]): ShardState {
  let state = shard
  for (const { value, tenant } of records) {
    if (tenant !== null) continue
    const record = decode(value)
    if (record.kind === 'foreign' || record.kind === 'data') continue
    state = behind(state, record)
  }
  return state
}
