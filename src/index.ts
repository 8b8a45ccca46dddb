/** What `import ... from 'mainstem'` gives. For tests of an app there is `mainstem/testing`. */
export {
  type App,
  type Args,
  type Asking,
  app,
  type Basis,
  type Command,
  type Compared,
  type Deciding,
  type Decision,
  type Emitted,
  type EventsOf,
  event,
  isApp,
  type Meta,
  type Model,
  model,
  type Outcome,
  type Parts,
  type Projections,
  type Query,
  type Reader,
  type RejectedBy,
  type Rejection,
  type ResultOf,
  revision,
  type Schema,
  type Scope,
  type Sql,
  type Versioned,
  type Writer,
} from './app.ts'
export type { StrategyName } from './consistency.ts'
export { sqlite } from './database/sqlite.ts'
export type { Database } from './database.ts'
export { EngineError, type ErrorCode, errorKinds, type Retry } from './errors.ts'
export type { Listen } from './replica/listen.ts'
export type { CommandMeta, Json, RecordedEvent, Tags } from './record.ts'
export type { Lag, Member, MemberInfo } from './roster.ts'
export {
  type EventsOptions,
  type ExecuteOptions,
  type LoggedEvent,
  openReplica,
  type Past,
  type QueryOptions,
  type Readiness,
  type Replica,
  type ReplicaOptions,
  type Status,
  type TenantStatus,
} from './replica.ts'
