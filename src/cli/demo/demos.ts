/** The demos by name. */
import { bankDemo } from './bank.ts'
import type { Demo } from './demo.ts'
import { seatsDemo } from './seats.ts'
import { warehouseDemo } from './warehouse.ts'

export const demos: ReadonlyMap<string, Demo> = new Map([
  ['seats', seatsDemo],
  ['bank', bankDemo],
  ['warehouse', warehouseDemo],
])
