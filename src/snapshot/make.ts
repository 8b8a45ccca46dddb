/**
 * Makes snapshots of a data directory, whether or not a replica runs on it: its files are read as any reader of SQLite does, so that it need
 * not be asked and waits for nobody. A snapshot gets its name when it is whole and on the disk.
 */
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import { type App, definitionOf, revision } from '../app.ts'
import { standingOf } from '../database/standing.ts'
import type { Standing } from '../database.ts'
import { EngineError } from '../errors.ts'
import { sync, syncFolder } from '../log/files.ts'
import { partitionOf } from '../partition.ts'
import { folderOf, isHalted, PROGRESS, tenantsIn } from '../replica/data.ts'
import { type Advance, readProgress } from '../replica/progress.ts'
import { type DatabasePart, encodeSnapshot, fileOf, type ShardPart, type Snapshot } from '../snapshot.ts'
import { MANIFEST, readSnapshots } from './folder.ts'

/** So many pages of 4 KiB are copied in one go: whoever shares the thread is held up for some 10 ms at most. */
const PAGES = 100
/** What a killed maker has left behind is removed after so long, ms. */
const ABANDONED = 86_400_000

export interface Made {
  readonly name: string
  readonly path: string
  readonly snapshot: Snapshot
  /** Names of those that were removed for it. */
  readonly pruned: readonly string[]
}

export interface Making {
  /** This one's database alone. */
  readonly tenant?: string | undefined
  /** How many of its kind, this one included, are left; the oldest go. Left out: all. */
  readonly keep?: number | undefined
  /** It is thrown away soon: neither read once more, to see that it is sound, nor written to the disk before the call returns. */
  readonly passing?: boolean
  readonly signal?: AbortSignal
  readonly onProgress?: (done: number, all: number) => void
}

/**
 * @param data the data directory
 * @param folder where the snapshot's own folder is made
 * @throws EngineError data-unusable, not-ready (nothing was stored yet that a start could go on from)
 */
export async function makeSnapshot(app: App, data: string, folder: string, making: Making = {}): Promise<Made> {
  const { tenant, keep, passing = false, signal, onProgress } = making
  const home = folderOf(data, app.name, revision(app))
  // First: what comes behind the cursor while the databases are copied stands in some of them, and that is known of each.
  const advances = stored(home)
  const { log, generation, partitions } = advances.values().next().value!.state
  const names = tenantsIn(home).filter(name => tenant === undefined || name === tenant)
  if (tenant !== undefined && names.length === 0) throw new EngineError('data-unusable', `${home} holds no database of tenant ${tenant}`)
  const made = Date.now()
  const name = nameFor(folder, `${app.name}-${revision(app).slice(0, 12)}-${new Date(made).toISOString().replaceAll(/[-:.]/g, '')}`)
  const draft = join(folder, `.${name}.partial`)
  try {
    mkdirSync(draft, { recursive: true })
    const databases: DatabasePart[] = []
    for (const [index, each] of names.entries()) {
      signal?.throwIfAborted()
      onProgress?.(index, names.length)
      const partition = partitionOf(each, partitions)
      const standing = isHalted(home, each) ? undefined : await copy(app, join(home, fileOf(each)), join(draft, fileOf(each)), !passing)
      const { place, state } = advances.get(partition)!
      // One that is about to be built anew belongs to a log that is no more.
      if (!standing || standing.position === 0 || standing.place !== place || standing.generation !== state.generation) {
        rmSync(join(draft, fileOf(each)), { force: true })
        continue
      }
      const { position, version, floor, digest, time, recordHash } = standing
      const file = await sizeAndHash(join(draft, fileOf(each)))
      databases.push({ tenant: each, partition, ...file, position, version, floor, digest, time, recordHash })
    }
    if (tenant !== undefined && databases.length === 0)
      throw new EngineError('data-unusable', `the database of tenant ${tenant} in ${home} is halted, empty, or about to be built anew`)
    const snapshot: Snapshot = {
      format: 1,
      app: app.name,
      revision: revision(app),
      log: log!,
      generation,
      made,
      whole: tenant === undefined,
      shards: partOf(advances, tenant === undefined ? undefined : partitionOf(tenant, partitions)),
      databases,
    }
    writeFileSync(join(draft, MANIFEST), encodeSnapshot(snapshot))
    const path = join(folder, name)
    if (!passing) for (const file of readdirSync(draft)) sync(join(draft, file))
    if (!passing) syncFolder(join(draft, MANIFEST))
    renameSync(draft, path)
    if (!passing) syncFolder(path)
    return { name, path: resolve(path), snapshot, pruned: prune(folder, snapshot, keep) }
  } catch (cause) {
    rmSync(draft, { recursive: true, force: true })
    if (cause instanceof EngineError || signal?.aborted) throw cause
    throw new EngineError('data-unusable', `no snapshot of ${home} could be made in ${folder}: ${(cause as Error).message}`, { cause })
  }
}

/** How far the shards have come, all of them. */
function stored(home: string): Map<number, Advance> {
  let advances: Map<number, Advance>
  try {
    advances = readProgress(join(home, PROGRESS))
  } catch (cause) {
    throw new EngineError('data-unusable', `how far ${home} has come cannot be read: ${(cause as Error).message}`, { cause })
  }
  const { partitions = 1 } = advances.values().next().value?.state ?? {}
  for (let partition = 0; partition < partitions; partition++) {
    if (advances.get(partition)?.state.log) continue
    throw new EngineError(
      'not-ready',
      `${home} does not say yet how far its replica has read: that is stored some seconds after its first start, and when it ends`,
    )
  }
  return advances
}

const partOf = (advances: ReadonlyMap<number, Advance>, only: number | undefined): ShardPart[] =>
  [...advances]
    .filter(([partition]) => only === undefined || partition === only)
    .sort(([a], [b]) => a - b)
    .map(([partition, { tenants, place, cursor, state, types }]) => ({
      partition,
      place,
      cursor,
      state,
      types: [...types],
      tenants: [...tenants],
    }))

/** A name that nothing has yet. */
function nameFor(folder: string, name: string): string {
  for (let count = 1; ; count++) {
    const each = count === 1 ? name : `${name}-${count}`
    if (!existsSync(join(folder, each)) && !existsSync(join(folder, `.${each}.partial`))) return each
  }
}

/** @returns undefined if there is nothing in it, or it was thrown away meanwhile */
async function copy(app: App, path: string, to: string, check: boolean): Promise<Standing | undefined> {
  try {
    const db = new DatabaseSync(path, { readOnly: true, timeout: 5_000 })
    try {
      // Without a transaction of its own the copy would begin anew whenever somebody writes, and perhaps never end.
      db.exec('BEGIN')
      if (db.prepare('SELECT 1 FROM sqlite_schema').get() === undefined) return undefined
      await backup(db, to, { rate: PAGES })
    } finally {
      db.close()
    }
    return standingOf(definitionOf(app).database, to, check)
  } catch (error) {
    if (!existsSync(path)) return undefined
    throw error
  }
}

async function sizeAndHash(path: string): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return { bytes: statSync(path).size, sha256: hash.digest('hex') }
}

/** Removes the oldest of the same kind; first their names, so that nobody finds half of one. */
function prune(folder: string, { app, revision, whole, databases }: Snapshot, keep: number | undefined): string[] {
  const pruned: string[] = []
  const ofTenant = (snapshot: Snapshot) => (snapshot.whole ? '' : snapshot.databases[0]?.tenant)
  const kind = whole ? '' : databases[0]?.tenant
  const same = readSnapshots(folder).flatMap(({ name, snapshot }) =>
    snapshot && snapshot.app === app && snapshot.revision === revision && ofTenant(snapshot) === kind ? [{ name, snapshot }] : [],
  )
  for (const { name } of same.sort((a, b) => b.snapshot.made - a.snapshot.made).slice(keep ?? same.length)) {
    const aside = join(folder, `.${name}.partial`)
    renameSync(join(folder, name), aside)
    rmSync(aside, { recursive: true, force: true })
    pruned.push(name)
  }
  for (const file of readdirSync(folder)) {
    if (!file.startsWith(`.${app}-`) || !file.endsWith('.partial')) continue
    const path = join(folder, file)
    if (Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Infinity) > ABANDONED)
      rmSync(path, { recursive: true, force: true })
  }
  return pruned
}
