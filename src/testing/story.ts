/**
 * Tells a simulation in a few lines: who asked what and what they heard, what went wrong, and what became of the decisions in the log, each
 * that lost with the one that it lost to. Pure: the same run is told in the same words.
 */
import { inspect } from 'node:util'
import { Writes } from '../accept.ts'
import { type DataRecord, type Decision, decode, inputHash } from '../record.ts'
import { type Judged, stored } from './judge.ts'
import type { DiskFault } from './world/embedded.ts'
import type { Armed } from './world/network.ts'
import type { Ask, Misfortune, Operation } from './world/plan.ts'
import type { Happening, Run, Said } from './world/run.ts'

/** So many lines, unless told otherwise. */
const LINES = 25

export interface Telling {
  /** What it is told for, a problem's message: what concerns the commands that it names is told first of all. */
  readonly about?: string
  /** How many lines at most, headings included; what is left out is counted. Default 25. */
  readonly lines?: number
}

export function storyOf(
  { run, verdicts }: { readonly run: Run; readonly verdicts: readonly Judged[] },
  { about = '', lines = LINES }: Telling = {},
): string {
  const names = new Names(run)
  const told = happened(run.happenings, names)
  const kept = entries(run, verdicts).map(entry => fate(entry, names))
  // What the log holds matters no less than what happened: each has the half, and what the other does not need.
  const room = lines - 2
  const forLog = Math.min(kept.length, Math.max(Math.floor(room / 2), room - told.length))
  return [
    `what happened, in ms (${cast(run)})`,
    ...within(told, room - forLog, about),
    ...(kept.length > 0 ? ['what the log holds, by position'] : []),
    ...within(kept, forLog, about),
  ].join('\n')
}

interface Line {
  readonly text: string
  /** The command that it is about. */
  readonly id?: string | undefined
  /** As things should be. */
  readonly plain: boolean
}

/** At most so many of the lines, in their order: those that matter most, and of these the last. */
function within(all: readonly Line[], most: number, about: string): string[] {
  const indented = (lines: readonly Line[]) => lines.map(({ text }) => `  ${text}`)
  if (all.length <= most) return indented(all)
  const weight = ({ id, plain }: Line) => (id !== undefined && about.includes(id) ? 2 : plain ? 0 : 1)
  const kept = new Set(
    all
      .toReversed()
      .sort((a, b) => weight(b) - weight(a))
      .slice(0, most - 1),
  )
  return [`  (${all.length - kept.size} more lines)`, ...indented(all.filter(line => kept.has(line)))]
}

function cast({ plan: { nodes, log } }: Run): string {
  const where = log.kind === 'file' ? 'a file' : log.brokers === 1 ? 'Kafka, 1 broker' : `Kafka, ${log.brokers} brokers`
  return `${where}; ${nodes.map(({ strategy }, number) => `replica-${number + 1} ${strategy}`).join(', ')}`
}

/** What commands are called. */
class Names {
  readonly #asks = new Map<string, Ask>()
  readonly #manyTenants: boolean

  constructor({ happenings }: Run) {
    const asks = happenings.flatMap(({ what, details }) => (what === 'asked' ? [details.ask] : []))
    for (const ask of asks) this.#asks.set(ask.id ?? inputHash(ask.name, ask.input), ask)
    this.#manyTenants = new Set(asks.map(({ tenant }) => tenant)).size > 1
  }

  ask({ id, name, input, tenant }: Ask): string {
    return this.#name(id, name, input, tenant)
  }

  decision({ id, command, hash }: Decision, tenant: string): string {
    // A replica makes the id where the client has none.
    const ask = this.#asks.get(id) ?? this.#asks.get(hash)
    return this.#name(id, command, ask?.input, tenant)
  }

  #name(id: string | undefined, command: string, input: unknown, tenant: string): string {
    const what = `${command}${input === undefined ? '' : ` ${shown(input)}`}`
    return `${id === undefined ? '' : `${id}: `}${what}${this.#manyTenants ? ` of tenant ${tenant}` : ''}`
  }
}

// --- What happened ----------------------------------------------------------------------------------------------------------------

function happened(happenings: readonly Happening[], names: Names): Line[] {
  const lines: Line[] = []
  /** Calls that were not answered yet, by their lines. */
  const open = new Map<Ask, { readonly at: number; readonly line: number }>()
  const seen = new Set<string>()
  for (const { at, who, what, details } of happenings) {
    const tell = (text: string) => lines.push({ text: `${numbered(at)}  ${text}`, plain: false })
    if (what === 'asked') {
      const { ask, attempt } = details
      const line = tell(`${who} is asked ${attempt > 1 ? 'again ' : ''}for ${names.ask(ask)}`) - 1
      open.set(ask, { at, line })
    } else if (what === 'answered') {
      const { ask, said } = details
      const { at: begun, line } = open.get(ask)!
      const text = `${lines[line]!.text}: ${heard(said)}, after ${Math.round(at - begun)}`
      lines[line] = { text, id: ask.id, plain: 'status' in said && !said.duplicate }
    } else if (what === 'met') tell(met(who, details))
    else if (what === 'wrote') tell(wrote(details))
    else {
      // That it is there in the beginning is no news.
      if (seen.has(who)) tell(`${who} is there again`)
      seen.add(who)
    }
  }
  return lines
}

function heard(said: Said): string {
  if ('silence' in said) return 'nothing was heard'
  if ('error' in said) return `${said.error}, retry ${said.retry}`
  const what = said.status === 'accepted' ? `accepted at version ${said.version}` : `rejected ${said.answer}`
  return said.duplicate ? `${what}, once more` : what
}

function met(who: string, misfortune: Misfortune | DiskFault): string {
  switch (misfortune.kind) {
    case 'crash':
      return `${who} ${misfortune.power ? 'loses its power' : 'is killed'}, for ${misfortune.downtime}`
    case 'replace':
      return `${who} is lost with its disk, and comes back after ${misfortune.downtime} with a snapshot (${misfortune.snapshot}) of replica-${misfortune.from + 1}`
    case 'pause':
      return `${who} stands still for ${misfortune.for}`
    case 'restart':
      return `${who} is closed, for ${misfortune.downtime}`
    case 'clock-jump':
      return `the clock of ${who} jumps by ${misfortune.by}`
    case 'step-down':
      return `${who} is told to lead no more`
    case 'mute':
      return `nobody hears the heartbeats of ${who}, for ${misfortune.for}`
    case 'kill-broker':
      return `${broker(misfortune.broker)} is killed, for ${misfortune.for}`
    case 'stop-broker':
      return `${broker(misfortune.broker)} stands still for ${misfortune.for}`
    case 'part': {
      const [one, other] = misfortune.brokers
      return `${broker(one)} and ${broker(other)} do not hear each other, for ${misfortune.for}`
    }
    case 'fsync-error':
      return `the disk fails under what ${who} writes`
    case 'disk-full':
      return `the disk is full for ${who}`
    case 'slow-disk':
      return `the disk takes ${misfortune.by} longer for ${who}`
    case 'lose-request':
      return `a request of ${who}${way(misfortune)} is lost`
    case 'lose-reply':
      return `the reply to a request of ${who}${way(misfortune)} is lost`
    case 'delay-request':
      return `a request of ${who}${way(misfortune)} is held up for ${Math.round(misfortune.by)}`
    case 'delay-reply':
      return `the reply to a request of ${who}${way(misfortune)} is held up for ${Math.round(misfortune.by)}`
    case 'double':
      return `a request of ${who}${way(misfortune)} comes again after ${Math.round(misfortune.by)}`
  }
}

const broker = (number: number) => (number < 0 ? 'the controller' : `broker ${number}`)

const way = ({ to, api }: Armed) => (to === 'neighbour' ? ' to its neighbour' : ` to the log${api === undefined ? '' : ` (${api})`}`)

function wrote(operation: Operation): string {
  const { at: _, do: what, ...rest } = operation
  const more = Object.keys(rest).length === 0 ? '' : ` ${shown(rest)}`
  return what === 'alien' ? `somebody else writes a record with another ${operation.change}` : `the operator writes: ${what}${more}`
}

// --- What the log holds -----------------------------------------------------------------------------------------------------------

/** A decision in the log, and what became of it. */
interface Entry {
  readonly position: number
  readonly record: DataRecord
  readonly decision: Decision
  readonly verdict: Judged['verdict']
  /** The tenant's version after its record. */
  end: number
  /** Who stood in its way. */
  readonly rival: Entry | undefined
}

function entries(run: Run, verdicts: readonly Judged[]): Entry[] {
  const values = new Map([...stored(run)].map(({ position, value }) => [position, value]))
  const versions = new Map<string, number>()
  const all: Entry[] = []
  let i = 0
  while (i < verdicts.length) {
    const { position, tenant } = verdicts[i]!
    const record = decode(values.get(position)!) as DataRecord
    const before = all.filter(entry => entry.record.tenant === tenant)
    const now: Entry[] = []
    for (const decision of record.decisions) {
      const { verdict } = verdicts[i++]!
      now.push({ position, record, decision, verdict, end: 0, rival: rivalOf(decision, verdict, record, before, now) })
    }
    const events = now.flatMap(({ verdict, decision }) => (verdict === 'accepted' ? decision.events : [])).length
    const end = (versions.get(tenant) ?? 0) + events
    versions.set(tenant, end)
    for (const entry of now) entry.end = end
    all.push(...now)
  }
  return all
}

/** The last one that a decision lost to: the same id, or what was written after its base; else what it saw and did not come true. */
function rivalOf(
  { id, reads }: Decision,
  verdict: Judged['verdict'],
  { base }: DataRecord,
  before: readonly Entry[],
  beside: readonly Entry[],
): Entry | undefined {
  if (verdict === 'duplicate') return [...before, ...beside].findLast(entry => entry.verdict === 'accepted' && entry.decision.id === id)
  if (verdict !== 'conflict') return undefined
  const meets = ({ decision }: Entry) => {
    const writes = new Writes()
    if (decision.events.length > 0) writes.add(decision)
    return writes.overlap(reads)
  }
  return before.findLast(entry => entry.verdict === 'accepted' && entry.end > base && meets(entry)) ?? beside.findLast(meets)
}

function fate({ position, record, decision, verdict, end, rival }: Entry, names: Names): Line {
  const said = decision.rejection ? `"${decision.rejection.code}" stands` : `accepted, version ${end}`
  const whom = rival && `${rival.decision.id}${rival.position === position ? ', beside it' : ` at ${rival.position}`}`
  const became =
    verdict === 'accepted'
      ? said
      : verdict === 'conflict'
        ? `decided at version ${record.base}, lost to ${whom ?? 'what was written since'}`
        : verdict === 'duplicate'
          ? `a repetition of ${whom ?? 'an earlier one'}`
          : verdict === 'deposed'
            ? `in vain: its writer did not reign, or no longer (term ${record.term.number})`
            : `in vain: ${verdict}, decided at version ${record.base}`
  const text = `${numbered(position)}  ${names.decision(decision, record.tenant)}: ${became}`
  return { text, id: decision.id, plain: verdict === 'accepted' }
}

/** As JSON has it: what makes up inputs may have no prototype, which is nobody's business. */
const shown = (value: unknown) => inspect(JSON.parse(JSON.stringify(value)), { depth: 6, breakLength: Infinity })

const numbered = (n: number) => String(Math.round(n)).padStart(5)
