/** The table of error codes in the docs is the list in the code. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { EngineError, errorKinds } from '../../src/errors.ts'

function errorTable(): string {
  const rows = Object.entries(errorKinds).map(([code, { retry, exit, meaning }]) => `| \`${code}\` | ${retry} | ${exit} | ${meaning} |`)
  return ['| code | retry | exit | meaning |', '|---|---|---|---|', ...rows].join('\n')
}

test('docs/errors.md lists every code as it is', () => {
  expect(readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')).toContain(errorTable())
})

test('an error carries its code, whether to retry, and the id to retry with', () => {
  const error = new EngineError('outcome-unknown', 'no answer came', { id: 'x' })
  expect(error).toMatchObject({ code: 'outcome-unknown', retry: 'safe', id: 'x', message: 'no answer came' })
})
