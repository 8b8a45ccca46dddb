/** Has worlds gone through to their end, one after the other, and says what was found. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect } from 'vitest'
import type { Setting } from './state.ts'
import type { Come } from './worker.ts'

export class Walk {
  readonly #worker = new Worker(new URL('./worker.ts', import.meta.url), {
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 4_096 },
  })
  readonly #all = new Map<string, Come>()

  /** @throws where something is wrong, or was not looked at */
  async through(name: string, setting: Setting): Promise<void> {
    this.#worker.postMessage(setting, [])
    const [come] = (await once(this.#worker, 'message')) as [Come]
    expect(come.wrong).toBeUndefined()
    expect(come.frontier).toBe(0)
    expect(come.ends).toBeGreaterThan(0)
    this.#all.set(name, come)
  }

  /** Ends it. @returns what it has found, as a table */
  async end(): Promise<string> {
    await this.#worker.terminate()
    const columns = ['states', 'steps', 'ends', 'depth', 'frontier', 'points', 'ms'] as const
    const head = `| world | ${columns.join(' | ')} |\n|---|${columns.map(() => '---:').join('|')}|`
    const line = (come: Come) => columns.map(column => come[column].toLocaleString('en')).join(' | ')
    return [head, ...[...this.#all].map(([name, come]) => `| ${name} | ${line(come)} |`)].join('\n')
  }
}
