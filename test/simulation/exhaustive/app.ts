/** The smallest app whose answers tell the order in which its commands were decided: purses, and coins that are taken or given. */
import { z } from 'zod'
import { app } from '../../../src/index.ts'
import { purses } from './store.ts'

const input = z.object({ purse: z.string() })

export default app('purses', {
  events: { Taken: input, Given: input },
  database: purses,
  project: {
    Taken: (db, { purse }) => db.put(purse, db.coins(purse) - 1),
    Given: (db, { purse }) => db.put(purse, db.coins(purse) + 1),
  },
  commands: {
    take: {
      input,
      scope: ({ purse }) => [purse],
      decide: ({ purse }, { db, emit, reject }) => {
        const has = db.coins(purse)
        return has === 0 ? reject('empty') : { events: emit('Taken', { purse }), result: has - 1 }
      },
    },
    give: {
      input,
      scope: ({ purse }) => [purse],
      decide: ({ purse }, { db, emit }) => ({ events: emit('Given', { purse }), result: db.coins(purse) + 1 }),
    },
  },
})
