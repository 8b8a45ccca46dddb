/** A record of the log as a record of Kafka: the bytes of its value are its JSON; key and headers derive from it, for readers who do not parse it. */
import type { NewRecord, Stored } from '../../log.ts'
import { encodeBatch, type InRecord } from './batch.ts'
import { type Identity, positionOf } from './lane.ts'

/** The format of the records, as their own field `mainstem` says it. */
const FORMAT = '1'

export function encodeRecords(records: readonly NewRecord[], app: string | undefined, identity: Identity, transactional: boolean): Buffer {
  return encodeBatch(
    records.map(({ value, tenant, time, barrier, kinds }) => ({
      key: tenant,
      value: typeof value === 'string' ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength),
      headers: [
        ['mainstem', FORMAT],
        ...(app === undefined ? [] : [['app', app] as [string, string]]),
        ...(kinds === undefined ? [] : [['kinds', kinds.join(' ')] as [string, string]]),
        ...(barrier ? [['barrier', '1'] as [string, string]] : []),
      ],
      time,
    })),
    { ...identity, transactional },
  )
}

export function storedOf({ offset, key, value }: InRecord): Stored {
  return {
    position: positionOf(offset),
    value: value ?? '',
    tenant: typeof key === 'string' || key === null ? key : key.toString('latin1'),
  }
}

export const isBarrier = ({ headers }: InRecord): boolean => headers.some(([name]) => name === 'barrier')

/** Sequences are 31 bits and begin anew at 0. */
export const wrapped = (sequence: number): number => sequence % 2 ** 31
