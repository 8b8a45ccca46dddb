/**
 * `npm run kafka [-- --brokers 3] [--version 3.9.2] [--folder FOLDER]`: real brokers to develop against, until Ctrl-C. What was written stays
 * in the folder for the next time.
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { startCluster } from '../test/support/brokers.ts'
import { lacking, versions } from '../test/support/kafka/install.ts'

const { values } = parseArgs({
  options: {
    brokers: { type: 'string', default: '1' },
    version: { type: 'string', default: versions[0] },
    folder: { type: 'string' },
  },
})
const count = Number(values.brokers)
const version = versions.find(known => known === values.version)
if (count !== 1 && count !== 3) fail('--brokers takes 1 or 3')
if (version === undefined) fail(`--version takes ${versions.join(' or ')}`)
const lacks = lacking()
if (lacks !== undefined) fail(`Kafka needs ${lacks}. Or run it in a container: docker compose up`)

const folder = resolve(values.folder ?? `.mainstem/kafka-${version}-${count}`)
const told = Promise.withResolvers<void>()
let toldAt = Infinity
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    // One Ctrl-C may come twice, from the terminal and from whoever started us. Asked again later, we wait for nobody; the brokers end with us.
    if (Date.now() - toldAt > 1_000) process.exit(1)
    toldAt = Math.min(toldAt, Date.now())
    told.resolve()
  })
}

say(`starting Kafka ${version}, data in ${folder}`)
const cluster = await startCluster({ brokers: count, version, folder, ports: [9092, 9093, 9094].slice(0, count) }).catch((error: unknown) =>
  fail(error instanceof Error ? error.message : String(error)),
)
say(`ready: kafka://${cluster.bootstrap}`)
say(`tests on these brokers: KAFKA_BROKERS=${cluster.bootstrap} npm test -- test/kafka`)
for (const broker of cluster.brokers) say(`log of broker ${broker.id}: ${broker.log}`)
const wanted = [9092, 9093, 9094].slice(0, count).map(port => `127.0.0.1:${port}`)
if (cluster.bootstrap !== wanted.join(','))
  say(`NOT at ${wanted.join(',')}, the usual place: something else is there, perhaps another one of these`)
say('Ctrl-C ends it')
for (const broker of cluster.brokers) {
  const { pid } = broker
  const watch = setInterval(() => {
    try {
      process.kill(pid, 0)
    } catch {
      clearInterval(watch)
      if (toldAt === Infinity) say(`broker ${broker.id} is gone: the others are ended, too; start it again`)
      told.resolve()
    }
  }, 500)
  watch.unref()
}
await told.promise
say('ending')
await cluster.shutdown()

function say(text: string): void {
  process.stdout.write(`[kafka] ${text}\n`)
}

function fail(text: string): never {
  process.stderr.write(`[kafka] ${text}\n`)
  process.exit(1)
}
