/** Real brokers, with every strategy and every fence. */
import { conformance } from '../conformance/suite.ts'

const ways = [
  { strategy: 'leader', fencing: 'epoch' },
  { strategy: 'leader', fencing: 'transactions' },
  { strategy: 'leader', fencing: 'term' },
  { strategy: 'first-wins' },
  { strategy: 'optimistic' },
] as const

conformance((['kafka', 'kafka-shards'] as const).flatMap(log => ways.map(way => ({ log, ...way }))))
