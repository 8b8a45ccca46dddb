/** `demo`: it runs to its end, says what it found, and leaves nothing behind. */
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { describe, expect, it } from 'vitest'
import { makeFolder, mainstem, ok, start } from './support.ts'

const small = ['--processes', '3', '--commands', '240']

describe('demo', () => {
  it('shows each strategy, checks every database, and replays one', async () => {
    const cwd = makeFolder()
    const shown = await ok(['demo', 'seats', ...small], { cwd })
    for (const strategy of ['optimistic', 'leader', 'first-wins']) {
      expect(shown).toMatch(
        new RegExp(
          `^${strategy} {2}[^]*?ok {4} no seat is sold twice at a time: no violations, by plain SQL on 3 databases\\n {2}ok {4} 3 databases agree at version \\d+: .*\\n {2}ok {4} a database was thrown away and replayed: \\d+ events in`,
          'm',
        ),
      )
      expect(shown).toMatch(new RegExp(`^${strategy} +\\d+ +\\d+ +[\\d,]+ +[\\d.]+ ms +[\\d.]+ ms +[\\d,]+/s$`, 'm'))
    }
    expect(shown).not.toContain('FAILED')
    expect(shown).toContain('Everything holds.')
    // It works in a temporary folder only.
    expect(readdirSync(cwd)).toEqual([])
  })

  it.each(['bank', 'warehouse'])('has %s, too, and JSON', async name => {
    const {
      demo,
      ok: holds,
      strategies,
    } = JSON.parse(await ok(['demo', name, '--strategy', 'first-wins', ...small, '--json'])) as {
      demo: string
      ok: boolean
      strategies: { strategy: string; accepted: number; rejected: number; checks: { ok: boolean }[] }[]
    }
    expect({ demo, holds, count: strategies.length }).toEqual({ demo: name, holds: true, count: 1 })
    const { accepted, rejected, checks } = strategies[0]!
    expect(accepted + rejected).toBe(240)
    expect(accepted).toBeGreaterThan(20)
    expect(checks.map(check => check.ok)).toEqual([true, true, true])
  })

  it('ends with Ctrl-C, and takes its processes and files with it', async () => {
    const temporary = makeFolder()
    const { child, ended, said } = start(['demo', '--strategy', 'leader', '--commands', '1000000', '--processes', '2'], {
      env: { TMPDIR: temporary },
    })
    await said('leader')
    await new Promise(resolve => setTimeout(resolve, 1_000))
    child.kill('SIGINT')
    expect(await ended).toMatchObject({ code: 130, stderr: 'error aborted: interrupted\n' })
    expect(readdirSync(temporary).filter(name => name.startsWith('mainstem-demo'))).toEqual([])
    expect(readdirSync(tmpdir())).not.toContain('replica-1')
  })

  it.each([
    [['demo', 'seat'], /^error usage: there is no demo "seat"\. Did you mean 'seats'/],
    [['demo', '--strategy', 'lead'], /^error usage: there is no strategy "lead"/],
    [['demo', '--processes', '0'], /^error usage: --processes is a whole number from 1/],
  ])('%j is wrong use', async (args, message) => {
    const { code, stderr } = await mainstem(args)
    expect(stderr).toMatch(message)
    expect(code).toBe(2)
  })
})
