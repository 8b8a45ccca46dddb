/**
 * Every error the engine throws: one class, a closed list of codes. What the app itself refuses is a rejection, a value, and
 * never an error. `docs/errors.md` is the table of this list; a test holds the two together.
 */

/** May the caller repeat the call? `no`: it would fail again. `safe`: yes, with the same command id. `unknown`: look first. */
export type Retry = 'no' | 'safe' | 'unknown'

export interface ErrorKind {
  readonly retry: Retry
  /** Exit status of the command line. */
  readonly exit: 1 | 2 | 4 | 5 | 6 | 130
  readonly meaning: string
}

export const errorKinds = {
  // Misuse: found before any side effect.
  'invalid-app': { retry: 'no', exit: 2, meaning: 'the definition of the app cannot work as it stands' },
  'invalid-option': { retry: 'no', exit: 2, meaning: 'an option or setting has a value that is not legal' },
  'unknown-command': { retry: 'no', exit: 2, meaning: 'the app has no command of this name' },
  'unknown-query': { retry: 'no', exit: 2, meaning: 'the app has no query of this name' },
  'invalid-input': { retry: 'no', exit: 2, meaning: 'the input did not pass its schema' },
  'invalid-id': { retry: 'no', exit: 2, meaning: 'a command id is 1 to 128 visible ASCII characters' },
  'invalid-tenant': { retry: 'no', exit: 2, meaning: 'a tenant name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit' },
  'invalid-token': { retry: 'no', exit: 2, meaning: 'the read token is not one of ours, or of another tenant' },
  'id-reused': { retry: 'no', exit: 2, meaning: 'the command id was used before with another command or input' },
  expired: { retry: 'no', exit: 1, meaning: 'the command id is older than what the log still remembers' },
  // The app's own code.
  'invalid-event': { retry: 'no', exit: 1, meaning: 'an event did not pass its schema, or is not plain JSON' },
  'invalid-scope': { retry: 'no', exit: 1, meaning: 'a scope or tag is not legal' },
  'decide-failed': { retry: 'no', exit: 1, meaning: 'decide threw, wrote, or returned a promise; nothing was recorded' },
  'projection-failed': { retry: 'no', exit: 1, meaning: 'a projection threw on an event of this command; nothing was recorded' },
  'query-failed': { retry: 'no', exit: 1, meaning: 'the query threw' },
  'record-too-large': { retry: 'no', exit: 1, meaning: 'the decision does not fit into one record of the log' },
  // Contention, time, leadership.
  conflict: { retry: 'safe', exit: 4, meaning: 'others kept writing what this command reads, until its retries were used up' },
  overloaded: { retry: 'safe', exit: 5, meaning: 'too many commands wait already; nothing was written' },
  timeout: { retry: 'safe', exit: 5, meaning: 'the deadline passed before anything was written' },
  'outcome-unknown': {
    retry: 'safe',
    exit: 5,
    meaning: 'the deadline passed while the record was on its way; the same id cannot win twice',
  },
  aborted: { retry: 'safe', exit: 130, meaning: 'the caller gave up; the same id cannot win twice' },
  'not-leader': { retry: 'safe', exit: 5, meaning: 'the leader could not be reached within the deadline' },
  'not-ready': { retry: 'safe', exit: 5, meaning: 'the replica has not read far enough yet, or another release is the active one' },
  closed: { retry: 'safe', exit: 5, meaning: 'the replica is closing or closed; nothing was written' },
  // Logs and databases.
  'data-in-use': { retry: 'safe', exit: 5, meaning: 'another replica owns this data directory' },
  'data-unusable': { retry: 'no', exit: 1, meaning: 'the data directory cannot be written, or holds something else' },
  'log-unusable': { retry: 'no', exit: 1, meaning: 'the file is not a log, is cut off, or cannot be written' },
  'log-other-app': { retry: 'no', exit: 1, meaning: 'the log belongs to another app' },
  'log-other': {
    retry: 'no',
    exit: 1,
    meaning: 'the data directory was built from another log, or the log that it was built from is gone',
  },
  'log-behind': { retry: 'no', exit: 6, meaning: 'the database holds more than its log: the log was replaced by an older copy' },
  'log-failed': { retry: 'unknown', exit: 1, meaning: 'the log could not be written (disk full, I/O error); the writer stopped for good' },
  'log-unreachable': { retry: 'safe', exit: 5, meaning: 'the cluster of the log cannot be reached, or does not answer' },
  'log-denied': { retry: 'no', exit: 1, meaning: 'the cluster refuses this client: password, certificate, rights, or clock' },
  'log-unsafe': { retry: 'no', exit: 1, meaning: 'a setting of the cluster would break a promise; `mainstem doctor` says which' },
  'log-sealed': { retry: 'no', exit: 1, meaning: 'the log was sealed: it goes on in its copy' },
  'unknown-event': { retry: 'no', exit: 1, meaning: 'the log holds an event type, or a schema version of one, that the app does not know' },
  'no-such-version': { retry: 'no', exit: 1, meaning: 'the tenant has not reached this version or time' },
  halted: { retry: 'no', exit: 6, meaning: 'this tenant stopped, as its own state contradicts the log' },
  diverged: { retry: 'no', exit: 6, meaning: 'the database differs from what its log says' },
  internal: { retry: 'unknown', exit: 1, meaning: 'a defect of the engine' },
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorKinds

export interface ErrorExtras {
  /** The command id of the call, so that it can be repeated. */
  readonly id?: string
  /** What a machine may want to read: issues of a validator, the winner of a conflict, digests. */
  readonly details?: unknown
  readonly cause?: unknown
}

export class EngineError extends Error {
  override readonly name = 'EngineError'
  readonly code: ErrorCode
  readonly retry: Retry
  readonly id: string | undefined
  readonly details: unknown

  constructor(code: ErrorCode, message: string, extras: ErrorExtras = {}) {
    super(message, extras.cause === undefined ? undefined : { cause: extras.cause })
    this.code = code
    this.retry = errorKinds[code].retry
    this.id = extras.id
    this.details = extras.details
  }
}

/** Also one of another copy of this package: the one that a user's app imports. */
export const isEngineError = (error: unknown): error is EngineError =>
  error instanceof EngineError || (error instanceof Error && error.name === 'EngineError' && (error as EngineError).code in errorKinds)
