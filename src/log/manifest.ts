/** Manifests: as a new log gets them, and as one reads them from a log. */
import { control, emptyShard, type ShardState } from '../accept.ts'
import { decode, encodeControl } from '../record.ts'
import type { Log, Position } from '../log.ts'

/** How far versions may lie back, unless the manifest says otherwise. */
const WINDOW = 10_000

/** A manifest as a new log gets it. */
export function manifestValue({
  window = WINDOW,
  ...of
}: {
  readonly log: string
  readonly app: string
  readonly partitions: number
  readonly partition: number
  readonly window?: number
}): string {
  return encodeControl({ kind: 'manifest', time: Date.now(), rules: 1, window, generation: 1, ...of })
}

export interface Beginning {
  /** With the manifest; the empty state if none was found. */
  readonly state: ShardState
  /** Records that stand before the manifest and have no effect. */
  readonly before: number
  /** Some of them are records of a log: its own manifest is missing. */
  readonly orphans: boolean
  /** How far it was looked. */
  readonly reached: Position
}

/**
 * Reads a shard up to its manifest. The first valid one rules.
 * @param upTo it was not there before this position, though the log goes on: looked no further
 * @param known a position that the log certainly has: waited for, where the log lags
 */
export async function readManifest(
  log: Log,
  { upTo = Number.MAX_SAFE_INTEGER, known = 0, signal }: { upTo?: Position; known?: Position; signal?: AbortSignal } = {},
): Promise<Beginning> {
  let before = 0
  let orphans = false
  for (let after = 0, looks = 0; ; looks++) {
    // It is the first record nearly always: no more than that is fetched at first. That nothing is there does not mean that nothing follows.
    const first = looks === 0
    const options = {
      ...(first ? { upTo: 1 } : {}),
      ...(after < known && !log.freshHead ? { wait: true } : {}),
      ...(signal ? { signal } : {}),
    }
    const { records, reached } = await log.read(after, options)
    signal?.throwIfAborted()
    for (const { value, tenant, position } of records) {
      const record = decode(value)
      const state = tenant === null && record.kind === 'manifest' ? control(emptyShard, record) : undefined
      if (typeof state === 'object') return { state, before, orphans, reached: position }
      before++
      orphans ||= record.kind !== 'foreign'
    }
    if ((reached === after && !first) || reached >= upTo) return { state: emptyShard, before, orphans, reached }
    after = reached
  }
}
