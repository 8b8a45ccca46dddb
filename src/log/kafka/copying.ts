/**
 * A topic that a log is copied into. A manifest must be a topic's first record, so that it cannot be held back until all of the copy is there;
 * instead a mark in the roster says that a copy is under way, from before its first record until behind its last one. Who opens the log
 * reads the mark, and refuses. The mark stands under a key of its own and is never cleaned away, for the roster is compacted.
 */
import { EngineError } from '../../errors.ts'
import { KafkaLogs } from '../kafka.ts'
import type { OpenTarget, TargetOptions } from '../target.ts'

/** @throws EngineError invalid-option, log-* */
export async function openKafkaTarget(url: string, { app, log, place, partitions }: TargetOptions): Promise<OpenTarget> {
  const logs = await KafkaLogs.open(url, { app, as: 'copy' })
  try {
    const { shards } = logs
    if (partitions !== undefined && partitions !== shards.length)
      throw new EngineError('invalid-option', `the topic of ${url} has ${shards.length} partitions, not ${partitions}`)
    const { copying } = logs
    if (copying && (copying.log !== log || copying.place !== place))
      throw new EngineError('log-unusable', `${url} holds the beginning of a copy of another log (${copying.log}). Copy into a new topic`)
    const heads = await Promise.all(shards.map(shard => shard.head()))
    const isEmpty = heads.every(head => head === 0)
    return {
      name: url,
      description: url,
      shards,
      state: copying ? 'begun' : isEmpty ? 'new' : 'whole',
      async begin() {
        if (!copying && isEmpty) await logs.mark({ log, place })
      },
      finish: () => logs.mark(null),
      close: () => logs.close(),
    }
  } catch (error) {
    await logs.close()
    throw error
  }
}
