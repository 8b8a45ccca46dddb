/** Snapshots in a folder: which there are, and their files. */
import { createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeSnapshot, fileOf, type Snapshot } from '../snapshot.ts'
import { type Offer, pour, type Source } from './source.ts'

export const MANIFEST = 'snapshot.json'

export interface Found {
  readonly name: string
  readonly path: string
  readonly snapshot?: Snapshot
  /** Why it cannot be understood. */
  readonly problem?: string
}

/** All that have a name; whatever else is in the folder is passed over. @throws an error of the file system, if it cannot be read */
export function readSnapshots(folder: string): Found[] {
  const found: Found[] = []
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    if (name.startsWith('.') || !existsSync(join(path, MANIFEST))) continue
    try {
      found.push({ name, path, snapshot: decodeSnapshot(readFileSync(join(path, MANIFEST), 'utf8')) })
    } catch (error) {
      found.push({ name, path, problem: (error as Error).message })
    }
  }
  return found
}

export class Folder implements Source {
  readonly description: string
  readonly #path: string

  constructor(path: string) {
    this.description = path
    this.#path = path
  }

  async *offers(): AsyncIterable<Offer> {
    const made = ({ snapshot }: Found) => snapshot?.made ?? Infinity
    for (const { name, path, snapshot, problem } of readSnapshots(this.#path).sort((a, b) => made(b) - made(a))) {
      if (snapshot) {
        yield {
          name,
          snapshot,
          bring: (part, to, signal) => pour(createReadStream(join(path, fileOf(part.tenant))), to, part, signal),
        }
      } else yield { name, problem: problem! }
    }
  }
}
