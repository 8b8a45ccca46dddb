/** The table of mutations in the docs: which check catches each, and at which seed. */
import { join } from 'node:path'
import type { Mutation } from './mutation.ts'
import { type Catches, SEEDS } from './run.ts'

export const TABLE = join(import.meta.dirname, '../../docs/mutations.md')

const count = (n: number): string => n.toLocaleString('en')

/** The whole page. */
export function tableOf(mutations: readonly Mutation[], catches: Catches): string {
  const rows = mutations.map(({ name, breaks, edits }) => {
    const caught = catches[name]
    const files = [...new Set(edits.map(({ file }) => `[${file.replace('src/', '')}](../${file})`))].join(', ')
    return `| ${name} | ${breaks} | ${files} | ${caught ? `${caught.seed} | ${caught.check}` : '| **not caught**'} |`
  })
  return `# Mutations

Is the simulator worth its name? Here production code is broken on purpose, in ${mutations.length} ways, and the simulator has to notice: each within
seeds 1 to ${count(SEEDS)}. Without a mutation the same seeds find nothing.

This page is made by \`npm run mutations\`, which searches. \`npm run test:long\` replays each mutation at its seed, \`npm test\` sees to it
that the list fits the sources: [test/mutations](../test/mutations).

| mutation | what is broken | in | seed | caught by |
|---|---|---|---|---|
${rows.join('\n')}
`
}
