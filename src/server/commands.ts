/** `POST /commands/NAME`: the body is the input, `Idempotency-Key` the command id. */
import { definitionOf, known, type Outcome } from '../app.ts'
import { EngineError } from '../errors.ts'
import { type Answer, type Call, commandId, deadlineOf, json, metaOf, preferences, readJson, tenantOf } from './call.ts'
import { Problem } from './problem.ts'
import type { Service } from './service.ts'

/** @throws Problem, EngineError */
export async function command(service: Service, call: Call): Promise<Answer> {
  const { name } = call
  const tenant = tenantOf(call)
  const principal = service.access ? await service.authenticate(call.request(), tenant) : undefined
  const { commands } = definitionOf(service.app)
  if (!commands.has(name)) throw new EngineError('unknown-command', `there is no command of this name. ${known(name, commands.keys())}`)
  const end = service.metrics.command(name)
  try {
    const id = commandId(call.header('idempotency-key'))
    const input = await readJson(call, service)
    const replica = service.ready()
    if (principal) await service.authorize(principal, { kind: 'command', name }, input, tenant)
    const meta = metaOf(call, principal)
    const timeout = deadlineOf(preferences(call.header('prefer')), service)
    const options = { tenant, timeout, ...(id === undefined ? {} : { id }), ...(meta === undefined ? {} : { meta }) }
    const outcome: Outcome<any> = await replica.execute(name, input, options)
    end(outcome.duplicate ? 'duplicate' : outcome.status)
    return answerOf(outcome)
  } catch (error) {
    const problem = Problem.of(error)
    if (problem.code !== 'rejected') end(problem.code)
    throw problem
  }
}

/** @throws Problem rejected */
function answerOf(outcome: Outcome<any>): Answer {
  const headers = { 'mainstem-token': outcome.token }
  if (outcome.status === 'accepted') return json(outcome, headers)
  const { code, details, token, duplicate } = outcome
  throw new Problem('rejected', {
    detail: `the app says no: ${code}`,
    members: { rejection: { code, ...(details === undefined ? {} : { details }) }, token, duplicate },
    headers,
  })
}
