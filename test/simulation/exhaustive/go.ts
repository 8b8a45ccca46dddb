/** Has a world gone through to its end, and says what was found. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Come } from './worker.ts'
import type { Setting } from './world.ts'

export async function go(setting: Setting): Promise<Come> {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: setting, execArgv: [] })
  const [come] = (await once(worker, 'message')) as [Come]
  await worker.terminate()
  return come
}

const columns = ['states', 'steps', 'ends', 'depth', 'frontier', 'points', 'ms'] as const

/** One line for each world. */
export function table(all: ReadonlyMap<string, Come>): string {
  const head = `| world | ${columns.join(' | ')} |\n|---|${columns.map(() => '---:').join('|')}|`
  const lines = [...all].map(([name, come]) => `| ${name} | ${columns.map(column => come[column].toLocaleString('en')).join(' | ')} |`)
  return [head, ...lines].join('\n')
}
