/** What a call failed with, for assertions on the whole error. */
import { expect } from 'vitest'
import { EngineError } from '../../src/errors.ts'

export async function failure(promise: Promise<unknown>): Promise<EngineError> {
  const error = await promise.then(
    value => expect.unreachable(`expected an error, got ${JSON.stringify(value)}`),
    (cause: unknown) => cause,
  )
  expect(error).toBeInstanceOf(EngineError)
  return error as EngineError
}
