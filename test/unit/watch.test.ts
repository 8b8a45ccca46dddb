/** The torture's watch over a process: it stands outside, so that a loop without a turn for anything else is noticed, too. */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { watched } from '../../scripts/torture/watch.ts'
import { temporaryFolder } from '../support/logs.ts'

const run = async (code: string, patience: number) => {
  const script = join(temporaryFolder(), 'script.mjs')
  writeFileSync(script, code)
  const messages: unknown[] = []
  return { ...(await watched({ script, args: ['an argument'], patience, heard: message => messages.push(message) })), messages }
}

test('a process that loops for ever is killed, and with it what it has started', async () => {
  const server = createServer()
  onTestFinished(() => void server.close())
  const { port } = await new Promise<AddressInfo>(resolve => server.listen(0, '127.0.0.1', () => resolve(server.address() as AddressInfo)))
  // Whoever is gone has its connection closed.
  const gone = once(server, 'connection').then(([socket]) => once((socket as Socket).on('error', () => {}).resume(), 'close'))
  const loop = `require('node:net').connect(${port}, '127.0.0.1', () => { for (;;); })`
  const { end } = await run(
    `import { spawn } from 'node:child_process'
     spawn(process.execPath, ['-e', ${JSON.stringify(loop)}])
     process.send('started', () => { for (;;); })`,
    2_000,
  )
  expect(end).toBe('stuck')
  await gone
})

test('one that ends is not, however long it takes, as long as it says something', async () => {
  const speaking = `for (let n = 0; n < 8; n++) { process.send(process.argv[2]); await new Promise(done => setTimeout(done, 500)) }
    process.exit()`
  expect(await run(speaking, 3_000)).toEqual({ end: 'done', messages: Array(8).fill('an argument') })
})

test('how one ended that broke is told', async () => {
  expect(await run('process.exit(3)', 60_000)).toMatchObject({ end: 'failed', how: '3' })
  expect(await run(`process.kill(process.pid, 'SIGSEGV')`, 60_000)).toMatchObject({ end: 'failed', how: 'SIGSEGV' })
})
