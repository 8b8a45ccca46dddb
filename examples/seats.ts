/**
 * Seats of a theatre: each is sold once at a time. The smallest useful app, with all of it in one literal.
 *
 * `sale` keeps every sale that ever was, and nothing in the table forbids two of one seat: that no seat is sold twice is the work of
 * `decide` alone, and `invariant` can show that it was done.
 */
import { app, sqlite } from 'mainstem'
import { z } from 'zod'

const seat = z.string().min(1).max(20)
const guest = z.string().min(1).max(100)

export default app('seats', {
  events: {
    SeatReserved: z.object({ seat, guest }),
    SeatReleased: z.object({ seat }),
  },

  database: sqlite(`
    CREATE TABLE sale (reserved INTEGER PRIMARY KEY, released INTEGER, seat TEXT NOT NULL, guest TEXT NOT NULL) STRICT;
    CREATE INDEX sale_seat ON sale (seat, released);
  `),

  project: {
    SeatReserved: (db, { seat, guest }, { version }) => db.run('INSERT INTO sale VALUES (?, NULL, ?, ?)', version, seat, guest),
    SeatReleased: (db, { seat }, { version }) => db.run('UPDATE sale SET released = ? WHERE seat = ? AND released IS NULL', version, seat),
  },

  commands: {
    reserve: {
      input: z.object({ seat, guest }),
      scope: ({ seat }) => [`seat:${seat}`],
      decide: ({ seat, guest }, { db, emit, reject }) =>
        db.get('SELECT 1 FROM sale WHERE seat = ? AND released IS NULL', seat)
          ? reject('seat-taken', { seat })
          : emit('SeatReserved', { seat, guest }),
    },

    release: {
      input: z.object({ seat, guest }),
      scope: ({ seat }) => [`seat:${seat}`],
      decide({ seat, guest }, { db, emit, reject }) {
        const sale = db.get<{ guest: string }>('SELECT guest FROM sale WHERE seat = ? AND released IS NULL', seat)
        if (!sale) return reject('seat-free', { seat })
        if (sale.guest !== guest) return reject('not-your-seat', { seat })
        return emit('SeatReleased', { seat })
      },
    },

    move: {
      input: z.object({ from: seat, to: seat }),
      scope: ({ from, to }) => [`seat:${from}`, `seat:${to}`],
      decide({ from, to }, { db, emit, reject }) {
        const sale = db.get<{ guest: string }>('SELECT guest FROM sale WHERE seat = ? AND released IS NULL', from)
        if (!sale) return reject('seat-free', { seat: from })
        if (db.get('SELECT 1 FROM sale WHERE seat = ? AND released IS NULL', to)) return reject('seat-taken', { seat: to })
        const events = [emit('SeatReleased', { seat: from }), emit('SeatReserved', { seat: to, guest: sale.guest })]
        return { events, result: { guest: sale.guest } }
      },
    },
  },

  queries: {
    taken: {
      run: (_, { db }) => db.all<{ seat: string; guest: string }>('SELECT seat, guest FROM sale WHERE released IS NULL ORDER BY seat'),
    },
    seat: {
      input: z.object({ seat }),
      run: ({ seat }, { db }) =>
        db.all<{ guest: string; reserved: number; released: number | null }>(
          'SELECT guest, reserved, released FROM sale WHERE seat = ? ORDER BY reserved',
          seat,
        ),
    },
  },
})

/** Two sales of one seat, the second one begun before the first had ended. */
export const invariant = {
  name: 'no seat is sold twice at a time',
  sql: `
    SELECT earlier.seat, earlier.guest AS first, later.guest AS second, later.reserved AS version
    FROM sale AS earlier JOIN sale AS later ON later.seat = earlier.seat AND later.reserved > earlier.reserved
    WHERE earlier.released IS NULL OR earlier.released > later.reserved`,
}
