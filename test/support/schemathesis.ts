/** Fetches schemathesis by pip into a folder of its own, once for all runs in this folder, and lets it loose on a server. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onceAtATime } from '../../scripts/lock.mjs'

const VERSION = '4.32.5'
const cache = fileURLToPath(new URL('../../node_modules/.cache/mainstem', import.meta.url))
const home = join(cache, `schemathesis-${VERSION}`)

export interface Findings {
  readonly code: number | null
  readonly said: string
}

/** It is there when it resolves. @throws Error when it cannot be fetched */
export async function install(): Promise<void> {
  await onceAtATime(
    home,
    () => (existsSync(home) ? undefined : 'missing'),
    async () => {
      process.stderr.write(`[mainstem] fetching schemathesis ${VERSION}\n`)
      mkdirSync(cache, { recursive: true })
      const scratch = mkdtempSync(`${home}-`)
      try {
        await must(['python3', '-m', 'venv', scratch])
        await must([join(scratch, 'bin/python'), '-m', 'pip', 'install', '-q', '--disable-pip-version-check', `schemathesis==${VERSION}`])
        // All of it or nothing.
        renameSync(scratch, home)
      } finally {
        rmSync(scratch, { recursive: true, force: true })
      }
    },
  )
}

async function must(command: readonly string[]): Promise<void> {
  const { code, said } = await run(command).catch((cause: Error) => ({ code: 1, said: cause.message }))
  if (code === 0) return
  throw new Error(
    `schemathesis ${VERSION} cannot be installed (it needs Python 3.10 or later with venv and pip): ${command.join(' ')}\n${said}`,
  )
}

/** @param options of `schemathesis run`, beside the place */
export function fuzz(place: string, options: readonly string[], folder: string): Promise<Findings> {
  return run([join(home, 'bin/python'), '-m', 'schemathesis.cli', 'run', place, '--no-color', ...options], folder)
}

async function run([command, ...args]: readonly string[], folder?: string): Promise<Findings> {
  const child = spawn(command!, args, { stdio: ['ignore', 'pipe', 'pipe'], ...(folder === undefined ? {} : { cwd: folder }) })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (said += text))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, said }
}
