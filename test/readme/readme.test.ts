/** The code in the README is what it claims to be: it compiles, and the first two pieces run and print what their comments say. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'

const root = new URL('../../', import.meta.url).pathname
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const [theApp = '', itsTests = '', itsUse = ''] = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code)

/** A file inside the package, so that `mainstem` is this package. */
function program(code: string): string {
  mkdirSync(join(root, '.mainstem'), { recursive: true })
  const folder = mkdtempSync(join(root, '.mainstem', 'readme-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'readme.ts')
  writeFileSync(file, code)
  return file
}

test('the app runs as it stands', () => {
  const cwd = mkdtempSync(join(tmpdir(), 'mainstem-readme-'))
  onTestFinished(() => rmSync(cwd, { recursive: true, force: true }))
  const output = execFileSync(process.execPath, ['--conditions=source', program(theApp + itsTests)], { cwd, encoding: 'utf8' })
  expect(output).toMatch(/status: 'accepted',\s+version: 1,/)
  expect(output).toMatch(/status: 'rejected',\s+code: 'seat-taken',/)
  expect(output).toMatch(/id: 'A1', guest: 'Ann'/)
})

test('the app has 25 lines, its use apart', () => {
  expect(theApp.trim().split('\n').length).toBeLessThanOrEqual(28)
})

test('every piece of code compiles', () => {
  const file = program(theApp + itsTests + itsUse)
  const config = join(file, '..', 'tsconfig.json')
  writeFileSync(
    config,
    JSON.stringify({ extends: join(root, 'tsconfig.json'), include: [file], compilerOptions: { noEmit: true, noUnusedLocals: false } }),
  )
  execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', config], { encoding: 'utf8', stdio: 'pipe' })
})

test('every file that the README points at is there', () => {
  for (const [, path = ''] of readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g))
    expect(() => readFileSync(join(root, path)), path).not.toThrow(/ENOENT/)
})
