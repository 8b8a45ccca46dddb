/** What the compiler says of wrong programs must tell what is wrong: one run of tsc over all of them. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '../..')

const head = `
import { app, event, model, sqlite } from 'mainstem'
import { given } from 'mainstem/testing'
import { z } from 'zod'
const events = { A: z.object({ a: z.string() }), B: z.object({ b: z.number() }) }
const database = sqlite('')
const project = { A: () => {}, B: () => {} }
const m = model({ events, database })
void [app, event, given, m]
`
const inApp = (more: string) => `app('x', { events, database, project, ${more} })`
const command = (decide: string) => inApp(`commands: { run: { input: z.object({ a: z.string() }), decide: ${decide} } }`)

const atOnce = 'decide must answer at once: it may not be async or return a promise'
const missing = 'decide must return an event, events, { events, result } or a rejection: is a return missing?'

const programs: [name: string, program: string, message: string | RegExp][] = [
  ['async decide', command(`async ({ a }, { emit }) => emit('A', { a })`), atOnce],
  ['decide that is async at times', command(`({ a }, { emit }) => a ? emit('A', { a }) : Promise.resolve(emit('A', { a }))`), atOnce],
  ['async decide of a model', `m.command({ decide: async (_, { emit }) => emit('A', { a: '' }) })`, atOnce],
  ['forgotten return', command(`({ a }, { emit }) => { emit('A', { a }) }`), missing],
  [
    'return forgotten in one branch',
    command(`({ a }, { emit, reject }) => { if (a) return reject('no'); else emit('A', { a }) }`),
    missing,
  ],
  ['home-made event', command(`({ a }) => ({ type: 'A', data: { a } })`), "is not assignable to type 'Decision'"],
  [
    'unknown event',
    command(`({ a }, { emit }) => emit('Zzz', { a })`),
    `Argument of type '"Zzz"' is not assignable to parameter of type '"A" | "B"'`,
  ],
  ['wrong payload', command(`({ a }, { emit }) => emit('B', { b: a })`), "Type 'string' is not assignable to type 'number'"],
  ['wrong input', command(`({ b }, { emit }) => emit('A', { a: b })`), "Property 'b' does not exist on type '{ a: string; }'"],
  [
    'decide that writes',
    command(`({ a }, { db, emit }) => { db.run('', a); return emit('A', { a }) }`),
    "Property 'run' does not exist on type 'Reader'",
  ],
  [
    'async query',
    inApp(`commands: {}, queries: { q: { run: async (_, { db }) => db.all('') } }`),
    'a query must answer at once: it may not be async or return a promise',
  ],
  [
    'async projection',
    `app('x', { events, database, project: { ...project, A: async (db, { a }) => db.run('', a) }, commands: {} })`,
    'a projection must write at once: it may not be async or return a promise',
  ],
  [
    'missing projection',
    `app('x', { events, database, project: { A: () => {} }, commands: {} })`,
    "Property 'B' is missing in type '{ A: () => void; }'",
  ],
  [
    'projection too many',
    `app('x', { events, database, project: { A() {}, B() {}, C() {} }, commands: {} })`,
    /'C' does not exist in type 'Projections</,
  ],
  [
    'event with a date',
    `app('x', { events: { A: z.object({ at: z.date() }) }, database, project: { A() {} }, commands: {} })`,
    /Property ''an event must be plain JSON, this is not'' is missing .* required in type '\{ 'an event must be plain JSON, this is not': Date; \}'/s,
  ],
  ['upcast to something else', `event(events.A).next(events.B, old => ({ b: old.a }))`, "Type 'string' is not assignable to type 'number'"],
  [
    'rejection that does not happen',
    `given(${command(`({ a }, { emit, reject }) => a ? emit('A', { a }) : reject('empty')`)}).when('run', { a: '' }).rejects('full')`,
    `Argument of type '"full"' is not assignable to parameter of type '"empty"'`,
  ],
]

const slug = (name: string) => name.replaceAll(/\W+/g, '-')
const found = new Map<string, string>()
let directory: string

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'mainstem-types-'))
  symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'))
  const compilerOptions = {
    target: 'esnext',
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    types: ['node'],
    paths: { mainstem: [join(root, 'src/index.ts')], 'mainstem/testing': [join(root, 'src/testing.ts')] },
  }
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
  for (const [name, program] of programs) writeFileSync(join(directory, `${slug(name)}.ts`), `${head}${program}\n`)
  let output = ''
  try {
    execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', directory, '--pretty', 'false'], { cwd: directory, encoding: 'utf8' })
  } catch (error) {
    output = String((error as { stdout: unknown }).stdout)
  }
  // A message goes on in indented lines.
  for (const each of output.split(/\n(?! )/)) {
    const [, file, message] = /^([\w-]+)\.ts\(\d+,\d+\): error (.*)$/s.exec(each) ?? []
    if (file !== undefined) found.set(file, `${found.get(file) ?? ''}${message}\n`)
  }
})

afterAll(() => rmSync(directory, { recursive: true }))

test.each(programs)('%s', (name, _, message) => {
  expect(found.get(slug(name)), name).toMatch(message)
})
