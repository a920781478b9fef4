import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { pick } from '../../../tests/support/length.ts';
import type { BudgetTerms } from '../../domain/budget-terms.ts';
import type { Nano } from '../../domain/money.ts';
import type { LeaseGrant, LeaseWish } from '../../feed/protocol.ts';
import {
  IDLE_RETURN_MS,
  type Lack,
  LeaseTable,
  type LedgerUse,
  NO_PERIOD,
  PREGRANT_AHEAD_MS,
  REFUSAL_MEMORY_MS,
  type Reservation,
} from './lease-table.ts';

function use(ledger: string, terms: Partial<BudgetTerms> = {}): LedgerUse {
  return {
    ledger,
    terms: {
      slot: '',
      maxBudget: 1,
      duration: null,
      models: null,
      mode: 'expected',
      strictInjectMaxTokens: false,
      offlineReserveMs: 0,
      offlineOverdraftUsd: 0,
      ...terms,
    },
    template: null,
  };
}

function grant(ledger: string, grantedNano: number, given: Partial<LeaseGrant> = {}): LeaseGrant {
  return {
    ledger,
    periodStartMs: 0,
    endsInMs: null,
    startsInMs: 0,
    grantedNano: String(grantedNano),
    refusal: null,
    maxNano: '1000000000',
    settledNano: '0',
    ...given,
  };
}

function give(table: LeaseTable, grants: readonly LeaseGrant[], nowMs = 0, wishes: readonly LeaseWish[] = []): void {
  table.applyReply({ ok: true, ask: 1, grants, recalled: [], closed: [] }, wishes, nowMs);
}

const nano = (value: number): Nano => value as Nano;
const isReserved = (result: Reservation | Lack): result is Reservation => 'pots' in result;

function reserved(table: LeaseTable, uses: readonly LedgerUse[], estimate: number, nowMs = 0): Reservation {
  const result = table.reserve(uses, nano(estimate), nowMs);
  if (!isReserved(result)) throw new Error(`${result.use.ledger}: ${result.reason}`);
  return result;
}

const red = use('team:red');
const key = use('key:abc');

describe('a reservation', () => {
  it('is over all ledgers of a call or over none', () => {
    const table = new LeaseTable();
    table.reserve([red, key], nano(1), 0);
    give(table, [grant('team:red', 100), grant('key:abc', 10)]);
    expect(table.reserve([red, key], nano(50), 0)).toMatchObject({ use: key, reason: 'unasked' });
    // The team lost nothing by that.
    expect(reserved(table, [red], 100).charges).toEqual([['team:red', 0]]);
  });

  it('is refused without an ask as long as a refusal is remembered, and until the terms are other ones', () => {
    const table = new LeaseTable();
    table.reserve([red], nano(1), 0);
    give(table, [grant('team:red', 0, { refusal: 'spent', settledNano: '1000000000' })]);
    expect(table.reserve([red], nano(1), REFUSAL_MEMORY_MS - 1)).toMatchObject({
      reason: 'spent',
      settledNano: 1_000_000_000n,
    });
    expect(table.reserve([red], nano(1), REFUSAL_MEMORY_MS)).toMatchObject({ reason: 'unasked' });
    give(table, [grant('team:red', 0, { refusal: 'short' })]);
    expect(table.reserve([red], nano(1), 1)).toMatchObject({ reason: 'short' });
    expect(table.reserve([use('team:red', { maxBudget: 2 })], nano(1), 1)).toMatchObject({ reason: 'unasked' });
  });

  it('of a budget of nothing is refused without asking anybody', () => {
    const table = new LeaseTable();
    const none = use('key:none', { maxBudget: 0 });
    expect(table.reserve([none], nano(1), 0)).toMatchObject({ reason: 'spent' });
    table.startWaiting(none, nano(1));
    expect(table.composeAsk(0, 500)).toBeNull();
  });

  it('may go beyond the lease by the declared overdraft, and no further', () => {
    const table = new LeaseTable();
    const generous = use('team:red', { offlineOverdraftUsd: 50e-9 });
    const first = table.reserve([generous], nano(30), 0, true);
    expect(isReserved(first) && first.charges).toEqual([['team:red', NO_PERIOD]]);
    expect(isReserved(table.reserve([generous], nano(20), 0, true))).toBe(true);
    expect(isReserved(table.reserve([generous], nano(1), 0, true))).toBe(false);
    expect(isReserved(table.reserve([generous], nano(1), 0))).toBe(false);
  });
});

describe('a pot', () => {
  it('with a call in flight stays until the call has settled, whatever is recalled or ends', () => {
    const table = new LeaseTable();
    table.reserve([red], nano(1), 0);
    give(table, [grant('team:red', 100, { periodStartMs: 1_000, endsInMs: 5_000 })]);
    const call = reserved(table, [red], 40);
    table.applyReply(
      { ok: true, ask: 2, grants: [], recalled: [{ ledger: 'team:red', periodStartMs: 1_000 }], closed: [] },
      [],
      100_000,
    );
    expect(table.reserve([red], nano(1), 6_000)).toMatchObject({ reason: 'unasked' });
    give(table, [grant('team:red', 10, { periodStartMs: 6_000 })], 6_000);
    expect(table.pots().map(({ periodStartMs }) => periodStartMs)).toEqual([6_000, 1_000]);
    table.settle(call, nano(55));
    expect(table.pots()).toMatchObject([{ periodStartMs: 6_000, amountNano: 10, usedNano: 0 }]);
  });

  it('that is recalled gives back what its process does not need within a second', () => {
    const table = new LeaseTable();
    table.reserve([red], nano(1), 0);
    give(table, [grant('team:red', 1_000)]);
    const call = reserved(table, [red], 100);
    table.applyReply(
      { ok: true, ask: 2, grants: [], recalled: [{ ledger: 'team:red', periodStartMs: 0 }], closed: [] },
      [],
      0,
    );
    expect(table.composeAsk(0, 500)?.returns).toEqual([{ ledger: 'team:red', periodStartMs: 0, amountNano: '110' }]);
    table.settle(call, nano(100));
    expect(reserved(table, [red], 10).pots[0]!.roomNano).toBe(0);
  });

  it('that nobody uses is returned, but for a thousandth of its budget', () => {
    const table = new LeaseTable();
    table.reserve([red], nano(1), 0);
    give(table, [grant('team:red', 50_000_000)]);
    table.settle(reserved(table, [red], 100), nano(100));
    expect(table.composeAsk(IDLE_RETURN_MS - 1, 500)?.returns ?? []).toEqual([]);
    expect(table.composeAsk(IDLE_RETURN_MS, 500)?.returns).toEqual([
      { ledger: 'team:red', periodStartMs: 0, amountNano: '1000100' },
    ]);
    expect(table.composeAsk(IDLE_RETURN_MS + 1, 500)).toBeNull();
  });

  it('of the next period is asked for before the present one ends, and used from then on', () => {
    const table = new LeaseTable();
    table.reserve([red], nano(1), 0);
    const endsInMs = PREGRANT_AHEAD_MS + 10_000;
    give(table, [grant('team:red', 1_000, { periodStartMs: 1, endsInMs })]);
    reserved(table, [red], 10, 9_999);
    expect(table.composeAsk(9_999, 500)).toBeNull();
    const ahead = table.composeAsk(10_000, 500)!.wishes;
    expect(ahead).toMatchObject([{ next: true, needNano: '0' }]);
    give(
      table,
      [grant('team:red', 70, { periodStartMs: 2, startsInMs: endsInMs - 10_000, endsInMs: 10 * endsInMs })],
      10_000,
      ahead,
    );
    expect(reserved(table, [red], 10, endsInMs - 1).charges).toEqual([['team:red', 1]]);
    expect(reserved(table, [red], 10, endsInMs).charges).toEqual([['team:red', 2]]);
  });

  it('is filled ahead of need', () => {
    const table = new LeaseTable();
    table.reserve([red], nano(1), 0);
    give(table, [grant('team:red', 1_000)]);
    reserved(table, [red], 100);
    expect(table.composeAsk(0, 500)).toBeNull();
    reserved(table, [red], 850);
    const [wish] = table.composeAsk(0, 500)!.wishes;
    expect(wish).toMatchObject({ ledger: 'team:red', needNano: '0' });
    expect(Number(wish!.wantNano)).toBeGreaterThan(1_000);
  });
});

test('used and reserved never exceed what was granted, and what a process returns it can not spend', () => {
  const ledgers = ['a', 'b', 'c'].map((name) => use(`team:${name}`, { maxBudget: 1e-6 }));
  const step = fc.oneof(
    fc.record({ do: fc.constant('reserve' as const), mask: fc.integer({ min: 1, max: 7 }), nano: fc.nat(60) }),
    fc.record({ do: fc.constant('settle' as const), at: fc.nat() }),
    fc.record({ do: fc.constant('grant' as const), ledger: fc.nat(2), nano: fc.nat(200) }),
    fc.record({ do: fc.constant('recall' as const), ledger: fc.nat(2) }),
    fc.record({ do: fc.constant('close' as const), ledger: fc.nat(2) }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.nat(70_000) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
      const table = new LeaseTable();
      // What the database would say: granted less returned.
      const held = new Map(ledgers.map(({ ledger }) => [ledger, 0]));
      const spent = new Map(ledgers.map(({ ledger }) => [ledger, 0]));
      const open: Reservation[] = [];
      let nowMs = 0;
      for (const next of steps) {
        const ledger = 'ledger' in next ? ledgers[next.ledger]!.ledger : '';
        if (next.do === 'reserve') {
          const result = table.reserve(
            ledgers.filter((_, bit) => next.mask & (1 << bit)),
            nano(next.nano),
            nowMs,
          );
          if (isReserved(result)) open.push(result);
        } else if (next.do === 'settle' && open.length > 0) {
          const [call] = open.splice(next.at % open.length, 1);
          table.settle(call!, call!.estimateNano);
          for (const [name] of call!.charges) spent.set(name, spent.get(name)! + call!.estimateNano);
        } else if (next.do === 'grant') {
          held.set(ledger, held.get(ledger)! + next.nano);
          give(table, [grant(ledger, next.nano)], nowMs);
        } else if (next.do === 'recall' || next.do === 'close') {
          const pot = [{ ledger, periodStartMs: 0 }];
          const recall = next.do === 'recall';
          table.applyReply(
            { ok: true, ask: 1, grants: [], recalled: recall ? pot : [], closed: recall ? [] : pot },
            [],
            nowMs,
          );
        } else if (next.do === 'wait') nowMs += next.ms;
        for (const returned of table.composeAsk(nowMs, 500)?.returns ?? [])
          held.set(returned.ledger, Number(returned.amountNano));
        const inFlight = new Map<string, number>();
        for (const call of open) {
          for (const [name] of call.charges) inFlight.set(name, (inFlight.get(name) ?? 0) + call.estimateNano);
        }
        for (const { ledger: name, amountNano } of table.pots()) {
          expect(amountNano).toBeLessThanOrEqual(held.get(name)!);
          expect(spent.get(name)! + (inFlight.get(name) ?? 0)).toBeLessThanOrEqual(amountNano);
        }
      }
    }),
    { numRuns: pick(200, 3_000) },
  );
});
