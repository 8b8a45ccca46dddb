/** `mainstem serve`: from a shell's side. What it answers stands in test/unit/server.test.ts. */
import { chmodSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { mainstem, makeFolder, seats, start } from './support.ts'

const reserve = (seat: string) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ seat, guest: 'Ann' }),
})

describe.concurrent('mainstem serve', () => {
  it('says where it listens, serves, and ends well when told to', async () => {
    const cwd = makeFolder()
    const { child, said, ended } = start(['serve', seats, '--port', '0', '--drain', '1500ms'], { cwd })
    const url = /^seats listens on (http:\/\/127\.0\.0\.1:\d+)$/m.exec(await said('listens on'))![1]!
    // Retried while it starts, as its answers ask for.
    let answer = await fetch(`${url}/commands/reserve`, reserve('A1'))
    while (answer.status === 503) answer = await fetch(`${url}/commands/reserve`, reserve('A1'))
    expect(await answer.json()).toMatchObject({ status: 'accepted', version: 1 })
    child.kill('SIGTERM')
    let last = answer
    while (last.status !== 503) last = await fetch(`${url}/readyz`)
    expect((await fetch(`${url}/commands/reserve`, reserve('A2'))).status).toBe(200)
    const { code, stderr, stdout } = await ended
    expect([code, stdout]).toEqual([0, `seats listens on ${url}\n`])
    expect(
      stderr
        .trim()
        .split('\n')
        .map(line => JSON.parse(line).event),
    ).toEqual(['ready', 'draining', 'closed'])
  })

  it('ends at once at the second signal', async () => {
    const { child, said, ended } = start(['serve', seats, '--port', '0', '--drain', '1h', '--json'])
    expect(JSON.parse(await said('}'))).toEqual({ url: expect.stringMatching(/^http:/) })
    child.kill('SIGTERM')
    child.kill('SIGINT')
    expect((await ended).code).not.toBe(0)
  })

  it('refuses a host that others reach without access, before it makes anything', async () => {
    const cwd = makeFolder()
    const ended = await mainstem(['serve', seats, '--port', '0', '--host', '0.0.0.0'], { cwd })
    expect(ended).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/invalid-option: .*--tokens FILE.*listen on 127.0.0.1/) as string,
    })
    expect(readdirSync(cwd)).toEqual([])
  })

  it('asks everybody for a token there, takes the policy from the configuration, and tells of files that are open to all', async () => {
    const cwd = makeFolder()
    const token = 'token-of-ann-0123456789'
    writeFileSync(join(cwd, 'tokens'), `${token} ann default\n`)
    chmodSync(join(cwd, 'tokens'), 0o644)
    const policy = `({ name }, { kind }, input) => name === 'ann' && (kind !== 'command' || input.seat !== 'B1')`
    writeFileSync(join(cwd, 'mainstem.config.mjs'), `export default { access: { tokens: 'tokens', policy: ${policy} } }`)
    const { child, said, ended } = start(['serve', seats, '--port', '0', '--host', '0.0.0.0', '--drain', '0'], { cwd })
    const port = /:(\d+)$/m.exec(await said('listens on'))![1]!
    const ask = async (seat: string, headers = {}) => {
      const { headers: type, ...init } = reserve(seat)
      return fetch(`http://127.0.0.1:${port}/commands/reserve`, { ...init, headers: { ...type, ...headers } })
    }
    const ann = { authorization: `Bearer ${token}` }
    let answer = await ask('A1', ann)
    while (answer.status === 503) answer = await ask('A1', ann)
    expect(answer.status).toBe(200)
    expect((await ask('A2')).status).toBe(401)
    expect((await ask('B1', ann)).status).toBe(403)
    const events = await fetch(`http://127.0.0.1:${port}/events?from=1`, { headers: ann })
    let read = ''
    for await (const part of events.body!.pipeThrough(new TextDecoderStream()) as unknown as AsyncIterable<string>)
      if ((read += part).endsWith('\n\n') && read.includes('data:')) break
    expect(read).toMatch(/"principal":"ann"/)
    child.kill('SIGTERM')
    const { stderr } = await ended
    expect(stderr).toMatch(/"notice":"the file of tokens tokens can be read by everybody/)
    expect(stderr).not.toContain(token)
  })

  it.each<[what: string, args: string[], code: number, told: RegExp]>([
    ['JWTs for whomever', ['--jwks', 'https://id.example.org/jwks'], 2, /invalid-option: JWTs need an issuer and an audience/],
    ['tokens that are not there', ['--tokens', 'gone'], 2, /invalid-option: the file of tokens gone cannot be read/],
    ['half of a pair', ['--tls-cert', 'cert.pem'], 2, /usage: a certificate and its key belong together: give --tls-cert and --tls-key/],
    ['a port that is none', ['--port', '65536'], 2, /usage: --port is from 0 to 65,535/],
    ['a time that is none', ['--drain', 'long'], 2, /usage: --drain is a time/],
    ['a log that cannot be opened', ['--log', 'file:gone/seats.log'], 1, /log-unusable/],
  ])('refuses %s', async (_, args, code, told) => {
    const ended = await mainstem(['serve', seats, '--port', '0', '--drain', '0', ...args])
    expect(ended).toMatchObject({ code, stderr: expect.stringMatching(told) as string })
  })
})
