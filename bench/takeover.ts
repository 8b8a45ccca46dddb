/**
 * What clients see when a replica goes: the longest time without any answer, while they ask without a pause through HAProxy, of replicas on Kafka. No
 * ceiling by hand: what it takes to know that a leader is dead is a choice, and the rest should be nothing.
 */
import { asRound } from '../test/support/end.ts'
import { checkWallet, Fleet, Load } from '../test/support/fleet.ts'
import { newLog } from './broker.ts'
import { median, table } from './support.ts'

const REPLICAS = 3

/** @param bootstrap 'host:port' of a cluster */
export async function takeover(bootstrap: string, { rounds = 20 } = {}): Promise<void> {
  await asRound(async () => {
    const fleet = await Fleet.open(newLog(bootstrap, 'wallet'), REPLICAS)
    await fleet.start('blue', REPLICAS)
    const load = new Load(fleet.url, { clients: 4, pause: 4, seed: 1 })
    await load.further(1_000)
    /** What `work` does, so many times; `after` brings back how it was. */
    const measure = async (what: string, times: number, work: () => Promise<unknown>, after: () => Promise<unknown>) => {
      const gaps: number[] = []
      const p99: number[] = []
      for (let round = 0; round < times; round++) {
        const [begun, failed] = [performance.now(), load.failed.length]
        await work()
        await load.further(300)
        gaps.push(load.gap(begun))
        p99.push(load.times(begun).p99)
        if (load.failed.length > failed) throw new Error(`${what}: ${load.failed.slice(failed).join('; ')}`)
        await after()
        await load.further(200)
      }
      const ms = (value: number) => Math.round(value)
      const told = {
        'gap ms, median': ms(median(gaps)),
        worst: ms(Math.max(...gaps)),
        'p99 ms meanwhile, median': ms(median(p99)),
        failed: 0,
      }
      process.stdout.write(`${table([{ what, rounds: times, ...told }])}\n`)
    }
    const back = () => fleet.start('blue', REPLICAS)
    await measure('the leader is told to end', rounds, async () => fleet.endOne((await fleet.leader('blue')).name), back)
    await measure('the leader is killed', rounds, async () => fleet.kill((await fleet.leader('blue')).name), back)
    await fleet.start('green', REPLICAS)
    let next: 'blue' | 'green' = 'green'
    const turn = async () => {
      await fleet.switch(next)
      next = next === 'green' ? 'blue' : 'green'
    }
    await measure('roll-out to other tables, or back', Math.ceil(rounds / 2), turn, async () => {})
    await load.stop()
    await fleet.end()
    await checkWallet(fleet.log, load)
  })
}
