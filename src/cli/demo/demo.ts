/** What a demo consists of: an app, many callers who want the same things, and a rule that can be checked in plain SQL. */
import type { App } from '../../app.ts'

export interface Call {
  readonly command: string
  readonly input: unknown
}

export interface Demo {
  readonly app: App
  /** One sentence: who wants what. */
  readonly story: string
  /** Rows of this SELECT break the rule. */
  readonly invariant: { readonly name: string; readonly sql: string }
  /** Comes before the load. */
  readonly setUp: readonly Call[]
  /** @param random from 0 to 1 */
  call(random: () => number): Call
}

export const pick = <T>(random: () => number, things: readonly T[]): T => things[Math.floor(random() * things.length)]!

export const numbered = (name: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${name}${index + 1}`)
