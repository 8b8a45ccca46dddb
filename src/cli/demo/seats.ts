/** Seats of a theatre, each sold once at a time. No table forbids a second sale: that none happens is the work of `decide` alone. */
import { app, sqlite } from '../../index.ts'
import { type Demo, numbered, pick } from './demo.ts'
import { fields } from './schema.ts'

const seats = app('seats', {
  events: {
    SeatReserved: fields({ seat: 'text', guest: 'text' }),
    SeatReleased: fields({ seat: 'text' }),
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
      input: fields({ seat: 'text', guest: 'text' }),
      scope: ({ seat }) => [`seat:${seat}`],
      decide: ({ seat, guest }, { db, emit, reject }) =>
        db.get('SELECT 1 FROM sale WHERE seat = ? AND released IS NULL', seat)
          ? reject('seat-taken', { seat })
          : emit('SeatReserved', { seat, guest }),
    },
    release: {
      input: fields({ seat: 'text' }),
      scope: ({ seat }) => [`seat:${seat}`],
      decide: ({ seat }, { db, emit, reject }) =>
        db.get('SELECT 1 FROM sale WHERE seat = ? AND released IS NULL', seat)
          ? emit('SeatReleased', { seat })
          : reject('seat-free', { seat }),
    },
    move: {
      input: fields({ from: 'text', to: 'text' }),
      scope: ({ from, to }) => [`seat:${from}`, `seat:${to}`],
      decide({ from, to }, { db, emit, reject }) {
        const sale = db.get<{ guest: string }>('SELECT guest FROM sale WHERE seat = ? AND released IS NULL', from)
        if (!sale) return reject('seat-free', { seat: from })
        if (db.get('SELECT 1 FROM sale WHERE seat = ? AND released IS NULL', to)) return reject('seat-taken', { seat: to })
        return [emit('SeatReleased', { seat: from }), emit('SeatReserved', { seat: to, guest: sale.guest })]
      },
    },
  },
  queries: {
    taken: {
      run: (_, { db }) => db.all<{ seat: string; guest: string }>('SELECT seat, guest FROM sale WHERE released IS NULL ORDER BY seat'),
    },
  },
})

const all = numbered('S', 300)
const guests = numbered('guest-', 60)

export const seatsDemo: Demo = {
  app: seats,
  story: '60 guests want the same 300 seats of a theatre: they reserve, change their minds, and move.',
  invariant: {
    name: 'no seat is sold twice at a time',
    sql: `
      SELECT earlier.seat, earlier.guest AS first, later.guest AS second, later.reserved AS version
      FROM sale AS earlier JOIN sale AS later ON later.seat = earlier.seat AND later.reserved > earlier.reserved
      WHERE earlier.released IS NULL OR earlier.released > later.reserved`,
  },
  setUp: [],
  call(random) {
    const seat = pick(random, all)
    const what = random()
    if (what < 0.7) return { command: 'reserve', input: { seat, guest: pick(random, guests) } }
    return what < 0.85 ? { command: 'release', input: { seat } } : { command: 'move', input: { from: seat, to: pick(random, all) } }
  },
}
