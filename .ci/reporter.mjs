/**
 * A reporter of vitest for `.ci/run`. Writes to the folder $REPORTS how many tests passed and how many did not (`counts`),
 * and adds to `failures` whatever failed: a test, a hook, a file that could not be loaded, an error outside of all of them.
 */
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'

const LINES = 15
const WIDTH = 300
const NOISE = /^\s*(\w*Error: )?$|^\s+at .*(node_modules|node:internal)/

export default class Reporter {
  onTestRunEnd(modules, unhandled) {
    let passed = 0
    const failures = []
    for (const module of modules) {
      const before = failures.length
      for (const test of module.children.allTests()) {
        const { state, errors = [] } = test.result()
        if (state === 'passed') passed++
        else failures.push(named(test, state === 'failed' ? errors : [{ message: `did not run: ${state}` }]))
      }
      const others = [module, ...module.children.allSuites()].filter(part => part.errors().length > 0)
      failures.push(...others.map(part => named(part, part.errors())))
      if (module.state() !== 'passed' && failures.length === before) failures.push(named(module, [{ message: `it is ${module.state()}` }]))
    }
    failures.push(...unhandled.map(error => `FAILED outside of the tests\n${told([error])}`))
    writeFileSync(join(process.env.REPORTS, 'counts'), `${passed} ${failures.length}\n`)
    appendFileSync(join(process.env.REPORTS, 'failures'), failures.map(failure => `\n${failure}`).join(''))
  }
}

function named(part, errors) {
  const { relativeModuleId } = part.module ?? part
  return `FAILED ${relativeModuleId}${part.fullName === undefined ? '' : ` > ${part.fullName}`}\n${told(errors)}`
}

/** The beginning of the messages, with the difference and the places in our files. */
function told(errors) {
  const text = errors.map(({ message, diff = '', stack = '' }) => [message, diff, stack.replace(message, '')].join('\n')).join('\n')
  const lines = stripVTControlCharacters(text)
    .split('\n')
    .filter(line => !NOISE.test(line))
  return lines
    .slice(0, LINES)
    .map(line => `    ${line.slice(0, WIDTH)}\n`)
    .join('')
}
