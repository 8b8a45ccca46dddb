/** Before anything runs on a cluster: what is unsafe there is refused, unless it was accepted by name. */
import { EngineError } from '../../errors.ts'
import type { Finding } from '../finding.ts'
import { CHECKS, type CheckName, examine } from './checks.ts'
import { type FactOptions, gatherFacts } from './facts.ts'
import type { Topic } from './topic.ts'

export interface GuardOptions extends FactOptions {
  /** Names of what may be as it is. */
  readonly accept: readonly string[]
}

/**
 * @returns what is no reason to refuse, but should be known
 * @throws EngineError log-unsafe, with all that is unsafe and how to mend it; invalid-option, log-unreachable
 */
export async function checkCluster(topic: Topic, { accept, ...options }: GuardOptions): Promise<readonly string[]> {
  checkAccepted(accept)
  return judge(examine(await gatherFacts(topic, options)), topic.name, accept)
}

/** @throws EngineError invalid-option: a name that is mistyped would be refused with a riddle */
export function checkAccepted(accept: readonly string[]): void {
  const wrong = accept.find(name => !Object.hasOwn(CHECKS, name))
  if (wrong === undefined) return
  throw new EngineError(
    'invalid-option',
    `there is no check ${JSON.stringify(wrong)} to accept. There are: ${Object.keys(CHECKS).join(', ')}`,
  )
}

export function judge(findings: readonly Finding<CheckName>[], topic: string, accept: readonly string[]): string[] {
  const refused = findings.filter(({ level, name }) => level === 'unsafe' && !accept.includes(name))
  if (refused.length > 0) {
    const told = refused.map(
      ({ name, cause, risk, mend }) => `\n  ${name}: ${cause}\n    risk: ${risk}\n    mend: ${mend.replaceAll('\n', '\n          ')}`,
    )
    throw new EngineError(
      'log-unsafe',
      `the topic ${topic} is not safe for a log:${told.join('')}\n  Mend that, or accept it by name (option accept, or MAINSTEM_ACCEPT=${refused.map(({ name }) => name).join(',')}). \`mainstem doctor\` shows everything`,
      { details: { findings: refused } },
    )
  }
  return findings.flatMap(({ level, name, cause, risk, mend }) => {
    if (level === 'unsafe') return [`unsafe, but accepted (${name}): ${cause}. ${capital(risk)}`]
    return level === 'ok' || accept.includes(name) ? [] : [`${name}: ${cause}. ${capital(risk)}. To mend: ${mend.replaceAll('\n', '; ')}`]
  })
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
