/** Runs a mutation in a process of its own, for it lasts as long as the process. */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const root = join(import.meta.dirname, '../..')

/** Seeds 1 to this one: within them each mutation must be caught, and without one nothing. */
export const SEEDS = 2_000

/** What a mutation is caught by. */
export interface Catch {
  readonly seed: number
  readonly check: string
}

/** By name of the mutation. */
export interface Catches {
  readonly [name: string]: Catch
}

/** Where the catches of the last search stand. */
export const KEPT = join(import.meta.dirname, 'catches.json')

export const catches = (): Catches => (existsSync(KEPT) ? (JSON.parse(readFileSync(KEPT, 'utf8')) as Catches) : {})

/**
 * Simulates seeds with a mutation planted, one after another, until a check fails.
 * @param name '' for none
 * @param seeds as '1-2000', or '7,19,23'
 * @returns undefined if nothing was found. @throws Error if the process ends otherwise
 */
export async function hunt(name: string, seeds: string): Promise<(Catch & { readonly message: string }) | undefined> {
  const child = join(import.meta.dirname, 'child.ts')
  const args = ['--disable-warning=ExperimentalWarning', '--conditions=source', child, name, seeds]
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, maxBuffer: 1 << 24 })
  const { seed, check, message } = JSON.parse(stdout.trim().split('\n').at(-1)!) as Partial<Catch> & { message?: string }
  return seed === undefined ? undefined : { seed, check: check!, message: message! }
}
