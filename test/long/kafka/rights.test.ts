/** The doctor on a cluster that grants rights one by one: each right that is missing is named, and the command gives it. */
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { examineLog } from '../../../src/log/examine.ts'
import type { CheckName } from '../../../src/log/kafka/checks.ts'
import { createLog } from '../../../src/log/kafka/create.ts'
import { KafkaLogs } from '../../../src/log/kafka.ts'
import { type Cluster, startCluster } from '../../support/brokers.ts'
import { failure } from '../../support/failures.ts'

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster({
    properties: {
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      // The brokers among themselves, and the tools.
      'super.users': 'User:ANONYMOUS;User:admin',
      'listener.security.protocol.map': 'CLIENT:SASL_PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT',
      'listener.name.client.sasl.enabled.mechanisms': 'PLAIN',
      'listener.name.client.plain.sasl.jaas.config':
        'org.apache.kafka.common.security.plain.PlainLoginModule required user_seats="secret" user_admin="secret";',
    },
  })
  vi.stubEnv('KAFKA_SASL_MECHANISM', 'PLAIN')
  vi.stubEnv('KAFKA_SASL_PASSWORD', 'secret')
}, 120_000)
afterAll(async () => {
  vi.unstubAllEnvs()
  await cluster?.close()
})

it('names what this user may not do', async () => {
  const url = `kafka://${cluster.bootstrap}/seats`
  const allow = (...args: string[]) =>
    cluster.tool('org.apache.kafka.tools.AclCommand', ['--add', '--allow-principal', 'User:seats', ...args])
  const findings = () => examineLog(url, { scan: false, onProgress: () => {}, signal: AbortSignal.timeout(60_000) })
  const named = async (name: CheckName) => (await findings()).find(each => each.name === name)

  vi.stubEnv('KAFKA_SASL_USERNAME', 'seats')
  expect(await failure(createLog(url, { app: 'seats' }))).toMatchObject({ code: 'log-denied' })
  vi.stubEnv('KAFKA_SASL_USERNAME', 'admin')
  await createLog(url, { app: 'seats', partitions: 2 })
  expect((await findings()).filter(({ level }) => level === 'unsafe')).toEqual([])

  vi.stubEnv('KAFKA_SASL_USERNAME', 'seats')
  expect(await failure(findings())).toMatchObject({ code: 'log-denied' })
  await allow('--operation', 'Describe', '--topic', 'seats')
  await vi.waitFor(async () => expect(await named('topic-rights')).toMatchObject({ level: 'unsafe' }), 10_000)
  expect(await named('topic-rights')).toMatchObject({ cause: 'this user may not READ, WRITE on the topic seats' })
  expect(await named('settings-unread')).toMatchObject({ level: 'unknown' })
  expect(await named('roster-missing')).toMatchObject({ level: 'risk', cause: 'this user may not see the topic of the roster' })
  expect(await named('transactional-id-rights')).toMatchObject({ level: 'unsafe', cause: expect.stringContaining('may not Describe') })

  const tail = (mend: string): string[] =>
    mend
      .replace(/^.*--allow-principal User:NAME /, '')
      .replace(/ \(or .*$/, '')
      .split(' ')
  await allow('--operation', 'Describe', '--transactional-id', 'mainstem.seats.', '--resource-pattern-type', 'prefixed')
  await vi.waitFor(
    async () => expect(await named('transactional-id-rights')).toMatchObject({ cause: expect.stringContaining('may not Write') }),
    10_000,
  )
  for (const name of ['topic-rights', 'transactional-id-rights', 'settings-unread'] as const)
    await allow(...tail((await named(name))!.mend))
  await allow('--operation', 'Describe', '--operation', 'Read', '--operation', 'Write', '--topic', 'seats-roster')
  await vi.waitFor(
    async () => expect((await findings()).filter(({ level }) => level === 'unsafe').map(({ name }) => name)).toEqual([]),
    10_000,
  )
  await (await KafkaLogs.open(url)).close()
})
