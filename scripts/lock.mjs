/** Work that processes do once and one at a time. Runs on Node.js 20 and without dependencies: the set-up itself needs it. */
import { createHash } from 'node:crypto'
import { rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Does `work` if there still is a reason once no other process is at it. A holder touches its lock; one left by a dead process grows old.
 * @template {string} Reason
 * @param {string} name what all who do the same work call it
 * @param {() => Reason | undefined} reasonFor undefined when there is nothing to do
 * @param {(reason: Reason) => Promise<void>} work
 */
export async function onceAtATime(name, reasonFor, work) {
  if (reasonFor() === undefined) return
  const lock = join(tmpdir(), `mainstem-${createHash('sha256').update(name).digest('hex').slice(0, 16)}.lock`)
  for (let waiting = false; !take(lock); waiting = true) {
    if (!waiting) process.stderr.write('[mainstem] waiting for another set-up of this folder\n')
    await new Promise(done => setTimeout(done, 250))
  }
  const touch = setInterval(() => utimesSync(lock, new Date(), new Date()), 1_000)
  const release = () => rmSync(lock, { force: true })
  process.once('exit', release)
  try {
    const reason = reasonFor()
    if (reason !== undefined) await work(reason)
  } finally {
    clearInterval(touch)
    process.off('exit', release)
    release()
  }
}

function take(lock) {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
  }
  const touched = statSync(lock, { throwIfNoEntry: false })?.mtimeMs
  if (touched !== undefined && Math.abs(Date.now() - touched) > 15_000) rmSync(lock, { force: true })
  return false
}
