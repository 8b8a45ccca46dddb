/** Certificates by file: what is wrong with them is told by its name, and a renewed one is taken up. */
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type PeerCertificate } from 'node:tls'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { request } from 'node:https'
import type { EngineError } from '../../src/errors.ts'
import { serve } from '../../src/server.ts'
import { readTls, renewTls } from '../../src/replica/tls.ts'
import { openssl, selfSigned } from '../support/certificate.ts'
import shop from '../support/shop.ts'

let folder: string
const at = (name: string): string => join(folder, name)

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tls-'))
  for (const name of ['one', 'two']) selfSigned(at(name), name)
  openssl('ec', '-in', at('one.key'), '-aes256', '-passout', 'pass:a-passphrase', '-out', at('locked.key'))
  writeFileSync(at('text'), 'a-secret-text')
})
afterAll(() => rmSync(folder, { recursive: true }))

test.each([
  ['one.pem', 'none', /the key .*none cannot be read: it is not there/],
  ['none', 'one.key', /the certificate .*none cannot be read: it is not there/],
  ['one.key', 'one.key', /the certificate .*one.key is not one in PEM/],
  ['one.pem', 'one.pem', /the key .*one.pem is not a private one in PEM/],
  ['one.pem', 'text', /the key .*text is not a private one in PEM/],
  ['one.pem', 'two.key', /the key .*two.key is not that of the certificate .*one.pem/],
  ['one.pem', 'locked.key', /the key .*locked.key has a passphrase/],
])('%s with %s is refused before anything is opened', async (cert, key, message) => {
  const error = await serve(shop, { log: 'file:/none/none.log', port: 0, tls: { cert: at(cert), key: at(key) } }).catch(
    (cause: unknown) => cause,
  )
  expect(error).toMatchObject({ name: 'EngineError', code: 'invalid-option', message: expect.stringMatching(message) })
  expect((error as EngineError).message).not.toContain('a-secret-text')
})

test('a key that everybody can read, and a certificate that is over, are notices', () => {
  const notices: string[] = []
  chmodSync(at('two.key'), 0o644)
  readTls({ cert: at('two.pem'), key: at('two.key') }, text => notices.push(text))
  chmodSync(at('two.key'), 0o600)
  expect(notices).toEqual([expect.stringMatching(/two.key can be read by everybody/)])
  vi.useFakeTimers({ now: Date.now() + 20 * 365 * 86_400_000, toFake: ['Date'] })
  onTestFinished(() => void vi.useRealTimers())
  readTls({ cert: at('two.pem'), key: at('two.key') }, text => notices.push(text))
  expect(notices.at(-1)).toMatch(/two.pem was good until .*: clients will refuse it/)
})

test('the server speaks TLS, and nothing else', async () => {
  const served = await serve(shop, { log: 'memory:', port: 0, drain: 0, tls: { cert: at('one.pem'), key: at('one.key') } })
  onTestFinished(() => served.close())
  await served.ready
  expect(served.url).toMatch(/^https:/)
  const ca = readFileSync(at('one.pem'))
  const status = await new Promise((done, fail) => {
    request(`${served.url}/livez`, { ca }, response => done(response.resume().statusCode))
      .on('error', fail)
      .end()
  })
  expect(status).toBe(200)
  await expect(fetch(served.url.replace('https', 'http'))).rejects.toThrow()
  expect((await certificateOf(served.url)).subject.CN).toBe('one')
})

function certificateOf(url: string): Promise<PeerCertificate> {
  return new Promise((done, fail) => {
    const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', rejectUnauthorized: false }, () => {
      done(socket.getPeerCertificate())
      socket.destroy()
    })
    socket.on('error', fail)
  })
}

test('a renewed certificate is taken up, a broken one is not', () => {
  const notices: string[] = []
  const given: Buffer[] = []
  const files = { cert: at('live.pem'), key: at('live.key') }
  let size = 0
  const put = (cert: string, key: string) => {
    // The clock of files is coarse: two of one size could pass for one.
    writeFileSync(files.cert, `${readFileSync(at(cert), 'utf8')}${'\n'.repeat(size++)}`)
    copyFileSync(at(key), files.key)
  }
  put('one.pem', 'one.key')
  vi.useFakeTimers()
  const end = renewTls({ setSecureContext: ({ cert }) => given.push(cert) }, files, text => notices.push(text))
  onTestFinished(() => {
    end()
    vi.useRealTimers()
  })
  const pass = () => vi.advanceTimersByTime(10_000)
  pass()
  expect(given).toEqual([])
  put('two.pem', 'one.key')
  pass()
  pass()
  expect(given).toEqual([])
  expect(notices).toEqual([expect.stringMatching(/the former certificate stays: .* is not that of the certificate/)])
  put('two.pem', 'two.key')
  pass()
  pass()
  expect(given.map(String)).toEqual([expect.stringContaining(readFileSync(at('two.pem'), 'utf8'))])
})
