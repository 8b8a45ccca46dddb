/** Each mutation is caught at the seed that `npm run mutations` has found for it, and production code comes through the same world unharmed. */
import { expect, test } from 'vitest'
import { mutations } from '../mutations/list.ts'
import { catches, control, hunt } from '../mutations/run.ts'

const kept = catches()
const quoted = (name: string): string => `'${name.replaceAll("'", `'\\''`)}'`

test.concurrent.each(mutations)('$name', async ({ name }) => {
  const { seed, check } = kept[name]!
  const found = await hunt(name, [[name, seed, seed]])
  expect(found, `seed ${seed} catches it no more. To search for another: npm run mutations -- ${quoted(name)}`).toMatchObject({
    seed,
    check,
  })
})

test.concurrent('none', async () => {
  expect(await hunt('', control(kept))).toBeUndefined()
})
