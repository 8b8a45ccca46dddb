/** What a repeated id hears when its record was not taken whole. */
import { expect, test } from 'vitest'
import { manifestValue } from '../../src/log/manifest.ts'
import { MemoryFile, MemoryLog } from '../../src/log/memory.ts'
import { type Decision, encodeDecision, encodeRecord, inputHash, sha256 } from '../../src/record.ts'
import { openReplica } from '../../src/replica.ts'
import shop from '../support/shop.ts'

const log = 'a-log'

function decision(id: string, command: string, input: { account: string; cents: number }, outcome: Partial<Decision>): Decision {
  const { account } = input
  return { id, command, hash: inputHash(command, input), reads: [account], writes: [account], events: [], ...outcome }
}

test('the version of a rejection does not count events of its record that were refused', async () => {
  const file = new MemoryFile()
  const write = (tenant: string | null, value: string) => file.write({ value, tenant, time: 1 })
  const head = {
    log,
    rules: 1,
    term: { number: 0, owner: null },
    release: 'any',
    tenant: 'default',
    time: 1,
    base: 0,
    digest: sha256(`${log}\ndefault`),
  }
  const paid = (account: string) => ({ events: [{ type: 'Paid', schema: 1, data: { account, cents: 1 }, tags: [account] }] })
  write(null, manifestValue({ log, app: 'shop', partitions: 1, partition: 0 }))
  write('default', encodeRecord(head, [encodeDecision(decision('first', 'pay', { account: 'ann', cents: 1 }, paid('ann')))]))
  // Made at the same base: the rejection is accepted, the payment behind it is not.
  const no = decision('no', 'take', { account: 'ben', cents: 5 }, { rejection: { code: 'too-little', details: { has: 0 } } })
  const late = decision('late', 'pay', { account: 'ann', cents: 1 }, paid('ann'))
  write('default', encodeRecord(head, [encodeDecision(no), encodeDecision(late)]))

  await using replica = await openReplica(shop, { log: new MemoryLog('', file) })
  const outcome = await replica.execute('take', { account: 'ben', cents: 5 }, { id: 'no' })
  expect(outcome).toMatchObject({ status: 'rejected', token: 'default@1', duplicate: true })
})
