/**
 * Judges a simulation by its log alone: folds it once more, decides every accepted decision again at its place, and compares what clients were
 * told, what they read and what the replicas came to. The total order of the log makes the history of each tenant a line: whoever was told
 * something must stand at his place in it.
 */
import { accept, behind, emptyShard, type ShardState, type Verdict } from '../accept.ts'
import { type App, definitionOf } from '../app.ts'
import type { Reader } from '../database/handles.ts'
import { openStore } from '../database/sqlite.ts'
import type { Store } from '../database.ts'
import { decide, prepare } from '../decide.ts'
import { decodeBatches } from '../log/kafka/batch.ts'
import { storedOf } from '../log/kafka/framing.ts'
import type { Stored } from '../log.ts'
import { Tenant } from '../projection.ts'
import { type DataRecord, type Decision, decode, inputHash } from '../record.ts'
import { type Ask, GREEN, type Plan } from './world/plan.ts'
import type { Answered, Run } from './world/run.ts'
import { EPOCH } from './world/scheduler.ts'

/** Longer than any clock is off in a simulation, ms. */
const YEARS = 100_000_000_000

export interface Problem {
  readonly check:
    | 'crash'
    | 'halt'
    | 'progress'
    | 'decision'
    | 'once'
    | 'acknowledged'
    | 'nothing-written'
    | 'rejection'
    | 'linearizable'
    | 'token'
    | 'rows'
    | 'replica'
    | 'tidy-log'
    | 'versions'
    | 'invariant'
  readonly message: string
  /** The invariant that does not hold. */
  readonly rule?: string
}

/** Asked of every tenant's database after every accepted event: false, or a text that says why, is a failure. */
export type Invariants = { readonly [name: string]: (db: Reader) => boolean | string }

export interface Judgement {
  readonly problems: readonly Problem[]
  /** Decisions that were accepted, and that stand there for nothing. */
  readonly accepted: number
  readonly refused: number
  readonly verdicts: readonly Judged[]
}

/** What became of one decision in the log. */
export interface Judged {
  readonly id: string
  readonly tenant: string
  readonly position: number
  readonly verdict: Verdict
}

/** SQL that gives all rows of the app's tables as one text. */
export function dumpOf(app: App): string {
  const store = openStore(definitionOf(app).database, ':memory:') as Store<Reader>
  try {
    const tables = store.queries.all<{ name: string; columns: string }>(
      `SELECT name, (SELECT group_concat('quote("' || replace(c.name, '"', '""') || '")') FROM pragma_table_info(t.name) c) AS columns
       FROM sqlite_schema t WHERE type = 'table' AND name NOT LIKE 'mainstem_%' AND name NOT LIKE 'sqlite_%' ORDER BY name`,
    )
    const rows = tables.map(({ name, columns }) => {
      const table = `"${name.replaceAll('"', '""')}"`
      return `coalesce((SELECT group_concat(row, char(10)) FROM (SELECT json_array(${columns}) AS row FROM ${table} ORDER BY row)), '')`
    })
    return `SELECT ${rows.length > 0 ? rows.join(" || char(10) || '--' || char(10) || ") : "''"} AS rows`
  } finally {
    store.close()
  }
}

interface Place {
  readonly tenant: string
  readonly position: number
  /** The tenant's version after its events. */
  readonly version: number
  readonly answer: string
}

/** A tenant as the log has it. */
interface Line {
  readonly tenant: Tenant
  /** As the other release has it, where that is another app. */
  readonly green: Tenant | undefined
  /** All rows, at each version that a database can stand at; by app. */
  readonly rows: Map<number, string>
  readonly greenRows: Map<number, string>
  /** Those with events, by the version that they end at. */
  readonly byVersion: Map<number, Place>
}

/** @param green what replicas of the second release run: it decides the same, on other tables */
export function judge(app: App, run: Run, invariants: Invariants = {}, green?: App): Judgement {
  const problems: Problem[] = run.troubles.map(({ check, message }) => ({ check, message }))
  const found = (check: Problem['check'], message: string, rule?: string) =>
    void problems.push({ check, message, ...(rule === undefined ? {} : { rule }) })
  const dump = dumpOf(app)
  const greenDump = green && dumpOf(green)
  const inputs = new Map(run.answered.flatMap(({ ask }) => (ask.id === undefined ? [] : [[ask.id, ask] as const])))
  const lines = new Map<string, Line>()
  const places = new Map<string, Place>()
  const verdicts: Judged[] = []
  /** Of a reign that was over: they stand behind the claim of another owner. */
  const late: Judged[] = []
  const rejections = freshRejections(run)
  let shard: ShardState = emptyShard
  let refused = 0

  /** What was rejected at this version is rejected there, unless it hangs on the time: nobody has told when it was decided. */
  const rejectedAt = (name: string, version: number, store: Store) => {
    for (const { ask, said } of rejections.get(key(name, `${version}`)) ?? []) {
      const answers = [EPOCH - YEARS, EPOCH + YEARS].map(time => attempted(app, ask, store, time))
      if (answers[0] !== undefined && answers[0] === answers[1] && 'answer' in said && said.answer !== answers[0])
        found('rejection', `${ask.name} of tenant ${name} decides ${answers[0]} at version ${version}, and was told ${said.answer}`)
    }
    rejections.delete(key(name, `${version}`))
  }

  const lineOf = (name: string): Line => {
    let line = lines.get(name)
    if (line) return line
    const store = openStore(definitionOf(app).database, ':memory:')
    const other = green && openStore(definitionOf(green).database, ':memory:')
    const greens = green && other && new Tenant(green, name, other, shard.log!)
    line = { tenant: new Tenant(app, name, store, shard.log!), green: greens, rows: new Map(), greenRows: new Map(), byVersion: new Map() }
    line.rows.set(0, rowsOf(store, dump))
    if (other) line.greenRows.set(0, rowsOf(other, greenDump!))
    lines.set(name, line)
    rejectedAt(name, 0, store)
    return line
  }

  const take = (name: string, position: number, value: string | Uint8Array, record: DataRecord) => {
    const line = lineOf(name)
    const { tenant } = line
    const { store } = tenant
    const told = accept(shard, tenant.state, record, id => store.known(id) !== undefined)
    tenant.speculate()
    let { version } = tenant.state
    for (const [index, decision] of record.decisions.entries()) {
      const { id } = decision
      const judged = { id, tenant: name, position, verdict: told[index]! }
      verdicts.push(judged)
      if (record.term.number < shard.term.number && shard.term.owner !== null) late.push(judged)
      if (told[index] !== 'accepted') {
        refused++
        continue
      }
      if (places.has(key(name, id)))
        found('once', `${id} was accepted twice, at positions ${places.get(key(name, id))!.position} and ${position}`)
      again(decision, record, position, store)
      for (const event of decision.events) {
        tenant.project(event, ++version, record.time)
        for (const [rule, holds] of Object.entries(invariants)) {
          const said = holds(store.read as Reader)
          if (said === true) continue
          const where = `after version ${version} of tenant ${name} (${id}, at position ${position})`
          found('invariant', `${rule}: ${said || 'it does not hold'} ${where}`, rule)
        }
      }
      const place = { tenant: name, position, version, answer: answerOf(decision) }
      places.set(key(name, id), place)
      if (decision.events.length > 0) {
        line.byVersion.set(version, place)
        rejectedAt(name, version, store)
      }
    }
    tenant.rollback()
    tenant.fold(shard, position, value, record, run.place)
    tenant.commit()
    if (tenant.state.version !== version)
      found('versions', `the fold comes to version ${tenant.state.version} at position ${position}, the events to ${version}`)
    line.rows.set(version, rowsOf(store, dump))
    if (!line.green) return
    line.green.fold(shard, position, value, record, run.place)
    line.green.commit()
    line.greenRows.set(version, rowsOf(line.green.store, greenDump!))
  }

  const again = ({ id, command, hash, events, result, rejection }: Decision, record: DataRecord, position: number, store: Store) => {
    const ask = inputs.get(id) ?? freshly(run, hash)
    // What somebody else has written is nobody's command.
    if (!ask) return
    const decided = answerOf(decide(app, prepare(app, command, ask.input), store.read, record.time))
    const was = answerOf({ events, result, rejection })
    if (decided !== was) found('decision', `${id} at position ${position} decides ${decided} at its place, and not ${was}`)
  }

  for (const { position, value, tenant } of stored(run)) {
    const record = decode(value)
    if (record.kind === 'foreign') continue
    if (record.kind === 'data') {
      if (record.tenant === tenant && record.log === shard.log) take(record.tenant, position, value, record)
      continue
    }
    if (tenant !== null) continue
    shard = behind(shard, record)
  }

  told(run, places, lines, found)
  looked(run, lines, found)
  for (const { node, tenant, version, standing, digest, floor, rows } of run.finals) {
    const line = lines.get(tenant)
    const end = line?.tenant.state ?? { version: 0, floor: 0, digest: '' }
    if (version !== end.version || standing !== end.version)
      found('replica', `${node} ends at version ${version} (its database: ${standing}) of tenant ${tenant}, the log at ${end.version}`)
    else if (version > 0 && floor !== end.floor)
      found('replica', `${node} has floor ${floor} of tenant ${tenant} at version ${version}, the log ${end.floor}`)
    else if (version > 0 && digest !== end.digest)
      found('replica', `${node} comes to another digest of tenant ${tenant} at version ${version} than the log`)
    else if (line && rows !== rowsSeen(run, line, node).get(version))
      found(
        'replica',
        `${node} has other rows of tenant ${tenant} at version ${version} than the log: ${rows} and not ${rowsSeen(run, line, node).get(version)}`,
      )
  }
  if (shard.log !== null) for (const [each] of Array.from(rejections.values())) lineOf(each!.ask.tenant)
  for (const [{ ask, said }] of rejections.values() as Iterable<[Answered]>)
    found(
      'rejection',
      `${ask.name} of tenant ${ask.tenant} was rejected at version ${'version' in said ? said.version : '?'}, where no decision ends`,
    )
  tidy(run, verdicts, late, found)
  for (const { tenant, green: other } of lines.values()) {
    tenant.close()
    other?.close()
  }
  return { problems, accepted: places.size, refused, verdicts }
}

/** What clients were told stands in the log, and what they were told was not written does not. */
function told(
  run: Run,
  places: ReadonlyMap<string, Place>,
  lines: ReadonlyMap<string, Line>,
  found: (check: Problem['check'], message: string) => void,
): void {
  const attempts = new Map<string, number>()
  for (const { ask } of run.answered)
    if (ask.id !== undefined) attempts.set(key(ask.tenant, ask.id), (attempts.get(key(ask.tenant, ask.id)) ?? 0) + 1)
  const last = new Map<Answered['ask'], Answered>()
  for (const each of run.answered) last.set(each.ask, each)
  for (const { ask, node, said, told: before } of run.answered) {
    const { id, tenant, name } = ask
    const who = `${id ?? name} of tenant ${tenant}, asked of ${node}`
    if ('status' in said) {
      const { status, version, answer, duplicate } = said
      const place = id === undefined ? lines.get(tenant)?.byVersion.get(version) : places.get(key(tenant, id))
      if (id === undefined && status === 'rejected') {
        // It needs no record where the replica can look at the log's end: then nothing newer was there.
        if (version < before)
          found('rejection', `${who}: rejected at version ${version}, though version ${before} had been acknowledged before`)
      } else if (!place) {
        if (id !== undefined || JSON.parse(answer).events?.length > 0)
          found('acknowledged', `${who}: was ${status} at version ${version}, and is not in the log`)
      } else if (place.answer !== answer)
        found('acknowledged', `${who}: was told ${answer}${duplicate ? ' again' : ''}, but the log says ${place.answer}`)
      else if (place.version !== version) found('acknowledged', `${who}: was told version ${version}, but it stands at ${place.version}`)
    } else if (
      'error' in said &&
      id !== undefined &&
      attempts.get(key(tenant, id)) === 1 &&
      !DOUBTFUL.has(said.error) &&
      places.has(key(tenant, id))
    )
      found(
        'nothing-written',
        `${who}: was told ${said.error} (${said.message}), and it is in the log at position ${places.get(key(tenant, id))!.position}`,
      )
  }
  // Where nothing goes wrong everybody is answered, if not to his liking.
  if (run.plan.misfortunes.length === 0)
    for (const { ask, said } of run.answered)
      if ('silence' in said) found('progress', `${ask.id ?? ask.name} of tenant ${ask.tenant} was not answered, though nothing went wrong`)
  for (const [{ id, tenant, repeat, name }, { said }] of last) {
    if (!repeat || 'status' in said) continue
    if ('error' in said && isExcused(said.error, run)) continue
    found(
      'progress',
      `${id ?? name} of tenant ${tenant} never came to an end: ${'error' in said ? `${said.error}: ${said.message}` : 'nothing was heard'}`,
    )
  }
}

/** Errors that say that nobody knows. */
const DOUBTFUL: ReadonlySet<string> = new Set(['outcome-unknown', 'aborted'])

/** Ends that an operator has brought about. */
function isExcused(error: string, { plan: { operations } }: Run): boolean {
  const did = (what: string) => operations.some(each => each.do === what)
  if (error === 'expired') return did('forget')
  return did('seal') && (error === 'log-sealed' || error === 'outcome-unknown' || error === 'timeout')
}

/** Whoever reads sees whole states of the log, and what had been acknowledged if he asked for that. */
function looked(run: Run, lines: ReadonlyMap<string, Line>, found: (check: Problem['check'], message: string) => void): void {
  for (const { node, tenant, read, told: before, version, rows } of run.looked) {
    const where = `${node} at version ${version} of tenant ${tenant}`
    if (read !== 'local' && version < before)
      found(read, `${where}: a ${read} read does not see version ${before}, which had been acknowledged before it began`)
    const line = lines.get(tenant)
    if (!line) continue
    const expected = rowsSeen(run, line, node).get(version)
    if (expected === undefined) found('rows', `${where}: no record ends there`)
    else if (expected !== rows) found('rows', `${where}: read ${rows}, and not ${expected}`)
  }
}

/**
 * A log that keeps rivals out holds nothing of theirs. Where all write on a condition nothing that was refused is ever recorded; where leaders are
 * fenced nothing of a reign stands behind the claim that ended it.
 */
function tidy(
  { plan }: Run,
  verdicts: readonly Judged[],
  late: readonly Judged[],
  found: (check: Problem['check'], message: string) => void,
): void {
  if (plan.log.kind !== 'kafka' || plan.log.fencing === 'term' || plan.operations.some(each => each.do === 'alien')) return
  const [{ strategy }] = plan.nodes as [Plan['nodes'][number]]
  if (plan.nodes.some(each => each.strategy !== strategy)) return
  if (strategy === 'optimistic') {
    // An id that was made here, by a clock that was set back, is not compared with what may be forgotten; those beside it that saw it fall with it.
    const expired = new Set(verdicts.flatMap(({ position, verdict }) => (verdict === 'expired' ? [position] : [])))
    for (const { id, position, verdict } of verdicts)
      if (verdict !== 'accepted' && !expired.has(position))
        found('tidy-log', `a decision that was refused (${id}, ${verdict}) stands in the log at position ${position}`)
  }
  // A new producer id, as near the end of its epochs, knows nothing of the old one. A release ends a reign without a claim.
  if (strategy !== 'leader' || plan.log.firstEpoch > 0 || plan.operations.length > 0) return
  for (const { id, position } of late)
    found('tidy-log', `a decision of a reign that was over (${id}) stands in the log at position ${position}`)
}

/** As a replica has them: those of its release. */
function rowsSeen({ plan: { nodes } }: Run, { green, rows, greenRows }: Line, node: string): ReadonlyMap<number, string> {
  const number = Number(/\d+$/.exec(node)![0]) - 1
  return green && nodes[number]?.release === GREEN ? greenRows : rows
}

export function* stored(run: Run): Iterable<Stored> {
  if (run.log.kind === 'file') {
    yield* run.log.entries
    return
  }
  for (const { from, bytes, aborted } of run.log.chunks)
    for (const record of decodeBatches(Buffer.from(bytes), { from, aborted, committed: true }).records) yield storedOf(record)
}

/** Rejections of commands without an id of the client's, by tenant and version: those may stand in no log. */
function freshRejections({ answered }: Run): Map<string, Answered[]> {
  const all = new Map<string, Answered[]>()
  for (const each of answered) {
    const { ask, said } = each
    if (ask.id !== undefined || !('status' in said) || said.status !== 'rejected') continue
    const at = key(ask.tenant, `${said.version}`)
    all.set(at, [...(all.get(at) ?? []), each])
  }
  return all
}

/** The command behind an id that a replica made. */
const freshly = (run: Run, hash: string) =>
  run.answered.find(({ ask }) => ask.id === undefined && inputHash(ask.name, ask.input) === hash)?.ask

/** What a command comes to, undefined if the app's code fails. */
function attempted(app: App, ask: Ask, store: Store, time: number): string | undefined {
  try {
    return answerOf(decide(app, prepare(app, ask.name, ask.input), store.read, time))
  } catch {
    return undefined
  }
}

const key = (tenant: string, id: string): string => `${tenant} ${id}`

const rowsOf = (store: Store, dump: string): string => (store as Store<Reader>).queries.all<{ rows: string }>(dump)[0]!.rows

function answerOf({
  events,
  result,
  rejection,
}: Pick<Decision, 'events'> & { result?: unknown; rejection?: Decision['rejection'] | undefined }): string {
  if (rejection) return JSON.stringify({ code: rejection.code, details: rejection.details })
  return JSON.stringify({ events: events.map(({ type, data }) => [type, data]), result })
}
