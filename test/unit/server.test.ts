/** The handler, called with requests: statuses, problem details, tenants, tokens. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { openReplica } from '../../src/index.ts'
import { type HandlerOptions, handler } from '../../src/server.ts'
import shop from '../support/shop.ts'

type Asked = RequestInit & { readonly json?: unknown }

/** Asks a handler of a replica of its own. */
async function service(options: HandlerOptions = {}): Promise<(path: string, asked?: Asked) => Promise<Response>> {
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
