/** A chart as a plain SVG: panels side by side, each with lines over the same steps, a logarithmic axis for values, and one legend below. */

export interface Line {
  readonly name: string
  readonly colour: string
  readonly dashed: boolean
}

export interface Panel {
  readonly title: string
  /** By line, then by step; undefined where nothing was measured. */
  readonly values: readonly (readonly (number | undefined)[])[]
}

export interface Chart {
  readonly title: string
  readonly across: string
  readonly up: string
  readonly steps: readonly (number | string)[]
  readonly lines: readonly Line[]
  readonly panels: readonly Panel[]
}

const WIDTH = 440
const HEIGHT = 330
const LEFT = 64
const TOP = 64
const GAP = 40
const LEGEND_ROW = 20
const LEGEND_COLUMN = 250

export function svg({ title, across, up, steps, lines, panels }: Chart): string {
  const all = panels.flatMap(({ values }) => values.flat()).filter(value => value !== undefined && value > 0) as number[]
  const low = Math.floor(Math.log10(Math.min(...all)))
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...all))))
  const perRow = Math.floor((LEFT + panels.length * (WIDTH + GAP)) / LEGEND_COLUMN)
  const width = LEFT + panels.length * (WIDTH + GAP)
  const legendTop = TOP + HEIGHT + 66
  const height = legendTop + Math.ceil(lines.length / perRow) * LEGEND_ROW + 8
  const y = (value: number) => round(TOP + HEIGHT - ((Math.log10(value) - low) / (high - low)) * HEIGHT)
  const out: string[] = []
  const text = (x: number, y: number, words: string, more = '') => out.push(`<text x="${x}" y="${y}"${more}>${escaped(words)}</text>`)
  text(width / 2, 24, title, ' text-anchor="middle" font-size="16" font-weight="600"')
  for (const [index, panel] of panels.entries()) {
    const left = LEFT + index * (WIDTH + GAP)
    const x = (step: number) => round(left + 16 + (step * (WIDTH - 32)) / Math.max(1, steps.length - 1))
    text(left + WIDTH / 2, TOP - 12, panel.title, ' text-anchor="middle" font-weight="600"')
    for (let power = low; power <= high; power++) {
      for (const part of power === high ? [1] : [1, 2, 5]) {
        const at = y(part * 10 ** power)
        out.push(`<line x1="${left}" x2="${left + WIDTH}" y1="${at}" y2="${at}" stroke="${part === 1 ? '#c8c8c8' : '#ececec'}"/>`)
        if (index === 0) text(left - 8, at + 4, (part * 10 ** power).toLocaleString('en'), ' text-anchor="end" fill="#555"')
      }
    }
    for (const [step, name] of steps.entries()) text(x(step), TOP + HEIGHT + 18, String(name), ' text-anchor="middle" fill="#555"')
    text(left + WIDTH / 2, TOP + HEIGHT + 38, across, ' text-anchor="middle"')
    out.push(`<rect x="${left}" y="${TOP}" width="${WIDTH}" height="${HEIGHT}" fill="none" stroke="#888"/>`)
    for (const [number, { colour, dashed }] of lines.entries()) {
      const points = (panel.values[number] ?? []).flatMap((value, step) => (value ? [[x(step), y(value)] as const] : []))
      const dash = dashed ? ' stroke-dasharray="6 4"' : ''
      out.push(`<polyline points="${points.map(point => point.join()).join(' ')}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>`)
      for (const [cx, cy] of points)
        out.push(`<circle cx="${cx}" cy="${cy}" r="3.5" fill="${dashed ? '#fff' : colour}" stroke="${colour}" stroke-width="1.5"/>`)
    }
  }
  const middle = TOP + HEIGHT / 2
  text(16, middle, up, ` text-anchor="middle" transform="rotate(-90 16 ${middle})"`)
  for (const [number, { name, colour, dashed }] of lines.entries()) {
    const left = LEFT + (number % perRow) * LEGEND_COLUMN
    const at = legendTop + Math.floor(number / perRow) * LEGEND_ROW
    out.push(
      `<line x1="${left}" x2="${left + 30}" y1="${at - 4}" y2="${at - 4}" stroke="${colour}" stroke-width="2"${dashed ? ' stroke-dasharray="6 4"' : ''}/>`,
    )
    text(left + 38, at, name)
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="#222">
<rect width="100%" height="100%" fill="#fff"/>
${out.join('\n')}
</svg>
`
}

const round = (value: number): number => Math.round(value * 10) / 10
const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
