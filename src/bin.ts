#!/usr/bin/env node
/**
 * The program `mainstem`. Only what must happen before anything else is loaded: the version of Node is checked, compiled code is kept for
 * the next call, and Node's remarks about modules that it calls experimental are kept from the user's terminal.
 */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)

if (major < 24 || (major === 24 && minor < 10)) {
  process.stderr.write(`mainstem needs Node 24.10 or newer; this is ${process.versions.node}\n`)
  process.exitCode = 1
} else {
  const emit = process.emitWarning.bind(process) as (...args: unknown[]) => void
  process.emitWarning = (...args: unknown[]) => {
    const [warning, options] = args as [Error | string, { type?: string; code?: string } | string | undefined]
    const type = typeof options === 'string' ? options : (options?.type ?? (warning as Error).name)
    // An app in a folder without a package.json is parsed twice. That is nothing to be told at each call.
    const code = typeof options === 'object' ? options.code : args[2]
    if (type !== 'ExperimentalWarning' && code !== 'MODULE_TYPELESS_PACKAGE_JSON') emit(...args)
  }
  // A third of what a short call takes. Where the folder cannot be written it goes on without.
  const { enableCompileCache } = await import('node:module')
  enableCompileCache()
  const { main } = await import('./cli.ts')
  await main(process.argv.slice(2))
}

export {}
