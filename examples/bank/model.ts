/**
 * A bank, in several files: here its events and tables, which everything else is typed by. Amounts are whole cents.
 *
 * The tables forbid nothing: that no balance falls below zero, and nobody's withdrawals exceed a day's limit, is the work of the
 * commands alone. `entry` and `withdrawal` keep what is needed to show that it was done.
 */
import { event, model, sqlite } from 'mainstem'
import { z } from 'zod'

export const name = z.string().regex(/^[\w .-]{1,40}$/)
/** 100 million EUR at most: sums stay far below the largest exact number. */
export const cents = z.int().positive().max(10_000_000_000)

const DepositedV1 = z.object({ account: z.string(), cents: z.int() })

export const bank = model({
  events: {
    AccountOpened: z.object({ account: z.string(), person: z.string() }),
    // The first version knew no reference.
    Deposited: event(DepositedV1).next(DepositedV1.extend({ reference: z.string() }), old => ({ ...old, reference: '' })),
    // `day` is stored as it was decided: a projection that computed it would rewrite history when time zone rules change.
    Withdrawn: z.object({ account: z.string(), person: z.string(), cents: z.int(), day: z.iso.date() }),
    Transferred: z.object({ from: z.string(), to: z.string(), cents: z.int() }),
  },
  database: sqlite(`
    CREATE TABLE account (id TEXT PRIMARY KEY, person TEXT NOT NULL, cents INTEGER NOT NULL) STRICT;
    CREATE INDEX account_person ON account (person);
    CREATE TABLE entry (version INTEGER, account TEXT, cents INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (version, account)) STRICT;
    CREATE TABLE withdrawal (version INTEGER PRIMARY KEY, person TEXT NOT NULL, day TEXT NOT NULL, cents INTEGER NOT NULL) STRICT;
    CREATE INDEX withdrawal_person_day ON withdrawal (person, day);
  `),
})
