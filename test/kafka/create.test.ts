/** Logs made on a real broker: whole after any interruption, one log for all who make it at once, and nothing else touched. */
import { describe, expect, it } from 'vitest'
import { createLog } from '../../src/log/kafka/create.ts'
import { manifestValue, readManifest } from '../../src/log/manifest.ts'
import { openLogs } from '../../src/log/open.ts'
import { failure } from '../support/failures.ts'
import { makeTopic, newUrl } from '../support/kafka.ts'

async function manifests(url: string) {
  const logs = await openLogs(url)
  try {
    return await Promise.all(logs.shards.map(async shard => (await readManifest(shard)).state))
  } finally {
    await logs.close()
  }
}

async function write(url: string, partition: number, ...values: string[]): Promise<void> {
  const logs = await openLogs(url)
  for (const value of values) await logs.shards[partition]!.append([{ value, tenant: null, time: Date.now() }])
  await logs.close()
}

describe('create-log', () => {
  it('makes topic, roster and manifests, with one id; again, it makes nothing', async () => {
    const url = newUrl()
    const created = await createLog(url, { app: 'seats', partitions: 3, window: 77 })
    expect(created).toMatchObject({ app: 'seats', partitions: 3, made: { topic: true, roster: true, manifests: 3 } })
    expect(await manifests(url)).toMatchObject(
      [0, 1, 2].map(partition => ({
        log: created.log,
        app: 'seats',
        partitions: 3,
        partition,
        generation: 1,
        rules: { number: 1, window: 77 },
      })),
    )
    const again = await createLog(url, { app: 'seats' })
    expect(again).toMatchObject({ log: created.log, partitions: 3, made: { topic: false, roster: false, manifests: 0 } })
  })

  it('completes what was begun, wherever it stopped', async () => {
    const bare = newUrl()
    await makeTopic(bare, 2)
    expect(await createLog(bare, { app: 'seats', partitions: 2 })).toMatchObject({ made: { topic: false, roster: true, manifests: 2 } })

    const rosterToo = newUrl()
    await makeTopic(rosterToo, 2)
    await makeTopic(`${rosterToo}-roster`)
    expect(await createLog(rosterToo, { app: 'seats' })).toMatchObject({ made: { topic: false, roster: false, manifests: 2 } })

    const begun = newUrl()
    await makeTopic(begun, 3)
    await write(begun, 0, manifestValue({ log: 'first', app: 'seats', partitions: 3, partition: 0 }))
    expect(await createLog(begun, { app: 'seats' })).toMatchObject({ log: 'first', made: { manifests: 2 } })
    expect((await manifests(begun)).map(({ log }) => log)).toEqual(['first', 'first', 'first'])
  })

  it('by several at once comes to one log', async () => {
    const url = newUrl()
    const all = await Promise.all(Array.from({ length: 5 }, () => createLog(url, { app: 'seats', partitions: 4 })))
    const ids = new Set([...all.map(({ log }) => log), ...(await manifests(url)).map(({ log }) => log)])
    expect(ids.size).toBe(1)
    expect(all.filter(({ made }) => made.topic)).toHaveLength(1)
  })

  it('refuses a topic of another app, number of partitions, or content, and leaves it as it is', async () => {
    const other = newUrl()
    await createLog(other, { app: 'bank', partitions: 2 })
    expect(await failure(createLog(other, { app: 'seats' }))).toMatchObject({ code: 'log-other-app' })
    expect(await failure(createLog(other, { app: 'bank', partitions: 3 }))).toMatchObject({ code: 'log-unusable' })

    const used = newUrl()
    await makeTopic(used, 2)
    await write(used, 1, 'an order', 'another')
    const error = await failure(createLog(used, { app: 'seats' }))
    expect(error).toMatchObject({ code: 'log-unusable', message: expect.stringContaining('partition 1') })
    expect(error.message).toContain('2 records of something else')
    expect((await manifests(used))[0]).toMatchObject({ log: null })

    const torn = newUrl()
    await makeTopic(torn, 2)
    for (const partition of [0, 1])
      await write(torn, partition, manifestValue({ log: `log-${partition}`, app: 'seats', partitions: 2, partition }))
    expect(await failure(createLog(torn, { app: 'seats' }))).toMatchObject({
      code: 'log-unusable',
      message: expect.stringContaining('do not belong together'),
    })

    const shifted = newUrl()
    await makeTopic(shifted, 2)
    await write(shifted, 0, manifestValue({ log: 'L', app: 'seats', partitions: 2, partition: 1 }))
    expect(await failure(createLog(shifted, { app: 'seats' }))).toMatchObject({ message: expect.stringContaining('manifest of shard 1') })
  })

  it('finds misuse before it asks anybody', async () => {
    const nowhere = 'kafka://127.0.0.1:1/t'
    for (const options of [
      { app: 'no name' },
      { app: 'seats', partitions: 0 },
      { app: 'seats', partitions: 1.5 },
      { app: 'seats', replicationFactor: 0 },
      { app: 'seats', window: -1 },
      { app: 'seats', accept: ['nothing'] },
    ])
      expect(await failure(createLog(nowhere, options))).toMatchObject({ code: 'invalid-option' })
    expect(await failure(createLog(newUrl(), { app: 'seats', replicationFactor: 99 }))).toMatchObject({ code: 'invalid-option' })
  })
})
