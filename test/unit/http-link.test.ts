/** Calls between machines: who is let in, and what is known of a call that got no answer. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { EngineError } from '../../src/errors.ts'
import { HttpLink, HttpLinkServer } from '../../src/replica/http-link.ts'
import { LinkError } from '../../src/replica/link.ts'
import { checkListen, type Listen, listenOf } from '../../src/replica/listen.ts'
import { selfSigned } from '../support/certificate.ts'

const echo = async (params: unknown) => ({ heard: params })

async function serve(listen: Listen = {}, forward: (params: unknown) => Promise<unknown> = echo): Promise<HttpLinkServer> {
  const server = await HttpLinkServer.listen(listen, forward)
  onTestFinished(() => server.close())
  return server
}

function link(url: string, secret?: string): HttpLink {
  const made = new HttpLink(url, secret)
  onTestFinished(() => made.close())
  return made
}

/** Some other server, or one of ours that behaves badly. */
async function other(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const lost = { kind: 'lost' }
const unreachable = { kind: 'unreachable' }

async function refused(promise: Promise<unknown>): Promise<LinkError> {
  const error = await promise.then(
    value => expect.unreachable(`expected an error, got ${JSON.stringify(value)}`),
    (cause: unknown) => cause,
  )
  expect(error).toBeInstanceOf(LinkError)
  return error as LinkError
}

describe('answers', () => {
  test('come back, many at once, over connections that stay', async () => {
    const server = await serve({ secret: 'right' })
    const many = link(server.url, 'right')
    const answers = await Promise.all(Array.from({ length: 300 }, (_, n) => many.call('forward', { n }, 10_000)))
    expect(answers).toEqual(Array.from({ length: 300 }, (_, n) => ({ heard: { n } })))
    const ports = new Set<number | undefined>()
    const url = await other((request, response) => {
      ports.add(request.socket.remotePort)
      response.end('{"ok":1}')
    })
    const one = link(url)
    for (let n = 0; n < 20; n++) expect(await one.call('forward', {}, 1_000)).toBe(1)
    expect(ports.size).toBe(1)
  })

  test('may be errors of the engine, whole', async () => {
    const server = await serve({}, async () => {
      throw new EngineError('conflict', 'it lost', { id: 'one', details: { to: 'another' } })
    })
    const answer = link(server.url).call('forward', {}, 1_000)
    await expect(answer).rejects.toBeInstanceOf(EngineError)
    await expect(answer).rejects.toMatchObject({
      code: 'conflict',
      retry: 'safe',
      message: 'it lost',
      id: 'one',
      details: { to: 'another' },
    })
  })

  test('a defect is told as one', async () => {
    const server = await serve({}, async () => {
      throw new TypeError('oh')
    })
    await expect(link(server.url).call('forward', {}, 1_000)).rejects.toMatchObject({ code: 'internal', retry: 'unknown' })
  })
})

describe('the secret', () => {
  test.each([undefined, 'wrong', 'righ', 'rightt', 'RIGHT'])('%s is not let in, and nothing is done', async secret => {
    let calls = 0
    const server = await serve({ secret: 'right' }, async () => calls++)
    const error = await refused(link(server.url, secret).call('forward', {}, 1_000))
    expect(error).toMatchObject({ ...unreachable, message: expect.stringMatching(/refuses our secret/) })
    expect(calls).toBe(0)
    expect(await link(server.url, 'right').call('forward', {}, 1_000)).toBe(0)
  })

  test('is asked for before anything else is said', async () => {
    const { url } = await serve({ secret: 'right' })
    expect((await fetch(url)).status).toBe(401)
    expect((await fetch(`${url}/mainstem/forward`, { method: 'POST', body: '{' })).status).toBe(401)
  })

  test.each<[Listen, ok: boolean]>([
    [{}, true],
    [{ host: 'localhost', port: 0 }, true],
    [{ host: '::1' }, true],
    [{ host: '0.0.0.0' }, false],
    [{ host: '10.0.0.7', port: 7_878 }, false],
    [{ host: '127.0.0.1.example.org' }, false],
    [{ advertise: 'http://replica-1:7878' }, false],
    [{ advertise: 'http://127.0.0.1:7878' }, true],
    [{ host: '0.0.0.0', secret: 'something' }, true],
    [{ host: '0.0.0.0', secret: '' }, false],
    [{ secret: 'with space' }, false],
    [{ port: 70_000 }, false],
    [{ advertise: 'replica-1:7878' }, false],
    [{ advertise: 'ftp://replica-1' }, false],
  ])('%j: legal %s', (listen, ok) => {
    if (ok) expect(() => checkListen(listen)).not.toThrow()
    else expect(() => checkListen(listen)).toThrow(EngineError)
  })
})

describe('only commands are taken', () => {
  const json = { 'content-type': 'application/json' }
  test.each<[what: string, status: number, path: string, init: RequestInit]>([
    ['another method', 404, '/mainstem/forward', {}],
    ['another call', 404, '/mainstem/status', { method: 'POST', headers: json, body: '{}' }],
    ['another path', 404, '/', { method: 'POST', headers: json, body: '{}' }],
    ['a form, as any page in a browser may send it', 415, '/mainstem/forward', { method: 'POST', body: '{}' }],
    ['what a browser asks before it sends JSON', 404, '/mainstem/forward', { method: 'OPTIONS' }],
    ['what is no JSON', 400, '/mainstem/forward', { method: 'POST', headers: json, body: '{' }],
    ['too much', 413, '/mainstem/forward', { method: 'POST', headers: json, body: ' '.repeat((16 << 20) + 1) }],
  ])('%s: %d', async (_, status, path, init) => {
    let calls = 0
    const { url } = await serve({}, async () => calls++)
    // Who sends much may see the connection end before the answer.
    const answer = await fetch(url + path, init).then(
      response => response.status,
      () => (status === 413 ? 413 : 0),
    )
    expect(answer).toBe(status)
    expect(calls).toBe(0)
    expect(await link(url).call('forward', {}, 1_000)).toBe(0)
  })

  test('too much is not even sent', async () => {
    const { url } = await serve()
    await expect(link(url).call('forward', 'x'.repeat(16 << 20), 1_000)).rejects.toMatchObject({ code: 'invalid-input' })
  })

  test.each([404, 415, 400])('a server that says %d has done nothing', async status => {
    const url = await other((_, response) => response.writeHead(status).end('no'))
    expect(await refused(link(url).call('forward', {}, 1_000))).toMatchObject(unreachable)
  })
})

describe('no answer', () => {
  test('nobody there: never sent', async () => {
    const server = await HttpLinkServer.listen({}, echo)
    await server.close()
    expect(await refused(link(server.url).call('forward', {}, 1_000))).toMatchObject(unreachable)
    expect(await refused(link('http://no-such-host.invalid:1').call('forward', {}, 1_000))).toMatchObject(unreachable)
  })

  test.each<[what: string, listener: RequestListener]>([
    ['ends the connection', request => request.socket.destroy()],
    [
      'ends it within its answer',
      (_, response) => {
        response.writeHead(200, { 'content-length': 100 }).write('{"ok":')
        setTimeout(() => response.destroy(), 20)
      },
    ],
    ['answers something else', (_, response) => response.end('<html>')],
    ['is a proxy whose replica is gone', (_, response) => response.writeHead(502).end()],
  ])('one that %s: it may have had its effect', async (_, listener) => {
    expect(await refused(link(await other(listener)).call('forward', {}, 1_000))).toMatchObject(lost)
  })

  test('one that never answers is given up behind the deadline', async () => {
    const start = performance.now()
    expect(await refused(link(await other(() => {})).call('forward', {}, 100))).toMatchObject(lost)
    expect(performance.now() - start).toBeGreaterThan(1_000)
    expect(performance.now() - start).toBeLessThan(3_000)
  })

  test('killed while it works: lost; asked again: unreachable', async () => {
    const module = fileURLToPath(new URL('../../src/replica/http-link.ts', import.meta.url))
    const code = `
      const { HttpLinkServer } = await import(${JSON.stringify(module)})
      const server = await HttpLinkServer.listen({}, params => {
        if (params.hang) console.log('working')
        return params.hang ? new Promise(() => {}) : Promise.resolve('here')
      })
      console.log(server.url)`
    const child = spawn(process.execPath, ['--conditions=source', '--input-type=module', '-e', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    const said = async () => String(((await once(child.stdout, 'data')) as [Buffer])[0]).trim()
    const leader = link(await said())
    expect(await leader.call('forward', {}, 1_000)).toBe('here')
    const answer = refused(leader.call('forward', { hang: true }, 5_000))
    expect(await said()).toBe('working')
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    expect(await answer).toMatchObject(lost)
    await gone
    expect(await refused(leader.call('forward', {}, 1_000))).toMatchObject(unreachable)
  })

  test('closing waits for nobody', async () => {
    const server = await HttpLinkServer.listen({}, () => new Promise(() => {}))
    const answer = refused(link(server.url).call('forward', {}, 5_000))
    await new Promise(resolve => setTimeout(resolve, 50))
    await server.close()
    expect(await answer).toMatchObject(lost)
  })
})

test('over TLS, to whom the certificate is known', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'link-'))
  const known = getCACertificates('default')
  onTestFinished(() => {
    setDefaultCACertificates(known)
    rmSync(folder, { recursive: true })
  })
  const path = join(folder, 'replica')
  selfSigned(path, 'replica')
  const server = await serve({ secret: 'right', tls: { cert: `${path}.pem`, key: `${path}.key` } })
  expect(server.url).toMatch(/^https:/)
  expect(await refused(link(server.url, 'right').call('forward', {}, 1_000))).toMatchObject(unreachable)
  expect(await refused(link(server.url.replace('https', 'http'), 'right').call('forward', {}, 1_000))).toBeDefined()
  setDefaultCACertificates([...known, readFileSync(`${path}.pem`, 'utf8')])
  expect(await link(server.url, 'right').call('forward', { n: 1 }, 1_000)).toEqual({ heard: { n: 1 } })
  expect(await refused(link(server.url, 'wrong').call('forward', {}, 1_000))).toMatchObject(unreachable)
  expect(() => checkListen({ tls: { cert: `${path}.key`, key: `${path}.key` } })).toThrow(/is not one in PEM/)
})

describe('settings', () => {
  test.each<[env: Record<string, string>, listen: Listen | undefined, want: Listen]>([
    [{}, undefined, {}],
    [{ MAINSTEM_LISTEN: '0.0.0.0:7878', MAINSTEM_SECRET: 's' }, undefined, { host: '0.0.0.0', port: 7_878, secret: 's' }],
    [{ MAINSTEM_LISTEN: ':7878' }, undefined, { host: '0.0.0.0', port: 7_878 }],
    [{ MAINSTEM_LISTEN: '7878' }, undefined, { port: 7_878 }],
    [{ MAINSTEM_LISTEN: '[::1]:7878' }, undefined, { host: '::1', port: 7_878 }],
    [{ MAINSTEM_LISTEN: 'replica-1' }, undefined, { host: 'replica-1' }],
    [{ MAINSTEM_LISTEN_CERT: 'c', MAINSTEM_LISTEN_KEY: 'k' }, undefined, { tls: { cert: 'c', key: 'k' } }],
    [{ MAINSTEM_LISTEN_CERT: 'c' }, { tls: { cert: 'x', key: 'y' } }, { tls: { cert: 'x', key: 'y' } }],
    [{ MAINSTEM_LISTEN: '0.0.0.0:1', MAINSTEM_ADVERTISE: 'http://a:1' }, { port: 5 }, { port: 5, advertise: 'http://a:1' }],
    [
      { MAINSTEM_ADVERTISE: 'http://a:1', MAINSTEM_SECRET: 's' },
      { advertise: 'http://b', secret: 't' },
      { advertise: 'http://b', secret: 't' },
    ],
  ])('%j and %j: %j', (env, listen, want) => expect(listenOf(listen, env)).toEqual(want))

  test('what is mistyped is told', () => {
    expect(() => listenOf(undefined, { MAINSTEM_LISTEN_CERT: 'c' })).toThrow(/a certificate and its key belong together/)
    expect(() => listenOf({ prot: 5 } as Listen, {})).toThrow(/no option "prot"/)
    expect(() => listenOf(undefined, { MAINSTEM_LISTEN: 'a:b:c' })).toThrow(/HOST:PORT/)
    expect(() => listenOf(undefined, { MAINSTEM_SECRET_FILE: '/nowhere/secret' })).toThrow(/MAINSTEM_SECRET_FILE cannot be read/)
  })
})
