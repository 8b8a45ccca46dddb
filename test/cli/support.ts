/** Runs the real program, as built in dist/, in folders of their own. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll } from 'vitest'

export const root = fileURLToPath(new URL('../..', import.meta.url))
export const bin = join(root, 'dist/bin.js')
export const seats = join(root, 'examples/seats.ts')

beforeAll(() => {
  // Nothing to do where dist/ is up to date.
  execFileSync(process.execPath, [join(root, 'scripts/run.mjs')], { stdio: ['ignore', 'inherit', 'inherit'] })
})

const folders: string[] = []
const children = new Set<ChildProcess>()

// Not after each test, for some run side by side.
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  await Promise.all([...children].map(child => new Promise(resolve => child.once('close', resolve))))
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

export function makeFolder(files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'mainstem-cli-'))
  folders.push(folder)
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
  return folder
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  /** Without lines of progress. */
  readonly stderr: string
}

export interface Options {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** What stdin gives. */
  readonly input?: string
}

export interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Resolves when stdout holds the text, with all of it so far. */
  said(text: string): Promise<string>
}

/** How far something has come: a line every five seconds, which a busy machine alone decides about. */
const PROGRESS = /^.*, (\d+%|[\d,]+\/s|[\d.]+ \w+ left)\n/gm

/** Without what the surroundings of the tests say. */
function environment(more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(MAINSTEM_|FORCE_COLOR|NODE_OPTIONS|NODE_V8|VITEST|CI$)/.test(name))
  return { ...Object.fromEntries(kept), ...more }
}

export function startNode(args: readonly string[], { cwd = makeFolder(), env = {}, input }: Options = {}): Running {
  const child = spawn(process.execPath, args, {
    cwd,
    env: environment(env),
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  children.add(child)
  child.stdin?.on('error', () => {})
  if (input !== undefined) child.stdin!.end(input)
  let stdout = ''
  const waiting = new Set<() => void>()
  child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk
    for (const look of waiting) look()
  })
  const stderr = text(child.stderr!)
  const ended = new Promise<Ended>(resolve => {
    child.once('close', (code, signal) => {
      children.delete(child)
      void stderr.then(stderr => resolve({ code, signal, stdout, stderr: stderr.replaceAll(PROGRESS, '') }))
    })
  })
  const said = (wanted: string) =>
    new Promise<string>((resolve, reject) => {
      const look = () => {
        if (!stdout.includes(wanted)) return
        waiting.delete(look)
        resolve(stdout)
      }
      waiting.add(look)
      look()
      void ended.then(({ code, stderr }) => reject(new Error(`it ended with ${code} before it said ${wanted}: ${stdout}${stderr}`)))
    })
  ended.catch(() => {})
  return { child, ended, said }
}

export const start = (args: readonly string[], options?: Options): Running => startNode([bin, ...args], options)

export const mainstem = (args: readonly string[], options?: Options): Promise<Ended> => start(args, options).ended

/** As `mainstem`, for calls that must succeed: stdout. */
export async function ok(args: readonly string[], options?: Options): Promise<string> {
  const { code, stdout, stderr } = await mainstem(args, options)
  if (code !== 0) throw new Error(`mainstem ${args.join(' ')} ended with ${code}: ${stdout}${stderr}`)
  return stdout
}

/** As `ok`, with --json: its one value. */
export const json = async (args: readonly string[], options?: Options): Promise<any> => JSON.parse(await ok([...args, '--json'], options))

/** As `ok`, with --json: one value a line. */
export async function jsonLines(args: readonly string[], options?: Options): Promise<any[]> {
  const stdout = await ok([...args, '--json'], options)
  return stdout
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as unknown)
}

export interface ReplicaOptions {
  readonly log: string
  readonly data: string
  readonly strategy?: string
  readonly app?: string
  /** How many callers reserve one seat after the other; each answer is a line 'ack SEAT'. */
  readonly writers?: number
  /** Begins the names of its seats. */
  readonly name?: string
}

/** A replica in a process of its own, ready. It closes on SIGTERM. */
export async function startReplica({
  log,
  data,
  strategy = 'optimistic',
  app = seats,
  writers = 0,
  name = 'S',
}: ReplicaOptions): Promise<Running> {
  const running = startNode([join(root, 'test/cli/replica.ts'), JSON.stringify({ log, data, strategy, app, writers, name })])
  await running.said('ready')
  return running
}

export const acknowledged = (stdout: string): string[] =>
  stdout
    .split('\n')
    .filter(line => line.startsWith('ack '))
    .map(line => line.slice(4))
