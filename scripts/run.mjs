/**
 * Runs a command of this repository, set-up included: `node scripts/run.mjs [--no-build] [command [argument...]]`.
 *
 *   1. `npm ci`, when node_modules does not hold what package-lock.json says
 *   2. tsc to dist/, when dist/ was not made of these very sources (not with --no-build)
 *   3. the command, with node_modules/.bin first in PATH: there lies the Node.js that the lockfile pins
 *
 * Up-to-date is told by content, never by time, so it holds after any checkout. Runs on Node.js 20 and without dependencies,
 * since on a fresh clone it is all there is.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onceAtATime } from './lock.mjs'

const NEEDED = [24, 10]
const root = fileURLToPath(new URL('..', import.meta.url))
const modules = join(root, 'node_modules')
const bin = join(modules, '.bin')
const dist = join(root, 'dist')
const windows = process.platform === 'win32'

const withBuild = process.argv[2] !== '--no-build'
const [command, ...args] = process.argv.slice(withBuild ? 2 : 3)

await onceAtATime(`setup ${root}`, installReason, install)
requireNode()
if (withBuild) await onceAtATime(`setup ${root}`, buildReason, build)
if (command !== undefined) leaveWith(await run(command, args, withTools()))

// What must be true before the command runs: the reason why it is not, or undefined.

function installReason() {
  if (!existsSync(modules)) return 'there is no node_modules'
  if (readOr(join(modules, '.installed')) === installStamp() || installedAsLocked()) return undefined
  return 'node_modules is not what package-lock.json says'
}

/** After somebody else's `npm ci` or `npm install`: what npm says it put there, against the lockfile. */
function installedAsLocked() {
  const there = JSON.parse(readOr(join(modules, '.package-lock.json')) ?? '{}').packages
  const locked = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
  if (there === undefined) return false
  return Object.entries(locked).every(([path, { version, integrity, optional, os, cpu, libc }]) => {
    const found = there[path]
    if (found !== undefined) return found.version === version && (integrity === undefined || found.integrity === integrity)
    // Of another platform, or only needed there. What is of this one must be here.
    const ours = os !== undefined && os.includes(process.platform) && cpu?.includes(process.arch) && libc === undefined
    return path === '' || (optional === true && !ours)
  })
}

function buildReason() {
  if (!existsSync(dist)) return 'there is no dist'
  return readOr(join(dist, '.built')) === buildStamp() ? undefined : 'dist was made of other sources'
}

function installStamp() {
  return `${process.platform}-${process.arch} ${hash(['package-lock.json'])}`
}

/** The sources, how they are compiled, and by which compiler. */
function buildStamp() {
  return hash(['package-lock.json', 'tsconfig.json', 'tsconfig.build.json', ...filesUnder('src').filter(path => path.endsWith('.ts'))])
}

async function install(reason) {
  say(`npm ci: ${reason}`)
  const stamp = installStamp()
  // Whatever the surroundings leave out, the tools are needed. Errors only: the set-up may run on an older Node.js than the tools ask for.
  await must('npm', ['ci', '--include=dev', '--include=optional', '--loglevel=error'], withoutTools())
  writeFileSync(join(modules, '.installed'), stamp)
}

async function build(reason) {
  say(`build: ${reason}`)
  const stamp = buildStamp()
  await must('tsc', ['-p', 'tsconfig.build.json'], withTools())
  // What an earlier build made of sources that are gone.
  for (const path of filesUnder('dist')) {
    const source = path.replace(/^dist/, 'src').replace(/(\.d\.ts|\.js)(\.map)?$/, '.ts')
    if (!existsSync(join(root, source))) rmSync(join(root, path))
  }
  writeFileSync(join(dist, '.built'), stamp)
}

/** The pinned Node.js, or where none is pinned for the platform the one that runs this, if it is new enough. */
function requireNode() {
  if (existsSync(join(bin, windows ? 'node.cmd' : 'node'))) return
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])) return
  say(
    `node_modules holds no Node.js for ${process.platform}-${process.arch}, and ${process.version} is too old: install ${NEEDED.join('.')} or later`,
  )
  process.exit(1)
}

async function must(name, list, env) {
  const end = await run(name, list, env)
  if (end.code === 0) return
  say(`${name} failed`)
  leaveWith(end)
  await new Promise(() => {})
}

/** Runs to the end, passing signals on. */
function run(name, list, env) {
  return new Promise(done => {
    const child = spawn(name, list, { cwd: root, env, stdio: 'inherit', shell: windows })
    // Ctrl-C at a terminal reaches the child without us; told twice it might take the second for impatience.
    const terminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY
    let interrupted = 0
    const onInterrupt = () => {
      if (terminal || Date.now() - interrupted < 500) return
      interrupted = Date.now()
      child.kill('SIGINT')
    }
    const onTerminate = () => child.kill('SIGTERM')
    const onHangUp = () => child.kill('SIGHUP')
    process.on('SIGINT', onInterrupt).on('SIGTERM', onTerminate).on('SIGHUP', onHangUp)
    // A signal to npm ends the shell that npm put between, and goes no further: the change of parent is all we hear of it.
    const parent = process.ppid
    const orphaned = setInterval(() => {
      if (process.env.npm_lifecycle_event === undefined || process.ppid === parent) return
      clearInterval(orphaned)
      onTerminate()
    }, 250)
    const end = (code, signal) => {
      clearInterval(orphaned)
      process.off('SIGINT', onInterrupt).off('SIGTERM', onTerminate).off('SIGHUP', onHangUp)
      done({ code, signal })
    }
    child.once('error', error => {
      say(error.code === 'ENOENT' ? `${name}: not found` : error.message)
      end(127, null)
    })
    child.once('exit', end)
  })
}

/** Ends as the child ended. */
function leaveWith({ code, signal }) {
  if (signal === null) process.exit(code)
  process.kill(process.pid, signal)
}

function withTools() {
  const { PATH, ...env } = withoutTools()
  return { ...env, PATH: [bin, PATH].join(delimiter) }
}

/** For npm, which replaces the tools: it runs on the machine's own Node.js. */
function withoutTools() {
  const { PATH, Path, ...env } = process.env
  return {
    ...env,
    PATH: (PATH ?? Path ?? '')
      .split(delimiter)
      .filter(folder => resolve(folder) !== bin)
      .join(delimiter),
  }
}

function hash(paths) {
  const all = createHash('sha256')
  for (const path of paths) {
    const content = readFileSync(join(root, path))
    all.update(`${path.split(sep).join('/')}\0${content.length}\0`).update(content)
  }
  return all.digest('hex')
}

/** Sorted, and relative to the root. */
function filesUnder(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath ?? entry.path, entry.name).slice(root.length))
    .toSorted()
}

function readOr(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function say(text) {
  process.stderr.write(`[mainstem] ${text}\n`)
}
