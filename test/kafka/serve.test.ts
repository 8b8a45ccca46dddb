/** Replicas served over HTTP on one log: clients of a follower feel the end of its leader as slow answers, and never as failed ones. */
import { Agent, request } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { makeFolder, ok, type Running, seats, start } from '../cli/support.ts'
import { newUrl } from '../support/kafka.ts'

interface Served extends Running {
  readonly url: string
}

async function serve(log: string, drain = '4s'): Promise<Served> {
  const args = ['serve', seats, '--log', log, '--data', makeFolder(), '--port', '0', '--drain', drain, '--timeout', '20s', '--json']
  const running = start(args)
  const { url } = JSON.parse(await running.said('}')) as { url: string }
  while ((await ask(`${url}/readyz`)).status !== 200) await pause(100)
  return { ...running, url }
}

const agent = new Agent({ keepAlive: true })

function ask(url: string, body?: unknown, id?: string): Promise<{ status: number; body: any }> {
  return new Promise((done, fail) => {
    const headers = { 'content-type': 'application/json', ...(id === undefined ? {} : { 'idempotency-key': id }) }
    const asked = request(url, { agent, method: body === undefined ? 'GET' : 'POST', headers }, response => {
      let text = ''
      response.setEncoding('utf8').on('data', part => (text += part))
      response.on('end', () => done({ status: response.statusCode!, body: JSON.parse(text) }))
      response.on('error', fail)
    })
    asked.on('error', fail)
    asked.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

/** Clients that reserve seats, each its own, until they are stopped. */
class Clients {
  readonly reserved: string[] = []
  readonly wrong: unknown[] = []
  /** The longest time between two answers of one client, ms. */
  gap = 0
  #stopped = false
  readonly #running: Promise<void>[]

  constructor(name: string, url: string, count = 8) {
    this.#running = Array.from({ length: count }, async (_, client) => {
      for (let n = 0; !this.#stopped; n++) {
        const seat = `${name}${client}-${n}`
        const begun = performance.now()
        const answer = await ask(`${url}/commands/reserve`, { seat, guest: 'Ann' }, `id-${seat}`).catch(String)
        this.gap = Math.max(this.gap, performance.now() - begun)
        if (typeof answer !== 'string' && answer.status === 200) this.reserved.push(seat)
        else this.wrong.push(answer)
      }
    })
  }

  /** When each has had answers since this moment. */
  async answers(count: number): Promise<void> {
    const from = this.reserved.length + this.wrong.length
    while (this.reserved.length + this.wrong.length < from + count) await pause(20)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#running)
  }
}

it('no request fails, whether the leader is killed or told to end', async () => {
  const log = newUrl()
  await ok(['kafka', 'create-log', log, '--app', seats])
  const all = await Promise.all([serve(log), serve(log), serve(log)])
  // Whoever has been there for so long may be given the shard.
  const settled = pause(6_000)
  expect((await ask(`${all[0].url}/commands/reserve`, { seat: 'A1', guest: 'Ann' })).status).toBe(200)
  const leader = async (of: readonly Served[]): Promise<Served> => {
    for (;;) {
      for (const replica of of) if ((await ask(`${replica.url}/status`)).body.role === 'leader') return replica
      await pause(20)
    }
  }
  const one = await leader(all)
  const rest = all.filter(replica => replica !== one)
  const killed = new Clients('k', rest[0]!.url)
  await killed.answers(50)
  one.child.kill('SIGKILL')
  await killed.answers(200)
  await killed.stop()
  expect(killed.wrong).toEqual([])

  const two = await leader(rest)
  const three = rest.find(replica => replica !== two)!
  await settled
  const [followed, left] = [new Clients('f', three.url), new Clients('l', two.url)]
  await followed.answers(50)
  two.child.kill('SIGTERM')
  while ((await ask(`${two.url}/readyz`)).status !== 503) await pause(20)
  // It passes on what still comes, as long as a slow balancer may take.
  await Promise.race([leader([three]).then(() => left.answers(20)), pause(3_000)])
  await left.stop()
  expect((await two.ended).code).toBe(0)
  await leader([three])
  await followed.answers(50)
  await followed.stop()
  expect([...followed.wrong, ...left.wrong]).toEqual([])
  const taken = (await ask(`${three.url}/queries/taken`)).body.map(({ seat }: { seat: string }) => seat)
  expect(taken.sort()).toEqual(['A1', ...killed.reserved, ...followed.reserved, ...left.reserved].sort())
  three.child.kill('SIGTERM')
  expect((await three.ended).code).toBe(0)
})
