/** Runs SQL on the tables as events leave them, whatever decide would have said to these events. */
import { type App, definitionOf } from '../../src/app.ts'
import { openStore } from '../../src/database/sqlite.ts'
import { project, recorded } from '../../src/decide.ts'

export function rowsAfter(app: App, events: readonly (readonly [type: string, data: unknown])[], sql: string): unknown[] {
  const definition = definitionOf(app)
  const store = openStore(definition.database, ':memory:')
  try {
    store.begin()
    for (const [i, [type, data]] of events.entries()) project(app, store.write, recorded(definition, type, data), i + 1, 0)
    return store.read.all(sql).map(row => ({ ...row }))
  } finally {
    store.rollback()
    store.close()
  }
}
