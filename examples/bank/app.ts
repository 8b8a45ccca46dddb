/** The bank, put together from its parts. */
import { z } from 'zod'
import { type Account, accountProjections, deposit, openAccount, transfer } from './accounts.ts'
import { bank, name } from './model.ts'
import { dailyLimit, withdraw, withdrawProjections } from './withdraw.ts'

export default bank.app('bank', {
  project: { ...accountProjections, ...withdrawProjections },
  commands: { open: openAccount, deposit, withdraw, transfer },
  queries: {
    accounts: bank.query({
      input: z.object({ person: name }),
      run: ({ person }, { db }) => db.all<Account>('SELECT id, person, cents FROM account WHERE person = ? ORDER BY id', person),
    }),
    statement: {
      input: z.object({ account: name }),
      run: ({ account }, { db }) =>
        db.all<{ version: number; cents: number; text: string }>(
          'SELECT version, cents, text FROM entry WHERE account = ? ORDER BY version',
          account,
        ),
    },
    total: { run: (_, { db }) => db.get<{ cents: number }>('SELECT coalesce(sum(cents), 0) AS cents FROM account')!.cents },
  },
})

/** A moment at which an account stood below zero, or a day on which somebody took out too much. */
export const invariant = {
  name: 'no balance below zero, and nobody withdraws more than 1,500.00 EUR a day',
  sql: `
    SELECT 'balance below zero' AS broken, account AS who, version AS place, cents
    FROM (SELECT account, version, sum(cents) OVER (PARTITION BY account ORDER BY version) AS cents FROM entry)
    WHERE cents < 0
    UNION ALL
    SELECT 'daily limit', person, day, sum(cents) FROM withdrawal GROUP BY person, day HAVING sum(cents) > ${dailyLimit}`,
}
