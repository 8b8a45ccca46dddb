/**
 * A file that speaks for somebody: tokens, keys, a secret. Read at the start, where a fault of it is told, and again when it has changed;
 * a changed one that cannot be used leaves what was read before in its place. What stands in it is never part of a message.
 */
import { readFileSync, type Stats, statSync } from 'node:fs'
import { EngineError } from '../errors.ts'

/** How often a file is looked at, ms, when it is asked for. */
const LOOK = 1_000

/** Where faults of a running server are told. */
export type Notice = (text: string) => void

export interface Kept<T> {
  /** What the file says by now. */
  readonly now: () => T
}

/**
 * @param what it is, for messages
 * @param secret whether nobody else may read it
 * @throws EngineError invalid-option
 */
export function keep<T>(path: string, what: string, secret: boolean, read: (text: string) => T, notice: Notice): Kept<T> {
  let mark = ''
  let looked = performance.now()
  const load = (): T => {
    let text: string
    try {
      const stats = statSync(path)
      mark = markOf(stats)
      if (secret) tellIfOpen(path, stats, what, notice)
      text = readFileSync(path, 'utf8')
    } catch (cause) {
      throw new EngineError('invalid-option', `${what} ${path} cannot be read: ${reason(cause)}`, { cause })
    }
    try {
      return read(text)
    } catch (cause) {
      throw new EngineError('invalid-option', `${what} ${path}: ${(cause as Error).message}`)
    }
  }
  let value = load()
  return {
    now() {
      const time = performance.now()
      if (time - looked < LOOK) return value
      looked = time
      try {
        if (markOf(statSync(path)) !== mark) value = load()
      } catch (error) {
        notice(`what was read before still counts, for ${error instanceof EngineError ? error.message : `${what} ${path} is gone`}`)
      }
      return value
    },
  }
}

/** A file that speaks for somebody is his alone. */
export function tellIfOpen(path: string, { mode }: Stats, what: string, notice: Notice): void {
  if (process.platform !== 'win32' && (mode & 0o004) !== 0)
    notice(`${what} ${path} can be read by everybody on this machine: chmod o-r ${path}`)
}

/** Of two states of a file it is another one. */
export const markOf = ({ ino, size, mtimeMs, ctimeMs }: Stats): string => `${ino} ${size} ${mtimeMs} ${ctimeMs}`

function reason(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === 'ENOENT') return 'it is not there'
  if (code === 'EACCES' || code === 'EPERM') return 'this user may not'
  if (code === 'EISDIR') return 'it is a folder'
  return message
}
