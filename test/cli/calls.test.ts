/** `exec`, `query`, `sql`, `status`: what they print, how they end, and what they say to wrong use. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { socketPath } from '../../src/replica/data.ts'
import { bin, json, jsonLines, mainstem, makeFolder, ok, root, seats, start, startReplica } from './support.ts'

const reserve = (seat: string, guest: string) => ['exec', 'reserve', JSON.stringify({ seat, guest }), '--app', seats]

describe.concurrent('exec', () => {
  it('prints what was accepted and ends with 0, what was rejected and ends with 3', async () => {
    const cwd = makeFolder()
    const accepted = await mainstem(reserve('A1', 'Ann'), { cwd })
    expect(accepted).toMatchObject({ code: 0, stderr: '' })
    expect(accepted.stdout).toBe('accepted  version 1  token default@1\n  SeatReserved  {"seat":"A1","guest":"Ann"}\n')
    const rejected = await mainstem(reserve('A1', 'Ben'), { cwd })
    expect(rejected).toMatchObject({ code: 3, stdout: 'rejected  seat-taken  {"seat":"A1"}\n', stderr: '' })
  })

  it('writes the outcome as JSON', async () => {
    const cwd = makeFolder()
    const events = [{ type: 'SeatReserved', data: { seat: 'A1', guest: 'Ann' } }]
    expect(await json(reserve('A1', 'Ann'), { cwd })).toEqual({
      status: 'accepted',
      version: 1,
      token: 'default@1',
      events,
      duplicate: false,
    })
    const { code, stdout } = await mainstem([...reserve('A1', 'Ben'), '--json'], { cwd })
    expect(code).toBe(3)
    expect(JSON.parse(stdout)).toMatchObject({ status: 'rejected', code: 'seat-taken', details: { seat: 'A1' } })
    const moved = await json(['exec', 'move', '{"from":"A1","to":"B1"}', '--app', seats], { cwd })
    expect(moved).toMatchObject({ version: 3, result: { guest: 'Ann' } })
  })

  it('takes its input from a file and from stdin', async () => {
    const cwd = makeFolder({ 'input.json': '{"seat":"A1","guest":"Ann"}' })
    await ok(['exec', 'reserve', '@input.json', '--app', seats], { cwd })
    await ok(['exec', 'reserve', '-', '--app', seats], { cwd, input: '{"seat":"A2","guest":"Ben"}' })
    expect(await json(['query', 'taken', '--app', seats], { cwd })).toEqual([
      { seat: 'A1', guest: 'Ann' },
      { seat: 'A2', guest: 'Ben' },
    ])
  })

  it('answers a repeated id with the first answer, and names the first command where the input is another', async () => {
    const cwd = makeFolder()
    await ok([...reserve('A1', 'Ann'), '--id', 'order-1'], { cwd })
    expect(await json([...reserve('A1', 'Ann'), '--id', 'order-1'], { cwd })).toMatchObject({
      status: 'accepted',
      version: 1,
      duplicate: true,
    })
    const { code, stderr } = await mainstem([...reserve('A2', 'Ann'), '--id', 'order-1'], { cwd })
    expect(code).toBe(2)
    expect(stderr).toMatch(/^error id-reused: .*reserve.* version 1/)
  })

  it('keeps tenants apart', async () => {
    const cwd = makeFolder()
    await ok([...reserve('A1', 'Ann'), '--tenant', 'globe'], { cwd })
    expect(await json(['query', 'taken', '--app', seats, '--tenant', 'globe'], { cwd })).toHaveLength(1)
    expect(await json(['query', 'taken', '--app', seats], { cwd })).toEqual([])
  })
})

describe.concurrent('query and sql', () => {
  it('print tables, or JSON', async () => {
    const cwd = makeFolder()
    await ok(reserve('A1', 'Ann'), { cwd })
    await ok(reserve('B10', 'Ben'), { cwd })
    expect(await ok(['query', 'taken', '--app', seats], { cwd })).toBe('seat  guest\nA1    Ann\nB10   Ben\n')
    expect(await json(['query', 'seat', '{"seat":"A1"}', '--app', seats], { cwd })).toEqual([{ guest: 'Ann', reserved: 1, released: null }])
    const select = ['sql', 'SELECT reserved, seat, released FROM sale ORDER BY reserved', '--app', seats]
    expect(await ok(select, { cwd })).toBe('reserved  seat  released\n       1  A1        null\n       2  B10       null\n')
    expect(await jsonLines(select, { cwd })).toEqual([
      { reserved: 1, seat: 'A1', released: null },
      { reserved: 2, seat: 'B10', released: null },
    ])
    expect(await jsonLines(['sql', "SELECT x'00FF' AS b", '--app', seats], { cwd })).toEqual([{ b: '00FF' }])
    const none = await mainstem(['sql', 'SELECT 1 FROM sale WHERE 0', '--app', seats], { cwd })
    expect(none).toMatchObject({ code: 0, stdout: '', stderr: 'no rows\n' })
  })

  it('reads at the level that was asked for', async () => {
    const cwd = makeFolder()
    const { token } = await json(reserve('A1', 'Ann'), { cwd })
    for (const level of ['local', 'linearizable', token as string]) {
      expect(await json(['query', 'taken', '--read', level, '--app', seats], { cwd }), level).toHaveLength(1)
    }
    const early = await mainstem(['query', 'taken', '--read', 'default@2', '--timeout', '100ms', '--app', seats], { cwd })
    expect(early.code).toBe(5)
    expect(early.stderr).toMatch(/^error not-ready: .*version 2/)
    const other = await mainstem(['query', 'taken', '--read', 'globe@1', '--app', seats], { cwd })
    expect(other.code).toBe(2)
    expect(other.stderr).toMatch(/^error invalid-token: /)
  })

  it('cannot write, and makes no log', async () => {
    const cwd = makeFolder()
    const missing = await mainstem(['query', 'taken', '--app', seats], { cwd })
    expect(missing.code).toBe(1)
    expect(missing.stderr).toMatch(/^error log-unusable: there is no log at \.mainstem\/seats\.log/)
    expect(existsSync(join(cwd, '.mainstem'))).toBe(false)
    await ok(reserve('A1', 'Ann'), { cwd })
    const written = await mainstem(['sql', 'DELETE FROM sale', '--app', seats], { cwd })
    expect(written.code).toBe(1)
    expect(await json(['query', 'taken', '--app', seats], { cwd })).toHaveLength(1)
  })

  it('does not campaign for the leadership, nor write anything', async () => {
    const cwd = makeFolder()
    await ok(reserve('A1', 'Ann'), { cwd })
    const env = { MAINSTEM_STRATEGY: 'leader' }
    await ok(['query', 'taken', '--app', seats], { cwd, env })
    await ok(['status', '--app', seats], { cwd, env })
    expect(await jsonLines(['log', 'tail', '--all', '--from', '1', '--app', seats], { cwd })).toHaveLength(2)
  })
})

describe('status', () => {
  it('tells what stands in the databases where no replica runs', async () => {
    const cwd = makeFolder()
    await ok([...reserve('A1', 'Ann'), '--tenant', 'globe'], { cwd })
    expect(await ok(['status', '--app', seats], { cwd })).toMatch(/not running[^]*globe +1 +open/)
    const status = await json(['status', '--app', seats], { cwd })
    expect(status).toMatchObject({ running: false, app: 'seats', log: 'file:.mainstem/seats.log', tenants: { globe: { version: 1 } } })
  })
})

describe.concurrent('wrong use ends with 2, a message and no stack', () => {
  const file = makeFolder.bind(null, { 'bad.json': '{' })
  it.each<[what: string, args: string[], message: RegExp]>([
    ['no command', [], /^Usage: mainstem/],
    ['a command that is none', ['exce'], /^error usage: unknown command 'exce'[^]*Did you mean exec/],
    ['an option that is none', ['exec', 'x', '--tenat', 'a'], /^error usage: unknown option '--tenat'[^]*Did you mean --tenant/],
    ['a missing argument', ['exec'], /^error usage: missing required argument 'command'/],
    ['an argument too many', ['status', 'x'], /^error usage: too many arguments/],
    [
      'input that is not JSON',
      ['exec', 'reserve', '{seat:1}', '--app', seats],
      /^error usage: the input is not JSON: .*Quote it for your shell/,
    ],
    ['a file that is not JSON', ['exec', 'reserve', '@bad.json', '--app', seats], /^error usage: the input in bad\.json is not JSON/],
    ['input that the schema refuses', ['exec', 'reserve', '{"seat":1}', '--app', seats], /^error invalid-input: .*seat/],
    ['an unknown command of the app', ['exec', 'reserv', '--app', seats], /^error unknown-command: .*Did you mean 'reserve'/],
    ['a command id that is none', ['exec', 'reserve', '{"seat":"A","guest":"B"}', '--id', 'ü', '--app', seats], /^error invalid-id: /],
    [
      'a tenant that is none',
      ['exec', 'reserve', '{"seat":"A","guest":"B"}', '--tenant', 'A/B', '--app', seats],
      /^error invalid-tenant: /,
    ],
    ['a time that is none', ['exec', 'reserve', '{}', '--timeout', 'soon', '--app', seats], /^error usage: --timeout is a time such as/],
    [
      'a strategy that is none',
      ['exec', 'reserve', '{}', '--strategy', 'leadr', '--app', seats],
      /^error invalid-option: .*Did you mean 'leader'/,
    ],
    ['no app', ['exec', 'reserve', '{}'], /^error usage: which app\?/],
    ['no log', ['log', 'tail'], /^error usage: which log\?/],
    ['a log that is no file', ['log', 'tail', '--log', 'memory:x'], /^error invalid-option: a log in memory is gone/],
    ['a log without its kind', ['log', 'tail', '--log', 'seats.log'], /^error invalid-option: .*file:PATH/],
  ])('%s', async (_, args, message) => {
    const { code, stdout, stderr } = await mainstem(args, { cwd: file() })
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/^ +at /m)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  })

  it('as one JSON object with --json', async () => {
    const { code, stdout, stderr } = await mainstem(['exec', 'reserve', '{"seat":1}', '--app', seats, '--json'])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'invalid-input', retry: 'no' } })
    const usage = await mainstem(['exec', '--json', '--nothing'])
    expect(JSON.parse(usage.stderr)).toMatchObject({ error: { code: 'usage', message: expect.stringContaining('--nothing') as string } })
  })

  it('with the stack where MAINSTEM_DEBUG is set', async () => {
    const { stderr } = await mainstem(['exec', 'reserve', '{', '--app', seats], { env: { MAINSTEM_DEBUG: '1' } })
    expect(stderr).toMatch(/^ +at /m)
  })
})

describe('help', () => {
  it('is there for every command, with examples', async () => {
    const all = await ok(['--help'])
    const commands = [...all.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name!).filter(name => name !== 'help')
    expect(commands).toEqual([
      'demo',
      'init',
      'exec',
      'query',
      'sql',
      'serve',
      'status',
      'replicas',
      'rollout',
      'log',
      'db',
      'verify',
      'doctor',
      'check',
      'backup',
      'restore',
      'snapshot',
      'kafka',
    ])
    const calls = commands.flatMap(name => {
      if (name === 'kafka') return [[name, 'create-log']]
      if (name === 'rollout') return ['status', 'wait', 'switch', 'abort'].map(each => [name, each])
      if (name === 'log') return ['tail', 'show', 'export', 'import', 'copy'].map(each => [name, each])
      return name === 'db'
        ? [
            ['db', 'at'],
            ['db', 'diff'],
          ]
        : [[name]]
    })
    const helps = await Promise.all(calls.map(call => ok([...call, '--help'])))
    for (const [index, help] of helps.entries()) {
      expect(help).toContain(`Usage: mainstem ${calls[index]!.join(' ')}`)
      expect(help).toMatch(/Examples:\n {2}\$ mainstem /)
      expect(help).toContain('--json')
    }
  })

  it('says the version', async () => {
    const { version } = (await import(join(root, 'package.json'), { with: { type: 'json' } })) as {
      version?: string
      default: { version: string }
    } & { version: string }
    expect(await ok(['--version'])).toBe(`${version}\n`)
  })
})

describe('the surroundings', () => {
  it('a reader who has seen enough is no error', async () => {
    const cwd = makeFolder()
    const log = `file:${join(cwd, 'seats.log')}`
    const writing = await startReplica({ log, data: join(cwd, 'data'), writers: 64 })
    await writing.said('ack S1500\n')
    writing.child.kill('SIGTERM')
    await writing.ended
    const call = `'${process.execPath}' '${bin}' log export - --log '${log}' | head -n 1; echo "status \${PIPESTATUS[0]}"`
    const shell = spawn('bash', ['-c', call], { stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    shell.stdout.on('data', chunk => (stdout += String(chunk)))
    shell.stderr.on('data', chunk => (stderr += String(chunk)))
    await once(shell, 'close')
    expect(stderr).toBe('')
    expect(stdout).toMatch(/^\{"position":1,.*\}\nstatus 0\n$/)
  })

  it('Ctrl-C ends a call with 130, after a clean end', async () => {
    const cwd = makeFolder()
    await ok(reserve('A1', 'Ann'), { cwd })
    const tail = start(['log', 'tail', '--follow', '--app', seats], { cwd })
    await tail.said('SeatReserved')
    tail.child.kill('SIGINT')
    expect(await tail.ended).toMatchObject({ code: 130, stderr: '' })
    // A query that waits for what does not come: it has opened its replica when that can be reached.
    const socket = socketPath(join(cwd, '.mainstem/data'))
    expect(existsSync(socket)).toBe(false)
    const query = start(['query', 'taken', '--read', 'default@9', '--timeout', '1m', '--app', seats], { cwd })
    await expect.poll(() => existsSync(socket), { timeout: 30_000 }).toBe(true)
    query.child.kill('SIGINT')
    expect(await query.ended).toMatchObject({ code: 130, signal: null, stderr: expect.stringMatching(/^error aborted: /) as string })
    await ok(reserve('A2', 'Ann'), { cwd })
  })
})
