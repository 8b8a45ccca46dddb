/** Where settings come from, and how apps are loaded: what is found, and what is said when it is not. */
import { existsSync, mkdirSync, renameSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { json, mainstem, makeFolder, ok, root, seats } from './support.ts'

const reserve = (seat: string) => ['exec', 'reserve', JSON.stringify({ seat, guest: 'Ann' })]
const taken = ['query', 'taken']
const config = (text: string) => ({ 'mainstem.config.ts': `export default ${text}\n` })

describe.concurrent('settings', () => {
  it('come from options before the environment before the file before the default', async () => {
    const cwd = makeFolder(
      config(`{ app: ${JSON.stringify(seats)}, log: 'file:config.log', data: 'config-data', tenant: 'from-config' } as const`),
    )
    const env = { MAINSTEM_LOG: 'file:environment.log', MAINSTEM_DATA: 'environment-data', MAINSTEM_TENANT: 'from-environment' }
    const token = async (args: string[], more = {}) => ((await json(args, { cwd, env: more })) as { token: string }).token
    expect(await token([...reserve('A1'), '--log', 'file:option.log', '--data', 'option-data', '--tenant', 'from-option'], env)).toBe(
      'from-option@1',
    )
    expect(await token(reserve('A1'), env)).toBe('from-environment@1')
    expect(await token(reserve('A1'))).toBe('from-config@1')
    for (const name of ['option', 'environment', 'config']) {
      expect(existsSync(join(cwd, `${name}.log`)), name).toBe(true)
      expect(existsSync(join(cwd, `${name}-data`)), name).toBe(true)
    }
    renameSync(join(cwd, 'mainstem.config.ts'), join(cwd, 'mainstem.config.js.off'))
    expect(await token(reserve('A1'), { MAINSTEM_APP: seats })).toBe('default@1')
    expect(existsSync(join(cwd, '.mainstem/seats.log'))).toBe(true)
    expect(existsSync(join(cwd, '.mainstem/data'))).toBe(true)
  })

  it('an empty variable is none', async () => {
    const cwd = makeFolder(config(`{ app: ${JSON.stringify(seats)} }`))
    await ok(reserve('A1'), { cwd, env: { MAINSTEM_LOG: '', MAINSTEM_TENANT: '' } })
    expect(existsSync(join(cwd, '.mainstem/seats.log'))).toBe(true)
  })

  it('the strategy and the time-out of the environment count', async () => {
    const cwd = makeFolder(config(`{ app: ${JSON.stringify(seats)} }`))
    await ok(reserve('A1'), { cwd, env: { MAINSTEM_STRATEGY: 'leader' } })
    expect(await ok(['log', 'tail', '--all'], { cwd })).toMatch(/term {2}1, led by/)
    const late = await mainstem([...taken, '--read', 'default@99'], { cwd, env: { MAINSTEM_TIMEOUT: '80ms' } })
    expect(late.code).toBe(5)
    const wrong = await mainstem(taken, { cwd, env: { MAINSTEM_TIMEOUT: 'x' } })
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringMatching(/^error usage: MAINSTEM_TIMEOUT is a time/) as string })
  })

  it('the app itself may stand in the file', async () => {
    const cwd = makeFolder({
      'mainstem.config.ts': `import seats from ${JSON.stringify(seats)}\nexport default { app: seats, timeout: '5s' }\n`,
    })
    await ok(reserve('A1'), { cwd })
    expect(await json(taken, { cwd })).toHaveLength(1)
  })

  it('the log alone is enough where no app is needed', async () => {
    const cwd = makeFolder()
    await ok([...reserve('A1'), '--app', seats], { cwd })
    expect(await ok(['log', 'tail', '--log', 'file:.mainstem/seats.log'], { cwd })).toContain('SeatReserved')
  })

  it.each<[what: string, text: string, message: RegExp]>([
    ['is no object', '3', /^error invalid-option: mainstem\.config\.ts must have an object/],
    ['has a setting that is none', `{ ap: 'x' }`, /^error invalid-option: mainstem\.config\.ts: 'ap' is no setting\. Did you mean 'app'/],
    [
      'has a value of another kind',
      `{ app: ${JSON.stringify(seats)}, log: 3 }`,
      /^error invalid-option: mainstem\.config\.ts: 'log' must be text/,
    ],
    ['has no app', `{ app: {} }`, /^error invalid-option: mainstem\.config\.ts: 'app' is neither a path nor an app/],
    ['cannot be parsed', '{', /^error invalid-app: mainstem\.config\.ts has a syntax error/],
  ])('a file that %s is told', async (_, text, message) => {
    const { code, stderr } = await mainstem(taken, { cwd: makeFolder(config(text)) })
    expect(stderr).toMatch(message)
    expect(code).toBe(2)
  })
})

describe.concurrent('an app', () => {
  /** A folder in which `mainstem` is installed. */
  const project = (files: Readonly<Record<string, string>>) => {
    const cwd = makeFolder(files)
    mkdirSync(join(cwd, 'node_modules'))
    symlinkSync(root, join(cwd, 'node_modules/mainstem'))
    return cwd
  }
  const plain = `import { app, sqlite } from 'mainstem'
const any = { '~standard': { version: 1, vendor: 'test', validate: value => ({ value }) } }
export default app('notes', {
  events: { Noted: any },
  database: sqlite('CREATE TABLE note (version INTEGER PRIMARY KEY, text TEXT) STRICT'),
  project: { Noted: (db, { text }, { version }) => db.run('INSERT INTO note VALUES (?, ?)', version, text) },
  commands: { note: { input: any, decide: (input, { emit }) => emit('Noted', input) } },
})
`

  it('may be plain JavaScript, in a folder without a package.json, and nothing else is printed', async () => {
    const cwd = project({ 'notes.js': plain })
    const { code, stderr } = await mainstem(['exec', 'note', '{"text":"hello"}', '--app', 'notes.js'], { cwd })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(await json(['sql', 'SELECT * FROM note', '--app', 'notes.js'], { cwd })).toEqual({ version: 1, text: 'hello' })
  })

  it.each<[what: string, app: string, files: Record<string, string>, code: number, message: RegExp]>([
    ['is missing', 'none.ts', {}, 2, /^error usage: there is no app at none\.ts\n/],
    [
      'is only a name',
      'seats',
      {},
      2,
      /^error usage: there is no app at seats\. Give the path .* seats\.ts \(names alone work with `mainstem demo` only\)/,
    ],
    ['is a folder', '.', {}, 2, /^error usage: \. is a folder/],
    ['has no default export', 'a.ts', { 'a.ts': 'export const x = 1' }, 2, /^error invalid-app: a\.ts has no default export/],
    [
      'is exported by name',
      'a.js',
      { 'a.js': plain.replace('export default', 'export const notes =') },
      2,
      /^error invalid-app: a\.js exports its app as 'notes'; export it as default/,
    ],
    [
      'is something else',
      'a.ts',
      { 'a.ts': 'export default { a: 1 }' },
      2,
      /^error invalid-app: the default export of a\.ts is not an app/,
    ],
    ['is no program', 'a.txt', { 'a.txt': 'hello' }, 2, /^error invalid-app: a\.txt is not a file that Node can load/],
    [
      'has a syntax error',
      'a.ts',
      { 'a.ts': 'const a: number = 1\nexport default { a: }\n' },
      2,
      /^error invalid-app: a\.ts has a syntax error: .*a\.ts:2: export default \{ a: \}/,
    ],
    [
      'has a syntax error in JavaScript',
      'a.mjs',
      { 'a.mjs': 'export default {\n  a: ]\n}\n' },
      2,
      /^error invalid-app: a\.mjs has a syntax error: .*a\.mjs:2: a: \]/,
    ],
    [
      'has an enum',
      'a.ts',
      { 'a.ts': 'enum A { B }\nexport default A' },
      2,
      /^error invalid-app: a\.ts has syntax that Node cannot strip: .*enum.*a\.ts:1/,
    ],
    [
      'throws',
      'a.ts',
      { 'a.ts': 'const s: string = "x"\nthrow new Error("boom")' },
      2,
      /^error invalid-app: a\.ts threw while it was loaded: boom \(.*a\.ts:2:7\)/,
    ],
    [
      'lacks a package',
      'a.ts',
      { 'a.ts': "import 'not-there-at-all'" },
      2,
      /^error invalid-app: a\.ts imports 'not-there-at-all', which is not installed\. Run: npm install not-there-at-all/,
    ],
    ['lacks a file', 'a.ts', { 'a.ts': "import './b.ts'" }, 2, /^error invalid-app: a\.ts imports .*b\.ts, which does not exist/],
    [
      'is defined wrongly',
      'a.js',
      { 'a.js': plain.replace('Noted: (db', 'Notd: (db') },
      2,
      /^error invalid-app: a\.js: app 'notes': event 'Noted' has no projection/,
    ],
  ])('that %s is told', async (_, app, files, code, message) => {
    const ended = await mainstem(['query', 'x', '--app', app], { cwd: project(files) })
    expect(ended.stderr).toMatch(message)
    expect(ended.stderr.split('\n')).toHaveLength(2)
    expect(ended.code).toBe(code)
  })
})
