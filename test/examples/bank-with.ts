/** The bank, with another scope of withdrawals. */
import { accountProjections, deposit, openAccount, transfer } from '../../examples/bank/accounts.ts'
import { bank } from '../../examples/bank/model.ts'
import { withdraw, withdrawProjections } from '../../examples/bank/withdraw.ts'

export const bankWith = (scope: typeof withdraw.scope) =>
  bank.app('bank', {
    project: { ...accountProjections, ...withdrawProjections },
    commands: { open: openAccount, deposit, transfer, withdraw: { ...withdraw, scope: scope! } },
  })
