/** The configuration of HAProxy that is shipped: what it does with replicas that come, go and die, shown with stubs in their place. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { haproxy } from '../support/haproxy/install.ts'
import { shipped, startProxy } from '../support/haproxy.ts'

/** A replica as a load balancer sees it. */
class Stub {
  readonly server: Server
  ready = true
  /** What it does with the next command: nobody knows whether it was done. */
  dies = false
  answers = 200
  readonly got: string[] = []

  constructor() {
    this.server = createServer((request, response) => {
      // A replica without access control takes no request that may come from a page of somebody else's.
      if (request.headers.host === undefined) return void response.writeHead(403).end()
      if (request.url === '/readyz') return void response.writeHead(this.ready ? 200 : 503).end()
      void text(request).then(body => {
        this.got.push(`${request.url} ${body}`)
        if (this.dies) request.socket.destroy()
        else response.writeHead(this.answers).end(`by ${this.port}`)
      })
    })
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }
}

async function stubs(): Promise<{ one: Stub; two: Stub; url: string; proxy: Awaited<ReturnType<typeof startProxy>> }> {
  const [one, two] = [new Stub(), new Stub()]
  onTestFinished(() => {
    for (const { server } of [one, two]) {
      server.closeAllConnections()
      server.close()
    }
  })
  const ports = async () => {
    for (const { server } of [one, two]) await once(server.listen(0, '127.0.0.1'), 'listening')
    return { one: one.port, two: two.port }
  }
  const proxy = await startProxy(ports())
  return { one, two, url: proxy.url, proxy }
}

const pay = (url: string, key?: string) =>
  fetch(`${url}/commands/pay`, { method: 'POST', body: '{"cents":1}', headers: key === undefined ? {} : { 'Idempotency-Key': key } })

/** Until it answers so, for it looks at replicas now and then. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await holds()); tries++) {
    if (tries > 200) throw new Error('it does not come to that')
    await new Promise(done => setTimeout(done, 20))
  }
}

test('it is what HAProxy takes, without a warning', async () => {
  const { path, env } = await haproxy()
  const { status, stdout, stderr } = spawnSync(path, ['-c', '-f', shipped], { env, encoding: 'utf8' })
  expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: expect.not.stringMatching(/WARNING|ALERT/) })
})

test('a command with a key, and a query, are sent again where a replica died over them; a command without a key is not', async () => {
  const { one, two, url, proxy } = await stubs()
  one.dies = true
  for (let n = 0; n < 6; n++) expect((await pay(url, `key-${n}`)).status).toBe(200)
  expect((await fetch(`${url}/queries/total`, { method: 'POST', body: '{}' })).status).toBe(200)
  expect((await fetch(`${url}/tenants/red/queries/total`, { method: 'POST', body: '{}' })).status).toBe(200)
  expect(two.got.filter(got => got === '/commands/pay {"cents":1}')).toHaveLength(6)
  expect((await proxy.counts()).retries).toBeGreaterThan(0)
  const before = one.got.length + two.got.length
  const answers = await Promise.all(
    Array.from({ length: 6 }, () =>
      pay(url).then(
        ({ status }) => status,
        () => 502,
      ),
    ),
  )
  // Some met the one that dies: their client hears that nobody knows, by 502 or a connection that ends, and nothing was sent twice.
  expect(new Set(answers)).toEqual(new Set([200, 502]))
  expect(one.got.length + two.got.length).toBe(before + 6)
})

test('a replica that is not ready gets nothing; one that says no before that was noticed is not asked alone', async () => {
  const { one, two, url } = await stubs()
  one.answers = 503
  for (let n = 0; n < 6; n++) expect((await pay(url, `early-${n}`)).status).toBe(200)
  one.ready = false
  one.answers = 200
  await until(async () =>
    (await Promise.all([pay(url, 'x'), pay(url, 'y'), pay(url, 'z')].map(async answer => (await answer).text()))).every(
      said => said === `by ${two.port}`,
    ),
  )
  one.ready = true
  two.ready = false
  await until(async () => (await (await pay(url, 'x')).text()) === `by ${one.port}`)
})

test('a replica whose process is gone costs no request', async () => {
  const { one, two, url } = await stubs()
  let failed = 0
  let stop = false
  const load = Array.from({ length: 4 }, async (_, client) => {
    for (let n = 0; !stop; n++) if ((await pay(url, `${client}-${n}`)).status !== 200) failed++
  })
  await until(async () => one.got.length > 20 && two.got.length > 20)
  const { port } = one
  one.server.closeAllConnections()
  one.server.close()
  const seen = two.got.length
  await until(async () => two.got.length > seen + 100)
  one.server.listen(port, '127.0.0.1')
  const before = one.got.length
  await until(async () => one.got.length > before + 20)
  stop = true
  await Promise.all(load)
  expect(failed).toBe(0)
})

test('a switch: all that were ready are not from one moment to the next, and no request finds nobody', async () => {
  const { one, two, url } = await stubs()
  two.ready = false
  let failed = 0
  let stop = false
  await until(async () =>
    (await Promise.all(Array.from({ length: 4 }, (_, n) => pay(url, `first-${n}`).then(answer => answer.text())))).every(
      said => said === `by ${one.port}`,
    ),
  )
  const load = Array.from({ length: 4 }, async (_, client) => {
    for (let n = 0; !stop; n++) if ((await pay(url, `${client}-${n}`)).status !== 200) failed++
  })
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const) {
    // It still answers: it passes on what comes.
    from.ready = false
    to.ready = true
    await until(async () =>
      (await Promise.all(Array.from({ length: 4 }, (_, n) => pay(url, `x-${n}`).then(answer => answer.text())))).every(
        said => said === `by ${to.port}`,
      ),
    )
  }
  stop = true
  await Promise.all(load)
  expect(failed).toBe(0)
})

test('what is for operators is not for everybody', async () => {
  const { url } = await stubs()
  expect(await Promise.all(['/metrics', '/status', '/openapi.json'].map(async path => (await fetch(url + path)).status))).toEqual([
    404, 404, 200,
  ])
})
