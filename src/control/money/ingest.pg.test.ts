import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../../tests/support/silent-log.ts';
import { createTestDatabase, type TestDatabase } from '../../../tests/support/test-database.ts';
import { usageRecord } from '../../../tests/support/usage-records.ts';
import type { Nano } from '../../domain/money.ts';
import type { UsageRecord } from '../../domain/usage.ts';
import type { UsageBatch, UsageReply } from '../../feed/protocol.ts';
import type { Database } from '../../storage/db.ts';
import { createDatabase } from '../../storage/pool.ts';
import { openDatabase } from '../open-database.ts';
import { ForeignUsage, ingestUsage } from './ingest.ts';

let database: TestDatabase;
let db: Database;
let installation: string;

beforeEach(async () => {
  database = await createTestDatabase();
  db = createDatabase({ url: database.url, connectionsMax: 8, log: silentLog });
  const opened = await openDatabase({
    db,
    migrationUrl: database.url,
    disableSchemaUpdate: false,
    sealingKey: 'salt',
    log: silentLog,
  });
  installation = opened.position.installation;
});
afterEach(async () => {
  await db.close();
  await database.drop();
});

function batch(given: Partial<UsageBatch>): UsageBatch {
  return { installation, gatewayId: 'i/0', region: 'eu', incarnation: 'inc-1', from: 0, to: 0, records: [], ...given };
}

const ingest = (given: Partial<UsageBatch>): Promise<UsageReply> => ingestUsage(batch(given), { db, log: silentLog });

async function sums() {
  const { rows } = await db.read((tx) =>
    sql<Record<string, bigint>>`select
      (select count(*) from claviger.spend_log) as rows,
      (select coalesce(sum(cost_nano), 0)::bigint from claviger.spend_log) as logged,
      (select coalesce(sum(spend_nano), 0)::bigint from claviger.key_spend) as keys,
      (select coalesce(sum(spend_nano), 0)::bigint from claviger.daily_spend) as daily,
      (select coalesce(sum(requests), 0)::bigint from claviger.daily_spend) as requests,
      (select count(*) from claviger.usage_dead_letter) as dead`.execute(tx),
  );
  return rows[0]!;
}

describe('ingesting usage', () => {
  it('moves the cursor, inserts rows, and adds up by key and day', async () => {
    const records = [
      usageRecord({ token: 'k1', costNano: 100 as Nano, seq: 2 }),
      usageRecord({ token: 'k2', costNano: 7 as Nano, seq: 4 }),
      usageRecord({ token: 'k1', costNano: 1 as Nano, seq: 6, status: 'failure', startedAtMs: Date.UTC(2026, 4, 7) }),
    ];
    expect(await ingest({ to: 6, records })).toEqual({ ok: true, cursor: 6, spend: { k1: '101', k2: '7' } });
    expect(await sums()).toEqual({ rows: 3n, logged: 108n, keys: 108n, daily: 108n, requests: 3n, dead: 0n });
    const { rows } = await db.read((tx) =>
      sql`select date, token, region, successful_requests as ok, failed_requests as bad from claviger.daily_spend order by date, token`.execute(
        tx,
      ),
    );
    expect(rows).toEqual([
      { date: '2026-05-06', token: 'k1', region: 'eu', ok: 1n, bad: 0n },
      { date: '2026-05-06', token: 'k2', region: 'eu', ok: 1n, bad: 0n },
      { date: '2026-05-07', token: 'k1', region: 'eu', ok: 0n, bad: 1n },
    ]);
  });

  it('keeps every field of a record', async () => {
    const record = usageRecord({
      callId: 'call-1',
      keyAlias: 'alias',
      userId: 'u',
      teamId: 't',
      organizationId: 'o',
      endUser: 'e',
      sessionId: 's',
      stream: true,
      tags: ['a', 'b'],
      status: 'failure',
      httpStatus: 429,
      errorCode: 'upstream_rate_limit',
      usage: {
        promptTokens: 1,
        completionTokens: 2,
        totalTokens: 3,
        cachedTokens: 4,
        cacheWriteTokens: 5,
        reasoningTokens: 6,
        audioInputTokens: 7,
        audioOutputTokens: 8,
      },
      estimated: true,
      costNano: Number.MAX_SAFE_INTEGER as Nano,
      seq: 9,
    });
    await ingest({ to: 9, records: [record] });
    const { rows } = await db.read((tx) => sql<Record<string, unknown>>`select * from claviger.spend_log`.execute(tx));
    expect(rows[0]).toMatchObject({
      request_id: record.requestId,
      call_id: 'call-1',
      provider_id: record.providerId,
      session_id: 's',
      token: record.token,
      key_alias: 'alias',
      user_id: 'u',
      team_id: 't',
      organization_id: 'o',
      end_user: 'e',
      stream: true,
      tags: ['a', 'b'],
      status: 'failure',
      http_status: 429,
      error_code: 'upstream_rate_limit',
      prompt_tokens: 1n,
      completion_tokens: 2n,
      total_tokens: 3n,
      cached_tokens: 4n,
      cache_write_tokens: 5n,
      reasoning_tokens: 6n,
      audio_input_tokens: 7n,
      audio_output_tokens: 8n,
      estimated: true,
      cost_nano: BigInt(Number.MAX_SAFE_INTEGER),
      started_at: new Date(record.startedAtMs),
      first_token_at: new Date(record.firstTokenAtMs!),
      ended_at: new Date(record.endedAtMs),
      region: 'eu',
      gateway_id: 'i/0',
      incarnation: 'inc-1',
      seq: 9n,
    });
  });

  it('takes a batch once, however often it comes, and says where it stands', async () => {
    const records = [usageRecord({ costNano: 5 as Nano })];
    await ingest({ to: 2, records });
    for (let again = 0; again < 3; again++) expect(await ingest({ to: 2, records })).toEqual({ ok: false, cursor: 2 });
    expect(await ingest({ from: 5, to: 7, records: [usageRecord()] })).toEqual({ ok: false, cursor: 2 });
    expect(await sums()).toMatchObject({ rows: 1n, keys: 5n, daily: 5n });
  });

  it('counts rows that were there already only once: a log read again under a new incarnation', async () => {
    const records = [usageRecord({ costNano: 5 as Nano }), usageRecord({ costNano: 6 as Nano })];
    await ingest({ to: 2, records });
    const more = [...records, usageRecord({ costNano: 7 as Nano })];
    expect(await ingest({ incarnation: 'inc-2', to: 3, records: more })).toMatchObject({ ok: true, cursor: 3 });
    expect(await ingest({ incarnation: 'inc-3', to: 3, records: [records[0]!, records[0]!] })).toMatchObject({
      ok: true,
    });
    expect(await sums()).toMatchObject({ rows: 3n, logged: 18n, keys: 18n, daily: 18n, requests: 3n });
  });

  it('is exact with concurrent gateways that send batches twice, overlap, and share keys', async () => {
    const gateways = 4;
    const perGateway = 12;
    let expectedNano = 0;
    let expectedRows = 0;
    const ship = async (gateway: number) => {
      const gatewayId = `i/${gateway}`;
      let cursor = 0;
      for (let n = 0; n < perGateway; n++) {
        const records = Array.from({ length: 20 }, (_, index) =>
          usageRecord({
            token: `key-${(gateway * 7 + index * 5 + n) % 9}`,
            costNano: (1 + index + n) as Nano,
            seq: cursor + index + 1,
          }),
        );
        expectedRows += records.length;
        expectedNano += records.reduce((sum, record) => sum + record.costNano, 0);
        const send = () => ingest({ gatewayId, from: cursor, to: cursor + 20, records });
        const replies = await Promise.all([send(), send()]);
        expect(replies.filter((reply) => reply.ok)).toHaveLength(1);
        cursor += 20;
        // An older stretch once more.
        expect(await ingest({ gatewayId, from: cursor - 20, to: cursor, records })).toEqual({ ok: false, cursor });
      }
    };
    await Promise.all(Array.from({ length: gateways }, (_, gateway) => ship(gateway)));
    const total = BigInt(expectedNano);
    expect(await sums()).toEqual({
      rows: BigInt(expectedRows),
      logged: total,
      keys: total,
      daily: total,
      requests: BigInt(expectedRows),
      dead: 0n,
    });
  }, 60_000);

  it('sets aside what is no record, and takes the rest', async () => {
    const good = usageRecord({ costNano: 3 as Nano });
    const bad = [
      { ...usageRecord(), costNano: 1.5 },
      { ...usageRecord(), costNano: -1 },
      { ...usageRecord(), startedAtMs: 'now' },
      { ...usageRecord(), requestId: 'a\0b' },
      { ...usageRecord(), usage: null },
      'nonsense',
      null,
    ] as unknown as UsageRecord[];
    const reply = await ingest({ to: 8, records: [...bad, good] });
    expect(reply).toEqual({ ok: true, cursor: 8, spend: { [good.token]: '3' } });
    expect(await sums()).toMatchObject({ rows: 1n, keys: 3n, dead: BigInt(bad.length) });
    const { rows } = await db.read((tx) =>
      sql<{
        record: string;
        reason: string;
      }>`select record, reason from claviger.usage_dead_letter order by id`.execute(tx),
    );
    expect(rows.map(({ record }) => JSON.parse(record))).toEqual(JSON.parse(JSON.stringify(bad)));
    expect(rows[0]!.reason).toBe('costNano is not a whole number of 0 or more');
  });

  it('keeps every character of a text, also those that mean something to PostgreSQL', async () => {
    const texts = ['"', '\\', '{a,b}', 'NULL', 'null', '', ' ', '\n\t', "it's", '€🔑', '\\"', '$1', '{}', ','];
    const records = texts.map((text) =>
      usageRecord({ modelGroup: text, endUser: text, keyAlias: null, tags: [text, text] }),
    );
    expect(await ingest({ to: 9, records })).toMatchObject({ ok: true });
    const { rows } = await db.read((tx) =>
      sql<{ model_group: string; end_user: string; key_alias: null; tags: string[] }>`
        select model_group, end_user, key_alias, tags from claviger.spend_log`.execute(tx),
    );
    const sorted = (list: readonly string[]) => [...list].sort();
    expect(sorted(rows.map((row) => row.model_group))).toEqual(sorted(texts));
    for (const row of rows)
      expect(row).toEqual({
        ...row,
        end_user: row.model_group,
        tags: [row.model_group, row.model_group],
        key_alias: null,
      });
  });

  it('mends text that PostgreSQL can not hold, and cuts what is too long for an index', async () => {
    const record = usageRecord({
      providerId: `p${'x'.repeat(5_000)}`,
      sessionId: '€'.repeat(4_000),
      modelGroup: `${'m'.repeat(9_000)}`,
      endUser: 'a\0b\ud800c',
      tags: ['\0'],
    });
    expect(await ingest({ to: 1, records: [record] })).toMatchObject({ ok: true });
    const { rows } = await db.read((tx) =>
      sql`select length(provider_id) as p, length(session_id) as s, length(model_group) as m, end_user, tags from claviger.spend_log`.execute(
        tx,
      ),
    );
    expect(rows).toEqual([{ p: 512, s: 512, m: 8_192, end_user: 'a\ufffdb\ufffdc', tags: ['\ufffd'] }]);
    expect(await sums()).toMatchObject({ rows: 1n, dead: 0n });
  });

  it('does not stand still when the database refuses one record of a batch', async () => {
    await db.write((tx) => sql`alter table claviger.spend_log add check (route <> 'poison')`.execute(tx));
    const records = [
      usageRecord({ costNano: 1 as Nano }),
      usageRecord({ route: 'poison', costNano: 2 as Nano }),
      usageRecord({ costNano: 4 as Nano }),
    ];
    expect(await ingest({ to: 3, records })).toMatchObject({ ok: true, cursor: 3 });
    expect(await sums()).toEqual({ rows: 2n, logged: 5n, keys: 5n, daily: 5n, requests: 2n, dead: 1n });
  });

  it('refuses the log of another installation and names both', async () => {
    const attempt = ingest({ installation: '11111111-1111-4111-8111-111111111111', to: 1, records: [usageRecord()] });
    await expect(attempt).rejects.toBeInstanceOf(ForeignUsage);
    await expect(attempt).rejects.toThrow(new RegExp(`11111111-1111-4111-8111-111111111111.*${installation}`));
    expect(await sums()).toMatchObject({ rows: 0n });
  });

  it('moves the cursor over a stretch without settlements', async () => {
    expect(await ingest({ to: 4 })).toEqual({ ok: true, cursor: 4, spend: {} });
    expect(await ingest({ from: 4, to: 5, records: [usageRecord({ costNano: 0 as Nano })] })).toMatchObject({
      ok: true,
      cursor: 5,
    });
  });
});
