import { describe, expect, it } from 'vitest';
import type { Nano } from '../../domain/money.ts';
import { UnshippedSpend } from './unshipped-spend.ts';

const TOKEN = 'a'.repeat(64);

describe('UnshippedSpend', () => {
  it('is what was settled and not shipped, by key', () => {
    const spend = new UnshippedSpend(0);
    spend.settling(TOKEN, 100 as Nano);
    spend.settling(TOKEN, 20 as Nano);
    spend.settling('other', 3 as Nano);
    expect([spend.of(TOKEN), spend.of('other'), spend.of('unknown')]).toEqual([120n, 3n, 0n]);
    spend.shipped(1, new Map([[TOKEN, 100n]]));
    expect(spend.of(TOKEN)).toBe(20n);
  });

  it('counts a call off once, however often it is reported', () => {
    const spend = new UnshippedSpend(0);
    spend.settling(TOKEN, 100 as Nano);
    spend.settling(TOKEN, 20 as Nano);
    spend.shipped(1, new Map([[TOKEN, 100n]]));
    spend.shipped(1, new Map([[TOKEN, 100n]]));
    expect(spend.of(TOKEN)).toBe(20n);
    expect([spend.counts(1), spend.counts(2)]).toEqual([false, true]);
  });

  it('does not count what an earlier process settled', () => {
    const spend = new UnshippedSpend(10);
    expect([spend.counts(10), spend.counts(11)]).toEqual([false, true]);
  });

  it('is nothing when all is shipped, but for what is not written yet', () => {
    const spend = new UnshippedSpend(0);
    spend.settling(TOKEN, 100 as Nano);
    spend.allShipped();
    expect(spend.of(TOKEN)).toBe(100n);
    spend.written();
    spend.allShipped();
    expect(spend.of(TOKEN)).toBe(0n);
  });
});
