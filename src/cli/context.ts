/** What every command gets: where to write, whether it was interrupted, and what status the program will end with. */
import { EngineError } from '../errors.ts'
import { INTERRUPTED } from './failure.ts'
import { Output } from './output.ts'
import { makeProgress, type Progress } from './progress.ts'

export class Cli {
  readonly out: Output
  /** Everything else went well: what to exit with. */
  exit = 0
  readonly #interruption = new AbortController()

  constructor(json: boolean) {
    this.out = new Output(json)
    const stop = (status: number) => () => {
      // The second one does not wait for a clean end.
      if (this.signal.aborted) process.exit(status)
      this.exit = status
      this.#interruption.abort(new EngineError('aborted', 'interrupted'))
    }
    process.on('SIGINT', stop(INTERRUPTED))
    process.on('SIGTERM', stop(143))
  }

  get json(): boolean {
    return this.out.json
  }

  /** Fires on Ctrl-C, with an EngineError `aborted`. */
  get signal(): AbortSignal {
    return this.#interruption.signal
  }

  progress(what: string, unit: string): Progress {
    return makeProgress(what, unit, this.json)
  }
}
