/** The errors that a shard answers with, in words. */
import { EngineError } from '../errors.ts'
import type { Read, Request } from './protocol.ts'

/** Codes that leave open whether the command was written. */
export const speaksOfDoubt: ReadonlySet<string> = new Set(['outcome-unknown', 'aborted'])

export function notReady(read: Read, cause?: EngineError): EngineError {
  const what =
    typeof read.level === 'object'
      ? `version ${read.level.version} of tenant ${read.tenant}`
      : `the head of the log for tenant ${read.tenant}`
  const why = cause ? `: ${cause.message}` : ''
  return new EngineError('not-ready', `the replica did not reach ${what} before the deadline${why}`, { cause })
}

export function expired(id: string): EngineError {
  return new EngineError(
    'expired',
    'the command id is older than what this log still remembers; nothing was written. Use a new id if it never ran',
    { id },
  )
}

export function unknownOutcome(request: Request, cause?: EngineError): EngineError {
  const why = cause
    ? `the command may have been written, and its answer cannot be had now: ${cause.message}`
    : 'no answer came in time, and the command may have been written'
  return new EngineError('outcome-unknown', `${why}. Ask again under the same id`, {
    id: request.id,
    ...(cause ? { cause } : {}),
  })
}

export function asEngineError(
  error: unknown,
  code: 'decide-failed' | 'projection-failed' | 'halted' | 'data-unusable',
  request?: Request,
): EngineError {
  const extras = { ...(request ? { id: request.id } : {}), cause: error }
  if (error instanceof EngineError) {
    return request && error.id !== request.id ? new EngineError(error.code, error.message, { ...extras, details: error.details }) : error
  }
  const message = error instanceof Error ? error.message : String(error)
  return new EngineError(code, request ? `${request.command}: ${message}` : message, extras)
}

/** To whoever passed a command on: he looks for another one himself. */
export const passedBack = (request: Request, active: string): EngineError =>
  new EngineError('not-leader', `release ${active} is the active one, and this replica is of another; nothing was written`, {
    id: request.id,
  })

export const superseded = (active: string, own: string): EngineError =>
  new EngineError(
    'not-ready',
    `release ${active} is the active one of this log; this replica runs ${own}, writes nothing, and has found nobody to pass the command on to. Ask a replica of the active release, or make this one active with \`mainstem rollout switch\``,
  )
