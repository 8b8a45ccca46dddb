/** A part of the torture: what it is given, and what it owes. Each part is a file beside this one. */

export const parts: Readonly<Record<string, () => Promise<Part>>> = {
  file: () => import('./file.ts'),
  simulation: () => import('./simulation.ts'),
  kafka: () => import('./kafka.ts'),
}

/** What a round came to, once all its checks held. */
export interface Counts {
  readonly accepted: number
  readonly rejected: number
  /** Where it was many rounds, checked together. Default: 1. */
  readonly rounds?: number
}

export interface Report {
  /**
   * A round: `work` asks the product for something, hurts it and checks what is left, and throws where something is wrong: that is kept, with
   * all that the error says, and the torture goes on. What `work` leaves to be cleaned up (test/support/end.ts) is, once it has ended.
   * @param kind of fault, for the summary. @param seed which gives the round its course
   */
  round(kind: string, seed: number, work: () => Promise<Counts>): Promise<void>
}

export interface Part {
  /** Rounds until the time is over: none begins after `until` (ms since the epoch). They follow from `seed`. */
  run(around: { readonly until: number; readonly seed: number; readonly report: Report }): Promise<void>
}

/** What is said of a round, with the seed that gives it its course. */
export type Said = { readonly kind: string; readonly seed: number } & (
  | { readonly what: 'begun' }
  | ({ readonly what: 'held' } & Required<Counts>)
  | { readonly what: 'found'; readonly error: string }
)
