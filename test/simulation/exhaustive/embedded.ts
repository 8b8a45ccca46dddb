/** The embedded log: an append is refused, or written, at once. */
import type { Appended } from '../../../src/log.ts'
import { Fault } from './explore.ts'
import type { Entry, Log, Logs } from './log.ts'
import type { Input, LogRequest } from './machine.ts'
import type { Arrival, Place, Sent, Site } from './state.ts'

export function embeddedSite(logs: Logs): Site {
  return {
    first: { number: logs.first.number, log: logs.first },
    // Within a process: who dies sends nothing more.
    outlives: false,
    atOnce: () => undefined,
    goOn: () => undefined,
    lost(request): Input | undefined {
      if (request.type !== 'append') return undefined
      const { append, records } = request
      return { type: 'appended', append, answers: records.map(() => ({ status: 'unknown' })) }
    },
    arrive(place: Place, _: Sent, request: LogRequest): Arrival {
      const { log } = place
      if (request.type === 'look') {
        const head = log.end
        return { place, heard: { type: 'looked', look: request.look, head }, what: `the end is ${head}` }
      }
      if (request.type !== 'append') throw new Error('an embedded log is not called')
      let end: Log = log
      const { append, records, after } = request
      const answers = records.map((record): Appended => {
        const voids = ({ position, tenant, barrier }: Entry) =>
          position > after! && (tenant === record.tenant || (tenant === null && !barrier))
        if (after !== undefined && end.entries.some(voids)) return { status: 'conflict' }
        const previous = end.end
        end = logs.append(end, record)
        return { status: 'written', position: end.end, previous }
      })
      if (end.problem !== undefined) throw new Fault(end.problem, ['a record reaches the log'])
      const heard: Input = { type: 'appended', append, answers }
      return { place: end === log ? place : { number: end.number, log: end }, heard, what: answers.map(({ status }) => status).join(', ') }
    },
  }
}
