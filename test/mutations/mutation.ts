/**
 * A mutation: a deliberate breakage of production code that the simulator must catch. It is a change of source text, made when the file is
 * loaded (`hook.ts`), in a process of its own; production code itself has no switch for it.
 */
import type { Only } from './only.ts'
import type { SceneName } from './scenes.ts'

/** `find` must stand in the file exactly once, so that the list never rots: whoever changes that code changes the mutation, too. */
export interface Edit {
  /** From the root of the repository. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

export interface Mutation {
  readonly name: string
  /** One line: what is no longer done, or done wrongly. */
  readonly breaks: string
  /** Where it comes to matter. Default: 'crowd'. By name, for what makes the scenes may be broken itself, and is loaded later. */
  readonly scene?: SceneName
  /** Plans in which it runs no broken code are passed over. Default: none are. */
  readonly only?: Only
  readonly edits: readonly Edit[]
}

/** The source of a file with the edits that are meant for it. @throws Error unless each is found exactly once */
export function mutated(source: string, file: string, { name, edits }: Mutation): string {
  let text = source
  for (const { file: of, find, replace } of edits) {
    if (of !== file) continue
    const found = text.split(find).length - 1
    if (found !== 1) throw new Error(`mutation '${name}': its text stands ${found} times in ${file}, not once:\n${find}`)
    text = text.replace(find, () => replace)
  }
  return text
}
