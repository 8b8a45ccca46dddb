/** The worker processes of one run of the demo, as its parent sees them. */
import { type ChildProcess, fork } from 'node:child_process'
import { extname } from 'node:path'
import type { Assignment, Checked, Done, FromWorker, Rebuilt, Tally, ToWorker } from './messages.ts'

class Hand {
  readonly #process: ChildProcess
  tally: Tally = { accepted: 0, rejected: 0 }
  #answer: ((message: FromWorker) => void) | undefined
  #fail: ((error: Error) => void) | undefined
  #ended: Error | undefined
  readonly ended: Promise<void>

  constructor(name: string) {
    const worker = new URL(`./worker${extname(import.meta.url)}`, import.meta.url)
    this.#process = fork(worker, {
      execArgv: [...process.execArgv, '--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#process.on('message', (message: FromWorker) => {
      if (message.is === 'tally') this.tally = message.tally
      else this.#answer?.(message)
    })
    this.ended = new Promise(resolve => {
      const end = (error: Error) => {
        this.#ended = error
        this.#fail?.(error)
        resolve()
      }
      this.#process.once('error', end)
      this.#process.once('exit', (code, signal) => end(new Error(`${name} ended with ${signal ?? `status ${code}`}`)))
    })
  }

  ask<T>(message: ToWorker): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended)
      this.#fail = reject
      this.#answer = message => {
        this.#fail = this.#answer = undefined
        if (message.is === 'answer') resolve(message.answer as T)
        else reject(new Error((message as { message: string }).message))
      }
      this.#process.send(message, error => error && reject(error))
    })
  }

  /** It ends when nobody is connected any more. */
  leave(): void {
    if (this.#process.connected) this.#process.disconnect()
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }
}

export class Crew {
  readonly #hands: readonly Hand[]

  constructor(size: number) {
    this.#hands = Array.from({ length: size }, (_, index) => new Hand(`process ${index + 1}`))
  }

  get tally(): Tally {
    return this.#hands.reduce((sum, { tally }) => ({ accepted: sum.accepted + tally.accepted, rejected: sum.rejected + tally.rejected }), {
      accepted: 0,
      rejected: 0,
    })
  }

  async open(assignments: readonly Assignment[]): Promise<void> {
    await Promise.all(this.#hands.map((hand, index) => hand.ask({ do: 'open', assignment: assignments[index]! })))
    await this.#hands[0]!.ask({ do: 'set-up' })
  }

  run(): Promise<Done[]> {
    return this.#all({ do: 'run' })
  }

  check(token: string): Promise<Checked[]> {
    return this.#all({ do: 'check', token })
  }

  rebuild(): Promise<Rebuilt> {
    return this.#hands[0]!.ask({ do: 'rebuild' })
  }

  async close(): Promise<void> {
    await this.#all({ do: 'close' })
    for (const hand of this.#hands) hand.leave()
    await Promise.all(this.#hands.map(({ ended }) => ended))
  }

  async kill(): Promise<void> {
    for (const hand of this.#hands) hand.kill()
    await Promise.all(this.#hands.map(({ ended }) => ended))
  }

  #all<T>(message: ToWorker): Promise<T[]> {
    return Promise.all(this.#hands.map(hand => hand.ask<T>(message)))
  }
}
