/** Log files as files: drafts that are put in their place whole or not at all. */
import { closeSync, existsSync, fsyncSync, linkSync, openSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { EngineError } from '../errors.ts'

/** What SQLite keeps beside a file. */
const beside = ['-wal', '-shm', '-journal']

/** Gives a finished draft, closed by everybody, its name. @throws EngineError invalid-option if there is something of this name */
export function publish(draft: string, path: string): void {
  requireWhole(draft)
  sync(draft)
  try {
    // Unlike a renaming, it takes nobody's place.
    if (link(draft, path)) rmSync(draft)
    else if (existsSync(path)) throw new EngineError('invalid-option', `${path} exists already`)
    else renameSync(draft, path)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') throw new EngineError('invalid-option', `${path} exists already`, { cause })
    throw cause
  }
  syncFolder(path)
}

/** Puts a finished draft in the place of a file, which is kept under another name. */
export function replace(draft: string, path: string, aside: string): void {
  requireWhole(draft)
  sync(draft)
  // The path is never without a file, where the file system lets a file have two names.
  if (!link(path, aside)) renameSync(path, aside)
  // A new file must not meet the old one's, which SQLite would play back into it.
  for (const suffix of beside) move(path + suffix, aside + suffix)
  renameSync(draft, path)
  syncFolder(path)
}

export function discard(path: string): void {
  for (const suffix of ['', ...beside]) rmSync(path + suffix, { force: true })
}

/** SQLite puts everything into the file itself when the last one closes it. */
function requireWhole(draft: string): void {
  if (existsSync(`${draft}-wal`)) throw new EngineError('log-failed', `somebody else has ${draft} open; nothing was changed`)
}

function move(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

/** @returns false where the file system knows no links */
function link(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if (['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK'].includes((error as NodeJS.ErrnoException).code ?? '')) return false
    throw error
  }
}

/** That the file has its name survives a power cut, too. */
export function syncFolder(path: string): void {
  // Windows opens no folders.
  if (process.platform !== 'win32') sync(dirname(path))
}

export function sync(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
