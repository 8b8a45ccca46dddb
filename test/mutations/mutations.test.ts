/** The list of mutations fits the sources: each is found where it says, and what comes of it can still be run. */
import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { mutations } from './list.ts'
import { mutated } from './mutation.ts'
import { catches, SEEDS } from './run.ts'
import { TABLE, tableOf } from './table.ts'

const root = join(import.meta.dirname, '../..')

test.each(mutations)('$name', mutation => {
  for (const file of new Set(mutation.edits.map(({ file }) => file))) {
    const source = readFileSync(join(root, file), 'utf8')
    const broken = mutated(source, file, mutation)
    expect(broken).not.toBe(source)
    // @throws where it is no TypeScript any more, or needs more than its types stripped
    stripTypeScriptTypes(broken)
  }
})

test('names are used once', () => {
  expect(new Set(mutations.map(({ name }) => name)).size).toBe(mutations.length)
})

test('each is caught, and the docs say so: otherwise npm run mutations -- NAME', () => {
  const kept = catches()
  expect(mutations.filter(({ name }) => !(kept[name] && kept[name].seed <= SEEDS)).map(({ name }) => name)).toEqual([])
  expect(readFileSync(TABLE, 'utf8')).toBe(tableOf(mutations, kept))
})
