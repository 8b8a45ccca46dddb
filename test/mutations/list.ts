/** All mutations. */
import { fold } from './fold.ts'
import { kafka } from './kafka.ts'
import { machine } from './machine.ts'
import type { Mutation } from './mutation.ts'
import { snapshot } from './snapshot.ts'

export const mutations: readonly Mutation[] = [...fold, ...machine, ...kafka, ...snapshot]
