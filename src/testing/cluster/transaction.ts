/** The state of one transactional id, as the coordinator writes it into its log (TransactionMetadata of Kafka's source). Plain data. */

export interface Transaction {
  readonly id: string
  readonly state: 'Empty' | 'Ongoing' | 'PrepareCommit' | 'PrepareAbort' | 'CompleteCommit' | 'CompleteAbort'
  readonly producerId: number
  /** -1 before the first InitProducerId was through. */
  readonly epoch: number
  /** The epoch before the own client asked for this one; -1 where somebody else asked. */
  readonly lastEpoch: number
  /** Used before the last rotation; -1. */
  readonly previousProducerId: number
  /** Of the next transaction, while this one ends with its epochs used up; -1. */
  readonly nextProducerId: number
  /** ms */
  readonly timeout: number
  readonly partitions: readonly number[]
  readonly startedAt: number
  /** Of the client that began or ended it. */
  readonly version: 1 | 2
}
