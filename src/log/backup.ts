/**
 * Backup of an embedded log while it is written, and its restore. A restored log is the same log in the next generation, so that every
 * replica notices, and rebuilds what is ahead of it. The log that it replaces is sealed, for whoever might still write, and kept.
 */
import { copyFileSync, existsSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import type { Entered } from '../accept.ts'
import { EngineError } from '../errors.ts'
import type { Log, Position } from '../log.ts'
import { decode, encodeControl } from '../record.ts'
import { BEAT, FileRoster, type Member } from '../roster.ts'
import { discard, publish, replace } from './files.ts'
import { type Astray, LogFold, stored } from './fold.ts'
import { type Controls, controlsOf, sealValue } from './seal.ts'
import { SqliteLog } from './sqlite.ts'

export interface BackedUp {
  readonly log: string
  readonly app: string
  readonly generation: number
  /** Of the last record in it. */
  readonly position: Position
  readonly bytes: number
  /** The log was damaged in its past, and so is the backup. */
  readonly astray?: Astray
}

/**
 * @param path of the log
 * @param file that is made
 * @throws EngineError invalid-option, log-unusable
 */
export async function backupLog(
  path: string,
  file: string,
  onProgress: (done: number, pages: number) => void = () => {},
): Promise<BackedUp> {
  if (existsSync(file)) throw new EngineError('invalid-option', `${file} exists already`)
  if (!existsSync(dirname(file))) throw new EngineError('invalid-option', `there is no folder ${dirname(file)}`)
  await new SqliteLog(path).close()
  const draft = `${file}.partial`
  discard(draft)
  try {
    await copyNow(path, draft, onProgress)
    const { app, id, generation, position, astray } = await check(draft)
    const bytes = statSync(draft).size
    publish(draft, file)
    return { log: id, app, generation, position, bytes, ...(astray ? { astray } : {}) }
  } catch (error) {
    discard(draft)
    throw error
  }
}

/** A copy of the file as of now, while others write. */
async function copyNow(path: string, draft: string, onProgress: (done: number, pages: number) => void = () => {}): Promise<void> {
  const db = new DatabaseSync(path, { readOnly: true, timeout: 5_000 })
  try {
    // Without a transaction of its own the copy would begin anew whenever somebody writes, and perhaps never end.
    db.exec('BEGIN')
    db.prepare('SELECT 1 FROM log').get()
    await backup(db, draft, {
      rate: 2_000,
      progress: ({ totalPages, remainingPages }) => onProgress(totalPages - remainingPages, totalPages),
    })
  } finally {
    db.close()
  }
}

/** A backup that cannot be read is none. */
async function check(draft: string) {
  const db = new DatabaseSync(draft)
  try {
    const { quick_check: found } = db.prepare('PRAGMA quick_check(1)').get() as { quick_check: string }
    if (found !== 'ok') throw new EngineError('log-unusable', `the log is damaged: ${found}`)
  } finally {
    db.close()
  }
  const log = new SqliteLog(draft)
  try {
    const fold = new LogFold()
    for await (const each of stored(log)) fold.take(each)
    const { log: id, app, generation } = fold.shard
    if (id === null || app === null) throw new EngineError('log-unusable', 'the log holds no manifest: there is nothing to back up')
    return { id, app, generation, position: await log.head(), astray: fold.astray }
  } finally {
    await log.close()
  }
}

// --- Restore --------------------------------------------------------------------------------------------------------------------

/** What a restore does to a tenant whose history in the log is not the backup's. */
export interface TenantLoss {
  readonly tenant: string
  /** The last version that both histories have in common. */
  readonly common: number
  /** Where it stood in the log, and where it stands in the backup. */
  readonly was: number
  readonly becomes: number
}

export interface RestorePlan {
  readonly log: string
  readonly app: string
  /** That the restored log will have. */
  readonly generation: number
  /** Why the log that is there could not be read; then nobody knows what is lost. */
  readonly unreadable: string | undefined
  /** There is a log to be replaced. */
  readonly replaces: boolean
  readonly losses: readonly TenantLoss[]
}

export interface RestoreOptions {
  /** The log that is there was sealed for a copy that is lost. */
  readonly copyIsLost?: boolean
  readonly signal?: AbortSignal
}

export class Restore {
  readonly #path: string
  readonly #draft: string
  readonly #backup: History
  readonly #controls: Controls
  /** The log that is there. */
  readonly #old: Old | undefined
  readonly #unreadable: string | undefined

  private constructor(
    path: string,
    draft: string,
    backup: History,
    controls: Controls,
    old: Old | undefined,
    unreadable: string | undefined,
  ) {
    this.#path = path
    this.#draft = draft
    this.#backup = backup
    this.#controls = controls
    this.#old = old
    this.#unreadable = unreadable
  }

  /**
   * Reads both; changes nothing but a draft beside the log. To be closed.
   * @throws EngineError log-unusable, log-sealed, log-other-app, data-in-use
   */
  static async prepare(file: string, path: string, { copyIsLost = false, signal }: RestoreOptions = {}): Promise<Restore> {
    await refuseTheLiving(path)
    const draft = `${path}.restoring`
    discard(draft)
    try {
      if (existsSync(`${file}-wal`)) await copyNow(file, draft)
      else copyFileSync(file, draft)
      const { history, controls } = await readBackup(draft, file, signal)
      const { old, unreadable } = await openOld(path, signal)
      try {
        if (old) checkOld(old.history, old.controls, history, path, copyIsLost)
      } catch (error) {
        await old?.log.close()
        throw error
      }
      return new Restore(path, draft, history, controls, old, unreadable)
    } catch (error) {
      discard(draft)
      throw error
    }
  }

  get plan(): RestorePlan {
    const { shard } = this.#backup.fold
    return {
      log: shard.log!,
      app: shard.app!,
      generation: Math.max(shard.generation, this.#old?.history.fold.shard.generation ?? 0) + 1,
      unreadable: this.#unreadable,
      replaces: this.#old !== undefined || this.#unreadable !== undefined,
      losses: this.#old ? lossesOf(this.#old.history, this.#backup) : [],
    }
  }

  /**
   * Puts the backup in the log's place.
   * @returns what was lost in the end, and where the former log is
   */
  async commit(): Promise<{ readonly plan: RestorePlan; readonly aside: string | undefined }> {
    await refuseTheLiving(this.#path)
    rewrite(this.#draft, this.#controls, this.plan.generation)
    if (this.#old) await sealOld(this.#old.log, this.#old.history)
    const { plan } = this
    await this.#old?.log.close()
    if (!plan.replaces) {
      publish(this.#draft, this.#path)
      return { plan, aside: undefined }
    }
    const aside = asideOf(this.#path)
    replace(this.#draft, this.#path, aside)
    return { plan, aside }
  }

  async close(): Promise<void> {
    await this.#old?.log.close()
    discard(this.#draft)
  }
}

interface Old {
  readonly log: SqliteLog
  readonly history: History
}

/** A name of the time that nothing has yet. */
function asideOf(path: string): string {
  const name = `${path}.replaced-${new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')}`
  for (let count = 1; ; count++) {
    const aside = count === 1 ? name : `${name}-${count}`
    if (!existsSync(aside)) return aside
  }
}

/** A log's fold, and the digest at the end of each accepted record. */
interface History {
  readonly fold: LogFold
  readonly digests: Map<string, Entered['history'][]>
}

async function readOn(log: Log, history: History, signal?: AbortSignal): Promise<void> {
  const { fold, digests } = history
  for await (const each of stored(log, { after: fold.position, ...(signal ? { signal } : {}) })) {
    const effect = fold.take(each)
    if (effect.kind !== 'data' || !effect.entered.history) continue
    const known = digests.get(effect.record.tenant)
    if (known) known.push(effect.entered.history)
    else digests.set(effect.record.tenant, [effect.entered.history])
  }
}

async function readHistory(log: Log, signal: AbortSignal | undefined): Promise<History> {
  const history: History = { fold: new LogFold(), digests: new Map() }
  await readOn(log, history, signal)
  return history
}

async function readBackup(draft: string, file: string, signal: AbortSignal | undefined) {
  let log: SqliteLog | undefined
  try {
    log = new SqliteLog(draft)
    const controls = await controlsOf(log)
    if (controls.state.log === null) throw new EngineError('log-unusable', `${file} holds no log of Mainstem`)
    if (controls.seal && controls.seal.note?.by !== 'restore') {
      throw new EngineError('log-sealed', `the log in ${file} was sealed: it goes on in its copy, and there may be one only`)
    }
    return { history: await readHistory(log, signal), controls }
  } catch (error) {
    if (error instanceof EngineError) throw new EngineError(error.code, error.message.replaceAll(draft, file), { cause: error })
    throw error
  } finally {
    await log?.close()
  }
}

async function openOld(path: string, signal: AbortSignal | undefined) {
  if (!existsSync(path)) return { old: undefined, unreadable: undefined }
  let log: SqliteLog | undefined
  try {
    log = new SqliteLog(path)
    return { old: { log, history: await readHistory(log, signal), controls: await controlsOf(log) }, unreadable: undefined }
  } catch (error) {
    await log?.close()
    if (signal?.aborted) throw error
    return { old: undefined, unreadable: (error as Error).message }
  }
}

function checkOld(old: History, { seal }: Controls, backup: History, path: string, copyIsLost: boolean): void {
  const { log, app } = old.fold.shard
  if (log !== null && log !== backup.fold.shard.log) {
    throw new EngineError(
      'log-unusable',
      `the backup is of another log than ${path}${app === backup.fold.shard.app ? '' : ` (of the app ${backup.fold.shard.app}, not ${app})`}. Restore it to another path with --log file:PATH`,
    )
  }
  if (seal && seal.note?.by !== 'restore' && !copyIsLost) {
    const where = seal.note?.by === 'copy' ? ` It is ${seal.note.to}.` : ''
    throw new EngineError(
      'log-sealed',
      `${path} was sealed: it goes on in its copy, and there may be one only.${where} If that copy is lost, say --copy-is-lost`,
    )
  }
}

function lossesOf(old: History, backup: History): TenantLoss[] {
  const losses: TenantLoss[] = []
  for (const [tenant, was] of old.digests) {
    const becomes = backup.digests.get(tenant) ?? []
    let common = 0
    while (common < was.length && common < becomes.length && was[common]!.digest === becomes[common]!.digest) common++
    if (common === was.length) continue
    const end = (history: readonly Entered['history'][], count: number) => history[count - 1]?.end ?? 0
    losses.push({ tenant, common: end(was, common), was: end(was, was.length), becomes: end(becomes, becomes.length) })
  }
  return losses.sort((a, b) => (a.tenant < b.tenant ? -1 : 1))
}

/** Who still holds the file open can then append to it, but nothing that counts. */
async function sealOld(log: SqliteLog, history: History): Promise<void> {
  await readOn(log, history)
  const { log: id, sealed } = history.fold.shard
  if (id === null || sealed) return
  const time = Date.now()
  const [answer] = await log.append([{ value: sealValue(id, time, { by: 'restore' }), tenant: null, time }])
  await readOn(log, history)
  if (!history.fold.shard.sealed)
    throw new EngineError('log-failed', `${log.description} could not be sealed; nothing was changed`, {
      cause: answer && 'cause' in answer ? answer.cause : undefined,
    })
}

/** The next generation in the manifest; and if the log was once put aside, no seal, and nothing that came behind it. */
function rewrite(draft: string, { manifest, seal }: Controls, generation: number): void {
  const db = new DatabaseSync(draft)
  try {
    const row = db.prepare('SELECT value FROM record WHERE position = ?').get(manifest!) as { value: string }
    const record = decode(row.value)
    if (record.kind !== 'manifest') throw new EngineError('internal', `no manifest stands at position ${manifest}`)
    db.exec('BEGIN IMMEDIATE')
    db.prepare('UPDATE record SET value = ? WHERE position = ?').run(encodeControl({ ...record, generation }), manifest!)
    if (seal) db.prepare('DELETE FROM record WHERE position >= ?').run(seal.position)
    db.exec('COMMIT')
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  } finally {
    db.close()
  }
}

// --- Who is alive ---------------------------------------------------------------------------------------------------------------

/** Nobody may be at work on a log that is replaced. @throws EngineError data-in-use */
async function refuseTheLiving(path: string): Promise<void> {
  const living = await livingOn(path)
  if (living.length === 0) return
  const who = living
    .map(({ id, address }) => address ?? id)
    .sort()
    .join(', ')
  throw new EngineError(
    'data-in-use',
    `${living.length === 1 ? 'a replica is' : `${living.length} replicas are`} running on ${path}: ${who}. Stop ${living.length === 1 ? 'it' : 'them'} first`,
  )
}

/** Replicas whose heart beats, or, as one that was stopped does not beat, whose socket is open. */
async function livingOn(path: string): Promise<Member[]> {
  const file = `${path}.roster`
  if (!existsSync(file)) return []
  const roster = new FileRoster(file)
  try {
    const before = new Map(roster.members().map(({ id, beat }) => [id, beat]))
    if (before.size > 0) await pause(3 * BEAT)
    const living: Member[] = []
    for (const member of roster.members()) {
      if (before.get(member.id) !== member.beat || (member.address !== null && (await answers(member.address)))) living.push(member)
    }
    return living
  } finally {
    roster.close()
  }
}

function answers(address: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(address)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
