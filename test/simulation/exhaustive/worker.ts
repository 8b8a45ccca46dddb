/** Goes through worlds in a thread of its own, where the machines are loaded so that they can be looked into (`reveal.ts`). */
import { parentPort, workerData } from 'node:worker_threads'
import './reveal.ts'
import type { Report } from './explore.ts'
import type { Setting } from './world.ts'

/** What a world came to. `points`: the states of single processes. */
export interface Come extends Report {
  readonly points: number
  readonly wrong: string | undefined
  /** Of processor time. */
  readonly ms: number
}

const { explore, Wrong } = await import('./explore.ts')
const { World } = await import('./world.ts')

function gone(setting: Setting): Come {
  const world = new World(setting)
  const nothing: Report = { states: 0, steps: 0, ends: 0, depth: 0, frontier: 0 }
  let wrong: string | undefined
  let report = nothing
  try {
    report = explore(world)
  } catch (error) {
    if (!(error instanceof Wrong)) throw error
    wrong = error.message
  }
  return { ...report, points: world.processes.points, wrong, ms: Math.round(process.threadCpuUsage().user / 1_000) }
}

parentPort?.postMessage(gone(workerData as Setting), [])
