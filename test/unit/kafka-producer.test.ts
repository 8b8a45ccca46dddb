/** The producer's machine, step by step: a script plays the cluster. What it asks for, and what it tells the writer, is compared. */
import { expect, test } from 'vitest'
import { decodeBatches } from '../../src/log/kafka/batch.ts'
import type { Append, Call, Input, Reply } from '../../src/log/kafka/lane.ts'
import { Producer, type ProducerOutput } from '../../src/log/kafka/producer.ts'
import type { Fencing } from '../../src/log/kafka/settings.ts'
import type { Appended, NewRecord } from '../../src/log.ts'

class Script {
  now = 1_000
  readonly answers = new Map<number, readonly Appended[]>()
  /** What was asked for and not yet replied to. */
  asked: { call: number; lane: ProducerOutput['lane']; request: Call }[] = []
  readonly #producer: Producer
  #keys = 0

  constructor(fencing: Fencing = 'epoch', version: 1 | 2 = 2, maxBatchBytes = 10_000) {
    const options = { transactionalId: 't', app: 'bank', random: () => 0.5 }
    this.#producer = new Producer({ ...options, fencing, version, maxBatchBytes })
  }

  append(options: Partial<Append> = {}, records: readonly NewRecord[] = [record('a')]): number {
    const key = ++this.#keys
    this.#step({ type: 'append', append: { key, records, after: undefined, fence: undefined, ...options } })
    return key
  }

  giveUp(key: number): void {
    this.#step({ type: 'give-up', key })
  }

  close(): void {
    this.#step({ type: 'close' })
  }

  /** The only request on its way, as 'api' and what matters of it. */
  next(): Call {
    expect(this.asked).toHaveLength(1)
    return this.asked[0]!.request
  }

  reply(reply: Reply): void {
    const { call, lane } = this.asked.shift()!
    this.#step({ type: 'reply', call, reply }, lane)
  }

  /** Lets time pass until the machine asks for something. */
  wait(): number {
    const from = this.now
    for (let i = 0; this.asked.length === 0; i++) {
      const { due } = this.#producer
      if (due === undefined || i > 100) throw new Error('it waits for nothing')
      this.now = Math.max(this.now, due)
      this.#step({ type: 'tick' })
    }
    return this.now - from
  }

  /** Who was fenced waits for who did it, and then for its turn. */
  yield(): void {
    expect(this.next().api).toBe('yield')
    this.reply({ error: 'NONE' })
    this.wait()
  }

  init(epoch = 0, producerId = 7n): void {
    expect(this.next().api).toBe('init')
    this.reply({ error: 'NONE', producerId, epoch })
  }

  produced(offset: number): Buffer {
    const request = this.next()
    if (request.api !== 'produce') throw new Error(`asked for ${request.api}`)
    this.reply({ error: 'NONE', offset })
    return request.batch
  }

  #step(input: Input, lane?: ProducerOutput['lane']): void {
    for (const output of this.#producer.step(this.now, input, lane)) {
      if (output.do === 'answer') this.answers.set(output.key, output.answers)
      else this.asked.push(output)
    }
  }
}

const record = (value: string, tenant: string | null = 'default'): NewRecord => ({ value, tenant, time: 1_700_000_000_000 })
const valuesOf = (batch: Buffer) =>
  decodeBatches(withOffset(batch, 0), { from: 0, aborted: [], committed: false }).records.map(({ value }) => String(value))
const withOffset = (batch: Buffer, offset: number) => {
  const copy = Buffer.from(batch)
  copy.writeBigInt64BE(BigInt(offset), 0)
  return copy
}
/** producer id, epoch, first sequence of a batch (record batch format, version 2). */
const identityOf = (batch: Buffer) => [batch.readBigInt64BE(43), batch.readInt16BE(51), batch.readInt32BE(53)]

test('what waits while a batch is on its way goes out in one', () => {
  const script = new Script()
  const keys = [script.append({}, [record('one')]), script.append({}, [record('two')]), script.append({}, [record('three')])]
  script.init()
  expect(valuesOf(script.produced(10))).toEqual(['one', 'two', 'three'])
  expect(keys.map(key => script.answers.get(key))).toEqual([11, 12, 13].map(position => [{ status: 'written', position }]))
  const next = script.append({}, [record('four')])
  expect(identityOf(script.produced(20))).toEqual([7n, 0, 3])
  expect(script.answers.get(next)).toEqual([{ status: 'written', position: 21 }])
})

test('a batch ends where the next record would not fit, and an append may be spread over several', () => {
  const script = new Script('epoch', 2, 2_800)
  const long = 'x'.repeat(1_000)
  const key = script.append({}, [record(`${long}1`), record(`${long}2`), record('3')])
  script.init()
  expect(valuesOf(script.produced(0))).toEqual([`${long}1`])
  expect(script.answers.has(key)).toBe(false)
  expect(valuesOf(script.produced(5))).toHaveLength(2)
  expect(script.answers.get(key)).toEqual([1, 6, 7].map(position => ({ status: 'written', position })))
})

test('after a lost answer the very same bytes are sent again', () => {
  const script = new Script()
  const key = script.append()
  script.init()
  const first = script.next()
  script.reply({ error: 'LOST' })
  expect(script.asked).toEqual([])
  expect(script.wait()).toBeGreaterThan(0)
  const again = script.next()
  expect(again.api === 'produce' && first.api === 'produce' && again.batch === first.batch).toBe(true)
  // What came later is not mixed in.
  script.append()
  script.produced(3)
  expect(script.answers.get(key)).toEqual([{ status: 'written', position: 4 }])
})

test('a refusal of the first sending is certain, one of a later sending is not', () => {
  const certain = new Script()
  const key = certain.append()
  certain.init()
  certain.reply({ error: 'NOT_ENOUGH_REPLICAS' })
  expect(certain.answers.get(key)).toMatchObject([{ status: 'not-written' }])
  // The sequence was not used.
  certain.append()
  certain.wait()
  expect(identityOf(certain.produced(1))).toEqual([7n, 0, 0])

  const doubtful = new Script()
  const other = doubtful.append()
  doubtful.init()
  doubtful.reply({ error: 'LOST' })
  doubtful.wait()
  doubtful.reply({ error: 'NOT_ENOUGH_REPLICAS' })
  expect(doubtful.answers.has(other)).toBe(false)
  doubtful.wait()
  expect(doubtful.next().api).toBe('produce')
  doubtful.reply({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
  expect(doubtful.answers.get(other)).toMatchObject([{ status: 'unknown' }])
  // Nothing follows under that identity.
  doubtful.append()
  doubtful.init(0, 8n)
  expect(identityOf(doubtful.produced(2))).toEqual([8n, 0, 0])
})

test('what could not even be sent was not written', () => {
  const script = new Script()
  const key = script.append()
  script.init()
  script.reply({ error: 'UNSENT' })
  expect(script.answers.get(key)).toMatchObject([{ status: 'not-written' }])
})

test('a batch that is too large is halved; a record that is too large never fits', () => {
  const script = new Script()
  const keys = [script.append({}, [record('one')]), script.append({}, [record('two')])]
  script.init()
  script.reply({ error: 'MESSAGE_TOO_LARGE' })
  expect(valuesOf(script.produced(0))).toEqual(['one'])
  script.reply({ error: 'MESSAGE_TOO_LARGE' })
  expect(script.answers.get(keys[0]!)).toMatchObject([{ status: 'written' }])
  expect(script.answers.get(keys[1]!)).toMatchObject([{ status: 'not-written', cause: { code: 'record-too-large' } }])
})

test('what waits can be given up, what has begun cannot', () => {
  const script = new Script()
  const begun = script.append()
  script.init()
  const waits = script.append()
  script.giveUp(begun)
  script.giveUp(waits)
  expect(script.answers.has(begun)).toBe(false)
  expect(script.answers.get(waits)).toMatchObject([{ status: 'not-written' }])
  script.close()
  expect(script.answers.get(begun)).toMatchObject([{ status: 'unknown' }])
  const late = script.append()
  expect(script.answers.get(late)).toMatchObject([{ status: 'not-written', fatal: true }])
})

test.each([
  ['plain', undefined],
  ['in transactions', 1],
])('%s: what is given up says why it was not written so far', (_, after) => {
  const script = new Script()
  const asked = after === undefined ? {} : { after }
  script.append(asked)
  script.init()
  const waits = script.append(asked)
  expect(script.next().api).toBe('produce')
  script.reply({ error: 'KAFKA_STORAGE_ERROR' })
  script.giveUp(waits)
  const message = "the cluster did not take it in time: the disk of the partition's leader is full or broken (KAFKA_STORAGE_ERROR)"
  expect(script.answers.get(waits)).toMatchObject([{ status: 'not-written', cause: { code: 'timeout', message } }])
})

// --- The fence by epoch ---------------------------------------------------------------------------------------------------------

test('epoch: a reign begins under an epoch of its own, with sequence 0', () => {
  const script = new Script('epoch')
  const early = script.append({ fence: 'hold' })
  expect(script.answers.get(early)).toEqual([{ status: 'not-written', fenced: true }])
  script.append({ fence: 'take' }, [record('term', null)])
  expect(script.next()).toMatchObject({ api: 'init', transactionalId: 't', producerId: -1n })
  script.init(4)
  script.append({ fence: 'hold' })
  const term = script.produced(9)
  expect(valuesOf(term)).toEqual(['term'])
  expect(identityOf(term)).toEqual([7n, 4, 0])
  expect(identityOf(script.produced(10))).toEqual([7n, 4, 1])
  // Another reign of the same replica.
  script.append({ fence: 'take' })
  script.init(6)
  expect(identityOf(script.produced(20))).toEqual([7n, 6, 0])
})

test('epoch: fenced at the first sending is not written, later it is unknown; either way the fence is lost', () => {
  for (const doubt of [false, true]) {
    const script = new Script('epoch')
    script.append({ fence: 'take' })
    script.init(4)
    script.produced(0)
    const key = script.append({ fence: 'hold' })
    if (doubt) {
      script.reply({ error: 'LOST' })
      script.wait()
    }
    script.reply({ error: 'INVALID_PRODUCER_EPOCH' })
    expect(script.answers.get(key)).toMatchObject([doubt ? { status: 'unknown' } : { status: 'not-written', fenced: true }])
    const next = script.append({ fence: 'hold' })
    expect(script.answers.get(next)).toEqual([{ status: 'not-written', fenced: true }])
  }
})

test('epoch: a coordinator that is busy is polled, and an epoch near its end is not used', () => {
  const script = new Script('epoch')
  script.append({ fence: 'take' })
  script.reply({ error: 'CONCURRENT_TRANSACTIONS' })
  expect(script.wait()).toBeLessThanOrEqual(5)
  script.reply({ error: 'NONE', producerId: 7n, epoch: 32_700 })
  script.init(0, 8n)
  expect(identityOf(script.produced(0))).toEqual([8n, 0, 0])
})

test('epoch: a claim that another one overtook withdraws; one that is denied says how to go on', () => {
  const script = new Script('epoch')
  const key = script.append({ fence: 'take' })
  script.reply({ error: 'PRODUCER_FENCED' })
  expect(script.answers.get(key)).toEqual([{ status: 'not-written', fenced: true }])
  const denied = script.append({ fence: 'take' })
  script.reply({ error: 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED' })
  expect(script.answers.get(denied)).toMatchObject([{ status: 'not-written', cause: { code: 'log-denied' } }])
  expect(String((script.answers.get(denied)![0] as { cause: Error }).cause)).toContain("fencing 'term'")
})

test('term: no transactional id is used', () => {
  const script = new Script('term')
  script.append({ fence: 'take' })
  expect(script.next()).toMatchObject({ api: 'init', transactionalId: null })
})

// --- Transactions ---------------------------------------------------------------------------------------------------------------

/** A transaction that is open, up to where its EndTxn or the look at its gap is asked for. */
function opened(options: { after: number; offset: number; version?: 1 | 2 }, records?: readonly NewRecord[]) {
  const script = new Script('transactions', options.version)
  const key = script.append({ after: options.after }, records)
  script.init(3)
  if (options.version === 1) {
    expect(script.next().api).toBe('add-partition')
    script.reply({ error: 'NONE' })
  }
  const batch = script.produced(options.offset)
  return { script, key, batch }
}

test('transactions: a batch that is too large goes in halves; afterwards, and behind what is too large alone, they are whole again', () => {
  const script = new Script()
  const append = (...values: string[]) => values.map(value => script.append({ after: 0 }, [record(value, value)]))
  const commit = (): string[] => {
    const values = valuesOf(script.produced(3))
    script.reply({ error: 'NONE', between: [] })
    script.reply({ error: 'NONE', producerId: 7n, epoch: 2 })
    expect(script.next().api).toBe('passed')
    script.reply({ error: 'NONE' })
    return values
  }
  const tooLarge = () => {
    script.reply({ error: 'MESSAGE_TOO_LARGE' })
    script.wait()
  }
  append('a', 'b', 'c', 'd')
  script.init()
  tooLarge()
  script.init(1)
  expect([commit(), commit()]).toEqual([
    ['a', 'b'],
    ['c', 'd'],
  ])
  for (let n = 0; n < 20; n++) {
    const [key] = append('large')
    tooLarge()
    expect(script.answers.get(key!)).toMatchObject([{ status: 'not-written', cause: { code: 'record-too-large' } }])
    script.init(1)
  }
  append('large')
  tooLarge()
  append('e', 'f', 'g', 'h')
  script.init(1)
  expect(commit()).toEqual(['e', 'f', 'g', 'h'])
})

test('transactions: where nothing can stand between base and record, nothing is looked at', () => {
  const { script, key, batch } = opened({ after: 5, offset: 5 })
  expect(batch.readInt16BE(21) & 0x10).toBe(0x10)
  expect(script.next()).toMatchObject({ api: 'end', commit: true, epoch: 3 })
  script.reply({ error: 'NONE', producerId: 7n, epoch: 4 })
  expect(script.answers.get(key)).toEqual([{ status: 'written', position: 6 }])
  // The next one waits until this one was read, and needs no init.
  script.append({ after: 7 })
  expect(script.next()).toEqual({ api: 'passed', position: 6 })
  script.reply({ error: 'NONE' })
  expect(identityOf(script.produced(7))).toEqual([7n, 4, 0])
})

test.each([
  ['a record of the same tenant', { tenant: 'default', barrier: false }, 'conflict'],
  ['a control record', { tenant: null, barrier: false }, 'conflict'],
  ['a barrier', { tenant: null, barrier: true }, 'written'],
  ['a record of another tenant', { tenant: 'globe', barrier: false }, 'written'],
] as const)('transactions: %s in the gap', (_, between, status) => {
  const { script, key } = opened({ after: 5, offset: 8 })
  expect(script.next()).toEqual({ api: 'gap', after: 5, before: 9 })
  script.reply({ error: 'NONE', between: [{ position: 7, ...between }] })
  expect(script.next()).toMatchObject({ api: 'end', commit: status === 'written' })
  script.reply({ error: 'NONE', producerId: 7n, epoch: 4 })
  expect(script.answers.get(key)).toMatchObject([{ status }])
})

test('transactions: they stand or fall whole, and only whose own tenant was written is in conflict', () => {
  const { script, key } = opened({ after: 5, offset: 8 }, [record('a'), record('b', 'globe')])
  script.reply({ error: 'NONE', between: [{ position: 7, tenant: 'globe', barrier: false }] })
  expect(script.answers.get(key)).toEqual([{ status: 'not-written' }, { status: 'conflict' }])
  expect(script.next()).toMatchObject({ api: 'end', commit: false })
})

test('transactions: a gap that could not be covered is not committed', () => {
  const { script, key } = opened({ after: 5, offset: 8 })
  script.reply({ error: 'LOST' })
  expect(script.answers.get(key)).toEqual([{ status: 'not-written' }])
  expect(script.next()).toMatchObject({ api: 'end', commit: false })
})

test.each(['LOST', 'CONCURRENT_TRANSACTIONS', 'NOT_COORDINATOR', 'UNKNOWN_SERVER_ERROR'])(
  'transactions: EndTxn answered with %s is unknown, is not sent again, and the transaction is ended under the own identity',
  error => {
    const { script, key } = opened({ after: 5, offset: 5 })
    script.reply({ error })
    expect(script.answers.get(key)).toMatchObject([{ status: 'unknown' }])
    // Also if nobody wants to write: nobody could read past it.
    script.wait()
    expect(script.next()).toMatchObject({ api: 'init', producerId: 7n, epoch: 3 })
    // Somebody else has taken over, and so has ended it: the id is not taken back without need.
    script.reply({ error: 'PRODUCER_FENCED' })
    expect(script.asked).toEqual([])
    script.append({ after: 9 })
    script.yield()
    expect(script.next()).toMatchObject({ api: 'init', producerId: -1n })
  },
)

test('transactions: EndTxn refused at its only sending, by a rival or the time-out, did not happen', () => {
  for (const error of ['PRODUCER_FENCED', 'INVALID_PRODUCER_EPOCH', 'INVALID_TXN_STATE']) {
    const { script, key } = opened({ after: 5, offset: 5 })
    script.reply({ error })
    expect(script.answers.get(key)).toMatchObject([{ status: 'not-written' }])
  }
})

test('transactions: whatever happens before EndTxn, nothing was written', () => {
  for (const error of [
    'LOST',
    'UNSENT',
    'NOT_LEADER_OR_FOLLOWER',
    'NOT_ENOUGH_REPLICAS',
    'PRODUCER_FENCED',
    'INVALID_TXN_STATE',
    'UNKNOWN_SERVER_ERROR',
  ]) {
    const script = new Script('transactions')
    const key = script.append({ after: 5 })
    script.init(3)
    script.reply({ error })
    expect(script.answers.get(key)).toMatchObject([{ status: 'not-written' }])
    script.append({ after: 5 })
    if (error === 'PRODUCER_FENCED') script.yield()
    else script.wait()
    // Never on under an identity of which a request may still be on its way.
    expect(script.next().api).toBe('init')
  }
})

test('transactions: a coordinator that is busy with the last one is asked again', () => {
  const script = new Script('transactions')
  const key = script.append({ after: 5 })
  script.init(3)
  script.reply({ error: 'CONCURRENT_TRANSACTIONS' })
  script.wait()
  script.produced(5)
  expect(script.next().api).toBe('end')
  expect(script.answers.has(key)).toBe(false)
})

test('transactions v1: each begins with an identity of its own; a reign keeps its fence with it', () => {
  const { script } = opened({ after: 5, offset: 5, version: 1 })
  script.reply({ error: 'NONE' })
  script.reply({ error: 'NONE' })
  script.append({ after: 7 })
  expect(script.next()).toMatchObject({ api: 'init', producerId: -1n })

  const reign = new Script('transactions', 1)
  reign.append({ fence: 'take' })
  reign.init(3)
  reign.reply({ error: 'NONE' })
  reign.produced(0)
  reign.reply({ error: 'NONE' })
  reign.reply({ error: 'NONE' })
  reign.append({ fence: 'hold' })
  expect(reign.next()).toMatchObject({ api: 'init', producerId: 7n, epoch: 3 })
  reign.reply({ error: 'PRODUCER_FENCED' })
  const key = reign.append({ fence: 'hold' })
  expect(() => reign.wait()).toThrow('waits for nothing')
  expect(reign.answers.get(key)).toEqual([{ status: 'not-written', fenced: true }])
})

test('transactions: one that was fenced lets who did it commit something, and keeps away, longer each time', () => {
  const waits = (turn: number): number[] => {
    const script = new Script('transactions')
    return [0, 1, 2].map(i => {
      if (i === 0) script.append({ after: 5 })
      script.init(3 + i)
      script.reply({ error: 'INVALID_PRODUCER_EPOCH' })
      script.append({ after: 5 })
      expect(script.next()).toEqual({ api: 'yield', after: 0, patience: 1_000 })
      script.now += turn
      script.reply({ error: 'NONE' })
      return script.wait()
    })
  }
  // It was seen already what the other has committed: that one had its turn.
  expect(waits(0)).toEqual([2, 4, 8])
  expect(waits(10)).toEqual([32, 64, 128])
})

test('transactions: what one that is fenced waits for is a record behind its own last one', () => {
  const script = new Script('transactions')
  script.append({ after: 5 }, [record('a'), record('b')])
  script.init()
  script.reply({ error: 'NONE', offset: 5 })
  script.reply({ error: 'NONE', producerId: 7n, epoch: 1 })
  expect(script.next().api).toBe('passed')
  script.reply({ error: 'NONE' })
  script.append({ after: 7 })
  script.reply({ error: 'NONE', offset: 8 })
  script.reply({ error: 'NONE', between: [] })
  script.reply({ error: 'PRODUCER_FENCED' })
  script.now += 300
  script.append({ after: 7 })
  expect(script.next()).toEqual({ api: 'yield', after: 7, patience: 700 })
})
