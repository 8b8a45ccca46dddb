/** `backup` and `restore`: consistent while others write, and honest about what is lost. */
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { makeHistory, summaryOf } from './history.ts'
import { acknowledged, json, mainstem, makeFolder, ok, seats, startReplica } from './support.ts'

const reserve = (seat: string, ...more: string[]) => ['exec', 'reserve', JSON.stringify({ seat, guest: 'Ann' }), '--app', seats, ...more]
const aside = (cwd: string) =>
  readdirSync(cwd).filter(file => file.includes('.replaced-') && !file.endsWith('-wal') && !file.endsWith('-shm'))

describe.concurrent('backup and restore', () => {
  it('a backup is made while replicas write; restored, it names the versions that are lost, and every database follows', async () => {
    const cwd = makeFolder()
    const log = `file:${join(cwd, 'a.log')}`
    const there = ['--app', seats, '--log', 'file:a.log']
    const writers = await Promise.all(['x', 'y'].map(name => startReplica({ log, data: join(cwd, name), writers: 3, name })))
    const said = await writers[0]!.said('ack x40\n')
    await ok(reserve('G1', '--log', 'file:a.log', '--data', 'z', '--tenant', 'globe'), { cwd })
    const before = new Set(acknowledged(said))
    const made = await json(['backup', 'monday.log', '--log', 'file:a.log'], { cwd })
    await writers[0]!.said('ack x120\n')
    await ok(reserve('G2', '--log', 'file:a.log', '--data', 'z', '--tenant', 'globe'), { cwd })

    // Nothing is restored under a replica that lives, even one that was stopped.
    writers[1]!.child.kill('SIGSTOP')
    const alive = await mainstem(['restore', 'monday.log', '--log', 'file:a.log', '--yes'], { cwd })
    expect(alive).toMatchObject({
      code: 5,
      stderr: expect.stringMatching(
        /^error data-in-use: 2 replicas are running on .*a\.log: .*x.replica\.sock, .*y.replica\.sock\. Stop them first/,
      ) as string,
    })
    writers[1]!.child.kill('SIGCONT')
    for (const { child } of writers) child.kill('SIGTERM')
    await Promise.all(writers.map(({ ended }) => ended))

    const old = await summaryOf(log)
    const backup = await summaryOf(`file:${join(cwd, 'monday.log')}`)
    expect(made).toMatchObject({ app: 'seats', log: old.log, generation: 1, position: backup.records })
    expect(old.values.slice(0, backup.records)).toEqual(backup.values)
    const [kept] = backup.tenants['default']!
    const [was] = old.tenants['default']!
    expect(was).toBeGreaterThan(kept)

    const asked = await mainstem(['restore', 'monday.log', '--log', 'file:a.log'], { cwd })
    expect(asked).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^error usage: nothing was changed: say --yes .*tenant default: versions \d+ to \d+ are lost; tenant globe: version 2 is lost/,
      ) as string,
    })
    expect((await summaryOf(log)).sealed).toBe(false)
    const restored = await json(['restore', 'monday.log', '--log', 'file:a.log', '--yes'], { cwd })
    expect(restored).toMatchObject({
      generation: 2,
      lost: [
        { tenant: 'default', from: kept + 1, to: was },
        { tenant: 'globe', from: 2, to: 2 },
      ],
    })
    const now = await summaryOf(log)
    expect(now).toMatchObject({ log: old.log, generation: 2, sealed: false, tenants: backup.tenants })
    expect(now.values.slice(1)).toEqual(backup.values.slice(1))
    // The former log is kept, and sealed for whoever might still hold it open.
    expect(await summaryOf(`file:${join(cwd, aside(cwd)[0]!)}`)).toMatchObject({ sealed: true, tenants: old.tenants })

    // The databases were ahead; they follow the log that is now.
    for (const data of ['x', 'y']) {
      const taken: { seat: string }[] = await json(['query', 'taken', ...there, '--data', data], { cwd })
      expect(taken).toHaveLength(kept)
      expect([...before].filter(seat => !taken.some(each => each.seat === seat))).toEqual([])
      expect(await json(['verify', '--app', seats, '--log', 'file:a.log', '--data', data], { cwd })).toMatchObject({
        ok: true,
        version: kept,
      })
    }
    expect(await json(reserve('Z1', '--log', 'file:a.log', '--data', 'x'), { cwd })).toMatchObject({ version: kept + 1 })

    // It was a mistake: the former log comes back, and Z1 is what is lost now.
    const back = await json(['restore', aside(cwd)[0]!, '--log', 'file:a.log', '--yes'], { cwd })
    expect(back).toMatchObject({ generation: 3, lost: [{ tenant: 'default', from: kept + 1, to: kept + 1, replacedUpTo: was }] })
    expect(await summaryOf(log)).toMatchObject({ generation: 3, sealed: false, tenants: old.tenants })
    const all: unknown[] = await json(['query', 'taken', ...there, '--data', 'x'], { cwd })
    expect(all).toHaveLength(was)
    const verified = await json(['verify', '--app', seats, '--log', 'file:a.log', '--data', 'x'], { cwd })
    expect(verified).toMatchObject({ ok: true, version: was, digest: old.tenants['default']![1] })
  })

  it('a log that is lost or damaged comes back from its backup', async () => {
    const cwd = makeFolder()
    await makeHistory(join(cwd, 'a.log'), 50)
    const before = await summaryOf(`file:${join(cwd, 'a.log')}`)
    await ok(['backup', 'b.log', '--log', 'file:a.log'], { cwd })
    rmSync(join(cwd, 'a.log'))
    expect(await ok(['restore', 'b.log', '--log', 'file:a.log', '--yes'], { cwd })).toBe('file:a.log was restored, as generation 2\n')
    writeFileSync(join(cwd, 'a.log'), readFileSync(join(cwd, 'a.log')).subarray(0, 5_000))
    const cut = await mainstem(['log', 'tail', '--log', 'file:a.log'], { cwd })
    expect(cut).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error log-unusable: .*cut off/) as string })
    expect(await ok(['restore', 'b.log', '--log', 'file:a.log', '--yes'], { cwd })).toMatch(
      /^what is lost is not known, for the log that is there cannot be read: .*cut off[^]*kept as a\.log\.replaced-/,
    )
    expect(await summaryOf(`file:${join(cwd, 'a.log')}`)).toMatchObject({ tenants: before.tenants, generation: 2 })
  })

  it('a log that was damaged in its past is backed up, and a database built from it is as it says: both say what has no effect', async () => {
    const cwd = makeFolder()
    const there = ['--log', 'file:a.log', '--data', 'x']
    for (const seat of ['A1', 'A2', 'A3', 'A4']) await ok(reserve(seat, ...there), { cwd })
    const db = new DatabaseSync(join(cwd, 'a.log'))
    // The third of five records, the manifest among them: those behind it were made on what it said.
    db.exec(`UPDATE record SET value = replace(value, '"Ann"', '"Eve"') WHERE position = 3`)
    db.close()
    rmSync(join(cwd, 'x'), { recursive: true })
    expect(await json(['query', 'taken', '--app', seats, ...there], { cwd })).toHaveLength(2)
    const verified = await mainstem(['verify', '--app', seats, ...there], { cwd })
    const told = /^notice {2}2 records from position 4 on were made at a digest that this log does not lead to, and have no effect/
    expect(verified).toMatchObject({ code: 0, stderr: expect.stringMatching(told) as string })
    const astray = { records: 2, first: 4 }
    expect(await json(['verify', '--app', seats, ...there], { cwd })).toMatchObject({ ok: true, version: 2, astray })
    expect((await mainstem(['backup', 'b.log', '--log', 'file:a.log'], { cwd })).stderr).toMatch(told)
    expect(await json(['backup', 'c.log', '--log', 'file:a.log'], { cwd })).toMatchObject({ position: 5, astray })
  })

  it('what is no backup, of another log, or of one that goes on elsewhere, is refused', async () => {
    const cwd = makeFolder({ 'notes.txt': 'not a log, but long enough to be looked at. '.repeat(10) })
    await makeHistory(join(cwd, 'a.log'), 20)
    copyFileSync(join(cwd, 'a.log'), join(cwd, 'old.log'))
    await ok(reserve('A1', '--log', 'file:other.log', '--data', 'x'), { cwd })
    const refused = async (args: string[], code: number, message: RegExp) => {
      const ended = await mainstem(args, { cwd })
      expect(ended.stderr).toMatch(message)
      expect(ended.code).toBe(code)
      expect(readdirSync(cwd).filter(file => /restoring|partial/.test(file))).toEqual([])
    }
    await refused(['restore', 'none', '--log', 'file:a.log', '--yes'], 1, /^error file: there is no file none/)
    await refused(['restore', 'notes.txt', '--log', 'file:a.log', '--yes'], 1, /^error log-unusable: cannot use notes\.txt as a log/)
    await refused(
      ['restore', 'other.log', '--log', 'file:a.log', '--yes'],
      1,
      /^error log-unusable: the backup is of another log than a\.log/,
    )
    await refused(['backup', 'other.log', '--log', 'file:a.log'], 2, /^error invalid-option: other\.log exists already/)
    await refused(['backup', 'b.log', '--log', 'file:none.log'], 1, /^error log-unusable: there is no log at none\.log/)
    expect(existsSync(join(cwd, 'none.log'))).toBe(false)
    await ok(['log', 'copy', 'file:a.log', 'file:c.log'], { cwd })
    await refused(
      ['restore', 'old.log', '--log', 'file:a.log', '--yes'],
      1,
      /^error log-sealed: a\.log was sealed: .*It is file:.*c\.log.* --copy-is-lost/,
    )
    await refused(['restore', 'a.log', '--log', 'file:d.log', '--yes'], 1, /^error log-sealed: the log in a\.log was sealed/)
    expect(await json(['restore', 'old.log', '--log', 'file:a.log', '--yes', '--copy-is-lost'], { cwd })).toMatchObject({
      generation: 2,
      lost: [],
    })
  })
})
