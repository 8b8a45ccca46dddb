/** `log`: what it shows, and that export, import and copy lose and change nothing. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { openLog } from '../../src/log/open.ts'
import { encodeControl } from '../../src/record.ts'
import { LOG_ID, makeHistory, strangers, summaryOf } from './history.ts'
import { acknowledged, json, jsonLines, mainstem, makeFolder, ok, seats, start, startReplica } from './support.ts'

const reserve = (seat: string, ...more: string[]) => ['exec', 'reserve', JSON.stringify({ seat, guest: 'Ann' }), '--app', seats, ...more]

describe.concurrent('log tail and show', () => {
  it('show the events of a tenant, and all records with their verdicts', async () => {
    const cwd = makeFolder()
    await ok(reserve('A1', '--id', 'one'), { cwd })
    await ok(reserve('A2', '--tenant', 'globe'), { cwd })
    await ok(['exec', 'move', '{"from":"A1","to":"B1"}', '--app', seats, '--id', 'two'], { cwd })
    await mainstem(reserve('B1', '--id', 'three'), { cwd })
    const log = openLog(`file:${join(cwd, '.mainstem/seats.log')}`)
    const { value } = (await log.read(1)).records[0]!
    // The same once more, something foreign, and a term that is not next, and a record of another tenant.
    const { log: id } = await summaryOf(`file:${join(cwd, '.mainstem/seats.log')}`)
    const term = encodeControl({ kind: 'term', log: id!, time: 1, number: 9, owner: 'x', address: null })
    await log.append([
      { value, tenant: 'default', time: 1 },
      { value: strangers[2]!, tenant: 'default', time: 1 },
      { value: term, tenant: null, time: 1 },
      { value, tenant: 'globe', time: 1 },
    ])
    await log.close()
    const there = ['--log', 'file:.mainstem/seats.log']

    const events = await jsonLines(['log', 'tail', ...there], { cwd })
    expect(events.map(({ version, type, id, command, tenant }) => ({ version, type, id, command, tenant }))).toEqual([
      { version: 1, type: 'SeatReserved', id: 'one', command: 'reserve', tenant: 'default' },
      { version: 2, type: 'SeatReleased', id: 'two', command: 'move', tenant: 'default' },
      { version: 3, type: 'SeatReserved', id: 'two', command: 'move', tenant: 'default' },
    ])
    expect(await jsonLines(['log', 'tail', '--from', '3', ...there], { cwd })).toEqual(events.slice(2))
    expect(await jsonLines(['log', 'tail', '-n', '1', ...there], { cwd })).toEqual(events.slice(2))
    expect(await jsonLines(['log', 'tail', '--tenant', 'globe', ...there], { cwd })).toMatchObject([
      { version: 1, data: { seat: 'A2', guest: 'Ann' } },
    ])

    const all = await jsonLines(['log', 'tail', '--all', ...there], { cwd })
    expect(all).toMatchObject([
      { position: 1, kind: 'manifest', effect: 'accepted', app: 'seats' },
      { position: 2, kind: 'data', from: 0, to: 1, decisions: [{ verdict: 'accepted', id: 'one' }] },
      { position: 3, kind: 'data', tenant: 'globe', from: 0, to: 1 },
      { position: 4, kind: 'data', from: 1, to: 3 },
      { position: 5, kind: 'data', from: 3, to: 3, decisions: [{ verdict: 'accepted', rejection: { code: 'seat-taken' } }] },
      { position: 6, kind: 'data', from: 3, to: 3, decisions: [{ verdict: 'duplicate' }] },
      { position: 7, kind: 'foreign', effect: 'none', base64: Buffer.from(strangers[2]!).toString('base64') },
      { position: 8, kind: 'term', effect: 'none', reason: 'term 1 would be next, not 9' },
      { position: 9, kind: 'data', effect: 'none', reason: 'it is filed under tenant globe' },
    ])
    const text = await ok(['log', 'tail', '--all', ...there], { cwd })
    expect(text).toMatch(
      / 5 .* default {2}3 {2}reserve said no \(seat-taken\)\n +6 .* 3 {2}reserve duplicate\n +7 .*no effect.*filed under default/,
    )

    expect(await json(['log', 'show', '6', ...there], { cwd })).toEqual(all[5])
    const shown = await ok(['log', 'show', '4', ...there], { cwd })
    expect(shown).toMatch(
      /versions +1 -> 3[^]*accepted {2}move {2}two\n {2}reads seat:A1, seat:B1[^]*SeatReleased[^]*result {2}\{"guest":"Ann"\}/,
    )
    const none = await mainstem(['log', 'show', '99', ...there], { cwd })
    expect(none).toMatchObject({ code: 1, stderr: expect.stringMatching(/no record at position 99; its last one is 9/) as string })
  })

  it('follow what comes', async () => {
    const cwd = makeFolder()
    await ok(reserve('A1'), { cwd })
    const tail = start(['log', 'tail', '--follow', '--json', '--app', seats], { cwd })
    await tail.said('"version":1')
    await ok(reserve('A2'), { cwd })
    await tail.said('"version":2')
    tail.child.kill('SIGINT')
    expect(await tail.ended).toMatchObject({ code: 130, stderr: '' })
  })

  it('cannot show what is no log', async () => {
    const cwd = makeFolder({ 'notes.txt': 'not a log, but long enough to be looked at. '.repeat(10) })
    const { code, stderr } = await mainstem(['log', 'tail', '--log', 'file:notes.txt'], { cwd })
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^error log-unusable: cannot use notes\.txt as a log/) as string,
    })
    expect(readFileSync(join(cwd, 'notes.txt'), 'utf8')).toMatch(/^not a log/)
  })
})

describe.concurrent('log export and import', () => {
  it('give the same bytes, versions and digests', async () => {
    const cwd = makeFolder()
    await makeHistory(join(cwd, 'a.log'), 2_500)
    const before = await summaryOf(`file:${join(cwd, 'a.log')}`)
    expect(await json(['log', 'export', 'a.jsonl', '--log', 'file:a.log'], { cwd })).toMatchObject({ records: before.records })
    expect(await ok(['log', 'export', '-', '--log', 'file:a.log'], { cwd })).toBe(readFileSync(join(cwd, 'a.jsonl'), 'utf8'))
    expect(JSON.parse(readFileSync(join(cwd, 'a.jsonl'), 'utf8').split('\n')[0]!)).toEqual({
      position: 1,
      tenant: null,
      value: before.values[0],
    })
    expect(await json(['log', 'import', 'a.jsonl', '--log', 'file:b.log'], { cwd })).toEqual({ log: 'file:b.log', records: before.records })
    await ok(['log', 'import', '-', '--log', 'file:c.log'], { cwd, input: readFileSync(join(cwd, 'a.jsonl'), 'utf8') })
    expect(await summaryOf(`file:${join(cwd, 'b.log')}`)).toEqual(before)
    expect(await summaryOf(`file:${join(cwd, 'c.log')}`)).toEqual(before)
    // Nothing that exists is touched.
    const again = await mainstem(['log', 'import', 'a.jsonl', '--log', 'file:b.log'], { cwd })
    expect(again).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error file: there is a log at b\.log already/) as string })
    const over = await mainstem(['log', 'export', 'a.jsonl', '--log', 'file:a.log'], { cwd })
    expect(over).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error file: a\.jsonl exists already/) as string })
  })

  it.each<[what: string, line: string, message: RegExp]>([
    ['is not JSON', '{', /^error file: line 2 is nothing that `log export` wrote: it is not JSON/],
    ['is no object', '3', /^error file: line 2 .* it is not an object|'tenant' is neither/],
    ['has no value', '{"tenant":null}', /^error file: line 2 .*neither 'value' nor 'base64'/],
    ['has another tenant', '{"tenant":3,"value":""}', /^error file: line 2 .*'tenant'/],
  ])('a line that %s leaves no log behind', async (_, line, message) => {
    const cwd = makeFolder({ 'a.jsonl': `{"position":1,"tenant":null,"value":"x"}\n${line}\n` })
    const { code, stderr } = await mainstem(['log', 'import', 'a.jsonl', '--log', 'file:b.log'], { cwd })
    expect(stderr).toMatch(message)
    expect(code).toBe(1)
    expect(existsSync(join(cwd, 'b.log'))).toBe(false)
    expect(existsSync(join(cwd, 'b.log.importing'))).toBe(false)
  })
})

describe('log copy', () => {
  it('under live writers, killed again and again, moves everything that was acknowledged, and one log alone goes on', async () => {
    const cwd = makeFolder()
    await makeHistory(join(cwd, 'a.log'), 15_000)
    const log = `file:${join(cwd, 'a.log')}`
    const writers = await Promise.all(
      ['x', 'y'].map(name => startReplica({ log, data: join(cwd, name), strategy: 'first-wins', writers: 2, name })),
    )
    await Promise.all(writers.map((writer, index) => writer.said(`ack ${'xy'[index]}3\n`)))
    const copied = () =>
      ['', '-wal'].reduce((sum, end) => sum + (statSync(join(cwd, `b.log.copying${end}`), { throwIfNoEntry: false })?.size ?? 0), 0)
    let kills = 0
    for (const bytes of [200_000, 2_000_000, 4_000_000]) {
      const copy = start(['log', 'copy', 'file:a.log', 'file:b.log'], { cwd })
      while (copy.child.exitCode === null && copied() < bytes) await pause(2)
      copy.child.kill('SIGKILL')
      const { code } = await copy.ended
      expect(existsSync(join(cwd, 'b.log')), 'a copy that is not whole has no name').toBe(code === 0)
      if (code === 0) break
      kills++
    }
    expect(kills).toBeGreaterThan(0)
    if (!existsSync(join(cwd, 'b.log'))) {
      expect(await ok(['log', 'copy', 'file:a.log', 'file:b.log'], { cwd })).toMatch(
        /in file:b\.log \([\d,]+ records of them by a former call\)\. file:a\.log was sealed at position \d+/,
      )
    }
    const ended = await Promise.all(writers.map(writer => writer.ended))
    for (const { code, stdout, stderr } of ended)
      expect({ code, stderr, sealed: stdout.includes('sealed') }).toEqual({ code: 0, stderr: '', sealed: true })

    const source = await summaryOf(log)
    const copy = await summaryOf(`file:${join(cwd, 'b.log')}`)
    expect(source).toMatchObject({ generation: 1, sealed: true, log: LOG_ID })
    expect(copy).toMatchObject({ generation: 2, sealed: false, log: LOG_ID })
    expect(copy.tenants).toEqual(source.tenants)
    // All bytes but the manifest's, up to the seal.
    expect(copy.values.slice(1)).toEqual(source.values.slice(1, copy.records))
    expect(source.values[copy.records]).toMatch(/"kind":"seal"/)
    const taken: { seat: string }[] = await json(['query', 'taken', '--app', seats, '--log', 'file:b.log', '--data', 'z'], { cwd })
    const there = new Set(taken.map(({ seat }) => seat))
    const lost = ended.flatMap(({ stdout }) => acknowledged(stdout)).filter(seat => !there.has(seat))
    expect(lost).toEqual([])

    // The source does not go on, a second copy is refused, the copy goes on.
    const old = await mainstem(reserve('Z1', '--log', 'file:a.log', '--data', 'w'), { cwd })
    expect(old).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error log-sealed: /) as string })
    const second = await mainstem(['log', 'copy', 'file:a.log', 'file:c.log'], { cwd })
    expect(second).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error log-sealed: .*It is file:.*b\.log/) as string })
    expect(existsSync(join(cwd, 'c.log'))).toBe(false)
    expect(await json(reserve('Z1', '--log', 'file:b.log', '--data', 'z'), { cwd })).toMatchObject({
      version: copy.tenants['default']![0] + 1,
    })
    // A database of the source goes on, on the copy.
    expect(await json(reserve('Z2', '--log', 'file:b.log', '--data', 'x'), { cwd })).toMatchObject({
      version: copy.tenants['default']![0] + 2,
    })
    // Only whoever says that the copy is lost gets another one.
    await ok(['log', 'copy', 'file:a.log', 'file:c.log', '--copy-is-lost'], { cwd })
    expect((await summaryOf(`file:${join(cwd, 'c.log')}`)).tenants).toEqual(source.tenants)
  })

  it('refuses what is there already, and what is no log', async () => {
    const cwd = makeFolder()
    await makeHistory(join(cwd, 'a.log'), 10)
    await makeHistory(join(cwd, 'b.log'), 3)
    const there = await mainstem(['log', 'copy', 'file:a.log', 'file:b.log'], { cwd })
    expect(there).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^error log-unusable: there is a log at file:b\.log already/) as string,
    })
    expect(await summaryOf(`file:${join(cwd, 'a.log')}`)).toMatchObject({ sealed: false })
    await makeHistory(join(cwd, 'c.log.copying'), 3, 'bank')
    const half = await mainstem(['log', 'copy', 'file:a.log', 'file:c.log'], { cwd })
    expect(half).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/holds something else than the beginning of file:a\.log/) as string,
    })
    const none = await mainstem(['log', 'copy', 'file:none.log', 'file:d.log'], { cwd })
    expect(none).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error log-unusable: there is no log at none\.log/) as string })
    writeFileSync(join(cwd, 'e.log'), '')
    expect(await json(['log', 'copy', 'file:a.log', 'file:e.log'], { cwd })).toMatchObject({ records: 11, generation: 2 })
  })

  it('splits a log into files, on which everything goes on, and refuses to put them together again', async () => {
    const cwd = makeFolder()
    await makeHistory(join(cwd, 'a.log'), 40)
    const before = await summaryOf(`file:${join(cwd, 'a.log')}`)
    const unsaid = await mainstem(['log', 'copy', 'file:a.log', 'file:b-{}.log'], { cwd })
    expect(unsaid).toMatchObject({ code: 2, stderr: expect.stringMatching(/^error usage: into how many shards\?/) as string })
    const many = await mainstem(['log', 'copy', 'file:a.log', 'file:b.log', '--partitions', '3'], { cwd })
    expect(many).toMatchObject({ code: 2, stderr: expect.stringMatching(/3 shards need as many files: write \{\}/) as string })
    const copied = await json(['log', 'copy', 'file:a.log', 'file:b-{}.log', '--partitions', '3'], { cwd })
    expect(copied).toMatchObject({ shards: 3, generation: 2, found: 0, sealedAt: [before.records + 1] })
    const there = { cwd, env: { MAINSTEM_LOG: 'file:b-{}.log', MAINSTEM_APP: seats } }
    const all = await jsonLines(['log', 'tail', '--all', '-n', '1000'], there)
    for (const tenant of ['default', 'globe']) {
      const own = all.filter(each => each.tenant === tenant && each.kind === 'data')
      expect(new Set(own.map(({ partition }) => partition)).size).toBe(1)
      expect([own.at(-1).to, own.at(-1).digestAfter]).toEqual(before.tenants[tenant])
      expect(await json(reserve('N1', '--tenant', tenant), there)).toMatchObject({ version: before.tenants[tenant]![0] + 1 })
      expect(await json(['verify', '--tenant', tenant], there)).toMatchObject({ ok: true })
    }
    expect(await ok(['log', 'tail', '--all'], there)).toMatch(/^\d: +\d+ /m)
    const merged = await mainstem(['log', 'copy', 'file:b-{}.log', 'file:c-{}.log', '--partitions', '2'], { cwd })
    expect(merged).toMatchObject({ code: 2, stderr: expect.stringMatching(/shards are copied one to one/) as string })
    const backup = await mainstem(['backup', 'x.log'], there)
    expect(backup).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/backup is for a log in one file; file:b-\{\}\.log is several files/) as string,
    })
  })
})
