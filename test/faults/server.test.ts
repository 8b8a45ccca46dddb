/**
 * What strangers send to a server: each attack gets an answer or its connection is cut, none is answered with a defect, and meanwhile and
 * afterwards others are served as ever, in no more memory. The server is a process of its own, and nothing it prints or answers holds a secret.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { Orders } from '../support/served.ts'

const ann = 'token-of-ann-SECRET-0123456789'
const ben = 'token-of-ben-SECRET-9876543210'
const link = 'link-SECRET-between-replicas'
const secret = /SECRET/

let folder: string
let child: ChildProcess
let url: string
let port: number
let printed = ''
/** Of all that was answered: heads and bodies. */
const answered: string[] = []

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'attacked-'))
  writeFileSync(join(folder, 'tokens'), `${ann} ann globe,old-vic\n${ben} ben *\n`, { mode: 0o600 })
  writeFileSync(join(folder, 'jwt'), 'the-SECRET-that-signs-tokens-of-JWT', { mode: 0o600 })
  const orders: Orders = {
    access: {
      tokens: join(folder, 'tokens'),
      jwt: { secretFile: join(folder, 'jwt'), issuer: 'https://id.example.org', audience: 'shop' },
    },
    options: {
      log: `file:${join(folder, 'shop.log')}`,
      data: join(folder, 'data'),
      maxBody: 64 << 10,
      arrival: 9_000,
      stall: 1_000,
      heartbeat: 250,
    },
  }
  child = fork(fileURLToPath(new URL('../support/served.ts', import.meta.url)), [JSON.stringify(orders)], {
    execArgv: ['--conditions=source', '--expose-gc'],
    env: { ...process.env, MAINSTEM_SECRET: link },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  for (const stream of [child.stdout!, child.stderr!]) stream.setEncoding('utf8').on('data', (text: string) => (printed += text))
  url = await heard<string>()
  port = Number(new URL(url).port)
})

afterAll(async () => {
  child.kill('SIGKILL')
  await once(child, 'close')
  rmSync(folder, { recursive: true })
})

async function heard<T>(): Promise<T> {
  const [message] = (await Promise.race([once(child, 'message'), once(child, 'close')])) as [T]
  return typeof message === 'string' || message !== null ? message : expect.unreachable(`the server is gone: ${printed}`)
}

/** Bytes that it holds. */
function memory(): Promise<number> {
  child.send('memory?')
  return heard<number>()
}

const MB = 1 << 20

interface Answer {
  readonly status: number
  readonly body: any
}

async function ask(path: string, init: RequestInit & { readonly json?: unknown; readonly token?: string } = {}): Promise<Answer> {
  const { json, token = ben, ...rest } = init
  const headers = new Headers(rest.headers)
  if (token !== '') headers.set('authorization', `Bearer ${token}`)
  if (json !== undefined && !headers.has('content-type')) headers.set('content-type', 'application/json')
  const response = await fetch(`${url}${path}`, {
    ...(json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }),
    ...rest,
    headers,
  })
  const text = await response.text()
  answered.push(JSON.stringify([...response.headers]), text)
  const type = response.headers.get('content-type') ?? ''
  if (response.status >= 400) expect(type, text).toBe('application/problem+json')
  return { status: response.status, body: /json/.test(type) ? JSON.parse(text) : text }
}

/** Sends bytes as they are. Resolves with what came, when the other side has ended; `cut` if it did not in time. */
function raw(bytes: string | Uint8Array, patience = 5_000): Promise<string> {
  return new Promise(done => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    const timer = setTimeout(() => end('still open'), patience)
    const end = (why: string) => {
      clearTimeout(timer)
      socket.destroy()
      answered.push(text)
      done(text === '' ? why : text)
    }
    socket.setEncoding('latin1').on('data', (part: string) => (text += part))
    socket.on('error', () => end('cut')).on('close', () => end('cut'))
  })
}

const head = (path: string, ...headers: string[]): string =>
  [`POST ${path} HTTP/1.1`, 'Host: shop', `Authorization: Bearer ${ben}`, 'Connection: close', ...headers, '', ''].join('\r\n')
const pay = (cents = 5): object => ({ account: 'Ann', cents })

/** Others are served: it takes commands and answers, at once. */
async function well(): Promise<void> {
  const begun = performance.now()
  expect(await ask('/commands/pay', { json: pay() })).toMatchObject({ status: 200, body: { status: 'accepted' } })
  expect((await ask('/queries/total')).status).toBe(200)
  expect(performance.now() - begun).toBeLessThan(2_000)
}

test('bodies that are too large are refused before they are read', async () => {
  await well()
  const before = await memory()
  const large = 'x'.repeat(8 << 20)
  const path = '/commands/pay'
  expect(await raw(head(path, 'Content-Type: application/json', `Content-Length: ${10 * MB}`))).toMatch(/^HTTP\/1.1 413 /)
  for (let n = 0; n < 10; n++) {
    const chunked = `${head(path, 'Content-Type: application/json', 'Transfer-Encoding: chunked')}${large.length.toString(16)}\r\n${large}`
    expect(await raw(chunked)).toMatch(/^HTTP\/1.1 413 |^cut$/)
    const whole = await ask(path, { json: { account: large, cents: 5 } }).catch(() => 'cut')
    if (whole !== 'cut') expect(whole).toMatchObject({ status: 413, body: { code: 'too-large' } })
  }
  expect((await ask('/queries/balance', { json: { account: 'x'.repeat(70_000) } })).status).toBe(413)
  expect((await memory()) - before).toBeLessThan(8 * MB)
  await well()
})

const bodies: (readonly [string, string | Uint8Array<ArrayBuffer>])[] = [
  ['half of JSON', '{"account":'],
  ['no JSON', 'account=Ann&cents=5'],
  ['nothing', ''],
  ['null', 'null'],
  ['a number', '17'],
  ['not UTF-8', new Uint8Array([0x22, 0xff, 0xfe, 0x22])],
  ['a cut off character', new Uint8Array([0x22, 0xe2, 0x82, 0x22])],
  ['a mark of bytes', '\ufeff{"account":"Ann","cents":5}'],
  ['a deep list', '['.repeat(30_000) + ']'.repeat(30_000)],
  ['a deep object', '{"a":'.repeat(9_000) + '1' + '}'.repeat(9_000)],
  ['a prototype', '{"__proto__":{"account":"Ann","cents":5},"constructor":{"prototype":{}}}'],
  ['an endless number', '{"account":"Ann","cents":1e999}'],
  ['a number beside the whole ones', '{"account":"Ann","cents":9007199254740993}'],
  ['half of a character', '{"account":"\\ud800","cents":5}'],
  ['a NUL', '{"account":"\\u0000","cents":5}'],
  ['text of many lines', '{"account":"\\n\\u2028\\r","cents":5}'],
  ['members that are too many', `{${Array.from({ length: 5_000 }, (_, n) => `"m${n}":1`).join()}}`],
]

test.each(bodies)('a body that is %s gets an answer', async (_, body) => {
  for (const path of ['/commands/pay', '/commands/nothing', '/queries/balance', '/commands/note']) {
    const answer = await ask(path, { method: 'POST', body, headers: { 'content-type': 'application/json' } })
    expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(500)
  }
})

test.each([
  'text/plain',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'application/jsonp',
  'application/json; charset=utf-16',
  '',
  'x'.repeat(5_000),
])('a body of the type %.40j is refused', async type => {
  const body = new TextEncoder().encode(JSON.stringify(pay()))
  expect(await ask('/commands/pay', { method: 'POST', body, headers: { 'content-type': type } })).toMatchObject({
    status: 415,
    body: { code: 'unsupported-type' },
  })
})

const hours = (n: number): string => Buffer.from(JSON.stringify({ sub: 'ann', exp: n })).toString('base64url')

test.each([
  '',
  'wrong-token-0123456789',
  `${ann}x`,
  ann.slice(1),
  ben.toLowerCase(),
  `eyJhbGciOiJub25lIn0.${hours(9e9)}.`,
  `e30.${hours(1)}.e30`,
  `eyJhbGciOiJIUzI1NiJ9.${hours(9e9)}.AAAA`,
])('the token %j does nothing, wherever it is shown', async token => {
  const { body } = await ask('/queries/total')
  for (const path of ['/commands/pay', '/commands/none', '/queries/total', '/tenants/globe/commands/pay']) {
    expect(await ask(path, { json: pay(), token })).toMatchObject({ status: 401, body: { code: 'unauthenticated' } })
  }
  for (const path of ['/events?from=1', '/status', '/metrics', '/openapi.json', '/queries/total', '/at/1/queries/total'])
    expect(await ask(path, { token })).toMatchObject({ status: 401, body: { code: 'unauthenticated' } })
  expect((await ask('/queries/total')).body).toEqual(body)
})

test("another tenant's token learns nothing, not even whether the tenant is there", async () => {
  expect(await ask('/tenants/secret-house/commands/pay', { json: pay() })).toMatchObject({ status: 200 })
  const told = async (tenant: string, path: string, json?: unknown) => {
    const headers = { 'mainstem-tenant': tenant }
    const answer = await ask(path, { token: ann, headers, ...(json === undefined ? {} : { json }) })
    expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    expect(JSON.stringify(answer)).not.toContain(tenant)
    return answer
  }
  for (const [path, json] of [
    ['/commands/pay', pay()],
    ['/commands/pay', 'wrong'],
    ['/queries/total'],
    ['/events?from=1'],
    ['/at/1/queries/total'],
  ] as const)
    expect(await told('secret-house', path, json)).toEqual(await told('no-such-house', path, json))
  expect(await ask('/commands/pay', { json: pay(), token: ann })).toMatchObject({ status: 403 })
  expect(await ask('/tenants/globe/commands/pay', { json: pay(), token: ann })).toMatchObject({ status: 200 })
  // A token of reads is none for another tenant, either.
  const alien = await ask('/tenants/globe/queries/total', { token: ann, headers: { 'mainstem-token': 'secret-house@1' } })
  expect(alien).toMatchObject({ status: 400, body: { code: 'invalid-token' } })
  for (const path of ['/status', '/metrics']) {
    expect(await ask(path, { token: ann })).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    expect(await ask(path)).toMatchObject({ status: 200 })
  }
  expect(await ask('/openapi.json', { token: ann })).toMatchObject({ status: 200 })
})

const tricks = [
  '..',
  '.',
  '%2e%2e',
  '..%2f..%2fetc',
  'a%2fb',
  'a%5cb',
  '%00',
  'a%00',
  'globe%00',
  'Globe',
  'gl%C3%B6be',
  'g%E2%80%AElobe',
  '%ff',
  '%',
  '%zz',
  '-x',
  '_x',
  '%20globe',
  'globe%20',
  'globe%0d%0aX:1',
  'x'.repeat(65),
  'x'.repeat(4_000),
  '*',
  'default@1',
  'con:',
  '',
  '%F0%9F%8E%AD',
  'ｇlobe',
]

test.each(tricks)('the tenant %j is none', async name => {
  const folders = () => {
    const found = readdirSync(join(folder, 'data'), { recursive: true, encoding: 'utf8' }).filter(entry => entry.endsWith('.sqlite'))
    return new Set(found)
  }
  const before = folders()
  const body = JSON.stringify(pay())
  const post = (path: string, ...headers: string[]) =>
    raw(`${head(path, 'Content-Type: application/json', `Content-Length: ${body.length}`, ...headers)}${body}`)
  const latin = (text: string) => Buffer.from(text).toString('latin1')
  // A path of other parts may be none of ours.
  expect(await post(`/tenants/${latin(name)}/commands/pay`)).toMatch(
    /^HTTP\/1.1 400 [^]*"code":"invalid-tenant"|^HTTP\/1.1 (404|400) [^]*(not-found|malformed|Connection: close\r\n\r\n$)/,
  )
  const header = latin(decoded(name)).replaceAll(/[\r\n]+/g, ' ')
  const answer = await post('/commands/pay', `Mainstem-Tenant: ${header}`)
  // HTTP takes spaces around a header's text away.
  if (header.trim() === 'globe') expect(answer).toMatch(/^HTTP\/1.1 200 /)
  else expect(answer).toMatch(/^HTTP\/1.1 400 ([^]*"code":"invalid-tenant"|Bad Request\r\nConnection: close\r\n\r\n$)/)
  expect(folders()).toEqual(before)
})

function decoded(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

test('an Idempotency-Key with another input is refused, and told what it stands for', async () => {
  const headers = { 'idempotency-key': 'order-17' }
  const first = await ask('/commands/pay', { json: pay(), headers })
  expect(first).toMatchObject({ status: 200, body: { duplicate: false } })
  expect(await ask('/commands/pay', { json: pay(), headers })).toMatchObject({
    status: 200,
    body: { duplicate: true, version: first.body.version },
  })
  for (const [command, json] of [
    ['pay', pay(6)],
    ['take', pay()],
  ] as const)
    expect(await ask(`/commands/${command}`, { json, headers })).toMatchObject({
      status: 422,
      body: { code: 'id-reused', id: 'order-17', details: { command: 'pay', version: first.body.version } },
    })
  for (const id of ['a b', 'ä', 'x'.repeat(129), '', '""', 'x'.repeat(9_000)])
    expect(await ask('/commands/pay', { json: pay(), headers: { 'idempotency-key': encodeURI(id) === id ? id : 'a b' } })).toMatchObject({
      status: 400,
      body: { code: 'invalid-id' },
    })
})

test.each<[string, string | Uint8Array]>([
  ['no HTTP', 'hello\r\n\r\n'],
  ['bytes', new Uint8Array(5_000).map((_, n) => (n * 37) % 256)],
  ['TLS', new Uint8Array([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])],
  ['HTTP of another age', 'GET /livez\r\n\r\n'],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['two lengths', head('/commands/pay', 'Content-Length: 5', 'Content-Length: 6')],
  [
    'a length and chunks',
    `${head('/commands/pay', 'Content-Length: 5', 'Transfer-Encoding: chunked')}0\r\n\r\nGET /status HTTP/1.1\r\n\r\n`,
  ],
  ['a length below nothing', head('/commands/pay', 'Content-Length: -1')],
  ['a length without end', head('/commands/pay', `Content-Length: ${'9'.repeat(40)}`)],
  ['a chunk of no size', `${head('/commands/pay', 'Transfer-Encoding: chunked')}zz\r\n\r\n`],
  ['a header without end', `${head('/commands/pay').slice(0, -2)}X: ${'x'.repeat(100_000)}`],
  ['headers without end', `${head('/commands/pay').slice(0, -2)}${'X: 1\r\n'.repeat(10_000)}`],
  ['a path without end', head(`/queries/${'x'.repeat(100_000)}`)],
  ['a line within a header', head('/commands/pay', 'X: a\rb')],
  ['no host', 'GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n'],
  ['CONNECT', 'CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n'],
  ['TRACE', head('/commands/pay').replace('POST', 'TRACE')],
  ['an unknown method', head('/commands/pay').replace('POST', 'BREW')],
  ['an upgrade', head('/events', 'Upgrade: websocket').replace('Connection: close', 'Connection: Upgrade, close')],
  ['an expectation', head('/commands/pay', 'Expect: the-impossible')],
  ['the whole server', head('*').replace('POST', 'OPTIONS')],
  ['the URL of another', head('http://example.org/commands/pay')],
  ['no path', head('?x')],
  ['a fragment', head('/commands/pay#x')],
  ['a broken escape', head('/commands/%zz')],
  ['a query of many parts', head(`/queries/balance?${'a=1&'.repeat(3_000)}`).replace('POST', 'GET')],
])('%s gets an answer that is no defect, or is cut', async (_, bytes) => {
  expect(await raw(bytes)).toMatch(/^HTTP\/1.1 [1234]\d\d |^cut$/)
  await well()
})

test('who sends slowly or by halves is cut, holds up nobody, and does not fill its memory', async () => {
  const before = await memory()
  const slow = (begin: string) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(begin)
    const timer = setInterval(() => socket.write('x'), 100)
    return new Promise<void>(done => socket.resume().on('close', () => done(clearInterval(timer))))
  }
  const begun = performance.now()
  const json = 'Content-Type: application/json'
  const slowly = [
    ...Array.from({ length: 50 }, () => slow('POST /commands/pay HTTP/1.1\r\nX: ')),
    ...Array.from({ length: 50 }, () => slow(head('/commands/pay', json, 'Content-Length: 60000'))),
  ]
  const half = head('/commands/pay', json, 'Content-Length: 64000') + 'x'.repeat(60_000)
  const halves = Array.from({ length: 200 }, () => raw(half, 30_000))
  await new Promise(done => setTimeout(done, 500))
  expect((await memory()) - before).toBeLessThan(12 * MB)
  expect((await ask('/queries/total')).status).toBe(200)
  // Some are refused, others kept until they are too late.
  const statuses = new Set((await Promise.all(halves)).map(text => text.slice(0, 12)))
  expect([...statuses].toSorted()).toEqual(['HTTP/1.1 408', 'HTTP/1.1 503'])
  await Promise.all(slowly)
  expect(performance.now() - begun).toBeLessThan(30_000)
  await well()
})

test('2,000 connections that say nothing hold up nobody, and cost little', async () => {
  const before = await memory()
  const sockets: Socket[] = []
  onTestFinished(() => sockets.forEach(socket => socket.destroy()))
  await Promise.all(
    Array.from({ length: 2_000 }, () => {
      const socket = connect(port, '127.0.0.1')
      sockets.push(socket.on('error', () => {}))
      return once(socket, 'connect')
    }),
  )
  await well()
  expect((await memory()) - before).toBeLessThan(60 * MB)
})

test('clients of events that never read are cut, and cost little', async () => {
  const text = 'x'.repeat(50_000)
  const before = await memory()
  const sockets = Array.from({ length: 10 }, () => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(`GET /events?from=1 HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer ${ben}\r\n\r\n`)
    return socket.pause()
  })
  onTestFinished(() => sockets.forEach(socket => socket.destroy()))
  // More than the buffers of two sockets hold.
  for (let n = 0; n < 10; n++) await Promise.all(Array.from({ length: 10 }, () => ask('/commands/note', { json: { text } })))
  await well()
  expect((await memory()) - before).toBeLessThan(40 * MB)
  const streams = async () => /^mainstem_event_streams (\d+)$/m.exec((await ask('/metrics')).body)?.[1]
  await expect.poll(streams, { timeout: 20_000, interval: 250 }).toBe('0')
  await well()
})

test('no secret stands in anything that was printed or answered', async () => {
  await ask('/commands/breakDecide', { json: { how: 'SECRET' } })
  for (const path of ['/status', '/metrics', '/openapi.json', '/readyz', '/livez']) await ask(path)
  expect(answered.length).toBeGreaterThan(100)
  expect(answered.filter(text => secret.test(text))).toEqual([])
  expect(printed).not.toMatch(/SECRET-/)
})
