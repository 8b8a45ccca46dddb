/** What callers are told: outcomes of commands, and the tokens by which they read their own writes. */
import type { RecordedEvent } from '../record.ts'

export function outcome(
  tenant: string,
  decided: { id: string; events: readonly RecordedEvent[]; result?: unknown; rejection?: { code: string; details?: unknown } },
  version: number,
  duplicate: boolean,
): unknown {
  const token = tokenOf(tenant, version)
  if (decided.rejection) return { status: 'rejected', code: decided.rejection.code, details: decided.rejection.details, token, duplicate }
  const events = decided.events.map(({ type, data }) => ({ type, data }))
  return { status: 'accepted', version, token, events, result: decided.result, duplicate }
}

export const tokenOf = (tenant: string, version: number): string => `${tenant}@${version}`

/** The version that a token stands for, undefined if it is not one of this tenant. */
export function versionOf(token: string, tenant: string): number | undefined {
  const [name, digits, more] = token.split('@')
  if (name !== tenant || more !== undefined || !/^\d{1,15}$/.test(digits ?? '')) return undefined
  return Number(digits)
}
