/** Calls where a replica runs on the data directory: they go through its socket, and whatever it says ends them as it should. */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { EngineError, type ErrorCode, errorKinds } from '../../src/errors.ts'
import { socketPath } from '../../src/replica/data.ts'
import { type Handler, LinkServer } from '../../src/replica/link.ts'
import { json, jsonLines, mainstem, makeFolder, ok, root, seats, start, startReplica } from './support.ts'

const input = (seat: string) => JSON.stringify({ seat, guest: 'Ann' })

describe.concurrent('a replica that runs', () => {
  it('takes the calls, and no app is needed for them', async () => {
    const cwd = makeFolder()
    const log = `file:${join(cwd, 'seats.log')}`
    const { child, ended } = await startReplica({ log, data: join(cwd, 'data') })
    const there = ['--data', 'data']
    expect(await json(['exec', 'reserve', input('A1'), ...there], { cwd })).toMatchObject({ status: 'accepted', version: 1 })
    const again = await mainstem(['exec', 'reserve', input('A1'), ...there], { cwd })
    expect(again).toMatchObject({ code: 3, stdout: 'rejected  seat-taken  {"seat":"A1"}\n' })
    expect(await json(['query', 'taken', ...there], { cwd })).toEqual([{ seat: 'A1', guest: 'Ann' }])
    expect(await jsonLines(['sql', 'SELECT seat FROM sale', ...there, '--read', 'linearizable'], { cwd })).toEqual([{ seat: 'A1' }])
    const bytes = ['sql', `SELECT x'00FF' AS b, 'text' AS t`, ...there]
    expect(await jsonLines(bytes, { cwd })).toEqual([{ b: '00FF', t: 'text' }])
    expect(await ok(bytes, { cwd })).toMatch(/^x'00FF' +text$/m)
    const status = await json(['status', ...there], { cwd })
    expect(status).toMatchObject({ running: true, databases: 1, app: 'seats', role: 'writer', tenants: { default: { version: 1 } } })
    expect(await ok(['status', ...there], { cwd })).toMatch(/running as writer \(optimistic\)/)
    const wrong = await mainstem(['exec', 'reserve', '{"seat":1}', ...there], { cwd })
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringMatching(/^error invalid-input: /) as string })
    child.kill('SIGTERM')
    await ended
    const gone = await mainstem(['query', 'taken', ...there], { cwd })
    expect(gone).toMatchObject({ code: 2, stderr: expect.stringMatching(/^error usage: which app\?/) as string })
    expect(await json(['query', 'taken', ...there, '--app', seats, '--log', log], { cwd })).toHaveLength(1)
  })

  it('of another app or log than was named is refused', async () => {
    const cwd = makeFolder()
    await startReplica({ log: `file:${join(cwd, 'seats.log')}`, data: join(cwd, 'data') })
    const app = await mainstem(['query', 'stock', '--data', 'data', '--app', join(root, 'examples/warehouse.ts')], { cwd })
    expect(app).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error invalid-option: the replica that runs on data is of the app seats, not of warehouse/) as string,
    })
    await ok(['exec', 'reserve', input('B1'), '--app', seats, '--log', 'file:other.log', '--data', 'other'], { cwd })
    const log = await mainstem(['exec', 'reserve', input('A1'), '--data', 'data', '--log', 'file:other.log'], { cwd })
    expect(log).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error invalid-option: .*is of the log file:.*seats\.log, not of file:other\.log/) as string,
    })
    expect(await json(['query', 'taken', '--data', 'data'], { cwd })).toEqual([])
  })

  it('may be a follower: the command goes on to the leader', async () => {
    const cwd = makeFolder()
    const log = `file:${join(cwd, 'seats.log')}`
    const leader = await startReplica({ log, data: join(cwd, 'one'), strategy: 'leader' })
    expect(await json(['exec', 'reserve', input('A1'), '--data', 'one'], { cwd })).toMatchObject({ version: 1 })
    // This call opens a replica of its own, which passes the command on.
    expect(await json(['exec', 'reserve', input('A2'), '--data', 'two', '--app', seats, '--log', log], { cwd })).toMatchObject({
      version: 2,
    })
    leader.child.kill('SIGTERM')
    await leader.ended
  })

  it('that was stopped does not keep a call waiting for ever', async () => {
    const cwd = makeFolder()
    const { child } = await startReplica({ log: `file:${join(cwd, 'seats.log')}`, data: join(cwd, 'data') })
    child.kill('SIGSTOP')
    const call = await mainstem(['query', 'taken', '--data', 'data', '--timeout', '200ms'], { cwd })
    expect(call).toMatchObject({
      code: 5,
      stderr: expect.stringMatching(/^error not-ready: a replica runs on data, but does not answer/) as string,
    })
    child.kill('SIGCONT')
    expect(await json(['query', 'taken', '--data', 'data'], { cwd })).toEqual([])
  })

  it('may be the one that another call opened for a moment', async () => {
    const cwd = makeFolder()
    // One after the other has the directory, and the last one waits for all of them.
    const calls = Array.from({ length: 6 }, (_, index) =>
      json(['exec', 'reserve', input(`A${index}`), '--app', seats, '--timeout', '2m'], { cwd }),
    )
    const versions = (await Promise.all(calls)).map(({ version }: { version: number }) => version)
    expect(versions.sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6])
  })
})

describe.concurrent('an answer', () => {
  const status = { app: 'seats', revision: '', log: 'file:x', logId: 'x', generation: 1, tenants: {}, members: [], notices: [] }

  // Not after each test: they run side by side, and what is asked of vitest behind an `await` is done when whichever began last is over.
  const servers: LinkServer[] = []
  afterAll(() => Promise.all(servers.map(server => server.close())))

  /** A replica that answers `execute` as the test wants it. */
  async function listen(data: string, handler: Handler): Promise<LinkServer> {
    const server = await LinkServer.listen(socketPath(data), async (method, params) =>
      method === 'status' ? status : handler(method, params),
    )
    servers.push(server)
    return server
  }

  async function fake(handler: Handler): Promise<string> {
    const data = makeFolder()
    await listen(data, handler)
    return data
  }

  it('that is an error of the engine ends the call with the status of its code, and the id to repeat with', async () => {
    const codes = Object.keys(errorKinds) as ErrorCode[]
    // Those that the call itself makes something of.
    const passing = new Set<ErrorCode>(['data-in-use', 'closed'])
    const data = await fake(async (_, params) => {
      const { input, options } = params as { input: ErrorCode; options: { id: string } }
      throw new EngineError(input, 'as the test has it', { id: options.id })
    })
    const tried = codes.filter(code => !passing.has(code))
    const step = 8
    for (let first = 0; first < tried.length; first += step) {
      const some = tried.slice(first, first + step)
      const ended = await Promise.all(some.map(code => mainstem(['exec', 'x', JSON.stringify(code), '--id', 'order-1', '--data', data])))
      for (const [index, { code, stderr }] of ended.entries()) {
        const kind = errorKinds[some[index]!]
        expect({ of: some[index], code }).toEqual({ of: some[index], code: kind.exit })
        expect(stderr).toContain(`error ${some[index]}: as the test has it\n`)
        expect(stderr.includes('--id order-1')).toBe(kind.retry !== 'no')
      }
    }
  })

  it('that got lost is asked for again under the same id', async () => {
    const ids: string[] = []
    const data = makeFolder()
    const dying = await listen(data, (_, params) => {
      ids.push((params as { options: { id: string } }).options.id)
      // The replica dies with the command on its way. Nobody is there for longer than the call waits between two looks, then another one is.
      setImmediate(
        () =>
          void dying
            .close()
            .then(() => pause(200))
            .then(() =>
              listen(data, async (_, again) => {
                ids.push((again as { options: { id: string } }).options.id)
                return { status: 'accepted', version: 7, token: 'default@7', events: [], duplicate: true }
              }),
            ),
      )
      return new Promise(() => {})
    })
    expect(await json(['exec', 'x', '--data', data])).toMatchObject({ version: 7 })
    expect(ids).toHaveLength(2)
    expect(ids[0]).toBe(ids[1])
  })

  it.for([
    ['nobody comes back', ['--timeout', '300ms']],
    ['the replica that the call opens itself finds no log', ['--app', seats]],
  ] as const)('that got lost leaves the outcome unknown: %s', async ([, options]) => {
    const cwd = makeFolder()
    mkdirSync(join(cwd, '.mainstem/seats.log'), { recursive: true })
    const data = makeFolder()
    const dying = await listen(data, () => {
      setImmediate(() => void dying.close())
      return new Promise(() => {})
    })
    const { code, stderr } = await mainstem(['exec', 'x', ...options, '--data', data, '--json'], { cwd })
    expect({ code, stderr }).toMatchObject({ code: 5 })
    const { error } = JSON.parse(stderr.trim().split('\n').at(-1)!) as { error: { code: string; id: string } }
    expect(error).toMatchObject({ code: 'outcome-unknown', id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string })
  })

  it('that never comes leaves the outcome unknown, and says under which id', async () => {
    const data = await fake(() => new Promise(() => {}))
    const { code, stderr } = await mainstem(['exec', 'x', '--timeout', '1s', '--data', data, '--json'])
    expect(code).toBe(5)
    const { error } = JSON.parse(stderr) as { error: { code: string; id: string } }
    expect(error).toMatchObject({ code: 'outcome-unknown', id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string })
  })

  it('that Ctrl-C did not wait for may be repeated', async () => {
    let asked = () => {}
    const arrived = new Promise<void>(resolve => {
      asked = resolve
    })
    const data = await fake(() => {
      asked()
      return new Promise(() => {})
    })
    const call = start(['exec', 'x', '--id', 'order-1', '--data', data])
    await arrived
    call.child.kill('SIGINT')
    const { code, stderr } = await call.ended
    expect(code).toBe(130)
    expect(stderr).toMatch(/^error aborted: [^]*--id order-1/)
    expect(existsSync(data)).toBe(true)
  })
})
