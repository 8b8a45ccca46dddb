/** Logs that need nothing but this process and its disk, with every strategy. */
import { strategies } from '../../src/consistency.ts'
import { conformance } from './suite.ts'

const kinds = ['memory', 'sqlite', 'shards', 'scanned'] as const

conformance(
  kinds
    .flatMap(log => strategies.map(strategy => ({ log, strategy })))
    .filter(({ log, strategy }) => log !== 'scanned' || strategy !== 'optimistic'),
)
