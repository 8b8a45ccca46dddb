/** Goes through worlds in a thread of its own, where the machines are loaded so that they can be looked into (`reveal.ts`). */
import { parentPort } from 'node:worker_threads'
import './reveal.ts'
import type { Report } from './explore.ts'
import type { Setting } from './state.ts'

/** What a world came to. */
export interface Come extends Report {
  /** The states of single processes. */
  readonly points: number
  readonly wrong: string | undefined
  /** Of processor time. */
  readonly ms: number
}

const { explore, Wrong } = await import('./explore.ts')
const { World } = await import('./world.ts')

function gone(setting: Setting): Come {
  const { user, system } = process.threadCpuUsage()
  let report: Report = { states: 0, steps: 0, ends: 0, depth: 0, frontier: 0 }
  let points = 0
  let wrong: string | undefined
  try {
    const world = new World(setting)
    report = explore(world)
    points = world.processes.points
  } catch (error) {
    if (!(error instanceof Wrong)) throw error
    wrong = error.message
  }
  const now = process.threadCpuUsage()
  return { ...report, points, wrong, ms: Math.round((now.user + now.system - user - system) / 1_000) }
}

parentPort!.on('message', (setting: Setting) => parentPort!.postMessage(gone(setting), []))
