/**
 * HAProxy: the installed one, else the one of Debian's packages, fetched once for all runs in this folder and unpacked there, for which nobody
 * needs to be root. Needs no build.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onceAtATime } from '../../../scripts/lock.mjs'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const fetched = join(root, 'node_modules/.cache/mainstem/haproxy')
/** What Debian's HAProxy needs beyond what every Debian has. */
const packages = ['haproxy', 'liblua5.3-0', 'libopentracing-c-wrapper0', 'libopentracing1']

/** What has to be installed before HAProxy can run here, or undefined. */
export function lackingHaproxy(): string | undefined {
  if (works('haproxy', ['-v']) || existsSync(fetched)) return undefined
  return works('apt-get', ['--version']) && works('dpkg-deb', ['--version']) ? undefined : 'HAProxy (Debian and Homebrew: haproxy)'
}

export interface Program {
  readonly path: string
  readonly env: NodeJS.ProcessEnv
}

/** @throws Error when it cannot be had */
export async function haproxy(): Promise<Program> {
  if (works('haproxy', ['-v'])) return { path: 'haproxy', env: process.env }
  const lacks = lackingHaproxy()
  if (lacks !== undefined) throw new Error(`this test needs ${lacks}`)
  await onceAtATime(
    fetched,
    () => (existsSync(fetched) ? undefined : 'missing'),
    () => fetchPackages(),
  )
  const libraries = join(fetched, 'usr/lib')
  const folders = [
    libraries,
    ...readdirSync(libraries, { withFileTypes: true }).flatMap(entry => (entry.isDirectory() ? [join(libraries, entry.name)] : [])),
  ]
  return { path: join(fetched, 'usr/sbin/haproxy'), env: { ...process.env, LD_LIBRARY_PATH: folders.join(':') } }
}

async function fetchPackages(): Promise<void> {
  process.stderr.write('[mainstem] HAProxy: fetching its packages\n')
  mkdirSync(join(fetched, '..'), { recursive: true })
  const scratch = mkdtempSync(`${fetched}-`)
  try {
    const download = run('apt-get', ['-q', 'download', ...packages], scratch)
    if (download !== undefined) throw new Error(`HAProxy is not installed, and its packages could not be fetched: ${download}`)
    const tree = join(scratch, 'tree')
    for (const file of readdirSync(scratch).filter(name => name.endsWith('.deb'))) {
      const unpacked = run('dpkg-deb', ['-x', file, tree], scratch)
      if (unpacked !== undefined) throw new Error(`${file} could not be unpacked: ${unpacked}`)
    }
    // All of it or nothing.
    renameSync(tree, fetched)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** What it said where it failed. */
function run(command: string, args: readonly string[], cwd: string): string | undefined {
  const { status, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  return status === 0 ? undefined : (error?.message ?? stderr)
}

function works(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0
}
