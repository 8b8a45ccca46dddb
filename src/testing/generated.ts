/** Commands as fast-check makes them. It is loaded when it is needed, for tests that generate nothing do without. */
import type { Commands } from './commands.ts'

/** A command as generated. */
export interface Generated {
  readonly command: string
  readonly input: unknown
}

type FastCheck = typeof import('fast-check')

/** @throws Error if fast-check is not installed */
export async function fastCheck(asking: string): Promise<FastCheck> {
  try {
    return await import('fast-check')
  } catch (cause) {
    throw new Error(`${asking} generates commands with fast-check, which cannot be loaded: npm install --save-dev fast-check`, { cause })
  }
}

/** Any of the commands, each as often as the others. */
export function generated(fc: FastCheck, commands: Commands<any>) {
  const each = Object.entries(commands as Record<string, import('fast-check').Arbitrary<unknown> | undefined>).flatMap(
    ([command, input]) => (input ? [input.map((input): Generated => ({ command, input }))] : []),
  )
  if (each.length === 0) throw new TypeError('commands must hold an arbitrary for at least one command')
  return fc.oneof(...each)
}
