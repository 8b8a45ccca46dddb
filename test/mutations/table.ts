/** The table of mutations in the docs: which check catches each, and at which seed. */
import { join } from 'node:path'
import type { Mutation } from './mutation.ts'
import { type Catches, SEEDS } from './run.ts'

export const TABLE = join(import.meta.dirname, '../../docs/mutations.md')

const count = (n: number): string => n.toLocaleString('en')

/** The whole page. */
export function tableOf(mutations: readonly Mutation[], catches: Catches): string {
  const rows = mutations.map(({ name, breaks, scene = 'crowd', edits }) => {
    const caught = catches[name]
    const files = [...new Set(edits.map(({ file }) => `[${file.replace('src/', '')}](../${file})`))].join(', ')
    return `| ${name} | ${breaks} | ${files} | ${scene} | ${caught ? `${caught.seed} | ${caught.check}` : '| **not caught**'} |`
  })
  return `# Mutations

Is the simulator worth its name? Here production code is broken on purpose, in ${mutations.length} ways, and the simulator has to notice: each within
seeds 1 to ${count(SEEDS)}. Without the mutation the same world finds nothing.

This page is made by \`npm run mutations\`, which searches. \`npm run test:long\` replays each mutation at its seed, and without it; \`npm test\` sees
to it that the list fits the sources. The list stands in [test/mutations](../test/mutations), and so do the
[scenes](../test/mutations/scenes.ts): worlds in which a breakage comes to matter soon. What the checks ask for is said in
[testing/judge.ts](../src/testing/judge.ts). Another breakage is an entry in the list, then \`npm run mutations -- NAME\`.

| mutation | what is broken | in | scene | seed | caught by |
|---|---|---|---|---|---|
${rows.join('\n')}

## Not in the list

Some code can be taken away, and nobody can tell:

- *Absence taken for proof*: a batch of unknown outcome that a barrier did not find stays in doubt, though on Kafka it cannot arrive any more: the
  barrier stands behind it in the same partition, a transaction that is open holds the barrier back from readers, and a late batch
  is refused by its epoch or known by its sequence. The doubt is kept because it costs nothing and trusts no broker.
`
}
