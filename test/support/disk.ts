/** Small disks, and users who may not write: as this machine and this user can have them. */
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync } from 'node:fs'
import { atEnd } from './end.ts'
import type { PuppetOptions } from './processes.ts'

export interface SmallDisk {
  readonly folder: string
  /** For the process whose disk it is. */
  readonly puppet: PuppetOptions
  /** Makes room: also for a process that is running, if it is a disk at all. */
  grow(): void
}

/**
 * A folder on a disk of so many KiB. Where none can be mounted, a process for which a file of that size is the largest: to it the disk
 * reports an error instead of being full, and it cannot grow for that process.
 */
export function smallDisk(folder: string, kib: number): SmallDisk {
  mkdirSync(folder, { recursive: true })
  const mounted = process.getuid?.() === 0 && spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${kib}k`, 'tmpfs', folder]).status === 0
  if (!mounted) return { folder, puppet: { fileLimit: kib }, grow: () => {} }
  atEnd(() => void spawnSync('umount', ['-l', folder]))
  return { folder, puppet: {}, grow: () => void spawnSync('mount', ['-o', `remount,size=${kib * 8}k`, folder]) }
}

/** Who runs this, or somebody else if that one may do everything. */
export function ordinaryUser(): { readonly puppet: PuppetOptions; own(path: string): void } {
  if (process.getuid?.() !== 0) return { puppet: {}, own: () => {} }
  const uid = 65_534
  return { puppet: { uid }, own: path => chownSync(path, uid, uid) }
}

/** A folder in which nobody may write. */
export function forbid(path: string): void {
  chmodSync(path, 0o555)
  atEnd(() => chmodSync(path, 0o755))
}
