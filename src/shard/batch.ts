/**
 * One batch: decides the commands that wait for a tenant, one after the other in its open transaction, and projects their events, so that each
 * sees those before it. Nothing is answered or written here.
 */
import type { App } from '../app.ts'
import { type Decided, decide } from '../decide.ts'
import { EngineError } from '../errors.ts'
import { uuidv7Time } from '../ids.ts'
import type { Tenant } from '../projection.ts'
import { type Decision, encodeDecision } from '../record.ts'
import { asEngineError, expired } from './failures.ts'
import type { Reply, Request } from './protocol.ts'

interface Options {
  readonly app: App
  readonly freshHead: boolean
  readonly maxRecordBytes: number
}

interface Moment {
  /** Monotonic, ms: for deadlines. */
  readonly now: number
  /** Wall clock, ms: what `decide` sees. */
  readonly time: number
  readonly forgetBefore: number
}

export interface Batch {
  /** What goes into the record: requests, their decisions, and those as JSON. */
  readonly requests: Request[]
  readonly decisions: Decision[]
  readonly parts: string[]
  /** Needs no record if the speculation holds. */
  readonly quiet: { request: Request; reply: Reply }[]
  /** For a later batch. */
  readonly rest: Request[]
  /** To be answered whatever becomes of the batch. */
  readonly answered: { request: Request; reply: Reply }[]
  readonly late: Request[]
  /** A projection threw, and has left half its rows: all must be rolled back. */
  readonly failed: { request: Request; error: unknown } | undefined
}

/** A record without its decisions takes no more bytes, generously. */
const ENVELOPE = 1_024

/** @param limit of decisions */
export function decideBatch(queue: readonly Request[], tenant: Tenant, limit: number, moment: Moment, options: Options): Batch {
  const { app, freshHead, maxRecordBytes } = options
  const { store } = tenant
  const answered: { request: Request; reply: Reply }[] = []
  const late: Request[] = []
  const requests: Request[] = []
  const decisions: Decision[] = []
  const parts: string[] = []
  const quiet: { request: Request; reply: Reply }[] = []
  const rest: Request[] = []
  const ids = new Set<string>()
  const now = moment.time
  let bytes = ENVELOPE
  let counted = false
  let { version } = tenant.state
  let failed: { request: Request; error: unknown } | undefined
  let full = false
  for (const request of queue) {
    if (request.done) continue
    if (request.deadline <= moment.now) {
      late.push(request)
      continue
    }
    if (full || decisions.length >= limit) {
      full = true
      rest.push(request)
      continue
    }
    if (!request.fresh) {
      // Accepted ones are answered from the id table; a double within the batch waits until the first one stands there.
      const entry = store.known(request.id)
      if (entry) {
        answered.push({ request, reply: { kind: 'known', entry } })
        continue
      }
      if (ids.has(request.id)) {
        rest.push(request)
        continue
      }
      ids.add(request.id)
      const made = uuidv7Time(request.id)
      if (made !== undefined && made < moment.forgetBefore) {
        answered.push({ request, reply: { kind: 'failed', error: expired(request.id) } })
        continue
      }
    }
    let decided: Decided
    try {
      decided = decide(app, request.prepared, store.read, now)
    } catch (error) {
      quiet.push({ request, reply: { kind: 'failed', error: asEngineError(error, 'decide-failed', request) } })
      continue
    }
    if (decided.rejection && request.fresh && freshHead) {
      quiet.push({ request, reply: { kind: 'rejected', decided, version } })
      continue
    }
    const { id, command, hash, meta } = request
    const { reads, writes } = request.prepared
    const { events, result, rejection } = decided
    const decision: Decision =
      result === undefined && rejection === undefined && meta === undefined
        ? { id, command, hash, reads, writes, events }
        : {
            id,
            command,
            hash,
            reads,
            writes,
            events,
            ...(result === undefined ? {} : { result }),
            ...(rejection === undefined ? {} : { rejection }),
            ...(meta === undefined ? {} : { meta }),
          }
    const part = encodeDecision(decision)
    // No UTF-16 unit takes more than three bytes. They are counted, which costs much, only where they may be too many.
    let size = counted ? Buffer.byteLength(part) + 1 : part.length * 3 + 1
    if (!counted && bytes + size > maxRecordBytes) {
      counted = true
      bytes = parts.reduce((sum, each) => sum + Buffer.byteLength(each) + 1, ENVELOPE)
      size = Buffer.byteLength(part) + 1
    }
    if (bytes + size > maxRecordBytes) {
      if (ENVELOPE + size > maxRecordBytes) {
        const message = `the decision of ${request.command} takes ${size} bytes; a record holds at most ${maxRecordBytes}. Split the command, or keep large data elsewhere`
        quiet.push({ request, reply: { kind: 'failed', error: new EngineError('record-too-large', message, { id: request.id }) } })
      } else {
        full = true
        rest.push(request)
      }
      continue
    }
    try {
      for (const event of decided.events) tenant.project(event, ++version, now)
    } catch (error) {
      failed = { request, error }
      break
    }
    bytes += size
    requests.push(request)
    decisions.push(decision)
    parts.push(part)
  }
  return { requests, decisions, parts, quiet, rest, failed, answered, late }
}
