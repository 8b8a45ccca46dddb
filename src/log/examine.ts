/** Examines a log of whatever kind: what is unsafe, what is a risk, what could not be looked at, and what is well. Changes nothing. */
import { EngineError } from '../errors.ts'
import type { Position } from '../log.ts'
import type { Finding } from './finding.ts'
import { isKafka, logPath } from './open.ts'

export interface ExamineOptions {
  /** Read every record of it, too. */
  readonly scan: boolean
  readonly onProgress: (position: Position, head: Position) => void
  readonly signal: AbortSignal
}

/** @throws EngineError invalid-option, log-unusable, log-unreachable, log-denied */
export async function examineLog(setting: string, options: ExamineOptions): Promise<Finding[]> {
  if (isKafka(setting)) return (await import('./kafka/doctor.ts')).examineTopic(setting, options)
  const path = logPath(setting)
  if (path !== undefined) return (await import('./file-checks.ts')).examineFile(path, options)
  throw new EngineError(
    'invalid-option',
    `${JSON.stringify(setting)} is no log that can be examined: file:PATH, or kafka://HOST:PORT/TOPIC`,
  )
}
