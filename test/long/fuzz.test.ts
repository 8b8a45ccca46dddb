/**
 * Requests made from /openapi.json, legal ones and others, by schemathesis: none is answered with an error of the server, each with what the
 * document says, and none without a token.
 */
import { randomInt } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import bank from '../../examples/bank/app.ts'
import seats from '../../examples/seats.ts'
import { type App, app, sqlite } from '../../src/index.ts'
import { bearer, serve } from '../../src/server.ts'
import { fuzz, install } from '../support/schemathesis.ts'

beforeAll(install)

const token = 'token-of-the-fuzzer-0123456789'
/** An operation that answers has ended; a stream of events never does. */
const ends = ['--exclude-path', '/events']
const checks = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_headers_conformance',
  'response_schema_conformance',
  'ignored_auth',
].join()

async function hurt(app: App): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'fuzz-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const tokens = join(folder, 'tokens')
  writeFileSync(tokens, `${token} fuzzer *\n`, { mode: 0o600 })
  const served = await serve(app, { log: 'memory:', port: 0, drain: 0, access: bearer({ tokens }) })
  onTestFinished(() => served.close())
  await served.ready
  const seed = randomInt(1 << 30)
  console.info(`seed ${seed}`)
  const { code, said } = await fuzz(
    `${served.url}/openapi.json`,
    ['--header', `Authorization: Bearer ${token}`, ...ends, '--checks', checks, '--max-examples', '10', '--seed', `${seed}`, '--no-shrink'],
    folder,
  )
  expect(code, `seed ${seed}\n${said}`).toBe(0)
  return said
}

test.each<[string, App]>([
  ['the bank', bank as App],
  ['seats, whose scopes are made of any text', seats as App],
])('of %s', async (_, app) => {
  const cases = /(\d+) generated/.exec(await hurt(app))?.[1]
  // So many that it came to each operation, and past its first refusal.
  expect(Number(cases)).toBeGreaterThan(200)
})

test('what is found: an app that breaks', async () => {
  const broken = app('broken', {
    events: { Made: { '~standard': { version: 1, vendor: 'own', validate: (value: unknown) => ({ value }) } } },
    database: sqlite('CREATE TABLE t (a TEXT) STRICT'),
    project: { Made: () => {} },
    commands: {
      fall: {
        decide: () => {
          throw new Error('oh')
        },
      },
    },
  })
  await expect(hurt(broken as App)).rejects.toThrow(/[Ss]erver error/)
})
