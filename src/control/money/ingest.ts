import type { UsageRecord } from '../../domain/usage.ts';
import type { UsageBatch, UsageReply } from '../../feed/protocol.ts';
import type { Log } from '../../observe/log.ts';
import { type Database, isDataError, type Tx } from '../../storage/db.ts';
import { currentLedgersOf, settleCharges } from '../../storage/repositories/budgets.ts';
import { readPosition } from '../../storage/repositories/installation.ts';
import {
  addDailySpend,
  addKeySpend,
  advanceCursor,
  attempt,
  type DeadLetter,
  insertDeadLetters,
  insertRecords,
  type LogStretch,
  spendOf,
} from '../../storage/repositories/usage.ts';
import { chargeSums, payersOf } from './charge-sums.ts';
import { sumByDay, sumByKey } from './sum-usage.ts';
import { checkUsageRecord } from './validate-usage-record.ts';

export interface IngestOptions {
  readonly db: Database;
  readonly log: Log;
  readonly onIngested?: (counts: IngestCounts) => void;
}

export interface IngestCounts {
  readonly inserted: number;
  /** Rows that were there already: the batch overlaps one that was ingested under another cursor. */
  readonly duplicates: number;
  readonly deadLetters: number;
}

/** The log of a gateway process belongs to another installation: it is never mixed in. */
export class ForeignUsage extends Error {
  override name = 'ForeignUsage';
  constructor(gatewayId: string, theirs: string, ours: string) {
    super(
      `The usage log of ${gatewayId} belongs to installation ${theirs}, but this database is installation ${ours}. ` +
        'Point the instance at its own database, or move its data directory away.',
    );
  }
}

/**
 * Takes a stretch of a usage log in one transaction: the cursor moves, rows are inserted, and sums grow by exactly the rows that were
 * new. Any of it repeated, in whatever order and by however many control processes, changes nothing the second time.
 */
export async function ingestUsage(batch: UsageBatch, { db, log, onIngested }: IngestOptions): Promise<UsageReply> {
  const { gatewayId, incarnation, region, from, to } = batch;
  const stretch: LogStretch = { gatewayId, incarnation, region, from, to };
  const { records, letters } = sortOut(batch.records);

  const take = (insert: Insert) =>
    db.write(async (tx): Promise<{ reply: UsageReply; counts: IngestCounts | null }> => {
      const { installation } = await readPosition(tx);
      if (installation !== batch.installation) throw new ForeignUsage(gatewayId, batch.installation, installation);
      const standsAt = await advanceCursor(tx, stretch);
      if (standsAt !== null) return { reply: { ok: false, cursor: standsAt }, counts: null };

      const { inserted, refused } = await insert(tx, stretch, records);
      const fresh = records.filter((record) => inserted.has(record.requestId));
      await addKeySpend(tx, sumByKey(fresh));
      await addDailySpend(tx, sumByDay(fresh, region));
      const ledgers = await currentLedgersOf(tx, [...new Set(fresh.flatMap(payersOf))]);
      await settleCharges(tx, stretch, chargeSums(fresh, ledgers));
      await insertDeadLetters(tx, stretch, [...letters, ...refused]);
      const spend = await spendOf(tx, [...new Set(records.map((record) => record.token))]);
      const deadLetters = letters.length + refused.length;
      const duplicates = records.length - fresh.length - refused.length;
      return { reply: { ok: true, cursor: to, spend }, counts: { inserted: fresh.length, duplicates, deadLetters } };
    });

  const { reply, counts } = await take(insertAll).catch((error: unknown) => {
    if (!isDataError(error)) throw error;
    // Something passed our checks that PostgreSQL does not take. It must not hold up the records behind it.
    log.error(
      { err: error, gatewayId, from, to },
      'a usage batch was refused by the database; its records are tried one by one',
    );
    return take(insertOneByOne);
  });
  if (counts !== null) {
    if (counts.deadLetters > 0)
      log.error({ gatewayId, from, to, count: counts.deadLetters }, 'usage records were set aside as dead letters');
    onIngested?.(counts);
  }
  return reply;
}

interface Inserted {
  /** Request ids of the rows that are new. */
  readonly inserted: ReadonlySet<string>;
  readonly refused: readonly DeadLetter[];
}

type Insert = (tx: Tx, stretch: LogStretch, records: readonly UsageRecord[]) => Promise<Inserted>;

const insertAll: Insert = async (tx, stretch, records) => ({
  inserted: records.length === 0 ? new Set() : await insertRecords(tx, stretch, records),
  refused: [],
});

const insertOneByOne: Insert = async (tx, stretch, records) => {
  const inserted = new Set<string>();
  const refused: DeadLetter[] = [];
  // In order of id, as the single statement does it.
  for (const record of [...records].sort((a, b) => (a.requestId < b.requestId ? -1 : 1))) {
    const result = await attempt(tx, () => insertRecords(tx, stretch, [record]));
    if ('value' in result) for (const requestId of result.value) inserted.add(requestId);
    else if (isDataError(result.error)) {
      refused.push({ record: JSON.stringify(record), reason: `database: ${(result.error as Error).message}` });
    } else throw result.error;
  }
  return { inserted, refused };
};

/** Records that can be stored, each request id once, and the rest with the reason. */
function sortOut(given: readonly unknown[]): { records: UsageRecord[]; letters: DeadLetter[] } {
  const records = new Map<string, UsageRecord>();
  const letters: DeadLetter[] = [];
  for (const value of given) {
    const checked = checkUsageRecord(value);
    // JSON text escapes what PostgreSQL can not store, so a dead letter always fits.
    if ('reason' in checked) letters.push({ record: JSON.stringify(value), reason: checked.reason });
    else if (!records.has(checked.record.requestId)) records.set(checked.record.requestId, checked.record);
  }
  return { records: [...records.values()], letters };
}
