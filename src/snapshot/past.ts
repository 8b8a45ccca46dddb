/** The past from the nearest snapshot: the log is read from where that was made, not from its beginning. */
import { createReadStream, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type App, definitionOf, revision } from '../app.ts'
import { type Clock, machine } from '../clock.ts'
import { standingOf } from '../database/standing.ts'
import { readManifest } from '../log/manifest.ts'
import type { Log } from '../log.ts'
import type { From, Until } from '../replica/replay.ts'
import { type DatabasePart, fileOf, misfit, type ShardPart } from '../snapshot.ts'
import { readSnapshots } from './folder.ts'
import { pour } from './source.ts'
import { contradiction } from './start.ts'

/** How long a log may take to show a record, ms. */
const PATIENCE = 10_000

/**
 * Puts the database of the latest fitting snapshot at or before a moment to `path`.
 * @param folder of snapshots; whatever in it cannot be used is passed over
 * @returns where to read on; undefined if there is none
 */
export async function nearest(
  app: App,
  log: Log,
  tenant: string,
  until: Until,
  folder: string,
  path: string,
  clock: Clock = machine,
): Promise<From | undefined> {
  const { log: id, generation, partition } = (await readManifest(log)).state
  const places: string[] = []
  places[partition] = log.place
  const wanted = { app: app.name, revision: revision(app), log: id, generation, places }
  const found: { readonly path: string; readonly part: ShardPart; readonly database: DatabasePart }[] = []
  for (const each of listed(folder)) {
    const { snapshot } = each
    const part = snapshot?.shards.find(shard => shard.partition === partition)
    const database = snapshot?.databases.find(one => one.tenant === tenant)
    if (!snapshot || !part || !database || !isBefore(database, until)) continue
    if (misfit({ ...snapshot, shards: [part] }, wanted) === undefined) found.push({ path: each.path, part, database })
  }
  found.sort((a, b) => b.part.cursor - a.part.cursor)
  for (const { path: from, part, database } of found) {
    const patience = { clock, patience: PATIENCE, signal: new AbortController().signal }
    if ((await contradiction(part, [database], log, patience)) !== undefined) continue
    try {
      await pour(createReadStream(join(from, fileOf(tenant))), path, database)
      const standing = standingOf(definitionOf(app).database, path, false)
      if (standing.position === database.position && standing.digest === database.digest) return { cursor: part.cursor, state: part.state }
    } catch {
      // The next one, or the log from its beginning, tells the same.
    }
    rmSync(path, { force: true })
  }
  return undefined
}

function listed(folder: string): ReturnType<typeof readSnapshots> {
  try {
    return readSnapshots(folder)
  } catch {
    return []
  }
}

/** A record without events may stand between its version and the moment: then it would say another time. */
function isBefore({ version, time }: DatabasePart, until: Until): boolean {
  if ('version' in until) return version < until.version
  return 'time' in until && time <= until.time
}
