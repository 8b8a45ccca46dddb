/** Where snapshots come from, and how their bytes are taken: what is not what its checksum is of never gets a name. */
import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import type { DatabasePart, Snapshot } from '../snapshot.ts'

/** Of which it is known what is wrong, or what is in it. */
export type Offer = { readonly name: string } & (
  | { readonly problem: string }
  | {
      readonly snapshot: Snapshot
      /**
       * Writes a database to a path, or what is one to those who hold it. To be called for each of them, in order.
       * @throws Error if it is not what the snapshot says
       */
      bring(part: DatabasePart, to: string, signal: AbortSignal): Promise<void>
    }
)

export interface Source {
  /** For people. */
  readonly description: string
  /** The newest first. @throws Error if it cannot be asked */
  offers(signal: AbortSignal): AsyncIterable<Offer>
}

/** Writes a file and compares what was written with what it should be. @throws Error */
export async function pour(
  from: AsyncIterable<Buffer>,
  to: string,
  { tenant, bytes, sha256 }: DatabasePart,
  signal?: AbortSignal,
): Promise<void> {
  const hash = createHash('sha256')
  let size = 0
  await pipeline(
    from,
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        size += chunk.length
        hash.update(chunk)
        yield chunk
      }
    },
    createWriteStream(to),
    signal ? { signal } : {},
  )
  if (size !== bytes) throw new Error(`the database of tenant ${tenant} is torn: it has ${size} bytes instead of ${bytes}`)
  if (hash.digest('hex') !== sha256) throw new Error(`the database of tenant ${tenant} is damaged: it is not what its checksum is of`)
}
