/** Fetches Apache Kafka by Maven, once for all runs in this folder, and says what a machine lacks for it. Needs no build. */
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onceAtATime } from '../../../scripts/lock.mjs'

/** What tests run on: the current one, and the last one that begins with transactions of version 1. */
export const versions = ['4.3.1', '3.9.2'] as const
export type KafkaVersion = (typeof versions)[number]

const root = fileURLToPath(new URL('../../..', import.meta.url))
const cache = join(root, 'node_modules/.cache/mainstem')
const windows = process.platform === 'win32'

export interface Installation {
  readonly version: KafkaVersion
  readonly java: string
  readonly classPath: string
  /** What was made of these jars for this very Java, so that a broker starts faster. Not there before it is made. */
  readonly prepared: string
}

/** What has to be installed before Kafka can run here, or undefined. */
export function lacking(): string | undefined {
  const found = javaVersion()
  if (found === undefined || Number.parseInt(found, 10) < 17) {
    return `Java 17 or later (${found === undefined ? 'there is none' : `there is ${found}`}; Debian: openjdk-17-jre-headless, Homebrew: openjdk@17)`
  }
  if (versions.every(version => existsSync(libsOf(version)))) return undefined
  return call('mvn', ['-v']).status === 0 ? undefined : 'Maven (there is none; Debian and Homebrew: maven)'
}

/** The jars are there when it resolves. @throws Error when they cannot be fetched */
export async function install(version: KafkaVersion): Promise<Installation> {
  const lacks = lacking()
  if (lacks !== undefined) throw new Error(`Kafka needs ${lacks}`)
  const libs = libsOf(version)
  await onceAtATime(
    libs,
    () => (existsSync(libs) ? undefined : 'missing'),
    () => fetchJars(version, libs),
  )
  const jars = readdirSync(libs).toSorted()
  return {
    version,
    java: java(),
    classPath: jars.map(name => join(libs, name)).join(delimiter),
    prepared: join(cache, `kafka-${version}`, `java-${javaVersion()}`),
  }
}

async function fetchJars(version: KafkaVersion, libs: string): Promise<void> {
  process.stderr.write(`[mainstem] Kafka ${version}: fetching its jars\n`)
  mkdirSync(join(libs, '..'), { recursive: true })
  const scratch = mkdtempSync(`${libs}-`)
  try {
    const args = ['-q', '-B', '-C', '-f', 'toolchain/kafka/pom.xml', `-Dkafka.version=${version}`, `-DoutputDirectory=${scratch}`]
    const child = spawn('mvn', [...args, 'dependency:copy-dependencies'], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
      shell: windows,
    })
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
    const [code] = (await once(child, 'close')) as [number | null]
    if (code !== 0) throw new Error(`Maven could not fetch Kafka ${version}. ${said}`)
    // All of it or nothing.
    renameSync(scratch, libs)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

function libsOf(version: KafkaVersion): string {
  return join(cache, `kafka-${version}`, 'libs')
}

function java(): string {
  const home = process.env['JAVA_HOME']
  return home === undefined || home === '' ? 'java' : join(home, 'bin', 'java')
}

let known: string | undefined

function javaVersion(): string | undefined {
  return (known ??= /version "([^"]+)"/.exec(call(java(), ['-version']).stderr)?.[1])
}

function call(command: string, args: readonly string[]): SpawnSyncReturns<string> {
  const end = spawnSync(command, args, { encoding: 'utf8', shell: windows })
  return { ...end, stderr: end.stderr ?? '' }
}
