/** `mainstem serve`: from a shell's side. What it answers stands in test/unit/server.test.ts. */
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
    const { child, said, ended } = start(['serve', seats, '--port', '0', '--drain', '300ms'], { cwd })
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

  it.each<[what: string, args: string[], code: number, told: RegExp]>([
    ['a host that others reach', ['--host', '0.0.0.0'], 2, /invalid-option: .*access/],
    ['half of a pair', ['--tls-cert', 'cert.pem'], 2, /usage: --tls-cert and --tls-key go together/],
    ['a port that is none', ['--port', '65536'], 2, /usage: --port is from 0 to 65,535/],
    ['a time that is none', ['--drain', 'long'], 2, /usage: --drain is a time/],
    ['a log that cannot be opened', ['--log', 'file:gone/seats.log'], 1, /log-unusable/],
  ])('refuses %s', async (_, args, code, told) => {
    const ended = await mainstem(['serve', seats, '--port', '0', '--drain', '0', ...args])
    expect(ended).toMatchObject({ code, stderr: expect.stringMatching(told) as string })
  })
})
