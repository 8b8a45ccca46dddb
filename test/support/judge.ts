/**
 * The judge of a log of the shop that real processes have written: folds it by itself, and decides each accepted decision again at its place. The
 * judge of simulations (src/testing/judge.ts) asks more, and knows of everybody what he asked, read and heard.
 */
import { accept, control, emptyShard } from '../../src/accept.ts'
import { definitionOf } from '../../src/app.ts'
import type { Reader } from '../../src/database/handles.ts'
import { openStore } from '../../src/database/sqlite.ts'
import type { Store } from '../../src/database.ts'
import { decide, prepare } from '../../src/decide.ts'
import type { Stored } from '../../src/log.ts'
import { Tenant } from '../../src/projection.ts'
import { type Decision, decode } from '../../src/record.ts'
import shop from './shop.ts'

/** What a command id was used for. */
export interface Asked {
  readonly command: string
  readonly input: unknown
}

/** Folds the log once more, decides every accepted decision again at its place, and says what is wrong. */
export function judge(
  log: Iterable<Stored>,
  askedBy: (id: string) => Asked,
): {
  readonly problems: string[]
  readonly accepted: Map<string, Decision>
  /** Decisions that stand there for nothing: they came too late, or twice. */
  readonly refused: number
  readonly digests: Map<string, string>
} {
  const problems: string[] = []
  const accepted = new Map<string, Decision>()
  const tenants = new Map<string, Tenant>()
  let shard = emptyShard
  let refused = 0
  for (const { position, value, tenant: name } of log) {
    const record = decode(value)
    if (record.kind === 'foreign') problems.push(`foreign record at ${position}`)
    else if (record.kind !== 'data') {
      const next = control(shard, record)
      if (typeof next !== 'string') shard = next
    } else {
      let tenant = tenants.get(name!)
      if (!tenant) tenants.set(name!, (tenant = new Tenant(shop, name!, openStore(definitionOf(shop).database, ':memory:'), shard.log!)))
      const { store } = tenant
      const verdicts = accept(shard, tenant.state, record, id => store.known(id) !== undefined)
      tenant.commit()
      tenant.speculate()
      let { version } = tenant.state
      for (const [index, decision] of record.decisions.entries()) {
        if (verdicts[index] !== 'accepted') {
          refused++
          continue
        }
        if (accepted.has(decision.id)) problems.push(`${decision.id} was accepted twice`)
        accepted.set(decision.id, decision)
        const { command, input } = askedBy(decision.id)
        const again = decide(shop, prepare(shop, command, input), store.read, record.time)
        const same = (each: { events: unknown; rejection?: unknown; result?: unknown }) =>
          JSON.stringify([each.events, each.rejection, each.result])
        if (same(again) !== same(decision))
          problems.push(`${decision.id} at position ${position} decides ${same(again)}, not ${same(decision)}`)
        for (const event of decision.events) tenant.project(event, ++version, record.time)
      }
      tenant.rollback()
      tenant.fold(shard, position, value, record, 'here')
      if (tenant.state.version !== version) problems.push(`version ${tenant.state.version}, counted ${version}`)
    }
  }
  const digests = new Map<string, string>()
  for (const [name, tenant] of tenants) {
    tenant.commit()
    digests.set(name, `${tenant.state.version} ${tenant.state.digest}`)
    const { queries } = tenant.store as Store<Reader>
    if (queries.all('SELECT 1 FROM account WHERE cents < 0').length > 0) problems.push('an account is below zero')
    tenant.close()
  }
  return { problems, accepted, refused, digests }
}
