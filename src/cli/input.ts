/** What comes in as text: JSON from an argument, a file or stdin; durations; moments. */
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { whenOf } from '../replica/past.ts'
import { CliError } from './failure.ts'

/** JSON from `argument`, from a file (`@file`) or from stdin (`-`); undefined without an argument. */
export async function readJson(argument: string | undefined): Promise<unknown> {
  if (argument === undefined) return undefined
  const where = argument === '-' ? 'stdin' : argument.startsWith('@') ? argument.slice(1) : undefined
  const source = argument === '-' ? await text(process.stdin) : where === undefined ? argument : readFileSync(where, 'utf8')
  try {
    return JSON.parse(source)
  } catch (cause) {
    const why = (cause as Error).message.replace(/ in JSON at .*/, '')
    const hint = where === undefined ? `. Quote it for your shell: '{"name":"value"}', or give @FILE, or - for stdin` : ''
    throw new CliError('usage', `the input ${where === undefined ? '' : `in ${where} `}is not JSON: ${why}${hint}`, cause)
  }
}

const units: { readonly [unit: string]: number } = { ms: 1, s: 1_000, m: 60_000, min: 60_000, h: 3_600_000 }

/** '500ms', '10s', '2m', '1h'; a bare number is milliseconds. */
export function readDuration(value: string | number, what: string): number {
  const [, digits, unit = 'ms'] = /^(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?$/.exec(String(value)) ?? []
  const duration = Number(digits) * units[unit]!
  if (digits === undefined || !(duration > 0))
    throw new CliError('usage', `${what} is a time such as 500ms, 10s or 2m, not ${JSON.stringify(value)}`)
  return duration
}

export function readWhole(value: string, what: string, least: number): number {
  const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN
  if (!(number >= least)) throw new CliError('usage', `${what} is a whole number from ${least}, not ${JSON.stringify(value)}`)
  return number
}

/** A version (digits alone) or a moment. */
export function readWhen(value: string): number | Date {
  const when = whenOf(value)
  if (when !== undefined) return when
  throw new CliError(
    'usage',
    `${JSON.stringify(value)} is neither a version (a whole number) nor a time, such as 2026-03-01 or 2026-03-01T12:00:00Z`,
  )
}
