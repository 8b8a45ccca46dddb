/**
 * Plants a mutation into this process: to be called before what it breaks is imported. Two copies of the sources live then side by side: the
 * broken one, which is simulated, and for those who judge it (`REFERENCES`, and whatever they import) the one that stands in the files.
 */
import { registerHooks } from 'node:module'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Mutation, mutated } from './mutation.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Who judges. They are given plain data, for a class of one copy is not that of the other. */
const REFERENCES = ['test/mutations/verdict.ts']
const MARK = '?reference'

/** The path from the root of the repository; undefined for what is not ours. */
function ours(url: string): string | undefined {
  if (!url.startsWith('file:')) return undefined
  const path = relative(root, fileURLToPath(url)).replaceAll('\\', '/')
  return path.startsWith('..') || path.includes('node_modules/') ? undefined : path
}

/** @param mutation undefined: nothing is broken, and all else is the same */
export function plant(mutation: Mutation | undefined): void {
  registerHooks({
    resolve(specifier, context, next) {
      const found = next(specifier, context)
      const path = ours(found.url)
      if (path === undefined || found.url.endsWith(MARK)) return found
      const judging = context.parentURL?.endsWith(MARK) || REFERENCES.includes(path)
      return judging ? { ...found, url: found.url + MARK } : found
    },
    load(url, context, next) {
      const loaded = next(url, context)
      const path = ours(url)
      if (!mutation?.edits.some(({ file }) => file === path) || url.endsWith(MARK)) return loaded
      const source = Buffer.from(loaded.source as Uint8Array).toString()
      return { ...loaded, source: mutated(source, path!, mutation) }
    },
  })
}
