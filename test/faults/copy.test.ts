/**
 * Copies of logs with one shard or several: that they hold all of it, whatever comes in between. A log that counts what is asked of it, and
 * fails at one of the calls, stands for a process that was killed there: the same call is made again, with the same logs.
 */
import { randomUUID } from 'node:crypto'
import { existsSync, linkSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Copied, type CopyTarget, copyLog } from '../../src/log/copy.ts'
import { LogFold, stored } from '../../src/log/fold.ts'
import { type Fault, MemoryFile, MemoryLog, MemoryLogs, type MemoryOptions } from '../../src/log/memory.ts'
import { openLogs } from '../../src/log/open.ts'
import { openTarget } from '../../src/log/target.ts'
import type { AppendOptions, Appended, Chunk, Log, NewRecord, Position, ReadOptions } from '../../src/log.ts'
import { partitionOf } from '../../src/partition.ts'
import { decode, encodeControl, encodeDecision, encodeRecord } from '../../src/record.ts'
import { openReplica, type Replica } from '../../src/replica.ts'
import { decision, Fold, manifest, uuidAt } from '../oracle/fold.ts'
import { seeded } from '../../src/random.ts'
import { asKafka, shardFiles, temporaryFolder } from '../support/logs.ts'
import shop from '../support/shop.ts'

const LOG = '5a3c21e6-94b4-4d55-a5a7-0f4f35a1d0aa'
const tenants = ['default', 'acme', 'globe', 'initech', 'umbrella', 'hooli', 'stark']

/** A log of one shard with all that may stand there: seven tenants, terms, a release, barriers, a doubled record, foreign ones. */
function history(count: number): NewRecord[] {
  const folds = new Map<string, Fold>()
  const records: NewRecord[] = []
  const control = (value: string) => {
    for (const fold of folds.values()) fold.take(value)
    records.push({ value, tenant: null, time: 1 })
  }
  const first = encodeControl(manifest({ log: LOG, app: 'shop', time: 1, window: 1_000 }))
  for (const tenant of tenants) {
    const fold = new Fold()
    fold.take(first)
    folds.set(tenant, fold)
  }
  records.push({ value: first, tenant: null, time: 1 })
  for (let n = 1; n <= count; n++) {
    const tenant = tenants[(n * 5) % 7]!
    const fold = folds.get(tenant)!
    const events = [{ type: 'Sold', schema: 1, data: { n } }]
    const record = fold.data([decision(uuidAt(1_700_000_000_000 + n, n), [`seat:${n % 9}`], { command: 'sell', events })], {
      tenant,
      time: n,
    })
    const value = encodeRecord(record, record.decisions.map(encodeDecision))
    fold.take(value)
    records.push({ value, tenant, time: n })
    if (n % 11 === 0) records.push({ value, tenant, time: n })
    if (n % 13 === 0)
      records.push({ value: n % 2 ? `stranger ${n}` : new Uint8Array([0, 255, n & 255]), tenant: n % 3 ? tenant : null, time: 0 })
    if (n % 17 === 0) control(encodeControl({ kind: 'barrier', log: LOG, time: n, nonce: `n${n}` }))
    if (n % 29 === 0) control(encodeControl({ kind: 'term', log: LOG, time: n, number: n / 29, owner: null, address: null }))
    if (n === 40) control(encodeControl({ kind: 'forget', log: LOG, time: n, before: 1_600_000_000_000 }))
  }
  return records
}

function fileOf(records: readonly NewRecord[]): MemoryFile {
  const file = new MemoryFile()
  for (const record of records) file.write(record)
  return file
}

/** What the fold makes of a log: per tenant version and digest, and all shards' states. */
async function foldOf(shards: readonly Log[]) {
  const folded: Record<string, readonly [number, string]> = {}
  const states = []
  for (const shard of shards) {
    const fold = new LogFold()
    for await (const each of stored(shard)) fold.take(each)
    for (const [name, { state }] of fold.tenants) {
      expect(folded[name], `${name} lives twice`).toBeUndefined()
      folded[name] = [state.version, state.digest]
    }
    states.push(fold.shard)
  }
  return { folded, states }
}

const valuesOf = async (log: Log) => {
  const values: string[] = []
  for await (const { value, tenant } of stored(log))
    values.push(`${tenant} ${typeof value === 'string' ? value : Buffer.from(value).toString('hex')}`)
  return values
}

/** Records in a chunk. */
const FEW = 15

class Cut extends Error {}

/** Calls of all logs that share it; the one of this number fails, before or behind what it does, and so do all after it: the process is gone. */
class Knife {
  calls = 0
  readonly #at: number
  readonly #behind: boolean

  constructor(at = Number.POSITIVE_INFINITY, behind = false) {
    this.#at = at
    this.#behind = behind
  }

  async cut<T>(work: () => Promise<T>): Promise<T> {
    const call = ++this.calls
    if (call > this.#at || (call === this.#at && !this.#behind)) throw new Cut()
    const result = await work()
    if (call === this.#at) throw new Cut()
    return result
  }
}

class Watched implements Log {
  readonly #log: Log
  readonly #knife: Knife
  constructor(log: Log, knife: Knife) {
    this.#log = log
    this.#knife = knife
  }
  get description() {
    return this.#log.description
  }
  get place() {
    return this.#log.place
  }
  get conditional() {
    return this.#log.conditional
  }
  get freshHead() {
    return this.#log.freshHead
  }
  get selective() {
    return this.#log.selective
  }
  get tails() {
    return this.#log.tails
  }
  read(after: Position | (() => Position), options?: ReadOptions): Promise<Chunk> {
    return this.#knife.cut(async () => {
      const chunk = await this.#log.read(after, options)
      // Few at a time, so that there are many moments to be cut off at.
      const records = chunk.records.slice(0, FEW)
      return { records, reached: chunk.records.length > FEW ? records.at(-1)!.position : chunk.reached }
    })
  }
  append(records: readonly NewRecord[], options?: AppendOptions): Promise<readonly Appended[]> {
    return this.#knife.cut(() => this.#log.append(records, options))
  }
  head(): Promise<Position> {
    return this.#knife.cut(() => this.#log.head())
  }
  async close() {}
}

interface Stage {
  readonly sources: readonly MemoryFile[]
  readonly targets: readonly MemoryFile[]
  readonly options: MemoryOptions
  readonly faults?: MemoryOptions
}

/** A call in a process of its own. */
async function copy({ sources, targets, options, faults = {} }: Stage, knife = new Knife(), begun = true): Promise<Copied> {
  const open = (files: readonly MemoryFile[], name: string, more: MemoryOptions = {}) =>
    files.map((file, n) => new Watched(new MemoryLog(`${name}${n}`, file, { ...options, ...more }), knife))
  const target: CopyTarget = {
    name: 'memory:target',
    description: 'memory:target',
    shards: open(targets, 'target', faults),
    state: begun ? 'begun' : 'new',
    begin: async () => {},
  }
  return copyLog({ description: 'memory:source', shards: open(sources, 'source') }, target, { patience: 20 })
}

const logsOf = (files: readonly MemoryFile[]) => files.map((file, n) => new MemoryLog(String(n), file))
const empty = (count: number) => Array.from({ length: count }, () => new MemoryFile())

async function expectWhole(stage: Stage, before: Awaited<ReturnType<typeof foldOf>>, generation = 2): Promise<void> {
  const after = await foldOf(logsOf(stage.targets))
  expect(after.folded).toEqual(before.folded)
  for (const [partition, state] of after.states.entries()) {
    const former = before.states[stage.sources.length === 1 ? 0 : partition]!
    expect(state).toEqual({ ...former, generation, partitions: stage.targets.length, partition, sealed: false })
  }
  for (const [partition, file] of stage.targets.entries())
    for (const { tenant } of file.entries) if (tenant !== null) expect(partitionOf(tenant, stage.targets.length)).toBe(partition)
}

describe.each<[what: string, options: MemoryOptions]>([
  ['logs that know their end', {}],
  ['logs that promise no more than Kafka', { ...asKafka, lag: () => 0 }],
])('between %s, a copy', (_, options) => {
  it('splits a log by its tenants, and holds every record that is not nobody’s once', async () => {
    const records = history(300)
    const stage = { sources: [fileOf(records)], targets: empty(4), options }
    const before = await foldOf(logsOf(stage.sources))
    expect(Object.keys(before.folded)).toHaveLength(tenants.length)
    const copied = await copy(stage, new Knife(), false)
    await expectWhole(stage, before)
    expect(copied).toMatchObject({ log: LOG, generation: 2, found: 0, sealedAt: [stage.sources[0]!.last()] })
    const [, ...all] = records
    for (const [partition, file] of stage.targets.entries()) {
      const values = file.entries.map(({ value }) => value)
      const own = all.filter(({ value, tenant }) =>
        tenant === null ? partition === 0 || decode(value).kind !== 'foreign' : partitionOf(tenant, 4) === partition,
      )
      expect(values.slice(1)).toEqual(own.map(({ value }) => value))
    }
    // Four shards go on to four others.
    const next = { sources: stage.targets, targets: empty(4), options }
    await copy(next, new Knife(), false)
    await expectWhole(next, { ...before, states: (await foldOf(logsOf(stage.targets))).states }, 3)
    for (const partition of [0, 1, 2, 3]) {
      const values = await valuesOf(logsOf(next.targets)[partition]!)
      expect(values.slice(1)).toEqual((await valuesOf(logsOf(stage.targets)[partition]!)).slice(1, -1))
    }
  })

  it.each([
    ['one to one', 1, 1],
    ['a split', 1, 3],
    ['three shards', 3, 3],
  ])('%s that is cut off at any call, before or behind it, is finished by the same call', async (_, from, to) => {
    const make = async (): Promise<Stage> => {
      const whole = { sources: [fileOf(history(60))], targets: empty(from), options }
      if (from > 1) await copy(whole)
      return { sources: from > 1 ? whole.targets : whole.sources, targets: empty(to), options }
    }
    const whole = await make()
    const before = await foldOf(logsOf(whole.sources))
    const generation = from > 1 ? 3 : 2
    const knife = new Knife()
    await copy(whole, knife)
    expect(knife.calls).toBeGreaterThan(10)
    for (let at = 1; at <= knife.calls; at++) {
      for (const behind of [false, true]) {
        const stage = await make()
        await expect(copy(stage, new Knife(at, behind)), `call ${at}`).rejects.toThrow(Cut)
        // And once more, somewhere else.
        await copy(stage, new Knife(1 + ((at * 7) % knife.calls), !behind)).catch((error: unknown) => expect(error).toBeInstanceOf(Cut))
        await copy(stage)
        await expectWhole(stage, before, generation)
      }
    }
  })

  it.each([1, 2, 3, 4, 5, 6])('whose appends get lost, come late, twice or without an answer holds all the same (seed %i)', async seed => {
    const random = seeded(seed)
    const faults: Fault[] = ['none', 'none', 'lost-reply', 'lost', 'late', 'doubled']
    const stage: Stage = {
      sources: [fileOf(history(150))],
      targets: empty(3),
      options,
      faults: { fault: () => faults[Math.floor(random() * faults.length)]! },
    }
    const before = await foldOf(logsOf(stage.sources))
    for (let calls = 0; ; calls++) {
      const done = await copy(stage).then(
        () => true,
        (error: Error) => {
          expect(error.message).toMatch(/could not be written/)
          return false
        },
      )
      if (done) break
      expect(calls).toBeLessThan(20)
    }
    // What comes late may still come.
    for (const file of stage.targets) for (const record of file.late.splice(0)) file.write(record)
    const after = await foldOf(logsOf(stage.targets))
    expect(after.folded).toEqual(before.folded)
  })

  it('under live writers loses nothing that was acknowledged, and they are told that the log is sealed', async () => {
    const sources = shardFiles('shop', 3)
    const open = () => new MemoryLogs('live', sources, options)
    const replicas = await Promise.all([1, 2].map(() => openReplica(shop, { log: open(), strategy: 'first-wins' })))
    for (const replica of replicas) onTestFinished(() => replica.close())
    const names = ['acme', 'globe', 'initech', 'umbrella', 'hooli']
    const acknowledged = new Map<string, number>()
    const ends = replicas.flatMap((replica, r) =>
      names.map(async tenant => {
        for (let n = 0; ; n++) {
          try {
            const outcome = await replica.execute('pay', { account: `${r}-${n}`, cents: 1 }, { tenant })
            if (outcome.status === 'accepted') acknowledged.set(tenant, (acknowledged.get(tenant) ?? 0) + 1)
          } catch (error) {
            return (error as { code: string }).code
          }
        }
      }),
    )
    await expect.poll(() => acknowledged.size, { timeout: 20_000 }).toBe(names.length)
    const stage = { sources, targets: empty(3), options }
    await copy(stage, new Knife(), false)
    expect(new Set(await Promise.all(ends))).toEqual(new Set(['log-sealed']))
    const { folded } = await foldOf(logsOf(stage.targets))
    for (const tenant of names) {
      expect(acknowledged.get(tenant)!).toBeGreaterThan(0)
      expect(folded[tenant]![0]).toBe(acknowledged.get(tenant))
    }
    expect(folded).toEqual((await foldOf(logsOf(sources))).folded)
    // They switch.
    const replica = await openReplica(shop, { log: new MemoryLogs('next', stage.targets, options), strategy: 'first-wins' })
    onTestFinished(() => replica.close())
    const { version } = (await replica.execute('pay', { account: 'new', cents: 1 }, { tenant: 'acme' })) as { version: number }
    expect(version).toBe(acknowledged.get('acme')! + 1)
  })

  it('lets the leader of the sealed log go at once', async () => {
    const sources = shardFiles('shop', 1)
    const replica = await openReplica(shop, { log: new MemoryLogs('led', sources, options), strategy: 'leader' })
    onTestFinished(() => replica.close())
    await replica.execute('pay', { account: 'a', cents: 1 })
    await copy({ sources, targets: empty(1), options }, new Knife(), false)
    await expect(replica.execute('pay', { account: 'a', cents: 1 })).rejects.toMatchObject({ code: 'log-sealed' })
    const before = performance.now()
    await replica.close()
    expect(performance.now() - before).toBeLessThan(5_000)
  })

  it('tells what does not fit before it seals anything', async () => {
    const whole = fileOf(history(50))
    const unsealed = async (files: readonly MemoryFile[]) =>
      expect((await foldOf(logsOf(files))).states.some(({ sealed }) => sealed)).toBe(false)
    // Something else stands there.
    const strange = { sources: [whole], targets: [new MemoryFile(), fileOf(history(3))], options }
    await expect(copy(strange)).rejects.toMatchObject({
      code: 'log-unusable',
      message: expect.stringMatching(/holds something else/) as string,
    })
    await unsealed([whole])
    // More than the source has.
    const longer = { sources: [fileOf(history(20))], targets: empty(1), options }
    await copy({ ...longer, sources: [fileOf(history(21))] })
    await expect(copy(longer)).rejects.toMatchObject({ code: 'log-unusable' })
    if (options.freshHead !== false) await unsealed(longer.sources)
    // Shards cannot be merged, nor split anew; half a log is none.
    const four = { sources: [fileOf(history(20))], targets: empty(4), options }
    await copy(four)
    for (const targets of [1, 2, 5])
      await expect(copy({ sources: four.targets, targets: empty(targets), options })).rejects.toMatchObject({
        code: 'invalid-option',
        message: expect.stringMatching(/4 shards, memory:target \d: shards are copied one to one/) as string,
      })
    await expect(copy({ sources: [four.targets[1]!], targets: empty(1), options })).rejects.toMatchObject({
      message: expect.stringMatching(/is not whole: it holds the manifest of shard 1 of 4/) as string,
    })
    await unsealed(four.targets)
    await expect(copy({ sources: [new MemoryFile()], targets: empty(1), options })).rejects.toMatchObject({
      message: expect.stringMatching(/holds no manifest/) as string,
    })
    // A second copy.
    await expect(copy({ ...four, targets: empty(4) })).rejects.toMatchObject({
      code: 'log-sealed',
      message: expect.stringMatching(/It is memory:target/) as string,
    })
  })
})

describe('files', () => {
  const foldFile = async (setting: string) => {
    const logs = await openLogs(setting)
    try {
      return await foldOf(logs.shards)
    } finally {
      await logs.close()
    }
  }
  /** A log in a file, with this many records. */
  async function makeFile(path: string, count: number): Promise<void> {
    const { shards, close } = await openLogs(`file:${path}`)
    await shards[0]!.append(history(count))
    await close()
  }
  const copyFiles = async (from: string, to: string, partitions: number) => {
    const source = await openLogs(from)
    try {
      const target = await openTarget(to, {
        log: LOG,
        app: 'shop',
        place: source.shards[0]!.place,
        shards: source.shards.length,
        partitions,
      })
      try {
        const copied = await copyLog(source, target)
        await target.finish()
        return copied
      } finally {
        await target.close()
      }
    } finally {
      await source.close()
    }
  }

  it('are one log, in which a replica finds what its databases were built from', async () => {
    const folder = temporaryFolder()
    const [one, many, again] = ['one.log', 'many-{}.log', 'again-{}.log'].map(name => `file:${join(folder, name)}`) as [
      string,
      string,
      string,
    ]
    const data = join(folder, 'data')
    const names = ['acme', 'globe', 'initech', 'umbrella']
    const use = async (log: string, work: (replica: Replica) => Promise<void>) => {
      const replica = await openReplica(shop, { log, data })
      try {
        await work(replica)
      } finally {
        await replica.close()
      }
    }
    const digests: Record<string, unknown> = {}
    await use(one, async replica => {
      for (const tenant of names) await replica.execute('pay', { account: tenant, cents: 3 }, { tenant, id: `id-${tenant}` })
      for (const tenant of names) digests[tenant] = await replica.digest(tenant)
    })
    const { log } = (await foldFile(one)).states[0]!
    const move = async (from: string, to: string) => {
      const source = await openLogs(from)
      const target = await openTarget(to, {
        log: log!,
        app: 'shop',
        place: source.shards[0]!.place,
        shards: source.shards.length,
        partitions: 3,
      })
      await copyLog(source, target)
      await target.finish()
      await source.close()
    }
    await move(one, many)
    await use(many, async replica => {
      for (const tenant of names) expect(await replica.digest(tenant)).toEqual(digests[tenant])
      // A repeat is answered from before.
      expect(await replica.execute('pay', { account: 'acme', cents: 3 }, { tenant: 'acme', id: 'id-acme' })).toMatchObject({
        duplicate: true,
        version: 1,
      })
      for (const tenant of names) await replica.execute('pay', { account: tenant, cents: 4 }, { tenant })
      expect((await replica.status()).shards).toHaveLength(3)
      for (const tenant of names) digests[tenant] = await replica.digest(tenant)
    })
    await move(many, again)
    await use(again, async replica => {
      for (const tenant of names) expect(await replica.digest(tenant)).toEqual(digests[tenant])
    })
  })

  it('get their names when all is there, the first one last, and a call that is cut off in between finds them', async () => {
    const folder = temporaryFolder()
    const from = `file:${join(folder, 'a.log')}`
    const to = `file:${join(folder, 'b-{}.log')}`
    const path = (n: number, end = '') => join(folder, `b-${n}.log${end}`)
    await makeFile(join(folder, 'a.log'), 80)
    await copyFiles(from, to, 3)
    const before = await foldFile(to)
    expect(existsSync(path(0, '.copying'))).toBe(false)
    // As it would be if it had been cut off behind the second, and within the last.
    renameSync(path(1), path(1, '.copying'))
    renameSync(path(0), path(0, '.copying'))
    await expect(openLogs(to)).rejects.toMatchObject({
      code: 'log-unusable',
      message: expect.stringMatching(/there is no log at .*b-0\.log/) as string,
    })
    linkSync(path(1, '.copying'), path(1))
    expect(await copyFiles(from, to, 3)).toMatchObject({ generation: 2 })
    expect(await foldFile(to)).toEqual(before)
    // Once more: it is there. Another log is not.
    const copied = await copyFiles(from, to, 3)
    expect(copied.found).toBe(copied.records)
    await makeFile(join(folder, 'c.log'), 80)
    await expect(copyFiles(`file:${join(folder, 'c.log')}`, to, 3)).rejects.toMatchObject({
      message: expect.stringMatching(/there is a log at .* already/) as string,
    })
    renameSync(path(2), path(7))
    await expect(openLogs(to)).rejects.toMatchObject({
      message: expect.stringMatching(/has 3 shards, but there is no file .*b-2\.log/) as string,
    })
  })

  it('are no log yet when one of them could not get its name', async () => {
    const folder = temporaryFolder()
    await makeFile(join(folder, 'a.log'), 30)
    const source = await openLogs(`file:${join(folder, 'a.log')}`)
    onTestFinished(() => source.close())
    const to = `file:${join(folder, 'b-{}.log')}`
    const target = await openTarget(to, { log: LOG, app: 'shop', place: source.shards[0]!.place, shards: 1, partitions: 3 })
    await copyLog(source, target)
    writeFileSync(join(folder, 'b-1.log'), '')
    await expect(target.finish()).rejects.toMatchObject({ code: 'invalid-option' })
    await target.close()
    expect(existsSync(join(folder, 'b-2.log'))).toBe(true)
    expect(existsSync(join(folder, 'b-0.log'))).toBe(false)
    await copyFiles(`file:${join(folder, 'a.log')}`, to, 3)
    expect((await foldFile(to)).folded).toEqual((await foldFile(`file:${join(folder, 'a.log')}`)).folded)
  })

  it('are named by one pair of braces, in the name of the file', async () => {
    for (const path of ['a-{}-{}.log', '{}/a.log', join(randomUUID(), '{}', 'a.log')])
      await expect(openLogs(`file:${path}`)).rejects.toMatchObject({
        code: 'invalid-option',
        message: expect.stringMatching(/\{\} stands once/) as string,
      })
  })
})
