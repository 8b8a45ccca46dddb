/**
 * `GET /events`: accepted events as server-sent events, `id` the version, `event` the type, `data` all of it as JSON. It goes on behind
 * `Last-Event-ID`, or begins with `?from=VERSION`, or with what comes from now on. `?type=` and `?tag=`, each as often as wanted, choose: an event
 * of one of the types, with one of the tags.
 *
 * An event is taken from the log when the client has room for it: who reads slowly costs nothing, and who does not read at all is cut.
 */
import { definitionOf, known } from '../app.ts'
import type { LoggedEvent } from '../replica.ts'
import { type Call, tenantOf } from './call.ts'
import { Problem } from './problem.ts'
import type { Service } from './service.ts'

/** How often a client hears that the connection lives, ms; and how long one may leave what was sent to it unread. */
export interface Pace {
  readonly heartbeat: number
  readonly stall: number
}

/** So many events that are not wanted are passed over before others get their turn. */
const TURN = 100

/** @throws Problem, EngineError */
export async function events(service: Service, call: Call): Promise<Response> {
  const tenant = tenantOf(call)
  const principal = service.access ? await service.authenticate(call.request(), tenant) : undefined
  const searchParams = call.parameters()
  const types = searchParams.getAll('type')
  const tags = searchParams.getAll('tag')
  const { events: declared } = definitionOf(service.app)
  for (const type of types)
    if (!declared.has(type))
      throw new Problem('malformed', { detail: `there is no event type of this name. ${known(type, declared.keys())}` })
  const asked = call.header('last-event-id')
  const from = asked === undefined ? versionOf(searchParams.get('from'), 'from', 1) : versionOf(asked, 'Last-Event-ID', 0)! + 1
  if (principal) await service.authorize(principal, { kind: 'events', name: 'events' }, { from, types, tags }, tenant)
  const replica = service.ready()
  // What comes from now on is what comes after this answer was begun.
  const first = from ?? (await replica.digest(tenant)).version + 1
  service.openStream()
  const stop = AbortSignal.any([call.signal(), service.ending])
  const wanted = (event: LoggedEvent) =>
    (types.length === 0 || types.includes(event.type)) && (tags.length === 0 || event.tags.some(tag => tags.includes(tag)))
  const body = stream(
    signal => replica.events({ tenant, from: first, signal }),
    wanted,
    stop,
    service.pace,
    () => service.closeStream(),
  )
  return new Response(body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' } })
}

function versionOf(text: string | null, what: string, least: number): number | undefined {
  if (text === null) return undefined
  if (/^\d{1,15}$/.test(text) && Number(text) >= least) return Number(text)
  throw new Problem('malformed', { detail: `${what} is a version, a whole number from ${least}` })
}

function stream(
  open: (signal: AbortSignal) => AsyncIterator<LoggedEvent>,
  wanted: (event: LoggedEvent) => boolean,
  stop: AbortSignal,
  { heartbeat, stall }: Pace,
  ended: () => void,
): ReadableStream<Uint8Array> {
  const own = new AbortController()
  const source = open(own.signal)
  /** The client has room, and waits for an event. */
  let waiting = false
  let since = performance.now()
  let passed = 0
  let told = 0
  let timer: NodeJS.Timeout | undefined
  let over = false
  let gone = false
  let stopped = () => {}
  const end = () => {
    if (over) return
    over = true
    clearInterval(timer)
    stop.removeEventListener('abort', stopped)
    own.abort()
    ended()
  }
  return new ReadableStream<Uint8Array>({
    start(controller) {
      stopped = () => {
        end()
        // What is being waited for ends by itself.
        if (!waiting) controller.close()
      }
      stop.addEventListener('abort', stopped)
      controller.enqueue(bytes('retry: 1000\n\n'))
      timer = setInterval(() => {
        if (waiting) {
          // A filter may pass over many: whoever comes back need not begin before them.
          controller.enqueue(bytes(passed > told ? `:\nid: ${passed}\n\n` : ':\n\n'))
          told = passed
        } else if (performance.now() - since > stall) {
          end()
          controller.error(new Error('what was sent is not read'))
        }
      }, heartbeat).unref()
      if (stop.aborted) stopped()
    },
    async pull(controller) {
      waiting = true
      try {
        for (let skipped = 1; ; skipped++) {
          const { done, value } = await source.next()
          if (gone) return
          if (done || over) {
            end()
            controller.close()
            return
          }
          passed = value.version
          if (wanted(value)) {
            told = passed
            controller.enqueue(bytes(frame(value)))
            return
          }
          if (skipped % TURN === 0) await new Promise(setImmediate)
        }
      } catch (error) {
        end()
        throw error
      } finally {
        waiting = false
        since = performance.now()
      }
    },
    cancel() {
      gone = true
      end()
    },
  })
}

const encoder = new TextEncoder()
const bytes = (text: string) => encoder.encode(text)

/** JSON has no line breaks. */
const frame = (event: LoggedEvent): string => `id: ${event.version}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
