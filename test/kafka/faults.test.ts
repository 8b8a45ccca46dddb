/** What a user hears when the cluster is not there: soon, and in words that help. */
import dns from 'node:dns'
import { expect, it, onTestFinished, vi } from 'vitest'
import { openReplica, type ReplicaOptions } from '../../src/replica.ts'
import { failure } from '../support/failures.ts'
import { temporaryFolder } from '../support/logs.ts'
import shop from '../support/shop.ts'

async function open(log: string, options: Partial<ReplicaOptions> = {}) {
  const replica = await openReplica(shop, { log, data: temporaryFolder(), ...options })
  onTestFinished(() => replica.close())
  return replica
}

it.each([
  // Port 1 is nobody's.
  ['no broker', 'kafka://127.0.0.1:1/seats', /ECONNREFUSED 127\.0\.0\.1:1\. Look whether a broker runs there, and at host and port/],
  ['several, none of them there', 'kafka://127.0.0.1:1,127.0.0.1:2/seats', /ECONNREFUSED.*Look whether a broker runs there/],
])('%s: log-unreachable, at once', async (_, log, message) => {
  const from = performance.now()
  expect(await failure(open(log))).toMatchObject({ code: 'log-unreachable', retry: 'safe', message: expect.stringMatching(message) })
  expect(performance.now() - from).toBeLessThan(10_000)
})

it.each(['ENOTFOUND', 'EAI_AGAIN'])('a host that there is not: log-unreachable (%s)', async code => {
  // What a name server says, and how soon, is no affair of this test.
  const answer = (host: string, _: unknown, done: (error: Error) => void) =>
    void setImmediate(done, Object.assign(new Error(`getaddrinfo ${code} ${host}`), { code, syscall: 'getaddrinfo', hostname: host }))
  const lookup = vi.spyOn(dns, 'lookup').mockImplementation(answer as never)
  onTestFinished(() => lookup.mockRestore())
  const error = await failure(open('kafka://nowhere.invalid/seats'))
  expect(error).toMatchObject({ code: 'log-unreachable', retry: 'safe' })
  expect(error.message).toMatch(new RegExp(`${code} nowhere\\.invalid\\. Look at the names of the hosts`))
  expect(lookup).toHaveBeenCalled()
})
