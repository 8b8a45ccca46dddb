/** A roll-out by hand: two releases with other tables in two processes, on one log. */
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { json, mainstem, makeFolder, ok, root, startNode } from './support.ts'

const apps = { v1: join(root, 'test/support/shop.ts'), v2: join(root, 'test/support/shop-green.ts') }

it('compares, switches, and goes back; commands at either come through', { timeout: 120_000 }, async () => {
  const cwd = makeFolder()
  const log = `file:${join(cwd, 'shop.log')}`
  const on = ['--log', log]
  const begin = async (release: 'v1' | 'v2') => {
    const options = { log, data: join(cwd, release), app: apps[release], writers: 0 }
    const running = startNode([join(root, 'test/cli/replica.ts'), JSON.stringify(options)], { env: { MAINSTEM_RELEASE: release } })
    await running.said('ready')
  }
  const pay = (data: string) => json(['exec', 'pay', '{"account":"ann","cents":5}', '--data', data], { cwd })
  await begin('v1')
  await pay('v1')
  expect(await mainstem(['rollout', 'switch', '--release', 'v2', ...on], { cwd })).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/no replica of a release "v2" runs; there are [0-9a-f]{12}\+v1/) as string,
  })
  await begin('v2')
  expect(await json(['rollout', 'wait', '--release', 'v2', ...on], { cwd })).toMatchObject({ caughtUp: 1 })
  const switched = await mainstem(['rollout', 'switch', ...on], { cwd })
  expect(switched).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^shard 0: [0-9a-f]{12}\+v1 -> [0-9a-f]{12}\+v2, at position \d+$/m) as string,
    stderr: expect.stringMatching(
      /way back stays open[\s\S]*compared at version 1 of tenant default: history digest, total, balance/,
    ) as string,
  })
  expect(await pay('v1')).toMatchObject({ status: 'accepted', version: 2 })
  expect(await pay('v2')).toMatchObject({ status: 'accepted', version: 3 })
  const { releases, shards } = await json(['rollout', 'status', ...on], { cwd })
  expect(releases).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ release: expect.stringMatching(/v1$/), active: 'no', 'caught up': 1, ready: 0 }),
      expect.objectContaining({ release: expect.stringMatching(/v2$/), active: 'yes', 'caught up': 1, ready: 1 }),
    ]),
  )
  expect(shards).toMatchObject([{ release: expect.stringMatching(/v2$/), before: expect.stringMatching(/v1$/) }])
  expect(await ok(['rollout', 'abort', ...on], { cwd })).toMatch(/\+v2 -> [0-9a-f]{12}\+v1/)
  expect(await pay('v2')).toMatchObject({ status: 'accepted', version: 4 })
  expect(await json(['query', 'total', '--data', 'v2', '--read', 'linearizable'], { cwd })).toBe(20)
  expect(await ok(['replicas', ...on], { cwd })).toMatch(/\+v1 +writer/)
})
