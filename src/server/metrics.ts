/** `GET /metrics`, for Prometheus. Labels come from closed sets alone: the app's commands, routes, codes, shards; no tenants, no ids. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Status } from '../replica.ts'

/** What is known at the moment of a scrape. */
export interface Moment {
  readonly ready: boolean
  readonly waiting: number
  readonly streams: number
  readonly status: Status | undefined
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

export class Metrics {
  readonly #registry = new Registry()
  readonly #commands: Counter
  readonly #seconds: Histogram
  readonly #requests: Counter
  readonly #gauges: { readonly [K in 'ready' | 'waiting' | 'streams' | 'version' | 'tenants' | 'halted' | 'lag' | 'lagSeconds']: Gauge }
  readonly #shards: { readonly [K in 'position' | 'term' | 'leads' | 'failed']: Gauge }
  readonly #totals: { readonly [K in 'records' | 'foreign' | 'refused' | 'conflicts']: Counter }

  constructor() {
    const registers = [this.#registry]
    const counter = (name: string, help: string, labelNames: string[] = []) => new Counter({ name, help, labelNames, registers })
    const gauge = (name: string, help: string, labelNames: string[] = []) => new Gauge({ name, help, labelNames, registers })
    this.#commands = counter('mainstem_commands_total', 'Commands answered: accepted, rejected, duplicate, or the code of an error.', [
      'command',
      'outcome',
    ])
    this.#seconds = new Histogram({
      name: 'mainstem_command_seconds',
      help: 'From a command whose head was read to its answer.',
      labelNames: ['command'],
      buckets: SECONDS,
      registers,
    })
    this.#requests = counter('mainstem_http_requests_total', 'Requests answered.', ['route', 'status'])
    this.#gauges = {
      ready: gauge('mainstem_ready', '1 if /readyz says yes.'),
      waiting: gauge('mainstem_requests_waiting', 'Requests on their way.'),
      streams: gauge('mainstem_event_streams', 'Clients of /events.'),
      version: gauge('mainstem_version', "The default tenant's version here."),
      lag: gauge('mainstem_lag_records', 'Positions between the end of the log, as last heard of, and what was read.'),
      lagSeconds: gauge('mainstem_lag_seconds', 'The age of what was read; nothing if it is not known.'),
      tenants: gauge('mainstem_tenants', 'Tenants met in this run.'),
      halted: gauge('mainstem_tenants_halted', 'Tenants that stopped, as their state contradicts the log.'),
    }
    this.#shards = {
      position: gauge('mainstem_position', 'How far the log was read.', ['shard']),
      term: gauge('mainstem_term', 'The number of the term.', ['shard']),
      leads: gauge('mainstem_leader', '1 if this replica leads.', ['shard']),
      failed: gauge('mainstem_failed', '1 if this replica can write or follow no more.', ['shard']),
    }
    this.#totals = {
      records: counter('mainstem_records_total', 'Records read in this run.'),
      foreign: counter('mainstem_foreign_total', 'Entries of the log without effect.'),
      refused: counter('mainstem_refused_total', "Own decisions that others' records beat."),
      conflicts: counter('mainstem_conflicts_total', 'Appends that the log refused.'),
    }
  }

  /** A command begins. To be called with how it ended. */
  command(name: string): (outcome: string) => void {
    const begun = performance.now()
    return outcome => {
      this.#commands.inc({ command: name, outcome })
      this.#seconds.observe({ command: name }, (performance.now() - begun) / 1_000)
    }
  }

  request(route: string, status: number): void {
    this.#requests.inc({ route, status })
  }

  async text({ ready, waiting, streams, status }: Moment): Promise<string> {
    const { version, tenants, halted, lag, lagSeconds, ...now } = this.#gauges
    now.ready.set(Number(ready))
    now.waiting.set(waiting)
    now.streams.set(streams)
    if (status) {
      const met = Object.values(status.tenants)
      version.set(status.tenants['default']?.version ?? 0)
      tenants.set(met.length)
      lag.set(status.lag.records)
      lagSeconds.set(status.lag.seconds ?? Number.NaN)
      halted.set(met.filter(tenant => tenant.status === 'halted').length)
      for (const { partition: shard, position, term, role, failure } of status.shards ?? [{ partition: 0, ...status }]) {
        this.#shards.position.set({ shard }, position)
        this.#shards.term.set({ shard }, term.number)
        this.#shards.leads.set({ shard }, Number(role === 'leader'))
        this.#shards.failed.set({ shard }, Number(failure !== null))
      }
      for (const key of ['records', 'foreign', 'refused', 'conflicts'] as const) {
        this.#totals[key].reset()
        this.#totals[key].inc(status[key])
      }
    }
    return this.#registry.metrics()
  }

  get type(): string {
    return this.#registry.contentType
  }
}
