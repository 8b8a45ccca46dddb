/**
 * Runs the Java processes of one cluster, for a parent who talks to it over IPC: `node supervisor.ts FOLDER keep|remove`. It lives as long
 * as its parent does. When the parent is gone, however it went, the processes are killed and the folder is removed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, openSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'

export type Order =
  | { readonly n: number; readonly do: 'ports'; readonly wanted: readonly number[] }
  | { readonly n: number; readonly do: 'start'; readonly name: string; readonly command: readonly string[]; readonly log: string }
  | { readonly n: number; readonly do: 'signal'; readonly name: string; readonly signal: NodeJS.Signals }
  | { readonly n: number; readonly do: 'run'; readonly command: readonly string[]; readonly input: string }

export type Report =
  | { readonly n: number; readonly ok: unknown }
  | { readonly n: number; readonly error: string }
  | { readonly ended: string; readonly how: string }

/** Out of the range from which systems take the ports of outgoing connections, so that nobody gets one by chance. */
const PORTS = { from: 20_000, count: 10_000 }
/** Linux kills them even when this process is killed itself. */
const leash = existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'KILL'] : []

const [folder = '', fate] = process.argv.slice(2)
const running = new Map<string, ChildProcess>()
const tools = new Set<ChildProcess>()
/** A port is ours as long as we hold the UDP port of the same number: nobody has to clean up after a process that was killed. */
const held: Socket[] = []

// Ctrl-C is for the parent. It ends us, in its own order.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

process.on('message', (order: Order) => {
  obey(order).then(
    ok => report({ n: order.n, ok }),
    (error: unknown) => report({ n: order.n, error: String(error) }),
  )
})

process.once('disconnect', () => {
  void (async () => {
    const children = [...running.values(), ...tools].filter(child => child.exitCode === null && child.signalCode === null)
    const ends = children.map(child => once(child, 'exit'))
    for (const child of children) child.kill('SIGKILL')
    await Promise.all(ends)
    if (fate === 'remove') rmSync(folder, { recursive: true, force: true })
    process.exit()
  })()
})

async function obey(order: Order): Promise<unknown> {
  switch (order.do) {
    case 'ports':
      return takePorts(order.wanted)
    case 'start':
      return start(order.name, order.command, order.log)
    case 'signal':
      return running.get(order.name)?.kill(order.signal)
    case 'run':
      return run(order.command, order.input)
  }
}

function report(what: Report): void {
  if (process.connected) process.send!(what, undefined, undefined, () => {})
}

async function start(name: string, command: readonly string[], log: string): Promise<number> {
  const out = openSync(log, 'a')
  const [file = '', ...args] = [...leash, ...command]
  const child = spawn(file, args, { stdio: ['ignore', out, out], cwd: folder })
  running.set(name, child)
  child.once('exit', (code, signal) => {
    running.delete(name)
    report({ ended: name, how: String(signal ?? code) })
  })
  await once(child, 'spawn')
  return child.pid!
}

/** To its end. */
async function run(command: readonly string[], input: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const [file = '', ...args] = [...leash, ...command]
  const child = spawn(file, args, { stdio: 'pipe', cwd: folder })
  tools.add(child)
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  // It may end without having read all.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const [code] = (await once(child, 'close')) as [number | null]
  tools.delete(child)
  return { code, stdout, stderr }
}

/** One port for each of `wanted`: that one if it is free, any other if not. 0: any. */
async function takePorts(wanted: readonly number[]): Promise<number[]> {
  const ports: number[] = []
  for (const wish of wanted) {
    let port = wish
    for (let tries = 0; port === 0 || !(await takePort(port)); tries++) {
      if (tries === 200) throw new Error('no free port was found')
      port = PORTS.from + Math.floor(Math.random() * PORTS.count)
    }
    ports.push(port)
  }
  return ports
}

async function takePort(port: number): Promise<boolean> {
  const socket = createSocket('udp4')
  const server = createServer()
  try {
    socket.bind({ port, address: '127.0.0.1', exclusive: true })
    await once(socket, 'listening')
    server.listen({ port, host: '127.0.0.1', exclusive: true })
    await once(server, 'listening')
  } catch {
    socket.close()
    return false
  }
  server.close()
  await once(server, 'close')
  held.push(socket)
  return true
}
