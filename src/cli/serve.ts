/** `mainstem serve`: a replica as a service over HTTP, until it is told to end. */
import type { Command } from 'commander'
import type { Cli } from './context.ts'
import { CliError } from './failure.ts'
import { readDuration, readWhole } from './input.ts'
import { examples, withOptions } from './options.ts'
import { type AccessFlags, withAccess } from './serve-access.ts'
import { type Flags, Settings } from './settings.ts'

interface ServeFlags extends Flags, AccessFlags {
  readonly host: string
  readonly port: string
  readonly drain: string
}

export function addServe(program: Command, cli: Cli): void {
  const command = program
    .command('serve')
    .summary('serve the app over HTTP')
    .description(
      'Serves commands, queries and events of the app over HTTP: docs/server.md says what stands at which path. It listens at once, and is ready (/readyz) when it has read its log.',
    )
    .argument('[app]', "the app's file, as --app")
    .option('--host <host>', 'the address to listen on; any but loopback needs access', '127.0.0.1')
    .option('--port <port>', 'the port; 0 for any that is free', '8080')
    .option('--drain <time>', 'how long it goes on serving when told to end, while /readyz says no already', '5s')
  withOptions(withAccess(command), 'app', 'log', 'data', 'strategy', 'fencing', 'timeout', 'accept', 'snapshots', 'json')
    .addHelpText(
      'after',
      '\nOn SIGTERM or SIGINT it hands leadership over, finishes what is on its way, and exits with 0; on a second signal at once.',
    )
    .addHelpText(
      'after',
      examples(
        'serve seats.ts',
        'serve seats.ts --log kafka://127.0.0.1:9092/seats --port 8081 --drain 10s',
        'serve seats.ts --host 0.0.0.0 --tokens tokens.txt --tls-cert server.pem --tls-key server.key',
      ),
    )
    .action(async (file: string | undefined, flags: ServeFlags) => {
      if (file !== undefined && flags.app !== undefined && file !== flags.app)
        throw new CliError('usage', `two apps: ${file} and ${flags.app}`)
      await run(cli, await Settings.read(file === undefined ? flags : { ...flags, app: file }), flags)
    })
}

async function run(cli: Cli, settings: Settings, flags: ServeFlags): Promise<void> {
  const app = await settings.app()
  const { data, timeout, strategy, fencing, accept, snapshots } = settings
  const port = readWhole(flags.port, '--port', 0)
  if (port > 65_535) throw new CliError('usage', `--port is from 0 to 65,535, not ${port}`)
  const drain = /^0(ms|s)?$/.test(flags.drain) ? 0 : readDuration(flags.drain, '--drain')
  // What serves takes longer to load than most other calls last.
  const { bearer, serve } = await import('../server.ts')
  const { checkOpen } = await import('../server/access.ts')
  const { access, tls } = settings.serving(flags)
  // Before so much as a folder is made.
  checkOpen(flags.host, access !== undefined)
  const notice = (text: string) => log('notice', { notice: text })
  const given = { ...(access && { access: bearer(access, notice) }), ...(tls && { tls }) }
  const begun = performance.now()
  const served = await serve(app, {
    log: await settings.writableLog(),
    data,
    timeout,
    accept,
    host: flags.host,
    port,
    drain,
    ...(strategy === undefined ? {} : { strategy }),
    ...(fencing === undefined ? {} : { fencing }),
    ...(snapshots === undefined ? {} : { snapshots }),
    ...given,
  })
  if (cli.json) cli.out.value({ url: served.url })
  else cli.out.line(`${app.name} listens on ${served.url}`)
  const { signal } = cli
  const told = new Promise<void>(done => signal.addEventListener('abort', () => done(), { once: true }))
  try {
    await Promise.race([told, served.ready])
    if (!signal.aborted) log('ready', { seconds: Math.round(performance.now() - begun) / 1_000 })
    await told
    log('draining', { seconds: drain / 1_000 })
  } finally {
    await served.close()
  }
  log('closed', {})
  // It was told to end, and has ended well.
  cli.exit = 0
}

/** For operators: a line of JSON on stderr. */
function log(event: string, more: object): void {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level: 'info', event, ...more })}\n`)
}
