/**
 * What happens to a writer while it writes: it is killed, it is stopped, its network loses a request or all of them, alone and together. Each is done to
 * the one that reigns, where one does, and over when somebody else went on and it is back itself.
 */
import type { Action, Frame, Proxy, Rule } from '../proxy.ts'
import type { Crew, Writer } from './crew.ts'
import { END_TXN, onRecord } from './requests.ts'

/** How late a request comes at most, ms: beyond what an owner may be silent for. */
const LATE = 2_500

interface WriterFault {
  /** Somebody else goes on in the place of the victim. */
  readonly takeOver: boolean
  run(crew: Crew, victim: Writer, random: () => number): Promise<void>
}

/** The victim was deposed before it was hurt, for reasons of its own. */
class Deposed extends Error {}

const stopped: WriterFault = {
  takeOver: true,
  async run(crew, victim) {
    const { term } = crew
    victim.worker.stop()
    await crew.goesOnWithout(victim, term)
    victim.worker.continue()
    await crew.recovers(victim)
  },
}

export const writerFaults: Readonly<Record<string, WriterFault>> = {
  'is killed': {
    takeOver: true,
    async run(crew, victim, random) {
      const { term } = crew
      await crew.kill(victim)
      await crew.goesOnWithout(victim, term)
      await crew.again(victim, random() < 0.3)
    },
  },
  'is stopped, and continued': stopped,
  // What ends its batch arrives when somebody else goes on, before it wakes or behind that.
  'is stopped with its last request on the way': {
    takeOver: true,
    run: (crew, victim, random) => asleep(crew, victim, onLast(crew, victim, 'request', 'hold'), random),
  },
  // Its transaction is open, and it would end it when it wakes.
  'is stopped with a reply on the way': {
    takeOver: true,
    run: (crew, victim, random) => asleep(crew, victim, onRecord(proxyOf(victim), 'reply', 'hold'), random),
  },
  'loses its last request or the reply, and is killed': {
    takeOver: true,
    async run(crew, victim, random) {
      const { term } = crew
      const rule = onLast(crew, victim, random() < 0.5 ? 'request' : 'reply', 'cut')
      await fired(crew, rule, 'a request is lost')
      await crew.kill(victim)
      rule.remove()
      await crew.goesOnWithout(victim, term)
      await crew.again(victim)
    },
  },
  'reaches no broker for a while': {
    takeOver: true,
    async run(crew, victim, random) {
      const { term } = crew
      const proxy = proxyOf(victim)
      proxy.partition(random() < 0.5 ? 'cut' : 'silent')
      await crew.goesOnWithout(victim, term)
      proxy.heal()
      await crew.recovers(victim)
    },
  },
  'loses a request or a reply': {
    takeOver: false,
    async run(crew, victim, random) {
      const rule = onLast(crew, victim, random() < 0.5 ? 'request' : 'reply', 'cut')
      await fired(crew, rule, 'a request is lost')
      await crew.recovers(victim)
      rule.remove()
      await crew.breath()
    },
  },
  'has a request that comes late': {
    takeOver: false,
    async run(crew, victim, random) {
      const rule = onLast(crew, victim, 'request', { delay: random() * LATE })
      await fired(crew, rule, 'a request is late')
      await crew.breath()
      await crew.recovers(victim)
      rule.remove()
    },
  },
}

/** Does it to who reigns, or to anybody, among those with a network of their own. */
export async function hurtWriter(crew: Crew, name: string, random: () => number): Promise<void> {
  for (;;) {
    const among = crew.writers.filter(({ proxy }) => proxy !== undefined)
    const victim = crew.leads ? await crew.leader() : among[Math.floor(random() * among.length)]!
    try {
      if (!among.includes(victim)) {
        await stopped.run(crew, victim, random)
        continue
      }
      await writerFaults[name]!.run(crew, victim, random)
      return
    } catch (error) {
      if (!(error instanceof Deposed)) throw error
    }
  }
}

/** @throws Deposed */
async function fired(crew: Crew, rule: Rule, what: string): Promise<void> {
  const { term } = crew
  const acted = await crew.patiently(Promise.race([rule.fired().then(() => true), crew.after(term).then(() => false)]), what)
  if (acted) return
  rule.remove()
  throw new Deposed()
}

async function asleep(crew: Crew, victim: Writer, rule: Rule, random: () => number): Promise<void> {
  await fired(crew, rule, 'a request is on its way')
  victim.worker.stop()
  const { term } = crew
  await crew.goesOnWithout(victim, term)
  const steps = [() => rule.remove(), () => victim.worker.continue()]
  const [first, second] = random() < 0.5 ? steps : steps.toReversed()
  first!()
  await crew.breath(victim)
  second!()
  await crew.recovers(victim)
}

function proxyOf({ n, proxy }: Writer): Proxy {
  if (!proxy) throw new Error(`writer ${n} has no network of its own`)
  return proxy
}

/** On the next request that ends a batch, or its reply: EndTxn, or a Produce where there are no transactions. */
function onLast({ transactional }: Crew, victim: Writer, direction: Frame['direction'], action: Action): Rule {
  const proxy = proxyOf(victim)
  return transactional ? proxy.on({ api: END_TXN, direction, nth: 1 }, action) : onRecord(proxy, direction, action)
}
