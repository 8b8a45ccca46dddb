/**
 * What stands on a disk when the power fails: all that was synced, and of the rest whatever the disk pleases, written, not written or half
 * written, in any order. Files are made, cut and deleted at once and in order.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Traced } from './faulty-disk.ts'

type Whim = 'nothing' | 'everything' | 'anything'

/** What a file holds. */
class Content {
  #bytes: Buffer
  #size: number

  constructor(bytes: Buffer = Buffer.alloc(1 << 16), size = 0) {
    this.#bytes = bytes
    this.#size = size
  }

  do({ type, offset, data }: Traced): void {
    const end = type === 'T' ? offset : offset + data.length
    if (end > this.#bytes.length) this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(end)])
    if (type === 'T') this.#bytes.fill(0, Math.min(end, this.#size), Math.max(end, this.#size))
    else data.copy(this.#bytes, offset)
    this.#size = type === 'T' ? end : Math.max(end, this.#size)
  }

  copy(): Content {
    return new Content(Buffer.from(this.#bytes), this.#size)
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#size)
  }
}

class TracedFile {
  readonly #safe = new Content()
  #loose: Traced[] = []
  /** How much of what is loose each process that syncs at the moment will have synced. */
  readonly #syncing = new Map<number, number>()

  take(each: Traced): void {
    if (each.type === 'W' || each.type === 'T') this.#loose.push(each)
    if (each.type === 'S') this.#syncing.set(each.pid, this.#loose.length)
    if (each.type !== 'E') return
    const synced = this.#syncing.get(each.pid)!
    this.#syncing.delete(each.pid)
    for (const loose of this.#loose.splice(0, synced)) this.#safe.do(loose)
    for (const [pid, mark] of this.#syncing) this.#syncing.set(pid, Math.max(0, mark - synced))
  }

  left(whim: Whim, random: () => number): Buffer {
    const left = this.#safe.copy()
    for (const each of this.#loose) {
      if (whim === 'nothing' || (whim === 'anything' && random() < 0.4)) continue
      left.do(whim === 'anything' && random() < 0.3 ? torn(each, random) : each)
    }
    return left.bytes
  }
}

/** Its first bytes, its last ones, or some sectors. */
function torn(each: Traced, random: () => number): Traced {
  const at = Math.floor(random() * each.data.length)
  return random() < 0.7 ? { ...each, data: each.data.subarray(0, at) } : { ...each, offset: each.offset + at, data: each.data.subarray(at) }
}

/**
 * Makes a folder as it would be if the power had failed at each of these places of the trace, in order, and lets it be looked at.
 * @param root the folder that the trace is about. @param into where the copy of it is made
 */
export async function powerCuts(
  { root, trace, cuts, into, random }: { root: string; trace: readonly Traced[]; cuts: number[]; into: string; random: () => number },
  look: (past: readonly Traced[], whim: Whim) => Promise<void>,
): Promise<void> {
  const files = new Map<string, TracedFile>()
  let n = 0
  for (const cut of cuts.toSorted((a, b) => a - b)) {
    for (; n < cut; n++) {
      const each = trace[n]!
      // Shared memory is no file.
      if (each.path === '' || each.path.endsWith('-shm')) continue
      if (each.type === 'U') files.delete(each.path)
      // A folder that is synced is none of them.
      else if (each.type === 'W' && !files.has(each.path)) files.set(each.path, new TracedFile())
      files.get(each.path)?.take(each)
    }
    rmSync(into, { recursive: true, force: true })
    mkdirSync(into)
    const whim = (['nothing', 'everything', 'anything', 'anything', 'anything'] as const)[Math.floor(random() * 5)]!
    for (const [path, file] of files) {
      const copy = join(into, path.slice(root.length))
      mkdirSync(dirname(copy), { recursive: true })
      writeFileSync(copy, file.left(whim, random))
    }
    await look(trace.slice(0, n), whim)
  }
}
