import { memberId } from '../../domain/account.ts';
import { chargesModel } from '../../domain/account-from-object.ts';
import { ledgerId } from '../../domain/budget-terms.ts';
import type { UsageRecord } from '../../domain/usage.ts';
import type { ChargeSum, CurrentLedger } from '../../storage/repositories/budgets.ts';

/** Everybody whose spend a record counts for, as plain ledger ids; budget or not. */
export function payersOf(record: UsageRecord): string[] {
  const { token, userId, teamId, organizationId, endUser, tags, provider, modelId } = record;
  const payers = [
    ledgerId('key', token, ''),
    ledgerId('provider', provider, ''),
    ledgerId('deployment', modelId, ''),
    ledgerId('global', '', ''),
  ];
  if (teamId !== null) {
    payers.push(ledgerId('team', teamId, ''));
    if (userId !== null) payers.push(ledgerId('team_member', memberId(teamId, userId), ''));
  } else if (userId !== null) payers.push(ledgerId('user', userId, ''));
  if (organizationId !== null) payers.push(ledgerId('organization', organizationId, ''));
  if (endUser !== null) payers.push(ledgerId('customer', endUser, ''));
  for (const tag of new Set(tags)) payers.push(ledgerId('tag', tag, ''));
  return payers;
}

/**
 * What records are charged to, in order of ledger and period: the charges that they carry, and ledgers of their payers that they do not
 * (a budget that is younger than the call, or a call that was let in by an overdraft). Each ledger once per record.
 */
export function chargeSums(records: readonly UsageRecord[], current: readonly CurrentLedger[]): ChargeSum[] {
  const byPayer = new Map<string, CurrentLedger[]>();
  for (const ledger of current) {
    const known = byPayer.get(ledger.payer);
    if (known === undefined) byPayer.set(ledger.payer, [ledger]);
    else known.push(ledger);
  }
  const sums = new Map<string, Mutable<ChargeSum>>();
  const add = (ledger: string, periodStartMs: number, costNano: bigint, isLeased: boolean): void => {
    const id = `${ledger} ${periodStartMs}`;
    let sum = sums.get(id);
    if (sum === undefined) {
      sum = { ledger, periodStartMs, costNano: 0n, leasedNano: 0n, calls: 0 };
      sums.set(id, sum);
    }
    sum.costNano += costNano;
    if (isLeased) sum.leasedNano += costNano;
    sum.calls += 1;
  };
  for (const record of records) {
    const costNano = BigInt(record.costNano);
    const leased = new Set<string>();
    for (const [ledger, periodStartMs] of record.charges ?? []) {
      // Below zero: no lease stood behind it.
      if (periodStartMs < 0) continue;
      leased.add(ledger);
      add(ledger, periodStartMs, costNano, true);
    }
    if (costNano === 0n || byPayer.size === 0) continue;
    for (const payer of payersOf(record)) {
      for (const { ledger, models, periodStartMs } of byPayer.get(payer) ?? []) {
        if (!leased.has(ledger) && chargesModel(models, record.modelGroup)) add(ledger, periodStartMs, costNano, false);
      }
    }
  }
  return [...sums.values()].sort((a, b) =>
    a.ledger === b.ledger ? a.periodStartMs - b.periodStartMs : a.ledger < b.ledger ? -1 : 1,
  );
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };
