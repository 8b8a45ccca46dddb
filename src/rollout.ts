/**
 * Roll-outs: what two releases are compared by, whether there is a way back, and the record that makes one of them the active one. It stands in
 * each shard; so a switch that was cut off goes on where it stopped when it is made again.
 */
import { randomUUID } from 'node:crypto'
import { control, type ShardState } from './accept.ts'
import { type App, definitionOf } from './app.ts'
import { canonical } from './canonical.ts'
import { machine, nap } from './clock.ts'
import { EngineError } from './errors.ts'
import type { Log, Position } from './log.ts'
import { type ControlRecord, decode, encodeControl } from './record.ts'

/** What a replica says of itself to whoever rolls a release out. */
export interface Account {
  readonly release: string
  /** The event types of its app, each with the newest schema version. */
  readonly knows: { readonly [type: string]: number }
  /** Those that stand in the log. */
  readonly holds: { readonly [type: string]: number }
  /** The queries that its app is compared by. */
  readonly compares: readonly string[]
  readonly tenants: readonly string[]
  readonly shards: readonly Stand[]
}

/** How far a shard was read, and what its control records came to there. */
export interface Stand {
  readonly cursor: Position
  readonly state: ShardState
}

/** What a replica answers at one version of a tenant. */
export interface Sample {
  readonly tenant: string
  readonly version: number
  readonly digest: string
  readonly answers: readonly { readonly query: string; readonly input: unknown; readonly answer: string }[]
}

/** @param answer of a query. One that fails has its error for an answer. */
export function sampleOf(
  app: App,
  tenant: string,
  { version, digest }: { readonly version: number; readonly digest: string },
  answer: (query: { readonly query: string; readonly input: unknown }) => unknown,
): Sample {
  const answers = definitionOf(app).compare.map(({ query, input }) => {
    try {
      return { query, input, answer: canonical(answer({ query, input })) ?? 'null' }
    } catch (error) {
      return { query, input, answer: `error: ${(error as Error).message}` }
    }
  })
  return { tenant, version, digest, answers }
}

export interface Difference {
  readonly tenant: string
  readonly version: number
  /** The query and its input, or 'history digest'. */
  readonly what: string
  readonly blue: string
  readonly green: string
}

/** Where two samples of one version differ. A query that only one of the two is compared by tells nothing. */
export function differences(blue: Sample, green: Sample): Difference[] {
  const { tenant, version } = blue
  const found: Difference[] = []
  if (blue.digest !== green.digest) found.push({ tenant, version, what: 'history digest', blue: blue.digest, green: green.digest })
  const key = ({ query, input }: Sample['answers'][number]) => `${query}${input === undefined ? '' : ` ${JSON.stringify(input)}`}`
  const greens = new Map(green.answers.map(each => [key(each), each.answer]))
  for (const each of blue.answers) {
    const other = greens.get(key(each))
    if (other !== undefined && other !== each.answer)
      found.push({ tenant, version, what: `query ${key(each)}`, blue: each.answer, green: other })
  }
  return found
}

/** Events that a release cannot read: their types, with the schema version where only that is too new. */
export function unknownTo(knows: Account['knows'], events: Account['knows']): string[] {
  return Object.entries(events)
    .filter(([type, schema]) => schema > (knows[type] ?? 0))
    .map(([type, schema]) => (knows[type] === undefined ? type : `${type} of schema version ${schema}`))
}

/** The release that is meant by all of its text, its beginning, or the name behind its revision. @throws EngineError invalid-option */
export function releaseMeant(text: string, releases: readonly string[]): string {
  const exact = releases.filter(release => release === text || release.slice(release.indexOf('+') + 1) === text)
  const found = exact.length > 0 ? exact : releases.filter(release => release.startsWith(text))
  if (found.length === 1) return found[0]!
  const list = releases.length === 0 ? 'no replica runs' : `there are ${releases.join(', ')}`
  throw new EngineError(
    'invalid-option',
    found.length === 0
      ? `no replica of a release ${JSON.stringify(text)} runs; ${list}`
      : `${JSON.stringify(text)} may be ${found.join(' or ')}`,
  )
}

/** Between two looks at a log that does not show its beginning yet, ms. */
const AGAIN = 50

export interface Switched {
  /** The active one before. */
  readonly from: string | null
  /** Where the record stands; undefined if this release was the active one already. */
  readonly position: Position | undefined
}

/**
 * Makes a release the active one of a shard, whichever that is now.
 * @param stand from where on the shard is read
 * @throws EngineError log-sealed, log-denied, log-failed, aborted
 */
export async function switchShard(log: Log, stand: Stand, release: string, now: () => number, signal: AbortSignal): Promise<Switched> {
  let { cursor, state } = stand
  let mine: { readonly value: string; readonly from: string | null } | undefined
  let position: Position | undefined
  const readTo = async (end: Position) => {
    while (cursor < end) {
      signal.throwIfAborted()
      // Where the log's own word on its end is no evidence, what stands in front of that may take a moment to be shown.
      const chunk = await log.read(cursor, { tenant: null, ...(log.freshHead ? {} : { wait: true }), signal })
      for (const stored of chunk.records) {
        const record = stored.tenant === null ? decode(stored.value) : undefined
        if (!record || record.kind === 'foreign' || record.kind === 'data') continue
        const next = control(state, record)
        if (typeof next === 'string') continue
        state = next
        if (stored.value === mine?.value) position = stored.position
      }
      if (chunk.reached === cursor && log.freshHead) return
      cursor = chunk.reached
    }
  }
  const append = async (record: ControlRecord) => {
    const value = encodeControl(record)
    const barrier = record.kind === 'barrier'
    const [answer] = await log.append([{ value, tenant: null, time: record.time, kinds: [record.kind], barrier }], { signal })
    signal.throwIfAborted()
    if (answer?.status === 'not-written' || answer?.status === 'unknown') {
      const { cause, fatal } = answer
      if (cause instanceof EngineError && (fatal || cause.code === 'log-denied')) throw cause
    }
    return answer?.status === 'written' ? answer.position : undefined
  }
  /** Reads all that was there when it was called. A log whose own word on its end is no evidence is asked by a barrier. */
  const readAll = async () => {
    if (log.freshHead) return readTo(await log.head())
    // To write one takes the log's id.
    while (state.log === null) {
      signal.throwIfAborted()
      await readTo(await log.head())
      if (state.log === null) await nap(machine, AGAIN, signal)
    }
    let end: Position | undefined
    while (end === undefined) {
      signal.throwIfAborted()
      end = await append({ kind: 'barrier', log: state.log, time: now(), nonce: randomUUID() })
    }
    await readTo(end)
  }
  for (;;) {
    await readAll()
    if (state.release === release) return position === undefined ? { from: release, position } : { from: mine!.from, position }
    if (state.sealed) throw new EngineError('log-sealed', `${log.description} was sealed: it goes on in its copy`)
    const record = { kind: 'release', log: state.log!, time: now(), release, replaces: state.release } as const
    mine = { value: encodeControl(record), from: state.release }
    // Of an answer that was lost the log tells, and a second one does no harm: it replaces what is no longer active.
    await append(record)
  }
}
