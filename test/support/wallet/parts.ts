/** What the two releases of the wallet have in common: its events, and what may be asked of it. */
import { z } from 'zod'

const entry = z.object({ account: z.string(), cents: z.int().positive() })

export const events = { Paid: entry, Taken: entry }
export const input = entry
export const scope = ({ account }: z.infer<typeof entry>): string[] => [`account:${account}`]
export const which = z.object({ account: z.string() })
