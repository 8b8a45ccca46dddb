/**
 * A process that is watched from outside: one that says nothing for too long has got stuck, be it in a loop that leaves no turn for a timer of its
 * own, and is killed with all that it has started.
 */
import { fork } from 'node:child_process'

/** How it ended. `stuck`: it was killed. */
export type Watched = { readonly end: 'done' } | { readonly end: 'stuck' } | { readonly end: 'failed'; readonly how: string }

export interface Watching {
  readonly script: string
  readonly args: readonly string[]
  /** How long it may say nothing, ms. */
  readonly patience: number
  readonly heard: (message: unknown) => void
}

/** Runs a script until it ends. Whatever ends this process ends that one. */
export function watched({ script, args, patience, heard }: Watching): Promise<Watched> {
  return new Promise(resolve => {
    // A group of its own, so that all of it can be killed at once.
    const child = fork(script, args, { detached: true })
    let stuck = false
    let timer: NodeJS.Timeout | undefined
    const kill = () => {
      try {
        process.kill(-child.pid!, 'SIGKILL')
      } catch {
        // It is gone.
      }
    }
    const leave = () => {
      kill()
      process.exit(1)
    }
    const wait = () => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        stuck = true
        kill()
      }, patience)
    }
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
    for (const signal of signals) process.once(signal, leave)
    wait()
    child.on('message', message => {
      wait()
      heard(message)
    })
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      for (const each of signals) process.off(each, leave)
      // What it has left running is nobody's any more.
      kill()
      resolve(stuck ? { end: 'stuck' } : code === 0 ? { end: 'done' } : { end: 'failed', how: String(signal ?? code) })
    })
  })
}
