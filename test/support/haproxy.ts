/** HAProxy for tests: it runs the configuration that is shipped, with other ports. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { atEnd } from './end.ts'
import { haproxy } from './haproxy/install.ts'
import { temporaryFolder } from './logs.ts'

export const shipped = fileURLToPath(new URL('../../deploy/haproxy/haproxy.cfg', import.meta.url))

export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map(server => once(server, 'listening')))
  const ports = servers.map(server => (server.address() as AddressInfo).port)
  await Promise.all(servers.map(server => new Promise(done => server.close(done))))
  return ports
}

/** Ports by name. */
type Servers = Readonly<Record<string, number>>

/** The shipped configuration for these replicas. */
function configured(servers: Servers): string {
  const text = readFileSync(shipped, 'utf8')
  const lines = text.split('\n').filter(line => !/^ {4}server /.test(line))
  const named = Object.entries(servers).map(([name, port]) => `    server ${name} 127.0.0.1:${port}`)
  return `${lines.join('\n')}${named.join('\n')}\n`
}

export interface Proxy {
  readonly url: string
  readonly child: ChildProcess
  /** How often a request was sent again, and to another server. */
  counts(): Promise<{ readonly retries: number; readonly redispatches: number }>
}

export async function startProxy(servers: Servers | Promise<Servers>): Promise<Proxy> {
  const folder = temporaryFolder()
  let child: ChildProcess | undefined
  atEnd(async () => {
    if (!child || child.exitCode !== null) return
    const gone = once(child, 'close')
    child.kill('SIGKILL')
    await gone
  })
  const [{ path, env }, [port]] = [await haproxy(), await freePorts(1)]
  const file = join(folder, 'haproxy.cfg')
  // Its counters, for the test.
  const counters = `\nfrontend counters\n    bind unix@${join(folder, 'counters.sock')}\n    stats enable\n    stats uri /\n`
  writeFileSync(file, configured(await servers) + counters)
  child = spawn(path, ['-db', '-f', file], { env: { ...env, MAINSTEM_BIND: `127.0.0.1:${port}` }, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout!, child.stderr!]) stream.setEncoding('utf8').on('data', (text: string) => (said += text))
  const url = `http://127.0.0.1:${port}`
  for (let waited = 0; ; waited += 20) {
    if (child.exitCode !== null) throw new Error(`HAProxy ended with ${child.exitCode}: ${said}`)
    if (await listens(url)) break
    if (waited > 10_000) throw new Error(`HAProxy does not listen: ${said}`)
    await new Promise(done => setTimeout(done, 20))
  }
  return { url, child, counts: () => counts(join(folder, 'counters.sock')) }
}

const listens = (url: string): Promise<boolean> =>
  fetch(url).then(
    () => true,
    () => false,
  )

async function counts(socketPath: string): Promise<{ retries: number; redispatches: number }> {
  const csv = await new Promise<string>((resolve, reject) => {
    request({ socketPath, path: '/;csv' }, response => void text(response).then(resolve, reject))
      .once('error', reject)
      .end()
  })
  const [head, ...rows] = csv.split('\n').map(line => line.split(','))
  const row = rows.find(cells => cells[0] === 'replicas' && cells[1] === 'BACKEND')!
  const cell = (name: string) => Number(row[head!.indexOf(name)])
  return { retries: cell('wretr'), redispatches: cell('wredis') }
}
