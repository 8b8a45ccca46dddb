/** Logs with a history, made without a replica, and what a log has come to. */
import { LogFold, stored } from '../../src/log/fold.ts'
import { openLog } from '../../src/log/open.ts'
import { SqliteLog } from '../../src/log/sqlite.ts'
import type { NewRecord } from '../../src/log.ts'
import { decision, Fold, manifest, uuidAt } from '../oracle/fold.ts'
import { encodeControl, encodeDecision, encodeRecord } from '../../src/record.ts'

export const LOG_ID = '5a3c21e6-94b4-4d55-a5a7-0f4f35a1d0aa'

/** What is not of ours, byte for byte. */
export const strangers: readonly (string | Uint8Array)[] = ['hello', '{"mainstem":1}', new Uint8Array([0, 255, 1, 13, 10])]

/** A log of the app seats: a record for each seat, every fifth one in tenant globe, and now and then something foreign. */
export async function makeHistory(path: string, records: number, app = 'seats'): Promise<void> {
  const log = new SqliteLog(path)
  const fold = new Fold()
  const entries: NewRecord[] = []
  const add = (value: string | Uint8Array, tenant: string | null) => {
    fold.take(value)
    entries.push({ value, tenant, time: 1 })
  }
  add(encodeControl(manifest({ log: LOG_ID, app, time: Date.now(), window: 1_000 })), null)
  for (let n = 1; n <= records; n++) {
    const tenant = n % 5 === 0 ? 'globe' : 'default'
    const events = [{ type: 'SeatReserved', schema: 1, data: { seat: `H${n}`, guest: 'Old' } }]
    const record = fold.data([decision(uuidAt(1_700_000_000_000 + n, n), [`seat:H${n}`], { command: 'reserve', events })], {
      tenant,
      time: 1_700_000_000_000 + n,
    })
    add(encodeRecord(record, record.decisions.map(encodeDecision)), tenant)
    if (n % 400 === 0) add(strangers[(n / 400) % strangers.length]!, 'default')
  }
  for (let first = 0; first < entries.length; first += 500) {
    const answers = await log.append(entries.slice(first, first + 500))
    if (answers.some(({ status }) => status !== 'written')) throw new Error('the history could not be written')
  }
  await log.close()
}

export interface Summary {
  readonly log: string | null
  readonly generation: number
  readonly sealed: boolean
  readonly records: number
  /** Version and digest of each tenant. */
  readonly tenants: Readonly<Record<string, readonly [version: number, digest: string]>>
  readonly values: readonly (string | Uint8Array)[]
}

export async function summaryOf(setting: string): Promise<Summary> {
  const log = openLog(setting)
  const fold = new LogFold()
  const values: (string | Uint8Array)[] = []
  for await (const each of stored(log)) {
    fold.take(each)
    values.push(each.value)
  }
  await log.close()
  const { log: id, generation, sealed } = fold.shard
  const tenants = Object.fromEntries([...fold.tenants].map(([name, { state }]) => [name, [state.version, state.digest] as const]))
  return { log: id, generation, sealed, records: values.length, tenants, values }
}
