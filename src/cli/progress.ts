/** How far something has come, on stderr: one line that is written anew on a terminal, a line every five seconds elsewhere. */
import { count } from './output.ts'

const TERMINAL = 100
const ELSEWHERE = 5_000

export interface Progress {
  /** @param total 0 if it is not known */
  update(done: number, total: number, more?: string): void
  /** Takes the line away. */
  end(): void
}

export function makeProgress(what: string, unit: string, silent: boolean): Progress {
  if (silent) return { update() {}, end() {} }
  const { stderr } = process
  const terminal = stderr.isTTY
  const began = performance.now()
  let first: number | undefined
  let last = terminal ? began : began
  let shown = false
  return {
    update(done, total, more = '') {
      first ??= done
      const now = performance.now()
      if (now - last < (terminal ? TERMINAL : ELSEWHERE)) return
      last = now
      const rate = ((done - first) / (now - began)) * 1_000
      const text = `${what} ${describe(done, total, rate, unit)}${more && `, ${more}`}`
      if (terminal) stderr.write(`\r\u001b[K${text.slice(0, (stderr.columns || 80) - 1)}`)
      else stderr.write(`${text}\n`)
      shown = true
    },
    end() {
      if (terminal && shown) stderr.write('\r\u001b[K')
      shown = false
    },
  }
}

function describe(done: number, total: number, rate: number, unit: string): string {
  const speed = rate >= 1 ? `, ${count(rate)} ${unit}/s` : ''
  if (total <= 0) return `${count(done)} ${unit}${speed}`
  const percent = Math.min(100, Math.floor((done / total) * 100))
  const left = rate > 0 ? (total - done) / rate : Number.NaN
  return `${count(done)} of ${count(total)} ${unit} (${percent}%)${speed}${Number.isFinite(left) && left >= 1 ? `, ${duration(left)} left` : ''}`
}

/** @param seconds */
export function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1_000)} ms`
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 100) return `${Math.round(seconds)} s`
  if (seconds < 6_000) return `${Math.round(seconds / 60)} min`
  return `${Math.round(seconds / 3_600)} h`
}
