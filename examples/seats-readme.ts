import { app, sqlite } from 'mainstem'
import { z } from 'zod'

export default app('seats', {
  events: { SeatReserved: z.object({ seat: z.string(), guest: z.string() }), SeatReleased: z.object({ seat: z.string() }) },
  database: sqlite(`CREATE TABLE seat (id TEXT PRIMARY KEY, guest TEXT NOT NULL) STRICT`),
  project: {
    SeatReserved: (db, { seat, guest }) => db.run('INSERT INTO seat VALUES (?, ?)', seat, guest),
    SeatReleased: (db, { seat }) => db.run('DELETE FROM seat WHERE id = ?', seat),
  },
  commands: {
    reserve: {
      input: z.object({ seat: z.string(), guest: z.string() }),
      scope: ({ seat }) => [`seat:${seat}`],
      decide: ({ seat, guest }, { db, emit, reject }) =>
        db.get('SELECT 1 FROM seat WHERE id = ?', seat) ? reject('seat-taken', { seat }) : emit('SeatReserved', { seat, guest }),
    },
  },
  queries: { taken: { run: (_, { db }) => db.all<{ id: string; guest: string }>('SELECT * FROM seat ORDER BY id') } },
})
