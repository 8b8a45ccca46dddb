/**
 * Real processes on a disk that fails, at the log or at a database, and on one whose power fails. It takes Linux and a C compiler.
 * `npm run torture` goes on with other seeds.
 */
import { expect, test } from 'vitest'
import { strategies } from '../../src/consistency.ts'
import { diskFault, powerFailures } from '../support/disk-rounds.ts'
import type { Fault } from '../support/faulty-disk.ts'

const faults: [what: string, fault: Fault, told: string | undefined][] = [
  ['a sync of the log that fails once', { file: 'shop.log-wal', call: 'sync', at: 40 }, 'outcome-unknown'],
  ['one with which the data is lost', { file: 'shop.log-wal', call: 'sync', at: 40, lose: true }, 'outcome-unknown'],
  ['half a write to the log, then an error', { file: 'shop.log-wal', call: 'write', at: 90, half: true }, 'outcome-unknown'],
  ["the log's disk full for good", { file: 'shop.log-wal', call: 'write', at: 60, times: 1e9, error: 'ENOSPC' }, 'outcome-unknown'],
  // When the -wal is moved into the file. Nobody need be told: all of it stands in the -wal, and it is tried again.
  ['a sync of the file itself, the data lost', { file: 'shop.log', call: 'sync', at: 2, lose: true }, undefined],
  ["a write to a tenant's database", { file: 'default.db-wal', call: 'write', at: 60 }, 'data-unusable'],
  ["a tenant's database on a full disk", { file: 'default.db-wal', call: 'write', at: 60, times: 1e9, error: 'ENOSPC' }, 'data-unusable'],
]

test.each(faults)('%s: nothing acknowledged is lost, nothing is doubled, and it goes on after a start', async (_, fault, told) => {
  for (const [n, strategy] of strategies.entries()) {
    const failed = await diskFault({ strategy, seed: 10 + n, fault, processes: 1 + n })
    if (told !== undefined && n === 0) expect(failed.happened).toBe(true)
    if (told !== undefined && failed.happened) expect(Object.keys(failed.told), JSON.stringify(failed)).toContain(told)
  }
})

test.each(strategies)('%s: the power fails at any moment, and nothing acknowledged is lost', async strategy => {
  for (const processes of [1, 3]) {
    const { accepted, rejected } = await powerFailures({ strategy, seed: 20 + processes, processes, cuts: 10 })
    expect(accepted).toBeGreaterThan(0)
    expect(rejected).toBeGreaterThan(0)
  }
})
