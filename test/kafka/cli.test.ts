/** The commands for logs on Kafka, as they are called. */
import { describe, expect, it } from 'vitest'
import { json, mainstem, makeFolder, ok, seats } from '../cli/support.ts'
import { makeTopic, newUrl } from '../support/kafka.ts'

describe.concurrent('kafka create-log', () => {
  it('makes a log of an app that is named by its file, and tells what it made', async () => {
    const url = newUrl()
    const told = await ok(['kafka', 'create-log', url, '--app', seats, '--partitions', '2'])
    expect(told).toMatch(/log +\S+ of the app seats\n.*2 partitions[^]*made now +the topic, the roster, 2 manifests/)
    expect(await json(['kafka', 'create-log', url, '--app', 'seats'])).toMatchObject({
      app: 'seats',
      partitions: 2,
      made: { manifests: 0 },
    })
    expect(await mainstem(['kafka', 'create-log', url, '--app', 'bank'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('log-other-app'),
    })
  })
})

describe.concurrent('doctor', () => {
  it('exits with 1 while something is unsafe, and names cause, risk and command', async () => {
    const url = newUrl()
    await makeTopic(url, 1, { 'retention.ms': '1000000' })
    const sick = await mainstem(['doctor', '--log', url])
    expect(sick.code).toBe(1)
    expect(sick.stdout).toMatch(
      /unsafe {2}retention\n {2}cause {2}retention\.ms is 1000000\n {2}risk {3}.*\n {2}mend {3}kafka-configs\.sh .*retention\.ms=-1/,
    )
    const config = makeFolder({ 'mainstem.config.js': `export default { log: '${url}', accept: ['retention'] }` })
    const accepted = await mainstem(['doctor'], { cwd: config })
    expect(accepted).toMatchObject({ code: 0, stdout: expect.stringContaining('unsafe, accepted  retention') })
  })

  it('finds a new log well', async () => {
    const url = newUrl()
    await ok(['kafka', 'create-log', url, '--app', 'seats'])
    const { ok: well, findings } = await json(['doctor', '--log', url, '--scan'])
    expect(well).toBe(true)
    expect(findings.find(({ name }: { name: string }) => name === 'foreign-records')).toMatchObject({ level: 'ok' })
  })
})
