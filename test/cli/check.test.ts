/** `mainstem check`, as a build server runs it: what was released is written, what breaks it is named, with exit status 1. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { mainstem, makeFolder, ok, root } from './support.ts'

const imports = `
import { app, event, sqlite } from ${JSON.stringify(pathToFileURL(join(root, 'dist/index.js')).href)}
import { z } from ${JSON.stringify(pathToFileURL(join(root, 'node_modules/zod/index.js')).href)}
`

/** The file of an app with one event. */
const source = (paid: string, name = 'till') => `${imports}
export default app('${name}', {
  events: { Paid: ${paid} },
  database: sqlite('CREATE TABLE sum (cents INTEGER NOT NULL) STRICT'),
  project: { Paid: () => {} },
  commands: {},
})
`

const released = source('z.object({ cents: z.int(), by: z.enum(["cash", "card"]) })')
const narrowed = source('z.object({ cents: z.int(), by: z.enum(["cash"]), note: z.string() })')
const lifted = source(
  'event(z.object({ cents: z.int(), by: z.enum(["cash", "card"]) })).next(z.object({ amount: z.int() }), old => ({ amount: old.cents }))',
)

describe.concurrent('check', () => {
  it('passes what was released, names what breaks it, and takes an upcaster', async () => {
    const cwd = makeFolder({ 'till.ts': released, 'narrowed.ts': narrowed, 'lifted.ts': lifted })
    expect(await mainstem(['check', '--app', 'till.ts'], { cwd })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no mainstem.events.json. Write it with mainstem check --write'),
    })
    expect(await ok(['check', '--app', 'till.ts', '--write'], { cwd })).toBe('till, against mainstem.events.json: no change; written\n')
    const file = join(cwd, 'mainstem.events.json')
    const first = readFileSync(file, 'utf8')
    expect(await ok(['check', '--app', 'till.ts'], { cwd })).toBe('till, against mainstem.events.json: no change\n')

    const broken = await mainstem(['check', '--app', 'narrowed.ts', '--write'], { cwd })
    expect(broken).toMatchObject({ code: 1, stderr: '' })
    expect(broken.stdout.split('\n')).toEqual([
      'breaking  Paid, version 1, note: it is required now, and events were stored without it',
      'breaking  Paid, version 1, by: the value "card" is accepted no more',
      '  Keep the schema as it was released and lift its events: event(released).next(changed, upcast)',
      'till, against mainstem.events.json: 2 changes: 2 breaking, 0 unknown, 0 compatible; nothing was written',
      '',
    ])
    expect(readFileSync(file, 'utf8')).toBe(first)

    expect(await ok(['check', '--app', 'lifted.ts', '--write'], { cwd })).toMatch(
      /^compatible {2}Paid, version 2: new, with an upcaster.*\n.*written\n$/,
    )
    // From now on the first release lacks the second version.
    const behind = await mainstem(['check', '--app', 'till.ts', '--json'], { cwd })
    expect(behind.code).toBe(1)
    expect(JSON.parse(behind.stdout)).toMatchObject({
      ok: false,
      written: false,
      changes: [{ level: 'breaking', kind: 'version-dropped', event: 'Paid' }],
    })
  })

  it('refuses a file that is of something else', async () => {
    const cwd = makeFolder({ 'till.ts': released, 'other.ts': source('z.object({ cents: z.int() })', 'shop') })
    const file = join(cwd, 'mainstem.events.json')
    await ok(['check', '--app', 'other.ts', '--write'], { cwd })
    expect(await mainstem(['check', '--app', 'till.ts'], { cwd })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("of the app 'shop', this is 'till'"),
    })
    for (const text of ['{"format":', '{"format":1,"app":"till","events":{"Paid":[5]}}']) {
      writeFileSync(file, text)
      expect(await mainstem(['check', '--app', 'till.ts', '--write'], { cwd })).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/file: mainstem\.events\.json (is not|does not)/),
      })
    }
  })
})
