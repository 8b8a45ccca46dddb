/**
 * What a call works on. For each setting: the flag, then the environment, then `mainstem.config.ts` in the current directory, then the
 * default.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type App, isApp, known } from '../app.ts'
import { type StrategyName, strategies } from '../consistency.ts'
import { EngineError } from '../errors.ts'
import { isTenant } from '../ids.ts'
import { isKafka, logPath } from '../log/open.ts'
import { type Fencing, fencings, kafkaSettings } from '../log/kafka/settings.ts'
import { firstPath, isPattern } from '../log/shards.ts'
import type { AccessOptions } from '../server/access.ts'
import type { Tls } from '../replica/tls.ts'
import { accessIn, type AccessFlags } from './serve-access.ts'
import { CliError } from './failure.ts'
import { readDuration } from './input.ts'
import { load, loadApp } from './load.ts'

/** The default export of `mainstem.config.ts`. */
export interface Config {
  /** The path of the app's file, or the app itself. */
  readonly app?: string | App
  readonly log?: string
  readonly data?: string
  readonly strategy?: StrategyName
  readonly fencing?: Fencing
  readonly tenant?: string
  /** Milliseconds, or text such as '10s'. */
  readonly timeout?: number | string
  /** What is unsafe about the log, and shall be taken as it is: names that `mainstem doctor` gives. */
  readonly accept?: string | readonly string[]
  /** A folder of snapshots, or the URL of a replica. */
  readonly snapshots?: string
  /** Of `mainstem serve`: who may come in, and what they may do. */
  readonly access?: AccessOptions
  /** Of `mainstem serve`: the files of its certificate. */
  readonly tls?: Tls
}

export interface Flags {
  readonly app?: string
  readonly log?: string
  readonly data?: string
  readonly strategy?: string
  readonly fencing?: string
  readonly tenant?: string
  readonly timeout?: string
  readonly accept?: string
  readonly snapshots?: string
}

const names = ['app', 'log', 'data', 'strategy', 'fencing', 'tenant', 'timeout', 'accept', 'snapshots'] as const
const configFiles = ['mainstem.config.ts', 'mainstem.config.mts', 'mainstem.config.js', 'mainstem.config.mjs']
const DEFAULT_FOLDER = '.mainstem'

type Source = 'flag' | 'environment' | 'config' | 'default'

export class Settings {
  readonly #flags: Flags
  readonly #config: Config
  readonly #configFile: string | undefined
  #app: Promise<App> | undefined

  private constructor(flags: Flags, config: Config, configFile: string | undefined) {
    this.#flags = flags
    this.#config = config
    this.#configFile = configFile
  }

  static async read(flags: Flags): Promise<Settings> {
    const file = configFiles.find(name => existsSync(name))
    if (file === undefined) return new Settings(flags, {}, undefined)
    const config = (await load(resolve(file), file))['default']
    if (typeof config !== 'object' || config === null)
      throw new EngineError('invalid-option', `${file} must have an object as its default export`)
    for (const key of Object.keys(config)) {
      const all = [...names, 'access', 'tls']
      if (!all.includes(key)) throw new EngineError('invalid-option', `${file}: '${key}' is no setting. ${known(key, all)}`)
    }
    return new Settings(flags, config, file)
  }

  /** The app, undefined if none was named. */
  async maybeApp(): Promise<App | undefined> {
    const found = this.#find('app')
    if (!found) return undefined
    if (typeof found.value === 'string') return (this.#app ??= loadApp(found.value))
    if (isApp(found.value)) return found.value
    throw new EngineError('invalid-option', `${this.#configFile}: 'app' is neither a path nor an app`)
  }

  async app(): Promise<App> {
    const app = await this.maybeApp()
    if (app) return app
    throw new CliError('usage', 'which app? Give its file with --app seats.ts, set MAINSTEM_APP, or name it in mainstem.config.ts')
  }

  /** The log's setting, such as 'file:seats.log'. */
  async log(): Promise<string> {
    return (await this.#log()).setting
  }

  /** The log, which must exist. */
  async existingLog(): Promise<string> {
    const { setting, path } = await this.#log()
    // Whether a cluster has it is found out when it is opened.
    if (path === undefined || existsSync(path)) return setting
    const hint = this.#find('log') ? '' : '. Name another with --log file:PATH, or begin this one with `mainstem exec`'
    throw new EngineError('log-unusable', `there is no log at ${path}${hint}`)
  }

  /** The log, whose folder is made if it is the default one. */
  async writableLog(): Promise<string> {
    const { setting, path, source } = await this.#log()
    if (source === 'default' && path !== undefined) mkdirSync(dirname(path), { recursive: true })
    return setting
  }

  get tenantIsGiven(): boolean {
    return this.#find('tenant') !== undefined
  }

  get logIsGiven(): boolean {
    return this.#find('log') !== undefined
  }

  get data(): string {
    const data = this.#text('data')
    if (data !== undefined) return data
    // Each topic has its own: a data directory belongs to one log.
    const log = this.#text('log')
    return log !== undefined && isKafka(log) ? `${DEFAULT_FOLDER}/kafka/${kafkaSettings(log).topic}` : `${DEFAULT_FOLDER}/data`
  }

  get strategy(): StrategyName | undefined {
    const strategy = this.#text('strategy')
    if (strategy === undefined || strategies.includes(strategy as StrategyName)) return strategy as StrategyName | undefined
    throw new EngineError('invalid-option', `there is no strategy ${JSON.stringify(strategy)}. ${known(strategy, strategies)}`)
  }

  get fencing(): Fencing | undefined {
    const fencing = this.#text('fencing')
    if (fencing === undefined || fencings.includes(fencing as Fencing)) return fencing as Fencing | undefined
    throw new EngineError('invalid-option', `there is no fencing ${JSON.stringify(fencing)}. ${known(fencing, fencings)}`)
  }

  get tenant(): string {
    const tenant = this.#text('tenant') ?? 'default'
    if (isTenant(tenant)) return tenant
    throw new EngineError(
      'invalid-tenant',
      `a tenant name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit; not ${JSON.stringify(tenant)}`,
    )
  }

  /** Milliseconds. */
  get timeout(): number {
    const found = this.#find('timeout')
    return found ? readDuration(found.value as string | number, this.#called('timeout', found.source)) : 10_000
  }

  /** Names of checks. */
  get accept(): readonly string[] {
    const found = this.#find('accept')
    if (!found) return []
    const { value, source } = found
    const names = typeof value === 'string' ? value.split(',').map(name => name.trim()) : value
    if (Array.isArray(names) && names.every(name => typeof name === 'string')) return names.filter(name => name !== '')
    throw new EngineError('invalid-option', `${this.#called('accept', source)} is a list of names, such as 'retention,compaction'`)
  }

  get snapshots(): string | undefined {
    return this.#text('snapshots')
  }

  /** Who may come in to `mainstem serve`, and by which certificate. */
  serving(flags: AccessFlags): { readonly access?: AccessOptions; readonly tls?: Tls } {
    return accessIn(flags, process.env, this.#config)
  }

  /** `path`: the file that says whether there is one; undefined for a log on Kafka. */
  async #log(): Promise<{ readonly setting: string; readonly path: string | undefined; readonly source: Source }> {
    const found = this.#find('log')
    const setting = this.#text('log') ?? `file:${DEFAULT_FOLDER}/${(await this.#appForLog()).name}.log`
    const path = isKafka(setting) ? undefined : firstPath(pathOf(setting))
    return { setting, path, source: found?.source ?? 'default' }
  }

  async #appForLog(): Promise<App> {
    const app = await this.maybeApp()
    if (app) return app
    throw new CliError(
      'usage',
      'which log? Give it with --log file:PATH or --log kafka://HOST:PORT/TOPIC, set MAINSTEM_LOG, or name the app with --app seats.ts, whose default log is then meant',
    )
  }

  #find(name: (typeof names)[number]): { readonly value: unknown; readonly source: Source } | undefined {
    const flag = this.#flags[name]
    if (flag !== undefined) return { value: flag, source: 'flag' }
    const variable = process.env[`MAINSTEM_${name.toUpperCase()}`]
    if (variable !== undefined && variable !== '') return { value: variable, source: 'environment' }
    const configured = this.#config[name]
    return configured === undefined ? undefined : { value: configured, source: 'config' }
  }

  #text(name: 'log' | 'data' | 'strategy' | 'fencing' | 'tenant' | 'snapshots'): string | undefined {
    const found = this.#find(name)
    if (!found) return undefined
    if (typeof found.value === 'string' && found.value !== '') return found.value
    throw new EngineError('invalid-option', `${this.#called(name, found.source)} must be text, it is ${JSON.stringify(found.value)}`)
  }

  #called(name: string, source: Source): string {
    return source === 'flag' ? `--${name}` : source === 'environment' ? `MAINSTEM_${name.toUpperCase()}` : `${this.#configFile}: '${name}'`
  }
}

/** The path in a log's setting. @throws EngineError invalid-option for logs that are no files */
function pathOf(setting: string): string {
  const path = logPath(setting)
  if (path !== undefined) return path
  const why = setting.startsWith('memory:') ? 'a log in memory is gone with its process' : `${JSON.stringify(setting)} is no log`
  throw new EngineError('invalid-option', `${why}. The command line needs one that stays: file:PATH or kafka://HOST:PORT/TOPIC`)
}

/** The only file of a log. @param what cannot be done with others @throws EngineError invalid-option */
export function filePath(setting: string, what: string): string {
  if (!isKafka(setting)) {
    const path = pathOf(setting)
    if (!isPattern(path)) return path
  }
  const kept = isKafka(setting) ? 'a log on Kafka is kept by the replicas of its topic' : `${setting} is several files`
  throw new EngineError(
    'invalid-option',
    `${what} is for a log in one file; ${kept}. \`mainstem log export\` writes it into a file while it lives; \`mainstem log copy\` moves it elsewhere`,
  )
}
