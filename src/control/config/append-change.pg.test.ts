import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startControlPlane, type TestControlPlane } from '../../../tests/support/test-control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../../../tests/support/test-database.ts';
import { firstBrokenRevision } from '../../storage/repositories/change-log.ts';

let database: TestDatabase;
let planes: TestControlPlane[];

beforeAll(async () => {
  database = await createTestDatabase();
  planes = await Promise.all([startControlPlane({ database }), startControlPlane({ database })]);
});
afterAll(async () => {
  await Promise.all(planes.map((plane) => plane.stop()));
  await database.drop();
});

const one = () => planes[0]!;

async function revisions(): Promise<number[]> {
  const { rows } = await one().db.read((tx) =>
    sql<{ rev: bigint }>`select rev from claviger.change_log order by rev`.execute(tx),
  );
  return rows.map((row) => Number(row.rev));
}

describe('revisions', () => {
  it('are without gap or double under eight concurrent writers on two instances, some of which fail', async () => {
    const answered: number[] = [];
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      const plane = planes[writer % 2]!;
      for (let n = 0; n < 12; n++) {
        // Every third alias is taken, so its transaction is rolled back after it wrote.
        const body = { key_alias: n % 3 === 2 ? `writer-${writer}-${n - 1}` : `writer-${writer}-${n}` };
        const { status, headers } = await plane.call('POST', '/key/generate', { body });
        expect(status).toBe(n % 3 === 2 ? 400 : 200);
        if (status === 200) answered.push(Number(headers.get('x-claviger-rev')));
      }
    });
    await Promise.all(writers);
    const expected = Array.from({ length: 64 }, (_, n) => n + 1);
    expect(await revisions()).toEqual(expected);
    expect(answered.sort((a, b) => a - b)).toEqual(expected);
    expect(await one().db.read(firstBrokenRevision)).toBeNull();
  });

  it('count one for each key of a deletion', async () => {
    const before = (await revisions()).at(-1)!;
    const { headers } = await one().call('POST', '/key/delete', {
      body: { key_aliases: ['writer-0-0', 'writer-1-0', 'writer-2-0'] },
    });
    expect(Number(headers.get('x-claviger-rev'))).toBe(before + 3);
    expect((await revisions()).at(-1)).toBe(before + 3);
  });

  it('count the changes of an object by themselves', async () => {
    const { json } = await one().call('POST', '/key/generate', { body: {} });
    for (const path of ['/key/block', '/key/unblock']) await planes[1]!.call('POST', path, { body: { key: json.key } });
    await one().call('POST', '/key/delete', { body: { keys: [json.key] } });
    const { rows } = await one().db.read((tx) =>
      sql`select object_rev, op, before is null as first, after is null as last from claviger.change_log
           where object_id = ${json.token} order by rev`.execute(tx),
    );
    expect(rows).toEqual([
      { object_rev: 1n, op: 'created', first: true, last: false },
      { object_rev: 2n, op: 'blocked', first: false, last: false },
      { object_rev: 3n, op: 'unblocked', first: false, last: false },
      { object_rev: 4n, op: 'deleted', first: false, last: true },
    ]);
  });
});

describe('the audit chain', () => {
  const tampering: [string, string][] = [
    [
      'a changed value',
      `update claviger.change_log set after = jsonb_set(after, '{max_budget}', '1000000') where rev = 20`,
    ],
    ['a changed actor', `update claviger.change_log set actor = 'mallory' where rev = 20`],
    ['a removed entry', `delete from claviger.change_log where rev = 20`],
    ['a removed last entry', `delete from claviger.change_log where rev = (select max(rev) from claviger.change_log)`],
    [
      'two entries exchanged',
      `update claviger.change_log set rev = 1000020 where rev = 20;
       update claviger.change_log set rev = 20 where rev = 21;
       update claviger.change_log set rev = 21 where rev = 1000020`,
    ],
  ];
  it.each(tampering)('detects %s', async (_what, statement) => {
    const attempt = one().db.write(async (tx) => {
      expect(await firstBrokenRevision(tx)).toBeNull();
      await sql.raw(statement).execute(tx);
      expect(await firstBrokenRevision(tx)).not.toBeNull();
      throw new Error('undo');
    });
    await expect(attempt).rejects.toThrow('undo');
  });

  it('names the first entry that was changed', async () => {
    const attempt = one().db.write(async (tx) => {
      await sql`update claviger.change_log set op = 'updated' where rev in (30, 33)`.execute(tx);
      throw new Error(`broken at ${await firstBrokenRevision(tx)}`);
    });
    await expect(attempt).rejects.toThrow('broken at 30');
  });
});
