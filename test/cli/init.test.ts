/** `init`: what it writes works as it stands, with this package installed as npm would install it. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { json, mainstem, makeFolder, ok, root } from './support.ts'

const run = promisify(execFile)
// npm may run on an older Node.js; what it starts must not.
const env = { ...process.env, PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter), NO_COLOR: '1' }
const npm = (args: string[], cwd: string) => run('npm', args, { cwd, env })

describe('init', () => {
  it('makes an app that can be installed, tested, checked and used', async () => {
    const folder = makeFolder()
    const packed = JSON.parse((await npm(['pack', '--json', '--ignore-scripts', '--pack-destination', folder], root)).stdout) as
      | [{ filename: string }]
      | Record<string, { filename: string }>
    const [{ filename }] = Object.values(packed) as [{ filename: string }]
    const said = await ok(['init', 'my-Shop 2', '--dependency', `file:../${filename}`], { cwd: folder })
    expect(said).toMatch(/^The app my-shop-2 is in my-Shop 2\. Next:\n {2}cd my-Shop 2\n {2}npm install\n/)
    const cwd = join(folder, 'my-Shop 2')
    // The compiler comes from here: it is large, and nothing else needs it.
    const path = join(cwd, 'package.json')
    const { devDependencies, ...rest } = JSON.parse(readFileSync(path, 'utf8')) as { devDependencies: object }
    expect(Object.keys(devDependencies)).toEqual(['@types/node', 'typescript'])
    writeFileSync(path, JSON.stringify(rest))
    await npm(['install', '--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts'], cwd)

    const tested = await npm(['test'], cwd)
    expect(tested.stdout).toMatch(/pass 4\b[^]*fail 0\b/)
    await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--typeRoots', join(root, 'node_modules/@types')], {
      cwd,
      env,
    })
    const exec = async (guest: string) => {
      const call = npm(['exec', '--no', '--', 'mainstem', 'exec', 'reserve', JSON.stringify({ seat: 'A1', guest })], cwd)
      return call.catch((error: unknown) => error as { stdout: string; code: number })
    }
    expect((await exec('Ann')).stdout).toMatch(/^accepted {2}version 1 /)
    expect(await exec('Ben')).toMatchObject({ code: 3, stdout: 'rejected  seat-taken  {"by":"Ann"}\n' })
    expect((await npm(['exec', '--no', '--', 'mainstem', 'query', 'taken', '--json'], cwd)).stdout).toBe('[{"seat":"A1","guest":"Ann"}]\n')
    expect((await npm(['exec', '--no', '--', 'mainstem', 'verify'], cwd)).stdout).toMatch(/^ok {2}tenant default at version 1/)
    expect((await npm(['exec', '--no', '--', 'mainstem', 'sql', 'SELECT count(*) AS seats FROM reservation', '--json'], cwd)).stdout).toBe(
      '{"seats":1}\n',
    )
    expect(existsSync(join(cwd, '.mainstem/my-shop-2.log'))).toBe(true)
  })

  it('writes into the current folder, if it is empty', async () => {
    const cwd = makeFolder()
    mkdirSync(join(cwd, '.git'))
    const made = await json(['init', '--name', 'seats'], { cwd })
    expect(made).toMatchObject({
      name: 'seats',
      files: ['package.json', 'app.ts', 'app.test.ts', 'mainstem.config.ts', 'tsconfig.json', 'README.md', '.gitignore'],
    })
    expect(readFileSync(join(cwd, 'app.ts'), 'utf8')).toMatch(/export default app\('seats', /)
    expect(JSON.parse(readFileSync(join(cwd, 'package.json'), 'utf8'))).toMatchObject({
      dependencies: { mainstem: expect.stringMatching(/^\^\d/) as string },
    })
    const again = await mainstem(['init'], { cwd })
    expect(again).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error file: the folder \. is not empty: it holds /) as string })
  })

  it('refuses a name that no app may have', async () => {
    const { code, stderr } = await mainstem(['init', 'x', '--name', 'My App'])
    expect(stderr).toMatch(/^error usage: the name "My App" is not legal/)
    expect(code).toBe(2)
  })
})
