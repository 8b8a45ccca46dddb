/** What the benchmarks share: closed-loop clients, rounds that alternate, medians. Figures are ratios inside one run; machines are noisy. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Load {
  readonly perSecond: number
  /** ms */
  readonly p50: number
  readonly p99: number
}

/** `clients` callers, each sending its next command when the last was answered, for `duration` ms. */
export async function closedLoop(clients: number, duration: number, call: (n: number) => Promise<unknown>): Promise<Load> {
  const latencies: number[] = []
  const start = performance.now()
  const end = start + duration
  let n = 0
  await Promise.all(
    Array.from({ length: clients }, async () => {
      for (let now = performance.now(); now < end; ) {
        await call(n++)
        const then = now
        now = performance.now()
        latencies.push(now - then)
      }
    }),
  )
  const seconds = (performance.now() - start) / 1_000
  latencies.sort((a, b) => a - b)
  return { perSecond: latencies.length / seconds, p50: quantileOf(latencies, 0.5), p99: quantileOf(latencies, 0.99) }
}

export function quantileOf(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'mainstem-bench-'))
  try {
    return await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

type Rows = readonly Readonly<Record<string, string | number>>[]

export function table(rows: Rows): string {
  const columns = Object.keys(rows[0] ?? {})
  const widths = columns.map(column => Math.max(column.length, ...rows.map(row => text(row[column]).length)))
  const line = (cells: readonly string[]) => cells.map((cell, n) => cell.padStart(widths[n]!)).join('  ')
  return [line(columns), ...rows.map(row => line(columns.map(column => text(row[column]))))].join('\n')
}

export function markdown(rows: Rows): string {
  const columns = Object.keys(rows[0] ?? {})
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const rule = columns.map(column => (typeof rows[0]![column] === 'number' ? '---:' : '---'))
  return [line(columns), line(rule), ...rows.map(row => line(columns.map(column => text(row[column]))))].join('\n')
}

/** Puts a text between its two marks in a document: `<!-- NAME -->` and `<!-- end of NAME -->`. */
export function fill(path: string, name: string, content: string): void {
  const old = readFileSync(path, 'utf8')
  const [start, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`]
  const [from, to] = [old.indexOf(start), old.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`${path} has no place for ${name}`)
  writeFileSync(path, `${old.slice(0, from + start.length)}\n\n${content}\n\n${old.slice(to)}`)
}

const text = (value: string | number | undefined): string => (typeof value === 'number' ? format(value) : (value ?? ''))

function format(value: number): string {
  if (Math.abs(value) >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString('en')
  return value.toFixed(2)
}
