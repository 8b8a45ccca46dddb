/** The machine of one replica by hand: its appends are written when the test says so. */
import { onTestFinished } from 'vitest'
import { definitionOf } from '../../src/app.ts'
import { type StrategyName, strategyOf } from '../../src/consistency.ts'
import { openStore } from '../../src/database/sqlite.ts'
import { prepare } from '../../src/decide.ts'
import type { EngineError } from '../../src/errors.ts'
import type { Appended } from '../../src/log.ts'
import { encodeControl, inputHash } from '../../src/record.ts'
import type { Input, Output, Read, Reply, Request } from '../../src/shard/protocol.ts'
import { Shard } from '../../src/shard.ts'
import shop from './shop.ts'

const HEADER = { log: 'log-1', time: 1 }

export class Bench {
  readonly #shard: Shard
  readonly replies: (Reply & { readonly id: string })[] = []
  readonly reads: { readonly read: Read; readonly error: EngineError | undefined }[] = []
  readonly forwarded: { readonly id: string; readonly to: string }[] = []
  /** Appends that wait for their answer. */
  appends: Extract<Output, { do: 'append' }>[] = []
  drained = false
  /** What beats tell beside who lives. */
  around: Partial<Extract<Input, { type: 'beats' }>> = {}
  now = 10_000
  #position = 1
  #beat = 0

  constructor(me: string, strategy: StrategyName = 'leader', freshHead = true) {
    this.#shard = new Shard({
      app: shop,
      strategy: strategyOf[strategy],
      me,
      address: `at ${me}`,
      release: 'test',
      place: 'here',
      freshHead,
      open: () => openStore(definitionOf(shop).database, ':memory:'),
      discard: () => {},
      random: () => 0.5,
      maxRecordBytes: 100_000,
    })
    onTestFinished(() => this.#shard.close())
    this.write(
      encodeControl({ kind: 'manifest', ...HEADER, app: 'shop', partitions: 1, partition: 0, rules: 1, window: 50, generation: 1 }),
    )
  }

  /** Somebody's record comes to stand in the log. */
  write(value: string, tenant: string | null = null): void {
    const position = this.#position++
    this.feed({ type: 'records', records: [{ position, value, tenant }], reached: position })
  }

  term(number: number, owner: string | null): void {
    this.write(encodeControl({ kind: 'term', ...HEADER, number, owner, address: owner === null ? null : `at ${owner}` }))
  }

  release(release: string, replaces: string | null): void {
    this.write(encodeControl({ kind: 'release', ...HEADER, release, replaces }))
  }

  feed(input: Parameters<Shard['step']>[2]): void {
    for (const output of this.#shard.step(this.now, 1, input)) {
      if (output.do === 'append') this.appends.push(output)
      if (output.do === 'reply') this.replies.push({ ...output.reply, id: output.request.id })
      if (output.do === 'ready') this.reads.push({ read: output.read, error: output.error })
      if (output.do === 'drained') this.drained = true
      if (output.do === 'forward') this.forwarded.push({ id: output.request.id, to: output.address })
    }
  }

  /** All appends so far are written, and read back. */
  settle(): void {
    const { appends } = this
    this.appends = []
    for (const { append, records } of appends) {
      const first = this.#position
      this.#position += records.length
      this.feed({ type: 'appended', append, answers: records.map((_, n) => ({ status: 'written', position: first + n })) })
      const stored = records.map(({ value, tenant }, n) => ({ position: first + n, value, tenant }))
      this.feed({ type: 'records', records: stored, reached: this.#position - 1 })
    }
  }

  /** No append so far is written, or nobody knows. */
  refuse(answer: Appended = { status: 'not-written' }): void {
    const { appends } = this
    this.appends = []
    for (const { append, records } of appends) this.feed({ type: 'appended', append, answers: records.map(() => answer) })
  }

  pay(id: string, tenant = 'default', forwarded = false): void {
    const input = { account: 'ann', cents: 1 }
    const request: Request = {
      tenant,
      command: 'pay',
      input,
      prepared: prepare(shop, 'pay', input),
      id,
      hash: inputHash('pay', input),
      deadline: this.now + 10_000,
      forwarded,
      fresh: false,
      done: false,
      inDoubt: false,
      conflicts: 0,
    }
    this.feed({ type: 'command', request })
    this.feed({ type: 'flush' })
  }

  read(): void {
    this.feed({ type: 'read', read: { tenant: 'default', level: 'linearizable', deadline: this.now + 10_000, done: false } })
    this.feed({ type: 'flush' })
  }

  /** Whether the machine would have something to do at once. */
  get restless(): boolean {
    return this.#shard.due !== undefined && this.#shard.due <= this.now
  }

  /** Time passes; all of these are alive. */
  pass(ms: number, alive: readonly string[], preferred?: string): void {
    for (const end = this.now + ms; this.now < end; this.now += 50) {
      const beats = new Map(alive.map(who => [who, ++this.#beat]))
      this.feed({ type: 'beats', ...this.around, beats, preferred })
      this.feed({ type: 'tick' })
      if (this.#shard.due !== undefined) this.feed({ type: 'flush' })
    }
  }

  /** What waits to be written, by kind. */
  get waiting(): string[] {
    return this.appends.flatMap(({ records }) =>
      records.map(({ value }) => {
        const { kind, owner } = JSON.parse(value as string) as { kind: string; owner?: string | null }
        return kind === 'term' ? `term of ${owner}` : kind
      }),
    )
  }
}
