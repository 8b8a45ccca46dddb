/** Two box offices sell one house, as in two terminals: either is killed and started again, and every seat is sold once. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { makeLog, newUrl } from '../support/kafka.ts'
import { temporaryFolder } from '../support/logs.ts'

const program = fileURLToPath(new URL('../../examples/box-office.ts', import.meta.url))

class Office {
  readonly #child: ChildProcess
  readonly ended: Promise<number | null>
  said = ''

  constructor(log: string, data: string) {
    this.#child = spawn(process.execPath, ['--conditions=source', program, log, data, '160'], { stdio: ['ignore', 'pipe', 'inherit'] })
    this.ended = new Promise(resolve => this.#child.once('close', resolve))
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.said += text
      this.#child.emit('said')
    })
    onTestFinished(() => void this.kill())
  }

  /** Resolves when it has said so, or is gone. */
  async says(what: RegExp): Promise<void> {
    while (!what.test(this.said) && this.#child.exitCode === null)
      await new Promise(resolve => this.#child.once('said', resolve).once('close', resolve))
  }

  kill(): Promise<number | null> {
    this.#child.kill('SIGKILL')
    return this.ended
  }
}

test('every seat is sold once, whichever office is killed', async () => {
  const log = newUrl()
  await makeLog(log, 'seats')
  const folder = temporaryFolder()
  const open = (name: string) => new Office(log, join(folder, name))
  const [one, two] = [open('one'), open('two')]
  await one.says(/\d+ sold here, /)
  await one.kill()
  const again = open('one')
  await again.says(/\d+ sold here, /)
  await two.kill()
  const last = open('two')
  expect(await Promise.all([again.ended, last.ended])).toEqual([0, 0])
  const ends = [again, last].map(({ said }) => /seats sold twice: (\d+); version (\d+), digest (\S+)/.exec(said)?.slice(1))
  expect(ends[0]).toEqual(['0', '160', expect.any(String)])
  expect(ends[1]).toEqual(ends[0])
})
