/** `mainstem init`: a working app in an empty folder. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { basename, join, relative, resolve } from 'node:path'
import type { Command } from 'commander'
import { EngineError } from '../errors.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { templates } from './init/templates.ts'
import { examples, withOptions } from './options.ts'
import { packageVersion } from './version.ts'

interface InitFlags {
  readonly name?: string
  readonly dependency?: string
  readonly yes?: boolean
}

const LEGAL = /^[a-z][a-z0-9-]{0,47}$/
const rule = "a letter a-z, then a-z, 0-9 or '-', 48 characters at most"
/** A folder with nothing else is empty. */
const harmless = new Set(['.git', '.DS_Store'])

export function addInit(program: Command, cli: Cli): void {
  const command = program
    .command('init')
    .summary('write a new app into an empty folder')
    .description('Writes a small app with its tests, ready to run. On a terminal it asks what it needs to know.')
    .argument('[folder]', 'where to (default: the current folder)')
    .option('--name <name>', 'name of the app (default: of the folder)')
    .option('--dependency <spec>', 'what npm installs as mainstem: a version, or the path of a tarball (default: this version)')
    .option('--yes', 'do not ask')
  withOptions(command, 'json')
    .addHelpText('after', examples('init seats', 'init . --name seats --yes'))
    .action(async (given: string | undefined, flags: InitFlags) => {
      const asks = !flags.yes && !cli.json && process.stdin.isTTY && process.stderr.isTTY
      if (asks) (await import('@clack/prompts')).intro('A new app', { output: process.stderr })
      const folder = given ?? (asks ? await ask('Folder', './my-app', checkFolder) : '.')
      const refused = checkFolder(folder)
      if (refused !== undefined) throw new CliError('file', refused)
      const named = flags.name ?? nameOf(folder)
      const name = asks && flags.name === undefined ? await ask('Name of the app', named, checkName) : named
      const illegal = checkName(name)
      if (illegal !== undefined)
        throw new CliError('usage', `the name ${JSON.stringify(name)} is not legal: ${rule}. Give another with --name`)
      mkdirSync(folder, { recursive: true })
      const choices = { name, dependency: flags.dependency ?? `^${packageVersion()}` }
      for (const [file, make] of templates) writeFileSync(join(folder, file), make(choices), { flag: 'wx' })
      const path = relative('.', folder)
      const next = [
        ...(path === '' ? [] : [`cd ${path}`]),
        'npm install',
        'npm test',
        `npx mainstem exec reserve '{"seat":"A1","guest":"Ann"}'`,
      ]
      if (cli.json) cli.out.value({ folder: resolve(folder), name, files: templates.map(([file]) => file) })
      else if (asks)
        (await import('@clack/prompts')).outro(`${templates.length} files are there. Next:\n\n   ${next.join('\n   ')}\n`, {
          output: process.stderr,
        })
      else cli.out.line(`The app ${name} is in ${path === '' ? 'this folder' : path}. Next:\n  ${next.join('\n  ')}`)
    })
}

async function ask(message: string, initialValue: string, check: (value: string) => string | undefined): Promise<string> {
  const { isCancel, text } = await import('@clack/prompts')
  const answer = await text({ message, initialValue, validate: value => check(value ?? ''), output: process.stderr })
  if (isCancel(answer)) throw new EngineError('aborted', 'nothing was written')
  return answer
}

function checkFolder(folder: string): string | undefined {
  if (!existsSync(folder)) return undefined
  const there = readdirSync(folder).filter(file => !harmless.has(file))
  return there.length === 0
    ? undefined
    : `the folder ${folder} is not empty: it holds ${there.slice(0, 3).join(', ')}${there.length > 3 ? ' ...' : ''}`
}

const checkName = (name: string): string | undefined => (LEGAL.test(name) ? undefined : rule)

/** What a folder's name makes as the name of an app. */
function nameOf(folder: string): string {
  const name = basename(resolve(folder))
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^[^a-z]+|-+$/g, '')
    .slice(0, 48)
  return name === '' ? 'app' : name
}
