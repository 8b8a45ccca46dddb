/**
 * Contention: more and more processes write with four clients each, all to one entity or to many, in every way of writing there is, on Kafka and
 * on one file. Told is what was accepted, what was done in vain for it, and how long an answer took. Writes docs/contention.svg and the table of
 * docs/contention.md.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openReplica, type StrategyName } from '../src/index.ts'
import { newLog } from './broker.ts'
import { ledger } from './embedded.ts'
import { nameOf, type Way, ways } from './kafka.ts'
import { fill, inFolder, markdown, quantileOf, table } from './support.ts'
import { type Line, svg } from './svg.ts'

const PROCESSES = [1, 2, 4, 8, 16]
const CLIENTS = 4
const MANY = 10_000
const COLOURS = ['#d1495b', '#00798c', '#edae49', '#30638e']

type Order =
  | { readonly do: 'open'; readonly log: string; readonly data: string; readonly way: Way }
  | { readonly do: 'run'; readonly duration: number; readonly accounts: number }
  | { readonly do: 'close' }

interface Ran {
  readonly latencies: number[]
  /** Of a command that was not accepted, by the error's code. */
  readonly failed: Record<string, number>
  /** Batches that this process had to decide again. */
  readonly conflicts: number
  /** Decisions that were refused where they stand in the log, by whomever: all see the same. */
  readonly refused: number
}

/** Replicas live and die in processes that stay: to start one takes longer than a measurement. */
class Writer {
  readonly #child: ChildProcess

  constructor() {
    this.#child = fork(import.meta.filename, ['writer'], { serialization: 'advanced' })
  }

  async tell(order: Order): Promise<Ran> {
    this.#child.send(order)
    const [answer] = (await once(this.#child, 'message')) as [Ran | string]
    if (typeof answer === 'string') throw new Error(answer)
    return answer
  }

  async end(): Promise<void> {
    const gone = once(this.#child, 'exit')
    this.#child.disconnect()
    await gone
  }
}

const open = ({ log, data, way }: Extract<Order, { do: 'open' }>) => openReplica(ledger, { log, data, ...way })

function serve(): void {
  let replica: Awaited<ReturnType<typeof open>> | undefined
  const nothing: Ran = { latencies: [], failed: {}, conflicts: 0, refused: 0 }
  const obey = async (order: Order): Promise<Ran> => {
    if (order.do === 'open') replica = await open(order)
    else if (order.do === 'run') return load(order.duration, order.accounts)
    else await replica?.close()
    return nothing
  }
  const load = async (duration: number, accounts: number): Promise<Ran> => {
    const before = await replica!.status()
    const latencies: number[] = []
    const failed: Record<string, number> = {}
    const end = performance.now() + duration
    await Promise.all(
      Array.from({ length: CLIENTS }, async () => {
        for (let now = performance.now(); now < end; ) {
          const account = Math.floor(Math.random() * accounts)
          let fault: string | undefined
          await replica!.execute('pay', { account, cents: 1 }).catch((error: { code: string }) => (fault = error.code))
          const then = now
          now = performance.now()
          if (fault === undefined) latencies.push(now - then)
          else failed[fault] = (failed[fault] ?? 0) + 1
        }
      }),
    )
    const after = await replica!.status()
    return { latencies, failed, conflicts: after.conflicts - before.conflicts, refused: after.refused - before.refused }
  }
  process.on('message', (order: Order) => {
    obey(order).then(
      ran => process.send!(ran),
      error => process.send!(String((error as Error).stack)),
    )
  })
  process.once('disconnect', () => process.exit())
}

interface Point {
  readonly log: 'Kafka' | 'file'
  readonly way: string
  readonly entities: 'one' | 'many'
  readonly processes: number
  readonly perSecond: number
  readonly inVain: number
  readonly p50: number
  readonly p99: number
  readonly failed: string
}

async function measure(writers: readonly Writer[], duration: number, entities: Point['entities']): Promise<Omit<Point, 'log' | 'way'>> {
  const start = performance.now()
  const accounts = entities === 'one' ? 1 : MANY
  const ran = await Promise.all(writers.map(writer => writer.tell({ do: 'run', duration, accounts })))
  const seconds = (performance.now() - start) / 1_000
  const latencies = ran.flatMap(each => each.latencies).sort((a, b) => a - b)
  const failed: Record<string, number> = {}
  for (const each of ran) for (const [code, count] of Object.entries(each.failed)) failed[code] = (failed[code] ?? 0) + count
  const conflicts = ran.reduce((sum, each) => sum + each.conflicts, 0)
  const refused = Math.max(...ran.map(each => each.refused))
  return {
    entities,
    processes: writers.length,
    perSecond: latencies.length / seconds,
    inVain: (conflicts + refused) / Math.max(1, latencies.length),
    p50: quantileOf(latencies, 0.5),
    p99: quantileOf(latencies, 0.99),
    failed: Object.entries(failed)
      .map(([code, count]) => `${code} ${count}`)
      .join(', '),
  }
}

/** @param bootstrap 'host:port' of a cluster */
export async function contention(bootstrap: string, { duration = 2_000 } = {}): Promise<void> {
  const onFile: readonly Way[] = (['first-wins', 'leader', 'optimistic'] satisfies StrategyName[]).map(strategy => ({ strategy }))
  const plan = [...ways.map(way => ({ log: 'Kafka', way }) as const), ...onFile.map(way => ({ log: 'file', way }) as const)]
  const points: Point[] = []
  const pool = Array.from({ length: PROCESSES.at(-1)! }, () => new Writer())
  try {
    for (const { log, way } of plan) {
      await inFolder(async folder => {
        const url = log === 'Kafka' ? await newLog(bootstrap, 'ledger') : `file:${join(folder, 'bench.log')}`
        let open = 0
        for (const processes of PROCESSES) {
          const more = pool.slice(open, processes)
          await Promise.all(more.map((writer, n) => writer.tell({ do: 'open', log: url, data: join(folder, `data-${open + n}`), way })))
          open = processes
          const writers = pool.slice(0, processes)
          // The first one pays for compilers, elections and connections.
          await measure(writers, 400, 'many')
          for (const entities of ['one', 'many'] as const)
            points.push({ log, way: nameOf(way), ...(await measure(writers, duration, entities)) })
        }
        await Promise.all(pool.map(writer => writer.tell({ do: 'close' })))
      })
      process.stderr.write(`${log}, ${nameOf(way)}: measured\n`)
    }
  } finally {
    await Promise.all(pool.map(writer => writer.end()))
  }
  const rows = points.map(({ log, way, entities, processes, perSecond, inVain, p50, p99, failed }) => ({
    log,
    way,
    entities,
    processes,
    'accepted /s': perSecond,
    'in vain': inVain,
    'p50 ms': p50,
    'p99 ms': p99,
    failed,
  }))
  process.stdout.write(`${table(rows)}\n`)
  const doc = (name: string) => fileURLToPath(new URL(`../docs/${name}`, import.meta.url))
  fill(doc('contention.md'), 'contention', markdown(rows))
  writeFileSync(doc('contention.svg'), draw(points))
}

function draw(points: readonly Point[]): string {
  const kinds = [...new Map(points.map(({ log, way }) => [`${log}, ${way}`, { log, way }])).values()]
  const strategies = [...new Set(kinds.map(({ way }) => way))]
  const colourOf = (way: string) => COLOURS[strategies.indexOf(way === 'leader' ? 'leader/epoch' : way)]!
  const lines = kinds.map(({ log, way }): Line => ({ name: `${log}, ${way}`, colour: colourOf(way), dashed: log === 'file' }))
  const valuesOf = (entities: Point['entities']) =>
    kinds.map(({ log, way }) =>
      PROCESSES.map(
        processes =>
          points.find(each => each.log === log && each.way === way && each.entities === entities && each.processes === processes)
            ?.perSecond,
      ),
    )
  return svg({
    title: 'Accepted commands per second, by writing processes',
    across: `processes, ${CLIENTS} clients each`,
    up: 'accepted commands per second',
    steps: PROCESSES,
    lines,
    panels: [
      { title: 'all to one entity', values: valuesOf('one') },
      { title: `to ${MANY.toLocaleString('en')} entities`, values: valuesOf('many') },
    ],
  })
}

if (process.argv[1] === import.meta.filename && process.argv[2] === 'writer') serve()
