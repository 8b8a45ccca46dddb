/** Log files as files: drafts that are put in their place whole or not at all. */
import { closeSync, fsyncSync, linkSync, openSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { EngineError } from '../errors.ts'

/** What SQLite keeps beside a file. */
const beside = ['-wal', '-shm', '-journal']

/** Gives a finished draft, closed by everybody, its name. @throws EngineError invalid-option if there is something of this name */
export function publish(draft: string, path: string): void {
  sync(draft)
  try {
    linkSync(draft, path)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') throw new EngineError('invalid-option', `${path} exists already`, { cause })
    throw cause
  }
  rmSync(draft)
  sync(dirname(path))
}

/** Puts a finished draft in the place of a file, which is kept under another name. */
export function replace(draft: string, path: string, aside: string): void {
  sync(draft)
  linkSync(path, aside)
  // A new file must not meet the old one's, which SQLite would play back into it.
  for (const suffix of beside) move(path + suffix, aside + suffix)
  renameSync(draft, path)
  sync(dirname(path))
}

export function discard(path: string): void {
  for (const suffix of ['', ...beside]) rmSync(path + suffix, { force: true })
}

function move(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

function sync(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
