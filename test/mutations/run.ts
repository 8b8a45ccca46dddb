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

/** Seeds from the first to the last one, of the worlds that are meant for the mutation of this name. */
export type Runs = readonly (readonly [name: string, first: number, last: number])[]

/** The worlds in which mutations were caught. */
export const control = (caught: Catches): Runs => Object.entries(caught).map(([name, { seed }]) => [name, seed, seed])

/** What was found, and where. */
export interface Found extends Catch {
  readonly name: string
  readonly message: string
}

/**
 * Simulates one seed after another until a check fails.
 * @param planted the mutation, '' for none
 * @returns undefined if nothing was found. @throws Error if the process ends otherwise
 */
export async function hunt(planted: string, runs: Runs): Promise<Found | undefined> {
  const child = join(import.meta.dirname, 'child.ts')
  const args = ['--disable-warning=ExperimentalWarning', '--conditions=source', child, planted, JSON.stringify(runs)]
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, maxBuffer: 1 << 24 })
  const found = JSON.parse(stdout.trim().split('\n').at(-1)!) as Partial<Found>
  return found.seed === undefined ? undefined : (found as Found)
}
