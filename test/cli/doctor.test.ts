/** `doctor` on logs in files: what is wrong with the file, with what stands in it, and what the exit status says. */
import { openSync, closeSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openLog } from '../../src/log/open.ts'
import { encodeControl } from '../../src/record.ts'
import { LOG_ID, makeHistory, strangers } from './history.ts'
import { json, mainstem, makeFolder, ok } from './support.ts'

interface Told {
  readonly name: string
  readonly level: string
}

const there = ['doctor', '--log', 'file:seats.log']

describe.concurrent('doctor on a file', () => {
  it('finds a sound log well, and changes nothing', async () => {
    const cwd = makeFolder()
    await makeHistory(join(cwd, 'seats.log'), 20)
    const before = statSync(join(cwd, 'seats.log'))
    const { ok: well, findings } = await json([...there, '--scan'], { cwd })
    expect(well).toBe(true)
    expect(findings.map(({ name, level }: Told) => `${name} ${level}`)).toEqual(
      expect.arrayContaining(['integrity ok', 'manifest-missing ok', 'sealed ok', 'foreign-records ok', 'roster ok', 'file-system ok']),
    )
    expect(statSync(join(cwd, 'seats.log')).mtimeMs).toBe(before.mtimeMs)
    expect(await ok(there, { cwd })).toMatch(/^file:seats\.log: 0 unsafe, 0 risks, \d+ well \(--all shows them\)\n$/)
    expect(await ok([...there, '--all'], { cwd })).toMatch(/ok {2}integrity +SQLite finds no fault/)
  })

  it('names a damaged file, by status 1 unless that was accepted', async () => {
    const cwd = makeFolder()
    const path = join(cwd, 'seats.log')
    await makeHistory(path, 200)
    const file = openSync(path, 'r+')
    // The number of cells of the last page.
    writeSync(file, Buffer.alloc(8, 0xff), 0, 8, statSync(path).size - 4096)
    closeSync(file)
    const told = await mainstem(there, { cwd })
    expect(told.code).toBe(1)
    expect(told.stdout).toMatch(
      /unsafe {2}integrity\n {2}cause {2}SQLite finds a fault[^]*\n {2}mend {3}stop what writes, and restore a backup/,
    )
    const accepted = await mainstem([...there, '--json'], { cwd, env: { MAINSTEM_ACCEPT: 'integrity' } })
    expect(accepted.code).toBe(0)
    expect(JSON.parse(accepted.stdout)).toMatchObject({ ok: true })
  })

  it('counts what has no effect, and sees a seal', async () => {
    const cwd = makeFolder()
    await makeHistory(join(cwd, 'seats.log'), 1)
    const log = openLog(`file:${join(cwd, 'seats.log')}`)
    await log.append([
      { value: strangers[2]!, tenant: 'default', time: 1 },
      { value: encodeControl({ kind: 'seal', log: LOG_ID, time: 1 }), tenant: null, time: 1 },
    ])
    await log.close()
    const { ok: well, findings } = await json([...there, '--scan'], { cwd })
    expect(well).toBe(true)
    expect(findings).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ name: 'foreign-records', level: 'risk', cause: expect.stringContaining('1 of 4 records') }),
        expect.objectContaining({ name: 'sealed', level: 'risk' }),
      ]),
    )
  })

  it('says of what is no log that it is none', async () => {
    const cwd = makeFolder({ 'text.log': 'hello' })
    writeFileSync(join(cwd, 'empty'), '')
    expect(await mainstem(['doctor', '--log', 'file:text.log'], { cwd })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('log-unusable'),
    })
    expect(await mainstem(['doctor', '--log', 'file:none.log'], { cwd })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no log'),
    })
    expect(await mainstem(['doctor', '--log', 'memory:'], { cwd })).toMatchObject({ code: 2 })
  })
})

describe.concurrent('kafka create-log and doctor', () => {
  it('want a log on Kafka, an app, and whole numbers', async () => {
    const wrong: readonly (readonly [args: readonly string[], why: string])[] = [
      [['file:seats.log', '--app', 'seats'], 'kafka://HOST:PORT/TOPIC'],
      [['kafka://127.0.0.1:1/t'], 'which app?'],
      [['kafka://127.0.0.1:1/t', '--app', 'seats', '--partitions', 'x'], '--partitions is a whole number'],
      [['kafka://127.0.0.1:1/t', '--app', 'none.ts'], 'no app at none.ts'],
      [['kafka://127.0.0.1:1/t', '--app', 'seats', '--accept', 'retenton'], 'retention'],
    ]
    const ended = await Promise.all(wrong.map(([args]) => mainstem(['kafka', 'create-log', ...args])))
    for (const [index, [, why]] of wrong.entries()) expect(ended[index]).toMatchObject({ code: 2, stderr: expect.stringContaining(why) })
  })

  it('say so when the cluster cannot be reached', async () => {
    const gone = 'kafka://127.0.0.1:1/t'
    expect(await mainstem(['kafka', 'create-log', gone, '--app', 'seats'])).toMatchObject({
      code: 5,
      stderr: expect.stringContaining('log-unreachable'),
    })
    expect(await mainstem(['doctor', '--log', gone])).toMatchObject({ code: 5, stderr: expect.stringContaining('log-unreachable') })
  })
})
