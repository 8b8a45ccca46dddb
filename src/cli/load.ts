/** Loads what users write, an app or the configuration, in TypeScript or JavaScript. Node strips the types; nothing is compiled. */
import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type App, isApp } from '../app.ts'
import { EngineError, isEngineError } from '../errors.ts'
import { CliError } from './failure.ts'

/** The app in a file: its default export. @throws CliError, EngineError invalid-app */
export async function loadApp(path: string): Promise<App> {
  const file = resolve(path)
  if (!existsSync(file)) {
    const hint = /^[a-z-]+$/.test(path)
      ? `. Give the path of the app's file, such as ${path}.ts (names alone work with \`mainstem demo\` only)`
      : ''
    throw new CliError('usage', `there is no app at ${path}${hint}`)
  }
  if (statSync(file).isDirectory()) throw new CliError('usage', `${path} is a folder; give the app's file`)
  const module = await load(file, path)
  const found = module['default']
  if (isApp(found)) return found
  const named = Object.entries(module).find(([, value]) => isApp(value))?.[0]
  if (named !== undefined && named !== 'default')
    throw notAnApp(`${path} exports its app as '${named}'; export it as default: export default ${named}`)
  if (found === undefined) throw notAnApp(`${path} has no default export. It must say: export default app('name', { ... })`)
  throw notAnApp(
    `the default export of ${path} is not an app. It must be what app('name', { ... }) or model(...).app('name', { ... }) returns`,
  )
}

const notAnApp = (message: string) => new EngineError('invalid-app', message)

/** All that a file exports. @param shown how messages call it */
export async function load(file: string, shown: string): Promise<Record<string, unknown>> {
  try {
    return (await import(pathToFileURL(file).href)) as Record<string, unknown>
  } catch (error) {
    throw explain(error, file, shown)
  }
}

function explain(error: unknown, file: string, shown: string): Error {
  if (isEngineError(error)) return new EngineError(error.code, `${shown}: ${error.message}`, { details: error.details, cause: error })
  const { code, message } = (error instanceof Error ? error : new Error(String(error))) as NodeJS.ErrnoException
  const fail = (text: string) => new EngineError('invalid-app', text, { cause: error })
  switch (code ?? '') {
    case 'ERR_MODULE_NOT_FOUND': {
      const [, name, from] = /^Cannot find (?:package|module) '(.+?)' imported from (.+)$/.exec(message) ?? []
      if (name === undefined) return fail(`${shown} cannot be loaded: ${message}`)
      const where = from === file ? shown : from
      return fail(
        /^[./]|^file:/.test(name)
          ? `${where} imports ${name}, which does not exist`
          : `${where} imports '${name}', which is not installed. Run: npm install ${name}`,
      )
    }
    case 'ERR_UNKNOWN_FILE_EXTENSION':
      return fail(`${shown} is not a file that Node can load. An app is a .ts, .mts, .js or .mjs file`)
    case 'ERR_UNSUPPORTED_NODE_MODULES_TYPE_STRIPPING':
      return fail(`${shown} lies under node_modules, where Node loads no TypeScript. Compile it, or put it elsewhere`)
    case 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX':
      return fail(
        `${shown} has syntax that Node cannot strip: ${message}${frame(error)}. Write it without (no enum, namespace or parameter property), or compile it`,
      )
  }
  if (error instanceof SyntaxError) return fail(`${shown} has a syntax error: ${message}${frame(error) || checked(file)}`)
  return fail(`${shown} threw while it was loaded: ${message}${origin(error)}`)
}

/** Node begins the stack with the place and the line itself, of TypeScript. */
const frame = (error: unknown) => placeIn((error as Error).stack ?? '')

/** A module's syntax error does not say where it is; the checker does. */
function checked(file: string): string {
  const { stderr } = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8', timeout: 5_000 })
  return placeIn(stderr ?? '')
}

/** From 'FILE:LINE', then source, the last line of it above a caret. */
function placeIn(text: string): string {
  const [place, ...lines] = text.split('\n')
  const caret = lines.findIndex(line => /^\s*\^+\s*$/.test(line))
  return place !== undefined && /:\d+$/.test(place) && caret > 0 ? ` (${place}: ${lines[caret - 1]!.trim()})` : ''
}

/** The place in the user's code that it was thrown from. */
function origin(error: unknown): string {
  const [, url] = /\(?(file:\/\/[^\s)]+)\)?/.exec((error as Error)?.stack ?? '') ?? []
  if (url === undefined) return ''
  const [, path, at] = /^(.*?)(:\d+:\d+)?$/.exec(url) ?? []
  try {
    return ` (${fileURLToPath(path!)}${at ?? ''})`
  } catch {
    return ''
  }
}
