/** `node tally.mjs REPORT STATUS`: prints how many tests of a vitest JSON report passed and how many did not. */
import { readFileSync } from 'node:fs'

const [, , path = '', status] = process.argv
let passed = 0
let failed = 0
try {
  for (const file of JSON.parse(readFileSync(path, 'utf8')).testResults) {
    for (const test of file.assertionResults) {
      if (test.status === 'passed') passed++
      else failed++
      if (test.status !== 'passed' && test.status !== 'failed') console.error(`did not run: ${file.name}: ${test.fullName}`)
    }
    // A file that could not be loaded, or whose hooks failed.
    if (file.status !== 'passed' && file.assertionResults.every(test => test.status === 'passed')) failed++
  }
} catch (error) {
  console.error(`no report of the tests: ${error.message}`)
}
if (status !== '0' && failed === 0) failed = 1
if (status === '0' && passed + failed === 0) failed = 1
console.log(passed, failed)
