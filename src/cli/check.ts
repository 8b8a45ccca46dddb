/** `mainstem check`: do the app's events still take what earlier releases have stored? For the build server of those who write apps. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { type Change, compareEvents, type EventSchemas, eventSchemas, LEVELS } from '../evolution.ts'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { examples, withOptions } from './options.ts'
import { paint, plural, printable, toJson } from './output.ts'
import { type Flags, Settings } from './settings.ts'

const FILE = 'mainstem.events.json'
/** Of the file's format. */
const FORMAT = 1

export function addCheck(program: Command, cli: Cli): void {
  const command = program
    .command('check')
    .summary("compare the app's event schemas with those that were released")
    .description(
      `Compares the schemas of all events, in all their versions, with those of the last release, which stand in ${FILE}. Exits with 1 and names the change if events that were stored may not fit any more. Needs no log.`,
    )
    .option('--write', 'if nothing breaks, write what was compared as released: at each release, to be committed')
    .option('--events <file>', 'the file', FILE)
  withOptions(command, 'app', 'json')
    .addHelpText('after', examples('check --app seats.ts --write', 'check --app seats.ts'))
    .action(async ({ write = false, events: file, ...flags }: Flags & { write?: boolean; events: string }) => {
      const app = await (await Settings.read(flags)).app()
      const current = eventSchemas(app)
      const released = existsSync(file) ? parse(readFileSync(file, 'utf8'), file) : undefined
      if (released === undefined && !write)
        throw new CliError('file', `there is no ${file}. Write it with mainstem check --write, and commit it with the release`)
      if (released !== undefined && released.app !== current.app)
        throw new CliError(
          'usage',
          `${file} holds the events of the app '${released.app}', this is '${current.app}'. Name another with --events`,
        )
      // Before the first release nothing was stored, but what cannot be compared is told at once.
      const changes = compareEvents(released ?? current, current)
      const ok = !changes.some(({ level }) => level === 'breaking')
      if (!ok) cli.exit = 1
      if (write && ok) writeFileSync(file, `${toJson({ format: FORMAT, ...current }, 2)}\n`)
      if (cli.json) cli.out.value({ ok, written: write && ok, events: file, changes })
      else cli.out.line(describe(changes, `${current.app}, against ${file}`, write ? ok : undefined))
    })
}

function parse(text: string, file: string): EventSchemas {
  const fail = (why: string) => new CliError('file', `${file} ${why}. Bring it back as it was committed`)
  let found: Partial<EventSchemas & { format: unknown }> | null
  try {
    found = JSON.parse(text) as typeof found
  } catch (cause) {
    throw fail(`is not JSON: ${(cause as Error).message}`)
  }
  if (found?.format !== FORMAT) throw fail(`is not of format ${FORMAT}`)
  const { app, events } = found
  const isSchema = (value: unknown) => value === null || typeof value === 'boolean' || (typeof value === 'object' && !Array.isArray(value))
  const legal = typeof app === 'string' && typeof events === 'object' && events !== null
  if (!legal || !Object.values(events).every(versions => Array.isArray(versions) && versions.length > 0 && versions.every(isSchema)))
    throw fail('does not hold the schemas of events')
  return { app, events }
}

/** @param written whether it was, if it was to be */
function describe(changes: readonly Change[], compared: string, written: boolean | undefined): string {
  const paints = { breaking: paint.red, unknown: paint.yellow, compatible: paint.green } as const
  const lines = changes.flatMap(({ level, event, version, path, text, mend }, index) => {
    const line = `${paints[level](level)}  ${paint.bold(printable(event))}, version ${version}${path === '' ? '' : `, ${printable(path)}`}: ${printable(text)}`
    // What several changes of one schema have in common is said once, below them.
    const next = changes[index + 1]
    const last = next?.mend !== mend || next?.event !== event || next.version !== version
    return mend !== undefined && last ? [line, `  ${mend}`] : [line]
  })
  const counts = LEVELS.map(level => `${changes.filter(change => change.level === level).length} ${level}`)
  const told = written === undefined ? '' : written ? '; written' : '; nothing was written'
  return [
    ...lines,
    `${compared}: ${changes.length === 0 ? 'no change' : `${plural(changes.length, 'change')}: ${counts.join(', ')}`}${told}`,
  ].join('\n')
}
