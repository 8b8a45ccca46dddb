/**
 * A log that loses replies and records, delivers late and twice: every command is answered, once, and stands in the log once; reads see what
 * was acknowledged. Over all strategies, with a head that may be trusted and without, with conditional appends and without.
 */
import { describe, expect, onTestFinished, test } from 'vitest'
import { strategies } from '../../src/consistency.ts'
import { type Fault, MemoryFile, MemoryLog, type MemoryOptions } from '../../src/log/memory.ts'
import type { LoggedEvent, Replica } from '../../src/replica.ts'
import { openReplica } from '../../src/index.ts'
import { encodeControl } from '../../src/record.ts'
import type { NewRecord } from '../../src/log.ts'
import { Stopwatch } from '../support/clock.ts'
import { seeded } from '../../src/random.ts'
import shop from '../support/shop.ts'

const kinds = ['lost-reply', 'lost', 'late', 'doubled'] as const

/** Faults at random: of one kind, or all. */
function faults(kind: Fault | 'mixed', share: number, random: () => number): () => Fault {
  return () => {
    if (random() >= share) return 'none'
    return kind === 'mixed' ? kinds[Math.floor(random() * kinds.length)]! : kind
  }
}

interface Course extends MemoryOptions {
  readonly strategy: (typeof strategies)[number]
  readonly kind: Fault | 'mixed'
  readonly seed: number
  readonly replicas?: number
  readonly commands?: number
  readonly share?: number
}

/** Some replicas, each behind faults of its own; clients that pay, take, repeat themselves and read. */
async function run({
  strategy,
  kind,
  seed,
  conditional = true,
  freshHead = true,
  replicas: count = 3,
  commands = 120,
  share = 0.25,
}: Course): Promise<void> {
  const note = `seed ${seed}`
  const random = seeded(seed)
  const file = new MemoryFile()
  const replicas: Replica[] = []
  for (let n = 0; n < count; n++) {
    const log = new MemoryLog(`faulty-${n}`, file, {
      conditional,
      freshHead,
      lag: () => Math.floor(random() * 4),
      fault: faults(kind, share, random),
    })
    const replica = (await openReplica(shop, { log, strategy, timeout: 15_000 })) as unknown as Replica
    onTestFinished(() => replica.close())
    replicas.push(replica)
  }

  const accepted = new Map<string, number>()
  const rejected = new Map<string, string>()
  let paid = 0
  let begun = 0
  let n = 0
  let slowest = 0
  const timed = async <T>(call: Promise<T>): Promise<T> => {
    const start = performance.now()
    const result = await call
    slowest = Math.max(slowest, performance.now() - start)
    return result
  }
  const client = async (replica: Replica): Promise<void> => {
    while (n < commands) {
      const id = `c${n++}`
      const dice = random()
      if (dice < 0.15) {
        const before = paid
        const total = (await timed(replica.query('balance', { account: 'till' }, { read: 'linearizable' }))) as number
        expect(total, `${note}: a read missed what was acknowledged`).toBeGreaterThanOrEqual(before)
        expect(total, note).toBeLessThanOrEqual(begun)
      } else if (dice < 0.6) {
        begun++
        const answer = await timed(replica.execute('pay', { account: 'till', cents: 1 }, { id }))
        expect(answer, note).toMatchObject({ status: 'accepted' })
        // Only an attempt that comes late can be overtaken by the next one.
        if (kind !== 'late' && kind !== 'mixed') expect(answer, `${note}: ${id}`).toMatchObject({ duplicate: false })
        accepted.set(id, (answer as { version: number }).version)
        paid++
      } else if (dice < 0.9) {
        const answer = await timed(replica.execute('take', { account: 'purse', cents: 1 + Math.floor(random() * 9) }, { id }))
        if (answer.status === 'accepted') accepted.set(id, answer.version)
        else rejected.set(id, JSON.stringify(answer.details))
      } else {
        // The same command by two at once, on any replicas.
        const calls = [0, 1].map(() => replicas[Math.floor(random() * count)]!.execute('pay', { account: 'purse', cents: 10 }, { id }))
        const [one, two] = (await timed(Promise.all(calls))) as unknown as [
          { version: number; duplicate: boolean },
          { version: number; duplicate: boolean },
        ]
        expect(one.version, note).toBe(two.version)
        // Both may be the first: where two replicas write the same bytes in the same millisecond, one record answers both.
        accepted.set(id, one.version)
      }
    }
  }
  await Promise.all(replicas.flatMap(replica => [client(replica), client(replica), client(replica)]))

  // Everybody has the same, and it is what was told.
  const digests = new Set<string>()
  for (const replica of replicas) {
    await replica.query('total', undefined, { read: 'linearizable' })
    digests.add((await replica.digest()).digest)
    expect(await replica.sql('SELECT * FROM account WHERE cents < 0'), note).toEqual([])
  }
  expect(digests.size, note).toBe(1)
  const { version } = await replicas[0]!.digest()
  const events: LoggedEvent[] = []
  for await (const event of replicas[0]!.events({ from: 1 })) if (events.push(event) === version) break
  expect(new Map(events.map(event => [event.id, event.version])), note).toEqual(new Map([...accepted].sort(([, a], [, b]) => a - b)))
  expect(new Set(events.map(({ id }) => id)).size, note).toBe(events.length)
  for (const [id, details] of rejected) {
    const { has } = JSON.parse(details) as { has: number }
    expect(has, `${note}: ${id}`).toBeLessThan(9)
  }
  // Far below the deadline: nobody was forgotten.
  expect(slowest, note).toBeLessThan(5_000)
}

/** Something slips in right before an append: refused, read, and written at the second attempt. */
test.each<[what: string, record: (log: string) => NewRecord]>([
  ['bytes of nobody', () => ({ tenant: null, time: 0, value: new Uint8Array([1, 2, 3]) })],
  ['bytes of the tenant', () => ({ tenant: 'default', time: 0, value: new Uint8Array([1, 2, 3]) })],
  [
    'another term',
    log => ({ tenant: null, time: 0, value: encodeControl({ kind: 'term', log, time: 0, number: 1, owner: null, address: null }) }),
  ],
  [
    'a term that does not count',
    log => ({ tenant: null, time: 0, value: encodeControl({ kind: 'term', log, time: 0, number: 9, owner: null, address: null }) }),
  ],
  ['other rules', log => ({ tenant: null, time: 0, value: encodeControl({ kind: 'rules', log, time: 0, number: 2, window: 5 }) })],
  ['a barrier', log => ({ tenant: null, barrier: true, time: 0, value: encodeControl({ kind: 'barrier', log, time: 0, nonce: 'alien' }) })],
])('optimistic: %s slips in before an append', async (_, record) => {
  const file = new MemoryFile()
  let alien: NewRecord | undefined
  const fault = (): Fault => {
    if (alien) file.write(alien)
    alien = undefined
    return 'none'
  }
  const replica = await openReplica(shop, { log: new MemoryLog('', file, { fault }), timeout: 5_000 })
  onTestFinished(() => replica.close())
  await replica.execute('pay', { account: 'ann', cents: 1 })
  const { logId } = await replica.status()
  for (const tenant of ['default', 'red']) {
    alien = record(logId)
    expect(await replica.execute('pay', { account: 'ann', cents: 1 }, { tenant })).toMatchObject({ status: 'accepted', duplicate: false })
  }
})

test('leader: a term record that is lost is followed by another soon', async () => {
  const fates: Fault[] = ['none', 'lost', 'lost-reply']
  const log = new MemoryLog('', undefined, { fault: () => fates.shift() ?? 'none' })
  const replica = await openReplica(shop, { log, strategy: 'leader' })
  onTestFinished(() => replica.close())
  const watch = new Stopwatch()
  await replica.execute('pay', { account: 'ann', cents: 1 })
  expect(watch.stop().undisturbed).toBeLessThan(1_000)
  expect(fates).toEqual([])
})

const logs = [true, false].flatMap(freshHead => [true, false].map(conditional => ({ freshHead, conditional })))
const courses = strategies.flatMap(strategy =>
  logs.filter(({ conditional }) => conditional || strategy !== 'optimistic').map(log => ({ strategy, ...log })),
)

describe.each(courses)('$strategy, fresh head: $freshHead, conditional: $conditional', course => {
  test.each(kinds)('%s', async kind => run({ ...course, kind, seed: 1 }))
  test.each([2, 3, 4])('all faults, seed %d', async seed => run({ ...course, kind: 'mixed', seed }))
  test('every other append goes wrong', async () => run({ ...course, kind: 'mixed', seed: 5, share: 0.5, replicas: 2, commands: 60 }))
})
