/** What went wrong, for people and for programs, and the exit status that says so. */
import { type ErrorCode, errorKinds, isEngineError, type Retry } from '../errors.ts'
import { paintErrors } from './output.ts'

/** Codes of the command line itself, beside those of the engine: wrong arguments, files that cannot be read or written, roll-outs that had better not go on. */
export type CliCode = 'usage' | 'file' | 'rollout'

export class CliError extends Error {
  override readonly name = 'CliError'
  readonly code: CliCode

  constructor(code: CliCode, message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

export interface Failure {
  readonly code: ErrorCode | CliCode
  readonly exit: number
  readonly message: string
  readonly retry: Retry
  /** The command id to repeat the call with. */
  readonly id?: string
  readonly details?: unknown
}

export const REJECTED = 3
export const DIVERGED = 6
export const INTERRUPTED = 130

/** Any value that was thrown. An EngineError may come from another copy of this package: the one that the app imports. */
export function failureOf(error: unknown): Failure {
  if (isEngineError(error)) {
    const { code, message, id, details } = error
    const { exit, retry } = errorKinds[code]
    return { code, exit, message, retry, ...(id === undefined ? {} : { id }), ...(details === undefined ? {} : { details }) }
  }
  if (error instanceof CliError) return { code: error.code, exit: error.code === 'usage' ? 2 : 1, message: error.message, retry: 'no' }
  const { code, path } = error as NodeJS.ErrnoException
  const message = error instanceof Error ? error.message : String(error)
  if (typeof code === 'string' && typeof path === 'string')
    return { code: 'file', exit: 1, message: explain(code, path, message), retry: 'no' }
  if (code === 'ERR_SQLITE_ERROR') return { code: 'file', exit: 1, message: `SQLite says: ${message}`, retry: 'no' }
  return { code: 'internal', exit: 1, message, retry: 'unknown' }
}

function explain(code: string, path: string, message: string): string {
  if (code === 'ENOENT') return `there is no file or folder ${path}`
  if (code === 'EACCES' || code === 'EPERM') return `${path}: this user may not read or write it`
  if (code === 'EISDIR') return `${path} is a folder`
  if (code === 'EEXIST') return `${path} exists already`
  if (code === 'ENOSPC') return `${path}: the disk is full`
  return message
}

/** One JSON object, or a message with what to do next. */
export function showFailure(failure: Failure, json: boolean, debug: unknown): string {
  const { code, message, retry, id, details } = failure
  if (json)
    return `${JSON.stringify({ error: { code, message, retry, ...(id === undefined ? {} : { id }), ...(details === undefined ? {} : { details }) } })}\n`
  const lines = [`${paintErrors.red('error')} ${code}: ${message}`]
  if (id !== undefined && retry !== 'no') lines.push(`  To repeat it safely, give the same id: --id ${id}`)
  else if (id !== undefined) lines.push(`  id ${id}`)
  if (code === 'internal' && debug === undefined) lines.push('  MAINSTEM_DEBUG=1 shows where it happened')
  if (debug !== undefined) lines.push(stackOf(debug))
  return `${lines.join('\n')}\n`
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const own = error.stack ?? String(error)
  return error.cause === undefined ? own : `${own}\ncaused by ${stackOf(error.cause)}`
}
