/** What a worker's clients ask for: it follows from seed and number alone, so that whoever checks the history can ask the same again. */
export interface Order {
  readonly id: string
  readonly command: 'pay' | 'take' | 'takeIfRich'
  readonly input: { readonly account: string; readonly cents: number; readonly total?: number }
}

export function orderOf(seed: number, n: number, accounts: number): Order {
  const id = `${seed}-${n}`
  const account = `a${(n * 7 + seed) % accounts}`
  if (n % 3 === 0) return { id, command: 'pay', input: { account, cents: 5 } }
  if (n % 10 === 1) return { id, command: 'takeIfRich', input: { account, cents: 3, total: 10 } }
  return { id, command: 'take', input: { account, cents: 1 + (n % 9) } }
}

/** The order that an id stands for. */
export function orderOfId(id: string, accounts: number): Order {
  const [seed, n] = id.split('-').map(Number) as [number, number]
  return orderOf(seed, n, accounts)
}
