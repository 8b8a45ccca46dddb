/**
 * Where things are written: data to stdout, everything else to stderr. A reader who closed stdout (`| head`) has seen enough, which is
 * no error: what still comes is dropped, and who follows is told by `closed`.
 */
import { once } from 'node:events'
import pc from 'picocolors'

// picocolors would also colour what a CI system pipes into a file.
const coloured = (stream: NodeJS.WriteStream) =>
  !process.env['NO_COLOR'] && (Boolean(process.env['FORCE_COLOR']) || (stream.isTTY && process.env['TERM'] !== 'dumb'))

export const paint = pc.createColors(coloured(process.stdout))
export const paintErrors = pc.createColors(coloured(process.stderr))

export class Output {
  readonly json: boolean
  readonly #closing = new AbortController()

  constructor(json: boolean) {
    this.json = json
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      this.#closing.abort()
    })
    // Nobody is left to tell.
    process.stderr.on('error', () => {})
  }

  /** Nobody reads any more. */
  get closed(): AbortSignal {
    return this.#closing.signal
  }

  line(text: string): void {
    if (!this.closed.aborted) process.stdout.write(`${text}\n`)
  }

  /** A value as one line of JSON. */
  value(value: unknown): void {
    this.line(toJson(value))
  }

  /** As `line`, for many: waits while the reader is slower. */
  async lines(text: string): Promise<void> {
    if (this.closed.aborted || process.stdout.write(text)) return
    await once(process.stdout, 'drain', { signal: this.closed }).catch(() => {})
  }

  note(text: string): void {
    if (!this.json) process.stderr.write(`${text}\n`)
  }
}

/** Bytes as hexadecimal digits, as SQLite writes them. */
export function toJson(value: unknown, space?: number): string {
  return (
    JSON.stringify(
      value,
      (_, member) => (ArrayBuffer.isView(member) ? hex(member) : typeof member === 'bigint' ? String(member) : member),
      space,
    ) ?? 'null'
  )
}

const hex = (view: ArrayBufferView) => Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString('hex').toUpperCase()

const isFlat = (value: unknown) => typeof value !== 'object' || value === null || ArrayBuffer.isView(value)

/** Rows with plain columns: what a table can show. */
export function isRows(value: unknown): value is Record<string, unknown>[] {
  if (!Array.isArray(value) || value.length === 0) return false
  return value.every(
    row =>
      typeof row === 'object' && row !== null && !Array.isArray(row) && Object.keys(row).length > 0 && Object.values(row).every(isFlat),
  )
}

const control = /\p{Cc}/gu

/** Text that cannot move the cursor or colour the terminal. */
export const printable = (text: string): string =>
  text.replaceAll(control, letter =>
    letter === '\n' ? '\\n' : letter === '\t' ? '\\t' : `\\x${letter.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )

function cell(value: unknown): string {
  if (value === undefined) return ''
  if (typeof value === 'string') return printable(value)
  return ArrayBuffer.isView(value) ? `x'${hex(value)}'` : printable(toJson(value))
}

const width = (text: string) => (/^[ -~]*$/.test(text) ? text.length : [...new Intl.Segmenter().segment(text)].length)

export interface Column {
  readonly key: string
  readonly title?: string
  readonly right?: boolean
}

/** A table for people. Numbers stand on the right. */
export function table(rows: readonly Record<string, unknown>[], columns?: readonly Column[]): string {
  const shown: readonly Column[] = columns ?? [...new Set(rows.flatMap(row => Object.keys(row)))].map(key => ({ key }))
  const made = shown.map(({ key, title = key, right }) => {
    const cells = rows.map(row => cell(row[key]))
    const toRight = right ?? (rows.length > 0 && rows.every(row => typeof row[key] === 'number' || row[key] === null))
    const most = Math.max(width(title), ...cells.map(width))
    const pad = (text: string) => (toRight ? ' '.repeat(most - width(text)) + text : text + ' '.repeat(most - width(text)))
    return { title: pad(title), cells: cells.map(pad) }
  })
  const line = (texts: string[]) => texts.join('  ').trimEnd()
  return [paint.dim(line(made.map(({ title }) => title))), ...rows.map((_, index) => line(made.map(({ cells }) => cells[index]!)))].join(
    '\n',
  )
}

/** Names and values, one pair a line. */
export function pairs(entries: readonly (readonly [name: string, value: string | undefined])[]): string {
  const given = entries.filter(([, value]) => value !== undefined)
  const most = Math.max(...given.map(([name]) => width(name)))
  return given.map(([name, value]) => `${paint.dim(name.padEnd(most))}  ${value}`).join('\n')
}

export const count = (number: number): string => Math.round(number).toLocaleString('en-US')

export const plural = (number: number, one: string, many = `${one}s`): string => `${count(number)} ${number === 1 ? one : many}`

export function bytes(size: number): string {
  if (size < 1_024) return `${size} bytes`
  const units = ['KiB', 'MiB', 'GiB', 'TiB']
  let value = size / 1_024
  let unit = 0
  for (; value >= 1_024 && unit < units.length - 1; unit++) value /= 1_024
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`
}
