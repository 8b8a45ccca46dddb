/** `POST /commands/NAME`: the body is the input, `Idempotency-Key` the command id. */
import type { Outcome } from '../app.ts'
import { definitionOf, known } from '../app.ts'
import { EngineError } from '../errors.ts'
import { type Answer, type Call, commandId, deadlineOf, json, preferences, readJson, tenantOf } from './call.ts'
import { Problem } from './problem.ts'
import type { Service } from './service.ts'

/** @throws Problem, EngineError */
export async function command(service: Service, call: Call): Promise<Answer> {
  const { name } = call
  const tenant = tenantOf(call)
  const principal = service.access ? await service.authenticate(call.request(), tenant) : undefined
  const { commands } = definitionOf(service.app)
  if (!commands.has(name)) throw new EngineError('unknown-command', `there is no command of this name. ${known(name, commands.keys())}`)
  const id = commandId(call.header('idempotency-key'))
  const input = await readJson(call, service.limits.maxBody)
  if (principal) await service.authorize(principal, { kind: 'command', name }, input, tenant)
  const timeout = deadlineOf(preferences(call.header('prefer')), service)
  const outcome: Outcome<any> = await service.ready().execute(name, input, { tenant, timeout, ...(id === undefined ? {} : { id }) })
  const headers = { 'mainstem-token': outcome.token }
  if (outcome.status === 'accepted') return json(outcome, headers)
  const { code, details, token, duplicate } = outcome
  throw new Problem('rejected', {
    detail: `the app says no: ${code}`,
    members: { rejection: { code, ...(details === undefined ? {} : { details }) }, token, duplicate },
    headers,
  })
}
