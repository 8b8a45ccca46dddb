/** The handler, called with requests: statuses, problem details, tenants, tokens. */
import { readFileSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { app, openReplica, sqlite } from '../../src/index.ts'
import { ownProblems, statusOf } from '../../src/server/problem.ts'
import { type HandlerOptions, handler, Problem, type ProblemCode } from '../../src/server.ts'
import shop from '../support/shop.ts'

type Asked = RequestInit & { readonly json?: unknown }

/** Asks a handler of a replica of its own. */
async function service(options: HandlerOptions = {}): Promise<(path: string, asked?: Asked) => Promise<Response>> {
  options = { onError() {}, ...options }
  const replica = await openReplica(shop, { log: 'memory:' })
  onTestFinished(() => replica.close())
  const handle = handler(replica, options)
  return (path, { json, ...init } = {}) => {
    const body = json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }
    const headers = new Headers(init.headers)
    if (json !== undefined && !headers.has('content-type')) headers.set('content-type', 'application/json')
    return handle(new Request(`http://shop.example${path}`, { ...body, ...init, headers }))
  }
}

const codeOf = async (answer: Response) => ((await answer.json()) as { code: string }).code

const pay = { account: 'Ann', cents: 5 }

describe('a command', () => {
  test('is accepted, and its id makes it safe to repeat', async () => {
    const ask = await service()
    const paid = await ask('/commands/pay', { json: pay, headers: { 'idempotency-key': 'a-1' } })
    expect(paid.status).toBe(200)
    expect(paid.headers.get('mainstem-token')).toBe('default@1')
    expect(await paid.json()).toMatchObject({ status: 'accepted', version: 1, duplicate: false })
    const again = await ask('/commands/pay', { json: pay, headers: { 'idempotency-key': '"a-1"' } })
    expect(await again.json()).toMatchObject({ status: 'accepted', version: 1, duplicate: true })
    const other = await ask('/commands/pay', { json: { ...pay, cents: 6 }, headers: { 'idempotency-key': 'a-1' } })
    expect(other.status).toBe(422)
    expect(await other.json()).toMatchObject({ code: 'id-reused', id: 'a-1', details: { command: 'pay', version: 1 } })
  })

  test('is rejected by the app with its code', async () => {
    const ask = await service()
    const taken = await ask('/commands/take', { json: pay })
    expect(taken.status).toBe(422)
    expect(taken.headers.get('content-type')).toBe('application/problem+json')
    expect(await taken.json()).toMatchObject({ type: 'urn:mainstem:rejected', rejection: { code: 'too-little', details: { has: 0 } } })
  })

  test.each<[status: number, code: string, path: string, asked: Asked]>([
    [404, 'unknown-command', '/commands/constructor', { json: {} }],
    [404, 'not-found', '/command/pay', { json: pay }],
    [405, 'method-not-allowed', '/commands/pay', {}],
    [400, 'malformed', '/commands/pay', { json: 1, body: '{' }],
    [415, 'unsupported-type', '/commands/pay', { json: pay, headers: { 'content-type': 'text/plain' } }],
    [413, 'too-large', '/commands/pay', { json: { ...pay, account: 'a'.repeat(2_000) } }],
    [422, 'invalid-input', '/commands/pay', { json: { account: 'Ann', cents: -1 } }],
    [422, 'invalid-input', '/commands/pay', { method: 'POST' }],
    [400, 'invalid-id', '/commands/pay', { json: pay, headers: { 'idempotency-key': 'a b' } }],
    [400, 'invalid-tenant', '/tenants/..%2fetc/commands/pay', { json: pay }],
    [400, 'invalid-tenant', '/commands/pay', { json: pay, headers: { 'mainstem-tenant': '../etc' } }],
    [400, 'malformed', '/tenants/one/commands/pay', { json: pay, headers: { 'mainstem-tenant': 'two' } }],
    [500, 'decide-failed', '/commands/breakDecide', { json: { how: 'a secret' } }],
  ])('ends with %i %s', async (status, code, path, asked) => {
    const ask = await service({ maxBody: 1_024 })
    const answer = await ask(path, asked)
    const text = await answer.text()
    expect(answer.status, text).toBe(status)
    expect(JSON.parse(text)).toMatchObject({ type: `urn:mainstem:${code}`, status, code })
    expect(text).not.toContain('secret')
  })
})

test('docs/server.md tells the status of each code', () => {
  const table = readFileSync(new URL('../../docs/server.md', import.meta.url), 'utf8').matchAll(/^\| ([45]\d\d[^|]*) \| (.*) \|$/gm)
  const told = new Map<string, number>()
  for (const [, statuses = '', codes = ''] of table) {
    const all = [...statuses.matchAll(/\d{3}/g)].map(Number)
    for (const [, code = ''] of codes.matchAll(/`([a-z-]+)`/g)) {
      const { status } = new Problem(code as ProblemCode)
      expect(all, code).toContain(status)
      told.set(code, status)
    }
  }
  const known = Object.entries({
    ...statusOf,
    ...Object.fromEntries(Object.entries(ownProblems).map(([code, { status }]) => [code, status])),
  })
  for (const [code, status] of known) if (status !== 500) expect(told.get(code), code).toBe(status)
})

describe('a query', () => {
  test('is asked by GET, with JSON or plain parameters, or by POST', async () => {
    const ask = await service()
    await ask('/commands/pay', { json: pay })
    for (const [path, asked] of [
      ['/queries/balance?account=Ann', {}],
      [`/queries/balance?input=${encodeURIComponent('{"account":"Ann"}')}`, {}],
      ['/queries/balance', { json: { account: 'Ann' } }],
      ['/tenants/default/queries/balance?account=Ann', { headers: { 'mainstem-tenant': 'default' } }],
    ] as const) {
      const answer = await ask(path, asked)
      expect(await answer.json(), path).toBe(5)
      expect(answer.headers.get('mainstem-token')).toBe('default@1')
    }
    expect(await (await ask('/queries/balance?account=Ann', { headers: { 'mainstem-tenant': 'other' } })).json()).toBe(0)
  })

  test('takes a plain parameter for a number only where its text will not do', async () => {
    const replica = await openReplica(
      app('kinds', {
        events: { Nothing: z.object({}) },
        project: { Nothing: () => {} },
        database: sqlite('CREATE TABLE none (id INTEGER PRIMARY KEY) STRICT'),
        commands: {},
        queries: {
          echo: {
            input: z.object({ id: z.string(), limit: z.number(), deep: z.boolean(), tags: z.array(z.string()) }),
            run: input => input,
          },
        },
      }),
      { log: 'memory:' },
    )
    onTestFinished(() => replica.close())
    const answer = await handler(replica)(new Request('http://x/queries/echo?id=17&limit=17&deep=true&tags=1&tags=2'))
    expect(await answer.json()).toEqual({ id: '17', limit: 17, deep: true, tags: ['1', '2'] })
  })

  test('sees at least what its token stands for, or is told to come again', async () => {
    const ask = await service()
    const late = await ask('/queries/total', { headers: { 'mainstem-token': 'default@1', prefer: 'wait=0.05' } })
    expect([late.status, late.headers.get('retry-after')]).toEqual([503, '1'])
    const waits = ask('/queries/total', { headers: { 'mainstem-token': 'default@1' } })
    await ask('/commands/pay', { json: pay })
    expect(await (await waits).json()).toBe(5)
    const alien = await ask('/queries/total', { headers: { 'mainstem-token': 'other@1' } })
    expect([alien.status, await codeOf(alien)]).toEqual([400, 'invalid-token'])
    const all = await ask('/queries/total', { headers: { prefer: 'respond-async, read=linearizable' } })
    expect(all.headers.get('preference-applied')).toBe('read=linearizable')
  })

  test('looks at the past', async () => {
    const ask = await service()
    for (let n = 0; n < 3; n++) await ask('/commands/pay', { json: pay })
    for (let version = 0; version <= 3; version++) {
      const answer = await ask(`/at/${version}/queries/total`)
      expect(await answer.json()).toBe(version * 5)
      expect(answer.headers.get('mainstem-version')).toBe(String(version))
    }
    expect(await (await ask('/at/2026-01-01T00:00:00Z/queries/total')).json()).toBe(0)
    expect((await ask('/at/4/queries/total')).status).toBe(404)
    expect((await ask('/at/yesterday/queries/total')).status).toBe(400)
    expect((await ask('/at/2999-01-01/queries/total')).status).toBe(404)
  })
})

describe('events', () => {
  /** As many as wanted, by their fields. */
  async function take(answer: Response, count: number): Promise<{ id: string; event: string; data: any }[]> {
    expect(answer.headers.get('content-type')).toBe('text/event-stream')
    const found: { id: string; event: string; data: any }[] = []
    let text = ''
    for await (const part of answer.body!.pipeThrough(new TextDecoderStream()) as unknown as AsyncIterable<string>) {
      text += part
      const blocks = text.split('\n\n')
      text = blocks.pop()!
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split('\n').map(line => line.split(/: (.*)/s)))
        if (fields['event'] !== undefined) found.push({ id: fields['id'], event: fields['event'], data: JSON.parse(fields['data']) })
      }
      if (found.length >= count) break
    }
    return found
  }

  test('come from a version on, then live; go on behind the last one; by type and tag', async () => {
    const ask = await service()
    const headers = { 'x-request-id': 'request-1' }
    await ask('/commands/pay', { json: pay, headers })
    await ask('/commands/pay', { json: { ...pay, account: 'Ben' } })
    const from = await ask('/events?from=1')
    await ask('/commands/take', { json: pay })
    expect((await take(from, 3)).map(({ id, event }) => `${id} ${event}`)).toEqual(['1 Paid', '2 Paid', '3 Taken'])
    const behind = await take(await ask('/events?from=1', { headers: { 'last-event-id': '2' } }), 1)
    expect(behind).toMatchObject([{ id: '3', data: { version: 3, command: 'take', tags: ['Ann'] } }])
    const [first] = await take(await ask('/events?from=1&tag=Ann&tag=Cid'), 2)
    expect(first!.data.meta).toEqual({ correlation: 'request-1' })
    expect((await take(await ask('/events?from=1&type=Taken&tag=Ann'), 1)).map(({ id }) => id)).toEqual(['3'])
    const live = await ask('/events')
    await ask('/commands/pay', { json: pay })
    expect((await take(live, 1)).map(({ id }) => id)).toEqual(['4'])
  })

  test.each(['/events?from=0', '/events?from=x', '/events?type=Pied'])('%s is refused', async path => {
    const ask = await service()
    expect((await ask(path)).status).toBe(400)
  })

  test('so many clients and no more, and who has gone makes room', async () => {
    const ask = await service({ maxStreams: 1 })
    const one = await ask('/events')
    expect((await ask('/events')).status).toBe(503)
    await one.body!.cancel()
    expect((await ask('/events')).status).toBe(200)
  })

  test('a client that never reads is cut, and nothing is read ahead for it; one that has nothing to read is not', async () => {
    const ask = await service({ heartbeat: 10, stall: 30 })
    for (let n = 0; n < 20; n++) await ask('/commands/pay', { json: pay })
    const [deaf, idle] = [await ask('/events?from=1'), (await ask('/events')).body!.getReader()]
    for (let beats = 0; beats < 10; beats++) await idle.read()
    // What was on its way when it stopped reading, and then the end.
    await expect(take(deaf, 20)).rejects.toThrow('not read')
  })

  test('with a filter, a heartbeat says how far it has come', async () => {
    const ask = await service({ heartbeat: 10 })
    await ask('/commands/pay', { json: pay })
    const reader = (await ask('/events?from=1&type=Noted')).body!.getReader()
    let text = ''
    while (!text.includes('id: 1\n')) text += new TextDecoder().decode((await reader.read()).value)
    await reader.cancel()
  })
})

describe('the service itself', () => {
  test('is live, ready, and counts', async () => {
    const ask = await service()
    await ask('/commands/pay', { json: pay })
    await ask('/commands/take', { json: { ...pay, cents: 50 } })
    await ask('/commands/nosuch', { json: pay })
    expect((await ask('/livez')).status).toBe(200)
    expect(await (await ask('/readyz')).json()).toEqual({ status: 'ready' })
    expect(await (await ask('/status')).json()).toMatchObject({ app: 'shop', failure: null, tenants: { default: { version: 1 } } })
    const text = await (await ask('/metrics')).text()
    expect(text).toContain('mainstem_commands_total{command="pay",outcome="accepted"} 1')
    expect(text).toContain('mainstem_commands_total{command="take",outcome="rejected"} 1')
    expect(text).toContain('mainstem_http_requests_total{route="commands",status="404"} 1')
    expect(text).toMatch(/mainstem_ready 1\n/)
    expect(text).not.toContain('nosuch')
  })

  test('refuses early what would only wait, and still says that it lives', async () => {
    const ask = await service({ maxWaiting: 1 })
    const waits = ask('/queries/total', { headers: { 'mainstem-token': 'default@1' } })
    const refused = await ask('/commands/pay', { json: pay })
    expect([refused.status, refused.headers.get('retry-after'), await codeOf(refused)]).toEqual([503, '1', 'overloaded'])
    expect((await ask('/readyz')).status).toBe(200)
    await ask('/queries/total').catch(() => {})
    void waits.catch(() => {})
  })

  test('asks who may come in before anything is done', async () => {
    const seen: unknown[] = []
    const ask = await service({
      access: {
        async authenticate(request) {
          const name = request.headers.get('authorization')
          if (name === null) throw new Problem('unauthenticated', { headers: { 'www-authenticate': 'Bearer' } })
          return { name, tenants: name === 'root' ? '*' : ['default'] }
        },
        policy(principal, action, input, tenant) {
          seen.push({ ...action, input, tenant })
          return !(principal.name === 'reader' && action.kind === 'command')
        },
      },
    })
    const as = (authorization: string) => ({ headers: { authorization } })
    const nobody = await ask('/commands/pay', { json: pay })
    expect([nobody.status, nobody.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
    for (const path of ['/queries/total', '/events', '/status', '/metrics', '/at/0/queries/total'])
      expect((await ask(path)).status).toBe(401)
    expect((await ask('/livez')).status).toBe(200)
    expect((await ask('/commands/pay', { json: pay, ...as('reader') })).status).toBe(403)
    expect((await ask('/tenants/other/commands/pay', { json: pay, ...as('Ann') })).status).toBe(403)
    expect((await ask('/tenants/other/queries/total', as('Ann'))).status).toBe(403)
    expect((await ask('/tenants/other/events', as('Ann'))).status).toBe(403)
    expect(seen).toEqual([{ kind: 'command', name: 'pay', input: pay, tenant: 'default' }])
    expect((await ask('/commands/pay', { json: { account: 1 }, ...as('reader') })).status).toBe(422)
    expect(seen).toHaveLength(1)
    expect((await ask('/tenants/other/commands/pay', { json: pay, ...as('root') })).status).toBe(200)
    expect((await ask('/commands/pay', { json: pay, ...as('Ann') })).status).toBe(200)
    // They tell of all tenants.
    for (const path of ['/status', '/metrics']) {
      expect((await ask(path, as('Ann'))).status).toBe(403)
      expect((await ask(path, as('root'))).status).toBe(200)
    }
    const events = (await ask('/events?from=1', as('Ann'))).body!.getReader()
    let text = ''
    while (!text.includes('data:')) text += new TextDecoder().decode((await events.read()).value)
    await events.cancel()
    expect(text).toContain('"meta":{"principal":"Ann"}')
  })
})
