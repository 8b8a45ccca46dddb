/** Requests that tests lose, by Kafka's keys; and the one that carries what a command came to. */
import type { Action, Frame, Proxy, Rule } from '../proxy.ts'

export const PRODUCE = 0
export const FETCH = 1
export const INIT_PRODUCER_ID = 22
export const END_TXN = 26

/** A Produce with decisions: the beats of the roster are produced, too. */
export const holdsRecord = ({ bytes }: Frame): boolean => bytes.includes('"decisions"')

/** Acts on the next Produce with decisions, or on the reply to that. */
export function onRecord(proxy: Proxy, direction: Frame['direction'], action: Action): Rule {
  if (direction === 'request') return proxy.on({ api: PRODUCE, direction, nth: 1, where: holdsRecord }, action)
  let asked: number | undefined
  const note = (frame: Frame): boolean => {
    if (holdsRecord(frame)) asked ??= frame.bytes.readInt32BE(8)
    return false
  }
  const watch = proxy.on({ api: PRODUCE, direction: 'request', where: note }, 'drop')
  const rule = proxy.on({ api: PRODUCE, direction, nth: 1, where: ({ bytes }) => bytes.readInt32BE(4) === asked }, action)
  void rule.fired().then(() => watch.remove())
  return rule
}
