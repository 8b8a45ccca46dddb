/** What an examination of a log found, of whatever kind the log is. */

/**
 * `unsafe`: a promise would be broken; nothing runs on it unless somebody accepts it by name. `risk`: it may cost something some day.
 * `unknown`: it could not be looked at. `ok`: nothing to say but what is so.
 */
export type Level = 'unsafe' | 'risk' | 'unknown' | 'ok'

export interface Finding<Name extends string = string> {
  /** Stable: by it a user accepts what was found. */
  readonly name: Name
  readonly level: Level
  /** What is so. */
  readonly cause: string
  /** What may come of it; empty where nothing does. */
  readonly risk: string
  /** What to do, the command where there is one. */
  readonly mend: string
}

/** What a check came to: a text where all is well, undefined where the question does not arise. */
export type Looked = Omit<Finding, 'name'> | string | undefined

const trouble =
  (level: Level) =>
  (cause: string, risk: string, mend: string): Looked => ({ level, cause, risk, mend })

export const unsafe = trouble('unsafe')
export const risky = trouble('risk')
export const unknown = trouble('unknown')

/** Runs every check; each is called by its name. */
export function runChecks<Name extends string, Facts>(
  checks: { readonly [Key in Name]: (facts: Facts) => Looked },
  facts: Facts,
): Finding<Name>[] {
  const findings: Finding<Name>[] = []
  for (const name in checks) {
    const looked = checks[name](facts)
    if (looked === undefined) continue
    findings.push(typeof looked === 'string' ? { name, level: 'ok', cause: looked, risk: '', mend: '' } : { name, ...looked })
  }
  return findings
}

// --- Words for findings ----------------------------------------------------------------------------------------------------------

export const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`

/** The first ten of them. */
export const list = (numbers: readonly number[]): string =>
  numbers.length > 10 ? `${numbers.slice(0, 10).join(', ')} and ${numbers.length - 10} more` : numbers.join(', ')

export const partitionList = (partitions: readonly { readonly index: number }[]): string =>
  `partition${partitions.length === 1 ? '' : 's'} ${list(partitions.map(({ index }) => index))}`
