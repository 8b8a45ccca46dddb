/**
 * What goes into the model of a cluster and what comes out: types only. Requests take the arguments of the calls of production
 * (`log/kafka/calls.ts`) and are answered with their answers, so that a driver passes on what it was given.
 */
import type {
  AddPartitionsArgs,
  CoordinatorAnswer,
  EndTxnArgs,
  FetchAnswer,
  FetchArgs,
  InitProducerIdArgs,
  ListOffsetsArgs,
  MetadataAnswer,
  ProduceAnswer,
  ProduceArgs,
  ProducerAnswer,
} from '../../log/kafka/calls.ts'
import type { Code } from '../../log/kafka/codes.ts'

export interface ListOffsetsAnswer {
  readonly error: Code
  readonly offset: number
  readonly timestamp: number
  readonly leaderEpoch: number
}

export type ClusterRequest =
  | ({ readonly api: 'produce' } & ProduceArgs)
  | ({ readonly api: 'fetch' } & FetchArgs)
  | ({ readonly api: 'list-offsets' } & ListOffsetsArgs)
  | ({ readonly api: 'init-producer-id' } & InitProducerIdArgs)
  | ({ readonly api: 'add-partitions' } & AddPartitionsArgs)
  | ({ readonly api: 'end-txn' } & EndTxnArgs)
  | { readonly api: 'metadata' }
  | { readonly api: 'find-coordinator'; readonly transactionalId: string }

/** The answer to a request, by its `api`. */
export interface ClusterReplies {
  readonly produce: ProduceAnswer
  readonly fetch: FetchAnswer
  readonly 'list-offsets': ListOffsetsAnswer
  readonly 'init-producer-id': ProducerAnswer
  readonly 'add-partitions': { readonly error: Code }
  readonly 'end-txn': ProducerAnswer
  readonly metadata: MetadataAnswer
  readonly 'find-coordinator': CoordinatorAnswer
}

export type ClusterReply = ClusterReplies[keyof ClusterReplies]

export type ClusterInput =
  /** Arrives now. `key`: unique among those that are open. */
  | { readonly type: 'request'; readonly key: number; readonly node: number; readonly request: ClusterRequest }
  | { readonly type: 'tick' }
  /** SIGKILL: what was written stays. `start` brings it up again, once the controller has noticed that it was gone. */
  | { readonly type: 'kill' | 'start'; readonly node: number }
  /** SIGSTOP and SIGCONT: answers nothing, and then goes on with what it knew. */
  | { readonly type: 'stop' | 'continue'; readonly node: number }
  /** The connection between two brokers, or a broker and the `CONTROLLER`. Clients reach every broker. */
  | { readonly type: 'part' | 'join'; readonly nodes: readonly [number, number] }

export type ClusterOutput =
  /** Perhaps long after the request, or when nobody waits for it any more. */
  | { readonly do: 'reply'; readonly key: number; readonly reply: ClusterReply }
  /** The broker died: nobody will answer. */
  | { readonly do: 'dropped'; readonly key: number }
