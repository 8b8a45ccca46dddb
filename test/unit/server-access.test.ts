/** Who is let in: every way a token can be wrong is refused, and what is refused stands in no answer and no message. */
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SignJWT, UnsecuredJWT } from 'jose'
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { EngineError } from '../../src/errors.ts'
import { type Access, bearer, type AccessOptions, checkOpen, type Principal } from '../../src/server/access.ts'
import { Problem } from '../../src/server/problem.ts'

let folder: string
let notices: string[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'access-'))
  notices = []
  onTestFinished(() => rmSync(folder, { recursive: true }))
})

function file(text: string, name = 'file', mode = 0o600): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

const open = (options: AccessOptions): Access => bearer(options, text => notices.push(text))

function invalid(options: AccessOptions): string {
  try {
    open(options)
  } catch (error) {
    expect(error).toMatchObject({ name: 'EngineError', code: 'invalid-option' })
    return (error as EngineError).message
  }
  return expect.unreachable('it was taken')
}

const asking = (token?: string): Request =>
  new Request('http://replica/commands/x', { headers: token === undefined ? {} : { authorization: token } })
const enter = (access: Access, token: string): Promise<Principal> => access.authenticate(asking(`Bearer ${token}`))

async function refused(access: Access, header: string | undefined): Promise<Problem> {
  const error = await access.authenticate(asking(header)).then(
    principal => expect.unreachable(`${principal.name} was let in`),
    (cause: unknown) => cause,
  )
  expect(error).toBeInstanceOf(Problem)
  const problem = error as Problem
  expect(problem).toMatchObject({ status: 401, code: 'unauthenticated' })
  expect(problem.headers['www-authenticate']).toMatch(/^Bearer realm="mainstem"/)
  const secret = header?.split(' ')[1]
  if (secret) expect(JSON.stringify([problem.body, problem.headers, problem.message, notices])).not.toContain(secret)
  return problem
}

describe('tokens of a file', () => {
  const ann = 'token-of-ann-0123456789'
  const ops = 'token-of-ops-9876543210'
  const hashed = `sha256:${createHash('sha256').update(ops).digest('hex')}`

  test('say who it is, and for which tenants', async () => {
    const access = open({ tokens: file(`# people\n${ann}  ann  globe,old-vic\n\n${hashed}\tops\t*\r\n`) })
    expect(await enter(access, ann)).toEqual({ name: 'ann', tenants: ['globe', 'old-vic'] })
    expect(await enter(access, ops)).toEqual({ name: 'ops', tenants: '*' })
    expect(await access.authenticate(asking(`bearer ${ann}`))).toMatchObject({ name: 'ann' })
    expect(notices).toEqual([])
  })

  test.each([
    undefined,
    '',
    'Bearer',
    'Bearer ',
    `Basic ${ann}`,
    ann,
    `Bearer ${ann} more`,
    `Bearer ${ann}x`,
    `Bearer ${ann.slice(0, -1)}`,
    `Bearer ${ann.toUpperCase()}`,
    `Bearer ${hashed}`,
    `Bearer ${'x'.repeat(9_000)}`,
    'Bearer a.b.c',
  ])('%s is not let in', async header => {
    const access = open({ tokens: file(`${ann} ann *\n${hashed} ops *`) })
    const problem = await refused(access, header)
    expect(problem.headers['www-authenticate']!.includes('invalid_token')).toBe(header !== undefined)
  })

  test('no other token is let in', async () => {
    const access = open({ tokens: file(`${ann} ann *\n${hashed} ops *`) })
    for (let n = 0; n < 2_000; n++) await refused(access, `Bearer token-of-somebody-${n}`)
  })

  test.each([
    ['', /no token in it/],
    ['# nobody', /no token in it/],
    [`${ann} ann`, /line 1 is not TOKEN PRINCIPAL TENANTS/],
    [`${ann} ann * more`, /line 1 is not/],
    [`\nshort ann *`, /line 2 has a token that is none/],
    ['sha256:12ab ann *', /line 1 has a token that is none/],
    [`${ann} ann ../etc`, /line 1 names a tenant that cannot be one/],
    [`${ann} ann globe,`, /line 1 names a tenant/],
    [`${ann} ${'n'.repeat(300)} *`, /line 1 has a principal that is none/],
    [`${ann} ann *\n${ann} ben *`, /line 2 has the token of line 1/],
    [`${ops} ann *\n${hashed} ben *`, /line 2 has the token of line 1/],
  ])('a file with %j is refused by its line, and nothing of it is told', (text, message) => {
    const said = invalid({ tokens: file(text) })
    expect(said).toMatch(message)
    for (const secret of [ann, ops, hashed, 'short', '12ab']) expect(said).not.toContain(secret)
  })

  test('a file that is not there is named', () => {
    expect(invalid({ tokens: join(folder, 'none') })).toMatch(/the file of tokens .*none cannot be read: it is not there/)
  })

  test('a file that everybody can read is a notice with the way out', () => {
    const path = file(`${ann} ann *`, 'open', 0o644)
    open({ tokens: path })
    expect(notices).toEqual([`the file of tokens ${path} can be read by everybody on this machine: chmod o-r ${path}`])
  })

  test('a changed file counts at once, a broken one not at all', async () => {
    const clock = vi.spyOn(performance, 'now')
    onTestFinished(() => clock.mockRestore())
    let time = 0
    clock.mockImplementation(() => time)
    const path = file(`${ann} ann *`)
    const access = open({ tokens: path })
    file(`${ops} ops *\n`)
    time += 1_001
    expect(await enter(access, ops)).toMatchObject({ name: 'ops' })
    await refused(access, `Bearer ${ann}`)
    file(`${ops} ops *\n${ann} ann\n`)
    time += 1_001
    expect(await enter(access, ops)).toMatchObject({ name: 'ops' })
    await refused(access, `Bearer ${ann}`)
    expect(notices).toEqual([expect.stringMatching(/what was read before still counts, for .* line 2 is not/)])
    rmSync(path)
    time += 1_001
    expect(await enter(access, ops)).toMatchObject({ name: 'ops' })
    expect(notices.at(-1)).toMatch(/is gone/)
    file(`${ann} ann *`)
    time += 1_001
    expect(await enter(access, ann)).toMatchObject({ name: 'ann' })
    await refused(access, `Bearer ${ops}`)
  })
})

describe('JWTs', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = (key: KeyObject, kid: string) => ({ ...key.export({ format: 'jwk' }), kid })
  const set = JSON.stringify({ keys: [jwk(rsa.publicKey, 'r1'), jwk(ec.publicKey, 'e1')] })
  const ours = { issuer: 'https://id.example.org', audience: 'seats' }
  const secret = 'a-secret-that-has-at-least-32-bytes'
  const now = Math.floor(Date.now() / 1_000)
  const claims = { sub: 'ann', iss: ours.issuer, aud: ours.audience, exp: now + 3_600, tenants: ['globe'] }

  const sign = (changes: object = {}, key: KeyObject | Uint8Array = ec.privateKey, header: object = {}): Promise<string> => {
    const payload = Object.fromEntries(Object.entries({ ...claims, ...changes }).filter(([, value]) => value !== undefined))
    return new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid: 'e1', ...header }).sign(key)
  }
  const withFile = (more: object = {}): Access => open({ jwt: { jwks: file(set, 'jwks.json'), ...ours, ...more } })

  test('signed by a key of the set, for us, are let in', async () => {
    const access = withFile()
    expect(await enter(access, await sign())).toEqual({ name: 'ann', tenants: ['globe'] })
    expect(await enter(access, await sign({}, rsa.privateKey, { alg: 'RS256', kid: 'r1' }))).toMatchObject({ name: 'ann' })
    expect(await enter(access, await sign({ tenants: '*' }))).toEqual({ name: 'ann', tenants: '*' })
    expect(await enter(access, await sign({ aud: ['other', 'seats'] }))).toMatchObject({ name: 'ann' })
  })

  test('without tenants have none', async () => {
    expect(await enter(withFile(), await sign({ tenants: undefined }))).toEqual({ name: 'ann', tenants: [] })
    expect(await enter(withFile({ tenants: 'houses' }), await sign({ houses: ['old-vic'] }))).toEqual({ name: 'ann', tenants: ['old-vic'] })
  })

  test.each<[string, object, RegExp]>([
    ['has expired', { exp: now - 10 }, /it has expired/],
    ['never expires', { exp: undefined }, /it has no exp/],
    ['is for later', { nbf: now + 600 }, /not good yet/],
    ['is of another issuer', { iss: 'https://id.example.net' }, /its iss is not what it must be/],
    ['has no issuer', { iss: undefined }, /it has no iss/],
    ['is for another audience', { aud: 'other' }, /its aud is not/],
    ['has no audience', { aud: undefined }, /it has no aud/],
    ['names nobody', { sub: undefined }, /it has no sub/],
    ['has a name of several lines', { sub: 'ann\nroot' }, /its sub is not a line/],
    ['has a name without end', { sub: 'n'.repeat(257) }, /its sub is not a line/],
    ['has a tenant that cannot be one', { tenants: ['globe', '../etc'] }, /its tenants are neither/],
    ['has tenants of another kind', { tenants: 'globe' }, /its tenants are neither/],
  ])('one that %s is refused', async (_, changes, message) => {
    expect((await refused(withFile(), `Bearer ${await sign(changes)}`)).message).toMatch(message)
  })

  test('a clock that is off by seconds is forgiven', async () => {
    const token = await sign({ exp: Math.floor(Date.now() / 1_000) - 1 })
    expect(await enter(withFile({ clockTolerance: 120 }), token)).toMatchObject({ name: 'ann' })
    await refused(withFile({ clockTolerance: 0 }), `Bearer ${token}`)
  })

  test('signed by somebody else, or by nobody, are refused', async () => {
    const access = withFile()
    const good = await sign()
    const [header, payload, signature] = good.split('.') as [string, string, string]
    const none = new UnsecuredJWT({ ...claims }).encode()
    const root = Buffer.from(JSON.stringify({ ...claims, sub: 'root' })).toString('base64url')
    const noAlg = Buffer.from('{"alg":"none","kid":"e1"}').toString('base64url')
    const pem = Buffer.from(ec.publicKey.export({ type: 'spki', format: 'pem' }))
    for (const token of [
      await sign({}, other.privateKey),
      await sign({}, other.privateKey, { kid: 'unknown' }),
      none,
      `${noAlg}.${payload}.`,
      `${noAlg}.${payload}.${signature}`,
      `${header}.${root}.${signature}`,
      `${header}.${payload}.`,
      `${header}.${payload}.${signature.slice(0, -4)}AAAA`,
      // The public key taken for a secret.
      await sign({}, pem, { alg: 'HS256' }),
      await sign({}, new TextEncoder().encode(secret), { alg: 'HS256', kid: undefined }),
      await sign({}, ec.privateKey, { crit: ['exp'], exp: 1 }).catch(() => `${header}.${payload}.${signature}x`),
      'a.b.c',
      '..',
      'e30.e30.e30',
    ])
      await refused(access, `Bearer ${token}`)
    expect(await enter(access, good)).toMatchObject({ name: 'ann' })
  })

  test('signed with a shared secret are let in where one is set, and only with its algorithm', async () => {
    const access = open({ jwt: { secretFile: file(`${secret}\n`), ...ours } })
    const key = new TextEncoder().encode(secret)
    expect(await enter(access, await sign({}, key, { alg: 'HS256' }))).toMatchObject({ name: 'ann' })
    await refused(access, `Bearer ${await sign({}, key, { alg: 'HS512' })}`)
    await refused(access, `Bearer ${await sign({}, new TextEncoder().encode(`${secret}.`), { alg: 'HS256' })}`)
    await refused(access, `Bearer ${await sign()}`)
    await refused(access, `Bearer ${new UnsecuredJWT({ ...claims }).encode()}`)
  })

  test('and tokens of a file go together', async () => {
    const access = open({ tokens: file('token-of-ops-9876543210 ops *', 'tokens'), jwt: { jwks: file(set, 'jwks.json'), ...ours } })
    expect(await enter(access, 'token-of-ops-9876543210')).toMatchObject({ name: 'ops' })
    expect(await enter(access, await sign())).toMatchObject({ name: 'ann' })
  })

  test('keys come from a URL; where they cannot be had nobody is told that his token is bad', async () => {
    let answers = true
    let asked = 0
    const server = createServer((_, response) => {
      asked++
      response.writeHead(answers ? 200 : 500, { 'content-type': 'application/json' }).end(answers ? set : 'a-secret-of-the-issuer')
    })
    onTestFinished(() => void server.close())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const jwks = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`
    const good = open({ jwt: { jwks, ...ours } })
    expect(await enter(good, await sign())).toMatchObject({ name: 'ann' })
    expect(await enter(good, await sign({ sub: 'ben' }))).toMatchObject({ name: 'ben' })
    // An unknown key is no way to make us ask again and again.
    for (let n = 0; n < 5; n++) await refused(good, `Bearer ${await sign({}, other.privateKey, { kid: `k${n}` })}`)
    expect(asked).toBe(1)
    answers = false
    const late = open({ jwt: { jwks, ...ours } })
    const error = await enter(late, await sign()).catch((cause: unknown) => cause)
    expect(error).toMatchObject({ status: 503, code: 'not-ready', headers: { 'retry-after': '1' } })
    expect(notices).toHaveLength(1)
    expect(JSON.stringify([(error as Problem).body, notices])).not.toContain('a-secret')
    await refused(late, undefined)
  })

  test.each<[object, RegExp]>([
    [{}, /give one of both/],
    [{ jwks: 'a', secretFile: 'b' }, /give one of both/],
    [{ jwks: 'jwks.json', issuer: undefined }, /need an issuer and an audience/],
    [{ jwks: 'jwks.json', audience: '' }, /need an issuer and an audience/],
    [{ jwks: 'jwks.json', algorithms: ['none'] }, /not "none"/],
    [{ jwks: 'jwks.json', algorithms: ['ES256', 'HS256'] }, /not "HS256"/],
    [{ secretFile: 'secret', algorithms: ['RS256'] }, /not "RS256"/],
    [{ jwks: 'jwks.json', algorithms: [] }, /the algorithms/],
    [{ jwks: 'jwks.json', clockTolerance: 3_600 }, /clockTolerance is from 0 to 300/],
    [{ jwks: 'http://id.example.org/jwks' }, /an https URL/],
    [{ jwks: 'https://user:pass@id.example.org/jwks' }, /without a name and password/],
    [{ jwks: 'jwks.json', tenant: 'x' }, /access.jwt has no option "tenant"/],
    [{ jwks: '/none/jwks.json' }, /the JWKS \/none\/jwks.json cannot be read/],
  ])('%j cannot be what was meant', (jwt, message) => {
    expect(invalid({ jwt: { ...ours, ...jwt } })).toMatch(message)
  })

  test.each([
    ['{', /it is not JSON/],
    ['{"keys":[]}', /it is no JWKS/],
    [JSON.stringify({ keys: [ec.privateKey.export({ format: 'jwk' })] }), /a key that is not public/],
    ['{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}', /a key that is not public/],
  ])('a set such as %.20s is refused', (text, message) => {
    const said = invalid({ jwt: { jwks: file(text), ...ours } })
    expect(said).toMatch(message)
    expect(said).not.toContain('c2VjcmV0')
  })

  test('a short secret is refused, and not told', () => {
    const said = invalid({ jwt: { secretFile: file('short-secret'), ...ours } })
    expect(said).toMatch(/32 bytes or more/)
    expect(said).not.toContain('short-secret')
  })
})

test('there is no access without a way to know somebody', () => {
  expect(invalid({})).toMatch(/by tokens .*, by jwt, or by both/)
  expect(invalid({ token: 'x' } as AccessOptions)).toMatch(/access has no option "token"/)
  expect(invalid({ tokens: file('token-of-ann-0123456789 ann *'), policy: 'yes' as never })).toMatch(/access.policy is a function/)
})

test.each(['0.0.0.0', '::', '10.1.2.3', 'replica-1.example.net', '127.0.0.1.example.net'])('%s is not listened on without access', host => {
  expect(() => checkOpen(host, false)).toThrowError(/--tokens FILE, .* or listen on 127.0.0.1/)
  checkOpen(host, true)
  for (const own of ['127.0.0.1', 'localhost', '::1', '127.3.2.1']) checkOpen(own, false)
})
