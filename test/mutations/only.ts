/** Plans in which a mutation can matter at all: the others are passed over by the search, for there it runs no broken code. */
import type { Plan } from '../../src/testing/world/plan.ts'
import type { StrategyName } from '../../src/consistency.ts'

export type Only = (plan: Plan) => boolean

export const rivals: Only = ({ nodes }) => nodes.length > 1

export const onKafka: Only = ({ log }) => log.kind === 'kafka'

export const onFile: Only = ({ log }) => log.kind === 'file'

export const some =
  (strategy: StrategyName): Only =>
  ({ nodes }) =>
    nodes.some(each => each.strategy === strategy)

/** An operator does this, or an alien that. */
export const where =
  (...what: readonly string[]): Only =>
  ({ operations }) =>
    operations.some(each => what.includes(each.do === 'alien' ? each.change : each.do))

export const both =
  (...all: readonly Only[]): Only =>
  plan =>
    all.every(each => each(plan))

/** A leader that can be fenced, by epoch or by transactions. */
export const fenced = (fencing: 'epoch' | 'transactions'): Only =>
  both(some('leader'), ({ log }) => log.kind === 'kafka' && log.fencing === fencing)

/** Transactions are written. */
export const transactional: Only = both(onKafka, plan => some('optimistic')(plan) || fenced('transactions')(plan))

export const powerCuts: Only = ({ misfortunes }) => misfortunes.some(each => each.kind === 'crash' && each.power)
