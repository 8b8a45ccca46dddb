/**
 * The handles that the app's own code gets: types only, shared by the app's types and the databases that make them.
 * Both are synchronous; a statement is prepared once per SQL text.
 */

/** What a parameter may be and a column may hold. Integers beyond 2^53 come back as an error, not as a wrong number. */
export type Sql = string | number | bigint | null | Uint8Array

/** What `decide` and queries read with. There is no way to write. */
export interface Reader {
  /** The first row, or undefined when there is none. `R` is what you say the row looks like; nothing checks it. */
  get<R = Record<string, Sql>>(sql: string, ...params: Sql[]): R | undefined
  /** All rows. */
  all<R = Record<string, Sql>>(sql: string, ...params: Sql[]): R[]
  /** Rows one at a time, for results too large to hold. Valid until the function it was given to returns. */
  each<R = Record<string, Sql>>(sql: string, ...params: Sql[]): Iterable<R>
}

/** What projections write with. */
export interface Writer extends Reader {
  run(sql: string, ...params: Sql[]): void
}
