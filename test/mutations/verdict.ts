/** The judge, and the app as he knows it: never the broken sources (`hook.ts`). */
import { dumpOf, judge, type Problem } from '../../src/testing/judge.ts'
import type { Run } from '../../src/testing/world/run.ts'
import { till } from './till.ts'

export const dump = dumpOf(till)

export const verdictOn = (run: Run): readonly Problem[] => judge(till, run).problems
