/** What listens: before the replica is ready, for whom where access is off, and how it ends. */
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { MemoryLog } from '../../src/log/memory.ts'
import type { Log } from '../../src/log.ts'
import { serve, type ServeOptions } from '../../src/server.ts'
import shop from '../support/shop.ts'

async function served(options: Partial<ServeOptions> = {}) {
  const server = await serve(shop, { log: 'memory:', port: 0, drain: 0, onError() {}, ...options })
  onTestFinished(() => server[Symbol.asyncDispose]())
  return server
}

const agent = new Agent({ keepAlive: true, maxSockets: 1 })

/** With any header, over one connection. */
function ask(url: string, headers: Record<string, string> = {}, body?: string): Promise<{ status: number; headers: any; body: any }> {
  return new Promise((done, fail) => {
    const asked = request(url, { headers, agent, method: body === undefined ? 'GET' : 'POST' }, response => {
      let text = ''
      response.setEncoding('utf8').on('data', part => (text += part))
      response.on('end', () => done({ status: response.statusCode!, headers: response.headers, body: JSON.parse(text) }))
    })
    asked.on('error', fail)
    asked.end(body)
  })
}

const json = { 'content-type': 'application/json' }
const pay = JSON.stringify({ account: 'Ann', cents: 5 })

test('it listens at once, and says how far it is until it is ready', async () => {
  const log = new MemoryLog()
  await (await served({ log, release: '' })).ready
  let open = () => {}
  const gate = new Promise<void>(done => (open = done))
  let reads = 0
  const slow = new Proxy<Log>(log, {
    get(target, key) {
      const value = Reflect.get(target, key, target)
      if (typeof value !== 'function') return value
      if (key !== 'read') return value.bind(target)
      return async (...args: Parameters<Log['read']>) => {
        if (++reads > 1) await gate
        return target.read(...args)
      }
    },
  })
  const server = await served({ log: slow })
  const ready = await ask(`${server.url}/readyz`)
  expect([ready.status, ready.headers['retry-after']]).toEqual([503, '1'])
  expect(ready.body).toMatchObject({ status: 'not-ready', reasons: [{ reason: expect.stringMatching(/starting|replaying/) }] })
  expect((await ask(`${server.url}/livez`)).status).toBe(200)
  const early = await ask(`${server.url}/commands/pay`, json, pay)
  expect([early.status, early.headers['retry-after'], early.body.code]).toEqual([503, '1', 'not-ready'])
  open()
  await server.ready
  expect((await ask(`${server.url}/readyz`)).status).toBe(200)
  expect((await ask(`${server.url}/commands/pay`, json, pay)).status).toBe(200)
})

test('without access it listens on loopback alone, and answers no page of another origin', async () => {
  await expect(serve(shop, { log: 'memory:', host: '0.0.0.0', port: 0 })).rejects.toMatchObject({ code: 'invalid-option' })
  const { url, ready } = await served()
  await ready
  const host = new URL(url).host
  for (const headers of [{ host: 'evil.example' }, { origin: 'http://evil.example' }, { origin: 'null' }])
    expect(await ask(`${url}/commands/nothing`, headers as {}, '')).toMatchObject({ status: 403, body: { code: 'forbidden' } })
  expect((await ask(`${url}/commands/nothing`, { origin: `http://${host}` }, '')).status).toBe(200)
})

test('a handler of errors that throws itself keeps nobody from an answer', async () => {
  const told: unknown[] = []
  const onError = (error: unknown) => {
    told.push(error)
    throw new Error('and this one throws')
  }
  const { url, ready } = await served({ onError })
  await ready
  const write = process.stderr.write
  process.stderr.write = () => true
  onTestFinished(() => void (process.stderr.write = write))
  expect((await ask(`${url}/commands/breakDecide`, json, '{"how":"it broke"}')).status).toBe(500)
  expect(told).toMatchObject([{ code: 'decide-failed' }])
})

test('a probe that names no host is answered', async () => {
  const { url, ready } = await served()
  await ready
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.end('GET /readyz HTTP/1.0\r\n\r\n')
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 OK/)
})

test('told to end it is not ready at once, serves on, lets connections go, and ends', async () => {
  const { url, ready, close } = await served({ drain: 300 })
  const replica = await ready
  const events = await fetch(`${url}/events`)
  const before = await ask(`${url}/commands/pay`, json, pay)
  expect(before.headers.connection).toBe('keep-alive')
  const begun = performance.now()
  const closed = close()
  expect(await ask(`${url}/readyz`)).toMatchObject({ status: 503, body: { reasons: [{ reason: 'draining' }] } })
  const after = await ask(`${url}/commands/pay`, json, pay)
  expect([after.status, after.headers.connection]).toEqual([200, 'close'])
  // It would lead no more, though it still serves.
  expect(replica.readiness().reasons).toEqual(['closing'])
  // Its stream comes to an end, too.
  for await (const _ of events.body!);
  await closed
  // Far sooner than connections without a request are ended else.
  expect(performance.now() - begun).toBeLessThan(20_000)
  await expect(ask(`${url}/livez`)).rejects.toThrow('ECONNREFUSED')
  await expect(replica.execute('pay', { account: 'Ann', cents: 1 })).rejects.toMatchObject({ code: 'closed' })
})

test('a connection that never asked for anything holds nothing up', async () => {
  const { url, ready, close } = await served({ drain: 0 })
  await ready
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  await once(socket, 'connect')
  // It is known to the server: what came later was answered.
  expect((await ask(`${url}/livez`)).status).toBe(200)
  const begun = performance.now()
  await Promise.all([close(), new Promise(done => socket.resume().once('close', done))])
  expect(performance.now() - begun).toBeLessThan(20_000)
})

test('a replica that cannot be opened says so', async () => {
  const { url, ready } = await served({ log: 'file:/nowhere/at/all.log', data: '/proc/nowhere' })
  await expect(ready).rejects.toThrow()
  expect(await ask(`${url}/readyz`)).toMatchObject({ status: 503, body: { reasons: [{ reason: 'failed' }] } })
})

test('takes no more connections than it shall', async () => {
  const server = await served({ maxConnections: 2 })
  const open = async () => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.on('error', () => {})
    await once(socket, 'connect')
    return socket
  }
  const two = [await open(), await open()]
  const third = (await open()).resume()
  await new Promise(done => third.on('close', done))
  two[0]!.write('GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  expect(await text(two[0]!)).toMatch(/^HTTP\/1.1 200 /)
  const next = await open()
  next.write('GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  expect(await text(next)).toMatch(/^HTTP\/1.1 200 /)
})
