import { mkdtempSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { openStore, sqlite } from '../../src/database/sqlite.ts'

const { synced } = vi.hoisted(() => ({ synced: [] as string[] }))
vi.mock('node:fs', async original => {
  const fs = await original<typeof import('node:fs')>()
  return {
    ...fs,
    fsyncSync: (fd: number) => {
      synced.push(basename(readlinkSync(`/proc/self/fd/${fd}`)))
      fs.fsyncSync(fd)
    },
  }
})

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mainstem-sync-'))
  synced.length = 0
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

// No test can cut the power; this one sees that the disk is asked for all that SQLite was told not to wait for.
test.runIf(process.platform === 'linux')('sync waits for the file and its folder once, for the -wal after each commit', () => {
  const database = sqlite('CREATE TABLE t (x)')
  const path = join(folder, 'a.db')
  const taken = () => synced.splice(0).map(name => name.replace(basename(folder), 'folder'))
  for (const _ of ['created', 'opened again']) {
    const store = openStore(database, path)
    const commit = () => {
      store.begin()
      store.write.run('INSERT INTO t VALUES (1)')
      store.commit({ ...store.standing, version: store.standing.version + 1 })
    }
    commit()
    expect(taken()).toEqual([])
    store.sync()
    expect(taken()).toEqual(['a.db', 'folder', 'a.db-wal'])
    store.sync()
    expect(taken()).toEqual([])
    commit()
    commit()
    store.begin()
    store.write.run('INSERT INTO t VALUES (2)')
    store.sync()
    expect(taken()).toEqual(['a.db-wal'])
    store.rollback()
    store.sync()
    expect(taken()).toEqual([])
    store.close()
  }
})
