/** What a database file that nobody has open says of itself, and whether it is sound. */
import { DatabaseSync } from 'node:sqlite'
import type { Database, Standing } from '../database.ts'
import { openStore } from './sqlite.ts'

/**
 * @param check reads all of it
 * @throws Error if it is no database of this definition, or a damaged one
 */
export function standingOf(database: Database, path: string, check: boolean): Standing {
  const store = openStore(database, path, { mode: 'read' })
  const { standing } = store
  store.close()
  if (!check) return standing
  const db = new DatabaseSync(path)
  try {
    const { quick_check: found } = db.prepare('PRAGMA quick_check(1)').get() as { quick_check: string }
    if (found !== 'ok') throw new Error(`${path} is damaged: ${found}`)
    return standing
  } finally {
    db.close()
  }
}
