/**
 * What tests feed an app with, as users declare it. No word of fast-check in here: declarations that do not name it serve those who
 * have not installed it.
 */

/** The time of events and commands that name none: a fixed one, so that a test never depends on the day it runs. */
export const defaultNow = new Date('2026-01-01T12:00:00Z')

/** What is asked here of an `Arbitrary<T>` of fast-check. */
export interface Arbitrary<T> {
  generate(random: any, bias: number | undefined): { readonly value: T }
}

/**
 * An arbitrary for the input of each command that is to be generated. Let few ids exist, so that commands get into each other's way:
 * three accounts, not a hundred.
 */
export type Commands<CI> = { readonly [K in keyof CI]?: Arbitrary<CI[K]> }
