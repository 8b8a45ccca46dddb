/**
 * How accepted command ids are kept: not one row each, but the UUIDv7 of one record in runs, for they were made one after another. A run is
 * the ids of one record that share their first 11 digits of time (16 ms), in rising order: its first id is the row's key, of the others only
 * what differs is kept. Any other id is a run of its own. A row per batch instead of a row per command: that is a sixth of a command's cost.
 */
import { isUuidv7 } from '../ids.ts'

export interface Run {
  readonly first: string
  /** What the other ids have behind the shared digits, one after another. */
  readonly more: string
}

/** 'tttttttt-ttt': what the ids of a run share. */
const SHARED = 12

/** The runs of a record's accepted ids, whatever their order and shape. */
export function runsOf(ids: readonly string[]): Run[] {
  const runs: Run[] = []
  let first: string | undefined
  let shared = ''
  let last = ''
  let more = ''
  const end = () => {
    if (first !== undefined) runs.push({ first, more })
    first = undefined
    more = ''
  }
  for (const id of ids) {
    const isV7 = isUuidv7(id)
    if (first !== undefined && isV7 && id > last && id.startsWith(shared)) more += id.slice(SHARED)
    else {
      end()
      first = id
      // Of a run that cannot go on, nothing is shared.
      shared = isV7 ? id.slice(0, SHARED) : '\n'
    }
    last = id
  }
  end()
  return runs
}

/** Keys between which the runs lie that may hold an id. */
export function lowestKey(id: string): string {
  return isUuidv7(id) ? id.slice(0, SHARED) : id
}

/** What a run between those keys has in `more` if and only if it holds the id, not as its first: the dashes stand at their places only there. */
export function tailOf(id: string): string {
  return id.slice(SHARED)
}

/** Not below any id in a run with this key. */
export function highestIn(first: string): string {
  return `${first.slice(0, SHARED)}f-7fff-ffff-ffffffffffff`
}

/** Runs with a lower key hold UUIDv7 made before `ms` only, if their key is one. */
export function keyBefore(ms: number): string {
  const digits = Math.min(Math.floor(ms / 16), 0xfff_ffff_ffff)
    .toString(16)
    .padStart(11, '0')
  return `${digits.slice(0, 8)}-${digits.slice(8)}`
}
