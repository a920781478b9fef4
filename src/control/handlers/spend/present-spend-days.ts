import { dollarsFromNano } from '../../../domain/money.ts';
import type { SpendPerDay } from '../../../storage/queries/spend-per-day.ts';

/** `{startTime, spend, users, models, <key hash>: spend}` per day. Summed in nano-dollars, so the parts add up to the whole. */
export function presentSpendDays(rows: readonly SpendPerDay[]): Record<string, unknown>[] {
  const days = new Map<string, Day>();
  for (const row of rows) {
    const day = days.get(row.date) ?? { spend: 0n, users: new Map(), models: new Map(), keys: new Map() };
    days.set(row.date, day);
    day.spend += row.spend_nano;
    add(day.users, row.user_id ?? '', row.spend_nano);
    add(day.models, row.model, row.spend_nano);
    add(day.keys, row.token, row.spend_nano);
  }
  return [...days].map(([date, day]) => ({
    ...dollars(day.keys),
    startTime: date,
    spend: dollarsFromNano(day.spend),
    users: dollars(day.users),
    models: dollars(day.models),
  }));
}

interface Day {
  spend: bigint;
  readonly users: Map<string, bigint>;
  readonly models: Map<string, bigint>;
  readonly keys: Map<string, bigint>;
}

function add(sums: Map<string, bigint>, name: string, nano: bigint): void {
  sums.set(name, (sums.get(name) ?? 0n) + nano);
}

function dollars(sums: ReadonlyMap<string, bigint>): Record<string, number> {
  return Object.fromEntries([...sums].map(([name, nano]) => [name, dollarsFromNano(nano)]));
}
