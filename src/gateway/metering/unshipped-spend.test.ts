import { describe, expect, it } from 'vitest';
import { intentOf, settlementOf } from '../../../tests/support/usage.ts';
import type { Nano } from '../../domain/money.ts';
import { UnshippedSpend } from './unshipped-spend.ts';
import type { SettledCall } from './usage-segment.ts';

const TOKEN = 'a'.repeat(64);

function settled(seq: number, costNano: number): SettledCall {
  const id = `r${seq}`;
  return { seq, intent: intentOf(id), settlement: settlementOf(id, { costNano: costNano as Nano }) };
}

describe('UnshippedSpend', () => {
  it('is what was settled and not shipped, by key', () => {
    const spend = new UnshippedSpend();
    spend.settling(TOKEN, 100 as Nano);
    spend.settling(TOKEN, 20 as Nano);
    spend.settling('other', 3 as Nano);
    expect([spend.of(TOKEN), spend.of('other'), spend.of('unknown')]).toEqual([120n, 3n, 0n]);
    spend.shipped([settled(1, 100)]);
    expect(spend.of(TOKEN)).toBe(20n);
  });

  it('counts a call off once, however often it is reported', () => {
    const spend = new UnshippedSpend();
    spend.settling(TOKEN, 100 as Nano);
    spend.settling(TOKEN, 20 as Nano);
    spend.shipped([settled(1, 100)]);
    spend.shipped([settled(1, 100)]);
    expect(spend.of(TOKEN)).toBe(20n);
  });

  it('is nothing when all is shipped, but for what is not written yet', () => {
    const spend = new UnshippedSpend();
    spend.settling(TOKEN, 100 as Nano);
    spend.allShipped();
    expect(spend.of(TOKEN)).toBe(100n);
    spend.written();
    spend.allShipped();
    expect(spend.of(TOKEN)).toBe(0n);
  });
});
