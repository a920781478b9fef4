import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { pick } from '../../../tests/support/length.ts';
import { silentLog } from '../../../tests/support/silent-log.ts';
import { createTestDatabase, type TestDatabase } from '../../../tests/support/test-database.ts';
import type { Database } from '../../storage/db.ts';
import { createDatabase } from '../../storage/pool.ts';
import {
  type AskInput,
  closePots,
  type LedgerWish,
  type StoredReply,
  settleCharges,
  storeBudgetTerms,
  takeLeaseAsk,
} from '../../storage/repositories/budgets.ts';
import { openDatabase } from '../open-database.ts';
import { decideGrant } from './decide-grant.ts';

let database: TestDatabase;
let db: Database;

beforeAll(async () => {
  database = await createTestDatabase();
  db = createDatabase({ url: database.url, connectionsMax: 8, log: silentLog });
  await openDatabase({
    db,
    migrationUrl: database.url,
    disableSchemaUpdate: false,
    sealingKey: 'salt',
    log: silentLog,
  });
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

beforeEach(async () => {
  await db.write(async (tx) => {
    await sql`truncate claviger.budget_terms, claviger.budget_ledger, claviger.budget_pot, claviger.lease_cursor, claviger.key_spend`.execute(
      tx,
    );
  });
});

const LEDGER = 'team:red';

async function budgetOf(maxNano: bigint, ledger = LEDGER): Promise<void> {
  await db.write((tx) =>
    storeBudgetTerms(tx, ledger, [
      { ledger, slot: '', maxNano, extraNano: 0n, extraUntilMs: null, duration: null, resetAnchorMs: 0, models: null },
    ]),
  );
}

function wish(given: Partial<LedgerWish> = {}): LedgerWish {
  const ledger = given.ledger ?? LEDGER;
  return {
    ledger,
    payer: ledger,
    slot: '',
    template: null,
    models: null,
    duration: null,
    periodStartMs: 0,
    periodEndMs: null,
    needNano: '10',
    wantNano: '10',
    ratePerMinuteNano: '0',
    offlineNano: '0',
    termsMaxNano: null,
    averageNano: null,
    ...given,
  };
}

async function take(input: Partial<AskInput> & { ask: number }): Promise<StoredReply> {
  const { reply } = await takeLeaseAsk(db, {
    gatewayId: 'i/0',
    incarnation: 'one',
    wishes: [],
    returns: [],
    declares: null,
    ...input,
  });
  return reply;
}

async function granted(input: Partial<AskInput> & { ask: number }) {
  const reply = await take(input);
  if (!reply.ok) throw new Error('was not taken');
  return reply.grants.map(({ grantedNano, refusal }) => refusal ?? BigInt(grantedNano));
}

async function ledger(name = LEDGER) {
  const { rows } = await db.read((tx) =>
    sql<{ settled_nano: bigint; escrow_nano: bigint; pots_nano: bigint; calls: bigint }>`
      select l.settled_nano, l.escrow_nano, l.calls,
             coalesce((select sum(greatest(0, amount_nano - settled_nano)) from claviger.budget_pot p
                        where p.ledger = l.ledger and p.period_start = l.period_start), 0)::bigint as pots_nano
        from claviger.budget_ledger l where ledger = ${name}
    `.execute(tx),
  );
  return rows[0]!;
}

const settle = (costNano: bigint, leasedNano = costNano, gatewayId = 'i/0') =>
  db.write((tx) =>
    settleCharges(tx, { gatewayId, incarnation: 'one' }, [
      { ledger: LEDGER, periodStartMs: 0, costNano, leasedNano, calls: 1 },
    ]),
  );

describe('an ask', () => {
  it('B6: has its effect once, however often it comes, and gives the same answer each time', async () => {
    await budgetOf(1_000n);
    const first = await take({ ask: 1, wishes: [wish({ needNano: '100', wantNano: '100' })] });
    expect(await take({ ask: 1, wishes: [wish({ needNano: '100', wantNano: '100' })] })).toEqual(first);
    expect(await ledger()).toMatchObject({ escrow_nano: 100n, pots_nano: 100n });
    expect(await granted({ ask: 2, wishes: [wish({ needNano: '50', wantNano: '50' })] })).toEqual([50n]);
    // Late, after the next one: it is told where things stand and changes nothing.
    expect(await take({ ask: 1, wishes: [wish()] })).toEqual({ ok: false, cursor: 2, declare: true });
    expect(await ledger()).toMatchObject({ escrow_nano: 150n, pots_nano: 150n });
  });

  it('B6: of two at the same time with one number, one is applied', async () => {
    await budgetOf(1_000n);
    const replies = await Promise.all(
      Array.from({ length: 6 }, () => take({ ask: 1, wishes: [wish({ needNano: '100', wantNano: '100' })] })),
    );
    for (const reply of replies) expect(reply).toEqual(replies[0]);
    expect(await ledger()).toMatchObject({ escrow_nano: 100n });
  });

  it('B3: grants no more than there is, to many processes at once', async () => {
    await budgetOf(1_000n);
    const amounts = await Promise.all(
      Array.from({ length: 8 }, (_, slot) =>
        granted({ ask: 1, gatewayId: `i/${slot}`, wishes: [wish({ needNano: '300', wantNano: '300' })] }),
      ),
    );
    const sizes = amounts.flat().filter((amount) => typeof amount === 'bigint');
    expect(sizes).toEqual([300n, 300n, 300n]);
    expect(amounts.flat().filter((amount) => amount === 'short')).toHaveLength(5);
    expect(await ledger()).toMatchObject({ settled_nano: 0n, escrow_nano: 900n, pots_nano: 900n });
  });

  it('says of a budget whether it is spent or held by others, and asks these for it', async () => {
    await budgetOf(100n);
    expect(await granted({ ask: 1, wishes: [wish({ needNano: '100', wantNano: '100' })] })).toEqual([100n]);
    expect(await granted({ ask: 1, gatewayId: 'j/0', wishes: [wish()] })).toEqual(['short']);
    const told = await take({ ask: 2 });
    expect(told).toMatchObject({ recalled: [{ ledger: LEDGER, periodStartMs: 0 }] });
    expect(await take({ ask: 3 })).toMatchObject({ recalled: [] });
    await settle(100n);
    expect(await granted({ ask: 2, gatewayId: 'j/0', wishes: [wish()] })).toEqual(['spent']);
    expect(await granted({ ask: 3, gatewayId: 'j/0', wishes: [wish({ ledger: 'team:nobody' })] })).toEqual(['unknown']);
    expect(await granted({ ask: 4, gatewayId: 'j/0', wishes: [wish({ duration: '1d' })] })).toEqual(['terms']);
  });

  it('gives back what it returns, and never raises a pot by it', async () => {
    await budgetOf(1_000n);
    await take({ ask: 1, wishes: [wish({ needNano: '400', wantNano: '400' })] });
    await settle(100n);
    expect(await ledger()).toMatchObject({ settled_nano: 100n, escrow_nano: 300n, pots_nano: 300n });
    await take({ ask: 2, returns: [{ ledger: LEDGER, periodStartMs: 0, amountNano: '150' }] });
    expect(await ledger()).toMatchObject({ settled_nano: 100n, escrow_nano: 50n, pots_nano: 50n });
    await take({ ask: 3, returns: [{ ledger: LEDGER, periodStartMs: 0, amountNano: '900' }] });
    expect(await ledger()).toMatchObject({ escrow_nano: 50n, pots_nano: 50n });
  });

  it('with declarations adopts what a process holds, whatever the database remembers', async () => {
    await budgetOf(1_000n);
    await take({ ask: 1, wishes: [wish({ needNano: '100', wantNano: '100' })] });
    expect(await take({ ask: 9 })).toEqual({ ok: false, cursor: 1, declare: true });
    const declares = [
      { ledger: LEDGER, periodStartMs: 0, amountNano: '700' },
      { ledger: 'team:other', periodStartMs: 0, amountNano: '5' },
    ];
    expect(await take({ ask: 2, declares })).toMatchObject({ ok: true });
    expect(await ledger()).toMatchObject({ escrow_nano: 700n, pots_nano: 700n });
    expect(await ledger('team:other')).toMatchObject({ escrow_nano: 5n, pots_nano: 5n });
    await take({ ask: 3, declares: [] });
    expect(await ledger()).toMatchObject({ escrow_nano: 0n, pots_nano: 0n });
  });

  it('grants nothing in the first half minute of a new epoch', async () => {
    await budgetOf(1_000n);
    await db.write((tx) => sql`update claviger.installation set epoch = epoch + 1, epoch_at = now()`.execute(tx));
    expect(await granted({ ask: 1, wishes: [wish()] })).toEqual(['learning']);
    await db.write((tx) => sql`update claviger.installation set epoch_at = now() - interval '31 seconds'`.execute(tx));
    expect(await granted({ ask: 2, wishes: [wish()] })).toEqual([10n]);
  });
});

describe('a ledger', () => {
  it('begins with what its payer has spent', async () => {
    await db.write((tx) => sql`insert into claviger.key_spend values ('abc', 70)`.execute(tx));
    await budgetOf(100n, 'key:abc');
    expect(await granted({ ask: 1, wishes: [wish({ ledger: 'key:abc', needNano: '30', wantNano: '30' })] })).toEqual([
      30n,
    ]);
    expect(await granted({ ask: 2, wishes: [wish({ ledger: 'key:abc' })] })).toEqual(['short']);
  });

  it('counts what is spent without a lease, and what costs more than was held', async () => {
    await budgetOf(1_000n);
    await take({ ask: 1, wishes: [wish({ needNano: '100', wantNano: '100' })] });
    await settle(50n, 0n);
    expect(await ledger()).toMatchObject({ settled_nano: 50n, escrow_nano: 100n, calls: 1n });
    await settle(130n);
    expect(await ledger()).toMatchObject({ settled_nano: 180n, escrow_nano: 0n, pots_nano: 0n, calls: 2n });
  });

  it('B8: has what a lost process held again only when somebody says so', async () => {
    await budgetOf(1_000n);
    await take({ ask: 1, wishes: [wish({ needNano: '400', wantNano: '400' })] });
    await take({ ask: 1, gatewayId: 'j/0', wishes: [wish({ needNano: '100', wantNano: '100' })] });
    expect(await db.write((tx) => closePots(tx, 'i', true))).toBe(400n);
    expect(await ledger()).toMatchObject({ settled_nano: 400n, escrow_nano: 100n, pots_nano: 100n });
    expect(await db.write((tx) => closePots(tx, 'j', false))).toBe(100n);
    expect(await ledger()).toMatchObject({ settled_nano: 400n, escrow_nano: 0n, pots_nano: 0n });
    // It comes back after all, and hears of it once.
    expect(await take({ ask: 2 })).toMatchObject({ closed: [{ ledger: LEDGER, periodStartMs: 0 }] });
    expect(await take({ ask: 3 })).toMatchObject({ closed: [] });
  });

  it('adds a temporary increase until its moment', async () => {
    const terms = {
      ledger: LEDGER,
      slot: '',
      maxNano: 100n,
      extraNano: 50n,
      duration: null,
      resetAnchorMs: 0,
      models: null,
    };
    await db.write((tx) => storeBudgetTerms(tx, LEDGER, [{ ...terms, extraUntilMs: Date.now() + 60_000 }]));
    expect(await granted({ ask: 1, wishes: [wish({ needNano: '150', wantNano: '150' })] })).toEqual([150n]);
    await db.write((tx) => storeBudgetTerms(tx, LEDGER, [{ ...terms, extraUntilMs: Date.now() - 1 }]));
    expect(await granted({ ask: 2, wishes: [wish()] })).toEqual(['short']);
  });

  it('gives a starter lease of a thousandth where an average call fits into it', async () => {
    await budgetOf(1_000_000n);
    expect(await granted({ ask: 1, wishes: [wish({ averageNano: '900', needNano: '0', wantNano: '5000' })] })).toEqual([
      1_000n,
    ]);
    expect(await granted({ ask: 2, wishes: [wish({ averageNano: '1200', needNano: '0', wantNano: '5000' })] })).toEqual(
      ['short'],
    );
  });
});

it('B11: SQL and TypeScript size grants alike', async () => {
  const amount = fc.oneof(fc.bigInt(0n, 100n), fc.bigInt(0n, 10n ** 12n), fc.bigInt(0n, 2n ** 53n - 1n));
  await fc.assert(
    fc.asyncProperty(
      fc.record({ needNano: amount, wantNano: amount, ratePerMinuteNano: amount, offlineNano: amount }),
      fc.record({ maxNano: amount, settledNano: amount, escrowNano: amount }),
      async (wished, state) => {
        const { rows } = await db.read((tx) =>
          sql<{ nano: bigint | null }>`
            select claviger.grant_size(${wished.needNano}, ${wished.wantNano}, ${wished.ratePerMinuteNano}, ${wished.offlineNano},
                                       ${state.maxNano}, ${state.settledNano}, ${state.escrowNano}) as nano
          `.execute(tx),
        );
        const decided = decideGrant(wished, state);
        expect(rows[0]!.nano).toBe('nano' in decided ? decided.nano : null);
      },
    ),
    { numRuns: pick(100, 2_000) },
  );
});
