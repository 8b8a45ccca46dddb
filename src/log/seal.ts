/**
 * The seal as copies and restores write it: with a note of what it is for, which the fold does not see. By the note nobody goes on with a
 * log whose copy lives, and nobody makes a second copy.
 */
import { control, emptyShard, type ShardState } from '../accept.ts'
import type { Log, Position } from '../log.ts'
import { decode, encodeControl } from '../record.ts'
import { stored } from './fold.ts'

export type SealNote =
  /** `place` and `to`: of the copy, for programs and for people. */
  | { readonly by: 'copy'; readonly place: string; readonly to: string }
  /** A backup took this log's place. */
  | { readonly by: 'restore' }

export function sealValue(log: string, time: number, note: SealNote): string {
  return JSON.stringify({ ...JSON.parse(encodeControl({ kind: 'seal', log, time })), note })
}

/** The note in a seal; undefined if it has none that we know. */
export function sealNote(value: string | Uint8Array): SealNote | undefined {
  const { note } = JSON.parse(typeof value === 'string' ? value : new TextDecoder().decode(value)) as { note?: Partial<SealNote> }
  if (note?.by === 'restore') return { by: 'restore' }
  if (note?.by === 'copy' && typeof note.place === 'string' && typeof note.to === 'string')
    return { by: 'copy', place: note.place, to: note.to }
  return undefined
}

export interface Controls {
  readonly state: ShardState
  /** Where the manifest stands that counts. */
  readonly manifest: Position | undefined
  readonly seal: { readonly position: Position; readonly note: SealNote | undefined } | undefined
}

/** What the control records of a log have come to, and where the two stand that a copy treats on their own. */
export async function controlsOf(log: Log): Promise<Controls> {
  let state = emptyShard
  let manifest: Position | undefined
  let seal: Controls['seal']
  // Not what is written meanwhile: a log that is scanned for them would have no end.
  const upTo = await log.head()
  for await (const { position, value, tenant } of stored(log, { tenant: null, upTo })) {
    const record = decode(value)
    if (tenant !== null || record.kind === 'foreign' || record.kind === 'data') continue
    const next = control(state, record)
    if (typeof next === 'string') continue
    state = next
    if (record.kind === 'manifest') manifest = position
    if (record.kind === 'seal') seal = { position, note: sealNote(value) }
  }
  return { state, manifest, seal }
}
