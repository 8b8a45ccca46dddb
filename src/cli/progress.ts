/** How far something has come, on stderr: one line that is written anew on a terminal, a line every five seconds elsewhere. */
import { count } from './output.ts'

const TERMINAL = 100
const ELSEWHERE = 5_000

export interface Progress {
  /**
   * @param total 0 if it is not known
   * @param told in the place of 'DONE of TOTAL units'
   */
  update(done: number, total: number, told?: string): void
  /** Takes the line away. */
  end(): void
}

export function makeProgress(what: string, unit: string, silent: boolean): Progress {
  if (silent) return { update() {}, end() {} }
  const { stderr } = process
  const terminal = stderr.isTTY
  let last = performance.now()
  let first: { readonly done: number; readonly at: number } | undefined
  let shown = false
  return {
    update(done, total, told) {
      const now = performance.now()
      first ??= { done, at: now }
      if (now - last < (terminal ? TERMINAL : ELSEWHERE)) return
      last = now
      const rate = ((done - first.done) / (now - first.at)) * 1_000
      const text = `${what} ${told ?? amount(done, total, unit)}${speed(done, total, rate)}`
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

const amount = (done: number, total: number, unit: string) => `${count(done)}${total > 0 ? ` of ${count(total)}` : ''} ${unit}`

function speed(done: number, total: number, rate: number): string {
  const parts: string[] = []
  if (total > 0) parts.push(`${Math.min(100, Math.floor((done / total) * 100))}%`)
  if (rate >= 1) parts.push(`${count(rate)}/s`)
  const left = (total - done) / rate
  if (total > 0 && rate > 0 && left >= 1) parts.push(`${duration(left)} left`)
  return parts.map(part => `, ${part}`).join('')
}

/** @param seconds */
export function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1_000)} ms`
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 100) return `${Math.round(seconds)} s`
  if (seconds < 6_000) return `${Math.round(seconds / 60)} min`
  return `${Math.round(seconds / 3_600)} h`
}
