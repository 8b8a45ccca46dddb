/** The network that tests break: it loses what it is told to, and nothing else. */
import { once } from 'node:events'
import {
  addPartitionsToTxnV3,
  Connection,
  endTxnV4,
  findCoordinatorV4,
  initProducerIdV5,
  metadataV12,
  produceV11,
} from '@platformatic/kafka'
import { describe, expect, inject, it, vi } from 'vitest'
import { committedEnd, connect, createTopic, portOf, uniqueName } from '../support/kafka/raw.ts'
import { replaceAddress, startProxy } from '../support/proxy.ts'

describe('the proxy', () => {
  it('leads every client back to itself', async () => {
    await using proxy = await startProxy(inject('kafka'))
    const connection = await connect(proxy.bootstrap)
    const { brokers } = await metadataV12.api.async(connection, [], false, false)
    const { coordinators } = await findCoordinatorV4.api.async(connection, 1, ['some-id'])
    const ports = proxy.bootstrap.split(',').map(address => Number(address.split(':')[1]))
    expect(brokers.map(({ port }) => port)).toEqual(ports)
    expect(ports).toContain(coordinators[0]!.port)
    expect(brokers[0]!.host).toBe('127.0.0.1')
    expect(proxy.connections).toBe(1)
  })

  it('drops one reply to EndTxn: the client hears nothing, the commit stands', async () => {
    await using proxy = await startProxy(inject('kafka'))
    const name = uniqueName()
    const direct = await connect(inject('kafka'))
    await createTopic(direct, name)
    const rule = proxy.on({ api: 26, direction: 'reply', nth: 1 }, 'drop')
    const { connection, commit } = await openTransaction(proxy.bootstrap, name, name)
    expect(await committedEnd(direct, name)).toBe(0n)
    let answered = false
    void commit().then(
      () => (answered = true),
      () => {},
    )
    await rule.fired()
    // The connection goes on: what is asked behind it is answered.
    await metadataV12.api.async(connection, [], false, false)
    expect(answered).toBe(false)
    await vi.waitFor(async () => expect(await committedEnd(direct, name)).toBe(2n), 10_000)
    expect(rule.count).toBe(1)
  })

  it('cuts one request to EndTxn: the connection breaks, nothing is committed', async () => {
    await using proxy = await startProxy(inject('kafka'))
    const name = uniqueName()
    const direct = await connect(inject('kafka'))
    await createTopic(direct, name)
    const rule = proxy.on({ api: 26, direction: 'request', nth: 1 }, 'cut')
    const { commit } = await openTransaction(proxy.bootstrap, name, name)
    await expect(commit()).rejects.toThrow()
    expect(rule.count).toBe(1)
    await vi.waitFor(() => expect(proxy.connections).toBe(0), 10_000)
    expect(await committedEnd(direct, name)).toBe(0n)
  })

  it('holds a request until after its sender is gone, and then delivers it', async () => {
    await using proxy = await startProxy(inject('kafka'))
    const name = uniqueName()
    const direct = await connect(inject('kafka'))
    await createTopic(direct, name)
    const rule = proxy.on({ api: 26, direction: 'request' }, 'hold')
    const { connection, commit } = await openTransaction(proxy.bootstrap, name, name)
    const answer = commit()
    await rule.fired()
    await Promise.allSettled([connection.close(), answer])
    expect(await committedEnd(direct, name)).toBe(0n)
    rule.release()
    await vi.waitFor(async () => expect(await committedEnd(direct, name)).toBe(2n), 10_000)
  })

  it('delays the second reply, and no other', async () => {
    await using proxy = await startProxy(inject('kafka'))
    const connection = await connect(proxy.bootstrap)
    const rule = proxy.on({ api: 3, direction: 'reply', nth: 2 }, { delay: 200 })
    const counts: number[] = []
    const times: number[] = []
    for (let n = 0; n < 3; n++) {
      const started = performance.now()
      await metadataV12.api.async(connection, [], false, false)
      times.push(performance.now() - started)
      counts.push(rule.count)
    }
    expect(counts).toEqual([0, 1, 1])
    expect(times[1]).toBeGreaterThan(190)
  })

  it('does no more what it was told once the rule is removed', async () => {
    await using proxy = await startProxy(inject('kafka'))
    const connection = await connect(proxy.bootstrap)
    const rule = proxy.on({ api: 3, direction: 'request' }, 'hold')
    const held = metadataV12.api.async(connection, [], false, false)
    await rule.fired()
    rule.remove()
    await held
    await metadataV12.api.async(connection, [], false, false)
    expect(rule.count).toBe(1)
  })

  it('replaces an address by one of another length, in either way to write it', () => {
    const line = { host: 'kafka-1.example', port: 9092, own: 20_000 }
    const reply = (length: readonly number[], host: string, port: number): Buffer => {
      const body = Buffer.concat([
        Buffer.of(0, 0, 0, 7, ...length),
        Buffer.from(host),
        Buffer.of(port >> 24, port >> 16, port >> 8, port, 99),
      ])
      return Buffer.concat([Buffer.of(0, 0, 0, body.length), body])
    }
    const own = '127.0.0.1'
    expect(replaceAddress(reply([16], line.host, 9092), line)).toEqual(reply([10], own, 20_000))
    expect(replaceAddress(reply([0, 15], line.host, 9092), line)).toEqual(reply([0, 9], own, 20_000))
    expect(replaceAddress(reply([16], line.host, 9093), line)).toEqual(reply([16], line.host, 9093))
  })

  it('parts and heals', async () => {
    await using proxy = await startProxy(inject('kafka'))
    const connection = await connect(proxy.bootstrap)
    proxy.partition('silent')
    let answered = false
    const answer = metadataV12.api.async(connection, [], false, false).then(() => (answered = true))
    await metadataV12.api.async(await connect(inject('kafka')), [], false, false)
    expect(answered).toBe(false)
    proxy.heal()
    await answer

    const closed = once(connection, 'close')
    proxy.partition()
    await closed
    const tried = new Connection('mainstem-test')
    const attempt = async () => {
      await tried.connect('127.0.0.1', portOf(proxy.bootstrap))
      await metadataV12.api.async(tried, [], false, false)
    }
    await expect(attempt()).rejects.toThrow()
    proxy.heal()
    await metadataV12.api.async(await connect(proxy.bootstrap), [], false, false)
  })
})

/** A producer id of this transactional id, and a record in its open transaction. */
async function openTransaction(
  bootstrap: string,
  id: string,
  name: string,
): Promise<{ connection: Connection; commit(): Promise<unknown> }> {
  const connection = await connect(bootstrap)
  const { producerId, producerEpoch } = await initProducerIdV5.api.async(connection, id, 60_000, -1n, -1)
  const options = { producerId, producerEpoch, transactionalId: id }
  const topics = [{ name, partitions: [0] }]
  await addPartitionsToTxnV3.api.async(connection, [{ transactionalId: id, producerId, producerEpoch, verifyOnly: false, topics }])
  await produceV11.api.async(connection, -1, 10_000, [{ topic: name, partition: 0, value: Buffer.from(id) }], options)
  return { connection, commit: () => endTxnV4.api.async(connection, id, producerId, producerEpoch, true) }
}
