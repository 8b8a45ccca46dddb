/** The code of docs/testing.md: it finds what the page says, and nothing once the scope is mended as the page says. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'

const root = new URL('../../', import.meta.url).pathname
const page = readFileSync(join(root, 'docs/testing.md'), 'utf8')
const [code, simulation] = [...page.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, block]) => block!) as [string, string]
const told = /```text\n([\s\S]*?)```/.exec(page)![1]!
const mended = /``(scope: .*?)``/.exec(page)![1]!

function run(code: string) {
  mkdirSync(join(root, '.mainstem'), { recursive: true })
  const folder = mkdtempSync(join(root, '.mainstem', 'testing-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'scopes.ts'), code)
  return spawnSync(process.execPath, ['--conditions=source', join(folder, 'scopes.ts')], { encoding: 'utf8' })
}

test('a scope that is too narrow is told as the page shows it', () => {
  const { status, stderr } = run(code)
  expect(stderr).toContain(told)
  expect(status).toBe(1)
})

test('the mended one is found wide enough', () => {
  const narrow = code.split('\n').find(line => line.includes('scope: '))!
  const { status, stdout } = run(
    code.replace(narrow, `${mended},`).replace('await checkScopes', 'const done = await checkScopes') + 'console.log(done.checked)',
  )
  expect(Number(stdout)).toBeGreaterThan(1_000)
  expect(status).toBe(0)
})

test('a bad world shows it, too', () => {
  const { status, stderr } = run(code.replace(/await checkScopes.*\n/, '') + simulation)
  expect(stderr).toMatch(/AssertionError.*(two seats a guest|decides)/)
  expect(stderr).toMatch(/what happened, in ms .*first-wins/)
  expect(stderr).toMatch(/to see it again: seed \d+, runs 1/)
  expect(status).toBe(1)
})
