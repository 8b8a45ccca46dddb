/** Plans for the shop: few accounts and small sums, so that commands meet. */
import type { Drawing } from '../../src/testing/plans.ts'

export const shopping: Pick<Drawing, 'command'> = {
  command(random) {
    const below = (limit: number) => Math.floor(random() * limit)
    const input = { account: 'abc'[below(3)]!, cents: 1 + below(9) }
    const kind = random()
    if (kind < 0.4) return { name: 'pay', input }
    if (kind < 0.75) return { name: 'take', input }
    if (kind < 0.95) return { name: 'takeIfRich', input: { ...input, total: 20 } }
    return { name: 'note', input: { text: 'x' } }
  },
}

export const probe = { name: 'pay', input: { account: 'a', cents: 1 } }
