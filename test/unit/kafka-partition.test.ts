/** Reading a partition where the answers are bad: a script plays the brokers. What ends the reading for good needs more evidence than a moment. */
import { expect, test } from 'vitest'
import { encodeBatch } from '../../src/log/kafka/batch.ts'
import { Disconnected } from '../../src/log/kafka/client.ts'
import { PartitionLog } from '../../src/log/kafka/partition.ts'
import type { Topic } from '../../src/log/kafka/topic.ts'
import { socketWire } from '../../src/log/kafka/wire.ts'
import { failure } from '../support/failures.ts'

/** A batch of one record at offset 0. */
function oneRecord(): Buffer {
  return encodeBatch([{ key: null, value: 'there', time: 1 }], { producerId: -1n, epoch: -1, sequence: -1, transactional: false })
}

/** @param answers to requests, in order; 'lost': the connection breaks. The last one is given for ever. */
function partition(answers: readonly (string | Buffer)[]): PartitionLog {
  let next = 0
  const request = () => {
    const answer = answers[Math.min(next++, answers.length - 1)]!
    if (answer === 'lost') return Promise.reject(new Disconnected('the broker is gone', true))
    if (typeof answer === 'string') return Promise.resolve({ error: answer, offset: 7 })
    return Promise.resolve({ error: 'NONE', bytes: answer, aborted: [] })
  }
  const topic = {
    client: { connect: () => Promise.resolve({ closed: false, request, close: () => {} }) },
    id: '00000000-0000-4000-8000-000000000001',
    name: 'topic',
    versions: { transactions: 2 },
    failure: undefined,
    leader: () => ({ node: 1, epoch: 0 }),
    refresh: () => Promise.resolve(),
  } as unknown as Topic
  return new PartitionLog(socketWire(topic), 0, { description: 'the log', fencing: 'epoch', app: undefined, maxBatchBytes: 1_000 })
}

const lost = ['lost', 'lost', 'lost', 'lost', 'lost']

test('a broker that is behind for a moment, after others were lost: read on', async () => {
  const log = partition([...lost, 'OFFSET_OUT_OF_RANGE', ...lost, 'OFFSET_OUT_OF_RANGE', oneRecord()])
  const { records } = await log.read(0, { wait: true })
  expect(records).toMatchObject([{ position: 1, value: 'there' }])
  await log.close()
})

test('brokers that say again and again that nothing is there: records are missing', async () => {
  const log = partition(['OFFSET_OUT_OF_RANGE'])
  expect(await failure(log.read(9, { wait: true }))).toMatchObject({
    code: 'log-behind',
    message: expect.stringMatching(/was read up to 9/),
  })
  await log.close()
})
