/** Runs a demo with each strategy, and tells what comes of it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StrategyName } from '../../consistency.ts'
import type { Cli } from '../context.ts'
import { DIVERGED } from '../failure.ts'
import { count, paint, plural, table, toJson } from '../output.ts'
import { duration } from '../progress.ts'
import { Crew } from './crew.ts'
import type { Demo } from './demo.ts'
import { demos } from './demos.ts'
import type { Checked, Done, Rebuilt } from './messages.ts'

interface Result {
  readonly strategy: StrategyName
  readonly accepted: number
  readonly rejected: number
  /** Decisions or appends that lost to others and were made again. */
  readonly retried: number
  /** ms */
  readonly p50: number
  readonly p99: number
  /** Commands a second. */
  readonly throughput: number
  readonly version: number
  readonly digest: string
  readonly checks: readonly { readonly what: string; readonly ok: boolean; readonly details?: unknown }[]
}

/** Every strategy meets the same load. */
const SEED = 4_711

/** @param commands all processes together */
export async function showDemo(
  cli: Cli,
  name: string,
  strategies: readonly StrategyName[],
  processes: number,
  commands: number,
): Promise<void> {
  const demo = demos.get(name)!
  if (!cli.json) introduce(cli, name, demo, processes, commands)
  const results: Result[] = []
  for (const strategy of strategies) {
    if (!cli.json) cli.out.line(paint.bold(strategy) + paint.dim(`  ${meanings[strategy]}`))
    const result = await run(cli, name, demo, strategy, processes, commands)
    results.push(result)
    if (!cli.json) cli.out.line(`${result.checks.map(checkLine).join('\n')}\n`)
  }
  const ok = results.every(({ checks }) => checks.every(check => check.ok))
  if (!ok) cli.exit = DIVERGED
  if (cli.json) cli.out.value({ demo: name, processes, commands, ok, strategies: results })
  else conclude(cli, results, ok)
}

const checkLine = ({ what, ok, details }: Result['checks'][number]) =>
  `  ${ok ? paint.green('ok    ') : paint.red('FAILED')} ${what}${ok ? '' : ` ${toJson(details)}`}`

const meanings: Readonly<Record<StrategyName, string>> = {
  optimistic: 'everybody writes; the log refuses what others were faster with, and it is decided again',
  leader: 'one process writes; the others pass their commands on to it',
  'first-wins': 'everybody writes at once; readers agree on which of two came first, and the other is decided again',
}

function introduce(cli: Cli, name: string, demo: Demo, processes: number, commands: number): void {
  cli.out.line(
    [
      paint.bold(`Mainstem demo: ${name}`),
      '',
      demo.story,
      `${plural(processes, 'process', 'processes')} share one log file; each has a SQLite database of its own. Together they execute ${plural(commands, 'command')}.`,
      `The rule: ${demo.invariant.name}. No table constraint holds it, only the decisions do.`,
      '',
    ].join('\n'),
  )
}

function conclude(cli: Cli, results: readonly Result[], ok: boolean): void {
  const rows = results.map(({ strategy, accepted, rejected, retried, p50, p99, throughput }) => ({
    strategy,
    accepted: count(accepted),
    rejected: count(rejected),
    retried: count(retried),
    p50: milliseconds(p50),
    p99: milliseconds(p99),
    throughput: `${count(throughput)}/s`,
  }))
  const right = (key: string, title = key) => ({ key, title, right: true })
  cli.out.line(
    table(rows, [
      { key: 'strategy' },
      right('accepted'),
      right('rejected'),
      right('retried', 'conflicts retried'),
      right('p50'),
      right('p99'),
      right('throughput'),
    ]),
  )
  cli.out.line(ok ? `\nEverything holds. Your own app: ${paint.cyan('npx mainstem init my-app')}` : paint.red('\nNot everything holds.'))
}

const milliseconds = (ms: number) => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`

async function run(cli: Cli, name: string, demo: Demo, strategy: StrategyName, processes: number, commands: number): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'mainstem-demo-'))
  const crew = new Crew(processes)
  const stop = () => void crew.kill()
  cli.signal.addEventListener('abort', stop)
  const progress = cli.progress(' ', 'commands')
  const timer = setInterval(() => {
    const { accepted, rejected } = crew.tally
    if (accepted + rejected > 0) progress.update(accepted + rejected, commands, `${count(accepted)} accepted, ${count(rejected)} rejected`)
  }, 100)
  try {
    const assignments = Array.from({ length: processes }, (_, index) => ({
      demo: name,
      log: `file:${join(folder, `${name}.log`)}`,
      data: join(folder, `replica-${index + 1}`),
      strategy,
      commands: Math.floor(commands / processes) + (index < commands % processes ? 1 : 0),
      seed: SEED + index,
      setsUp: index === 0,
    }))
    await crew.open(assignments)
    const began = performance.now()
    const done = await crew.run()
    const seconds = (performance.now() - began) / 1_000
    progress.end()
    const version = Math.max(...done.map(each => each.version))
    const checked = await crew.check(`default@${version}`)
    const rebuilt = await crew.rebuild()
    await crew.close()
    return resultOf(demo, strategy, done, seconds, checked, rebuilt)
  } catch (error) {
    await crew.kill()
    throw cli.signal.aborted ? cli.signal.reason : error
  } finally {
    clearInterval(timer)
    progress.end()
    cli.signal.removeEventListener('abort', stop)
    rmSync(folder, { recursive: true, force: true })
  }
}

function resultOf(
  demo: Demo,
  strategy: StrategyName,
  done: readonly Done[],
  seconds: number,
  checked: readonly Checked[],
  rebuilt: Rebuilt,
): Result {
  const latencies = done.flatMap(each => each.latencies).sort((a, b) => a - b)
  const at = (part: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * part))] ?? 0
  const sum = (of: (each: Done) => number) => done.reduce((total, each) => total + of(each), 0)
  const [first] = checked
  const { version, digest, content } = first!
  const violations = checked.flatMap(each => each.violations)
  const agree = checked.every(each => each.version === version && each.digest === digest && each.content === content)
  const same = rebuilt.version === version && rebuilt.digest === digest && rebuilt.content === content && rebuilt.difference === undefined
  const databases = plural(checked.length, 'database')
  return {
    strategy,
    accepted: sum(each => each.accepted),
    rejected: sum(each => each.rejected),
    // Every replica sees all decisions that lost in the log, but only its own appends.
    retried: sum(each => each.conflicts) + Math.max(...done.map(each => each.refused)),
    p50: at(0.5),
    p99: at(0.99),
    throughput: latencies.length / seconds,
    version,
    digest,
    checks: [
      {
        what: `${demo.invariant.name}: ${violations.length === 0 ? 'no' : count(violations.length)} violations, by plain SQL on ${databases}`,
        ok: violations.length === 0,
        details: violations,
      },
      {
        what: `${databases} agree at version ${count(version)}: digest ${digest.slice(0, 12)}..., and every row`,
        ok: agree,
        details: checked.map(({ version, digest, content }) => ({ version, digest, content })),
      },
      {
        what: `a database was thrown away and replayed: ${plural(rebuilt.version, 'event')} in ${duration(rebuilt.ms / 1_000)}, the same digest and the same ${plural(rebuilt.rows, 'row')}`,
        ok: same,
        details: { version: rebuilt.version, digest: rebuilt.digest, difference: rebuilt.difference },
      },
    ],
  }
}
