/** What the benchmarks share: closed-loop clients, rounds that alternate, medians. Figures are ratios inside one run; machines are noisy. */
import { mkdtempSync, rmSync } from 'node:fs'
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
  const quantile = (q: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * q))] ?? 0
  return { perSecond: latencies.length / seconds, p50: quantile(0.5), p99: quantile(0.99) }
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

export function table(rows: readonly Record<string, string | number>[]): string {
  const columns = Object.keys(rows[0] ?? {})
  const text = (value: string | number | undefined) => (typeof value === 'number' ? format(value) : (value ?? ''))
  const widths = columns.map(column => Math.max(column.length, ...rows.map(row => text(row[column]).length)))
  const line = (cells: readonly string[]) => cells.map((cell, n) => cell.padStart(widths[n]!)).join('  ')
  return [line(columns), ...rows.map(row => line(columns.map(column => text(row[column]))))].join('\n')
}

function format(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en')
  return value.toFixed(2)
}
