/** The brokers that tests run on: what a client writes Kafka's own tools read, and nothing stays behind. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { metadataV12, produceV11 } from '@platformatic/kafka'
import { expect, inject, it, onTestFinished, vi } from 'vitest'
import { startCluster } from '../support/brokers.ts'
import { connect, createTopic } from '../support/kafka/raw.ts'

it('the shared broker answers', async () => {
  const connection = await connect(inject('kafka'))
  const { brokers } = await metadataV12.api.async(connection, [], false, false)
  expect(brokers.length).toBeGreaterThanOrEqual(1)
})

it('a cluster of one: a record that was produced is read by the console consumer; nothing is left after the close', async () => {
  const cluster = await startCluster()
  await using _ = cluster
  const [broker] = cluster.brokers
  const { pid } = broker!
  const connection = await connect(cluster.bootstrap)
  await createTopic(connection, 'orders')
  await produceV11.api.async(connection, -1, 10_000, [{ topic: 'orders', partition: 0, value: Buffer.from('an order') }], {})
  const args = ['--topic', 'orders', '--from-beginning', '--max-messages', '1', '--timeout-ms', '30000']
  const read = await cluster.tool('org.apache.kafka.tools.consumer.ConsoleConsumer', args)
  expect(read.trim()).toBe('an order')

  expect(alive(pid)).toBe(true)
  await cluster.close()
  expect(alive(pid)).toBe(false)
  expect(existsSync(cluster.folder)).toBe(false)
})

it('a killed process takes its brokers with it', async () => {
  const script = `
    import { startCluster } from ${JSON.stringify(new URL('../support/brokers.ts', import.meta.url).href)}
    const { folder, brokers } = await startCluster()
    console.log(JSON.stringify({ folder, pid: brokers[0].pid }))
  `
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void parent.kill('SIGKILL'))
  const [line] = (await once(parent.stdout.setEncoding('utf8'), 'data')) as [string]
  const { folder, pid } = JSON.parse(line) as { folder: string; pid: number }
  expect(alive(pid)).toBe(true)
  expect(existsSync(folder)).toBe(true)
  parent.kill('SIGKILL')
  await vi.waitFor(() => expect(alive(pid) || existsSync(folder)).toBe(false), 20_000)
})

it('a broker that cannot start says why', async () => {
  const start = startCluster({ properties: { 'min.insync.replicas': 'two' } })
  await expect(start).rejects.toThrow(/broker 1: it ended.*before it was ready[^]*min\.insync\.replicas/)
})

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
