/**
 * Commands over HTTP on the embedded log, durable, one process, against what one would write by hand: bare node:http in front of the ceiling of
 * `embedded.ts`, one insert a batch into a log file that is synced. Both run in a process of their own, and are asked by the same client.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { serve } from '../src/server.ts'
import { ceiling, ledger } from './embedded.ts'
import { inFolder, type Load, median, quantileOf, table } from './support.ts'

const CLIENTS = 64

/** What is asked of both. */
type Kind = 'bare' | 'mainstem'

/** One connection after the other would wait for its answer: each client has its own, and keeps it. */
function load(port: number, duration: number): Promise<Load> {
  const latencies: number[] = []
  const begun = performance.now()
  const end = begun + duration
  let n = 0
  const client = () =>
    new Promise<void>((done, fail) => {
      const socket = connect(port, '127.0.0.1').setNoDelay()
      let sent = 0
      let answer = ''
      const send = () => {
        sent = performance.now()
        if (sent >= end) return void socket.end(done)
        const body = JSON.stringify({ account: (n++ * 7_919) % 10_000, cents: 1 })
        socket.write(
          `POST /commands/pay HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        )
      }
      socket.setEncoding('latin1').on('data', (part: string) => {
        answer += part
        const head = answer.indexOf('\r\n\r\n')
        if (head < 0) return
        const length = Number(/\r\ncontent-length: (\d+)/i.exec(answer)?.[1])
        if (answer.length < head + 4 + length) return
        if (!answer.startsWith('HTTP/1.1 200')) return fail(new Error(answer))
        answer = ''
        latencies.push(performance.now() - sent)
        send()
      })
      socket.on('error', fail).on('connect', send)
    })
  return Promise.all(Array.from({ length: CLIENTS }, client)).then(() => {
    const seconds = (performance.now() - begun) / 1_000
    latencies.sort((a, b) => a - b)
    return { perSecond: latencies.length / seconds, p50: quantileOf(latencies, 0.5), p99: quantileOf(latencies, 0.99) }
  })
}

async function measure(kind: Kind, duration: number): Promise<Load> {
  return await inFolder(async folder => {
    const child = fork(fileURLToPath(import.meta.url), [kind, folder], { execArgv: process.execArgv })
    try {
      const [port] = (await once(child, 'message')) as [number]
      // Neither is measured cold.
      await load(port, duration / 2)
      return await load(port, duration)
    } finally {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  })
}

export async function http({ rounds = 7, duration = 2_000 } = {}): Promise<void> {
  const ratios: number[] = []
  const loads: Record<Kind, Load[]> = { bare: [], mainstem: [] }
  for (let round = 0; round < rounds; round++) {
    for (const kind of ['bare', 'mainstem'] as const) loads[kind].push(await measure(kind, duration))
    ratios.push(loads.mainstem.at(-1)!.perSecond / loads.bare.at(-1)!.perSecond)
  }
  const of = (kind: Kind, what: keyof Load) => median(loads[kind].map(each => each[what]))
  const row = {
    connections: CLIENTS,
    'bare /s': of('bare', 'perSecond'),
    'mainstem /s': of('mainstem', 'perSecond'),
    ratio: median(ratios),
    'least ratio': Math.min(...ratios),
    'bare p99 ms': of('bare', 'p99'),
    'mainstem p99 ms': of('mainstem', 'p99'),
  }
  process.stdout.write(`${table([row])}\n`)
}

/** In the process that is asked. */
async function answer(kind: Kind, folder: string): Promise<void> {
  if (kind === 'mainstem') {
    const { url, ready } = await serve(ledger, { log: `file:${folder}/bench.log`, data: `${folder}/data`, port: 0 })
    await ready
    return void process.send!(Number(new URL(url).port))
  }
  await ceiling(folder, async (_, pay) => {
    const server = createServer((request, response) => {
      let text = ''
      request.setEncoding('utf8').on('data', part => (text += part))
      request.on('end', () => void respond())
      const respond = async () => {
        const { account, cents } = JSON.parse(text) as { account: number; cents: number }
        const version = await pay(account, cents)
        const events = [{ type: 'Paid', data: { account, cents } }]
        const body = JSON.stringify({ status: 'accepted', version, token: `default@${version}`, events, duplicate: false })
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body)
      }
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    process.send!((server.address() as AddressInfo).port)
    return await new Promise<Load>(() => {})
  })
}

const [kind, folder] = process.argv.slice(2)
if (process.send && process.argv[1] === fileURLToPath(import.meta.url)) await answer(kind as Kind, folder!)
